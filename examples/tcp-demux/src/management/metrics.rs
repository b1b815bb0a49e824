//! `/metrics`, as Prometheus reads it.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use crate::hub::Hub;
use crate::lane::Lane;
use crate::upstreams::{State as UpstreamState, Upstream};

pub(super) async fn show(State(hub): State<Arc<Hub>>) -> impl IntoResponse {
    let mut text = String::new();
    // Nothing fails that writes to a string.
    let _ = write(&hub, &mut text);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

fn write(hub: &Hub, out: &mut String) -> fmt::Result {
    for (name, help, value) in hub.counters.all() {
        writeln!(out, "# HELP tcp_demux_{name}_total {help}\n# TYPE tcp_demux_{name}_total counter")?;
        writeln!(out, "tcp_demux_{name}_total {value}")?;
    }
    let waiting: usize = hub.directory().all().map(|socket| socket.outbox.bytes()).sum();
    let instances = hub.glue().map_or(0, |glue| glue.instances().len());
    for (name, help, value) in [
        ("sockets", "Sockets that are connected.", hub.directory().len()),
        ("socket_queue_bytes", "Bytes that wait to be written to sockets.", waiting),
        ("instances", "Other instances that are known.", instances),
    ] {
        writeln!(out, "# HELP tcp_demux_{name} {help}\n# TYPE tcp_demux_{name} gauge\ntcp_demux_{name} {value}")?;
    }
    write_upstreams(hub, out)
}

type OfUpstream = fn(&Upstream, &[Arc<Lane>]) -> u64;

fn write_upstreams(hub: &Hub, out: &mut String) -> fmt::Result {
    let (upstreams, lanes) = (hub.upstreams.all(), hub.dispatch.lanes());
    let gauges: [(&str, &str, OfUpstream); 4] = [
        ("upstream_ready", "1 if it takes messages.", |upstream, _| {
            (*upstream.state.borrow() == UpstreamState::Ready).into()
        }),
        ("upstream_outstanding", "Messages that wait or are not settled.", |_, lanes| {
            lanes.iter().map(|lane| lane.outstanding() as u64).sum()
        }),
        ("upstream_sockets", "Sockets that stick to it.", |_, lanes| {
            lanes.iter().map(|lane| lane.sockets() as u64).sum()
        }),
        ("upstream_forwarded", "Messages and events that it took on the streams of now.", |_, lanes| {
            lanes.iter().map(|lane| lane.forwarded.load(Ordering::Relaxed)).sum()
        }),
    ];
    for (name, help, value) in gauges {
        writeln!(out, "# HELP tcp_demux_{name} {help}\n# TYPE tcp_demux_{name} gauge")?;
        for upstream in &upstreams {
            let own: Vec<_> = lanes.iter().filter(|lane| lane.upstream == upstream.id).cloned().collect();
            let label = upstream.name.replace(['\\', '"', '\n'], "_");
            writeln!(out, "tcp_demux_{name}{{upstream=\"{label}\"}} {}", value(upstream, &own))?;
        }
    }
    Ok(())
}
