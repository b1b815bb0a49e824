//! One upstream that is an endpoint, as an instance sees it.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use glue_endpoint::{Holder, Publisher};
use prost::Message as _;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{Glue, Presence};
use crate::grpc::{DRAIN_TIMEOUT, WINDOW_BYTES};
use crate::hub::Hub;
use crate::lane::{Confirm, Lane, LaneConfig, Phase};
use crate::topics::{INPUT, wants_events};
use crate::upstreams::{Kind, State, Upstream, Wish};
use crate::wire::proto::InputStreamRequest;

/// Keeps an upstream in use as long as it holds its token.
pub(super) async fn run(hub: Arc<Hub>, glue: Arc<Glue>, holder: Holder, mut presence: watch::Receiver<Presence>) {
    let life = (holder.endpoint_id, holder.incarnation);
    let upstream = Upstream::new(format!("glue://{}", holder.endpoint_name), Kind::Glue);
    if let Err(refused) = hub.upstreams.add(&upstream) {
        tracing::warn!(upstream = upstream.name, "{refused}");
        glue.lock_upstreams().remove(&life);
        return;
    }
    while *presence.borrow() == Presence::Up && *upstream.wish.borrow() != Wish::Remove {
        if *upstream.wish.borrow() == Wish::Drain {
            upstream.state.send_replace(State::Draining);
            tokio::select! {
                _ = presence.changed() => {}
                () = upstream.wishes(|wish| wish != Wish::Drain) => {}
            }
            continue;
        }
        if !serve(&hub, &glue, &holder, &upstream, &mut presence).await {
            hub.counters.upstream_failures.add(1);
            upstream.state.send_replace(State::Away);
            tokio::select! { _ = presence.changed() => {}, () = sleep(RETRY_AFTER) => {} }
        }
    }
    hub.upstreams.remove(upstream.id);
    if *presence.borrow() == Presence::Up {
        // Removed by hand: it is forgotten only when it goes, so that it does not come back by itself.
        let _ = presence.wait_for(|presence| *presence != Presence::Up).await;
    }
    glue.lock_upstreams().remove(&life);
}

/// Feeds it. Returns whether all went well: it was dismissed, or left properly.
async fn serve(
    hub: &Arc<Hub>,
    glue: &Arc<Glue>,
    holder: &Holder,
    upstream: &Upstream,
    presence: &mut watch::Receiver<Presence>,
) -> bool {
    let Ok(publisher) = glue.endpoint.publisher(&glue.names.to_upstream(holder.endpoint_id), INPUT) else {
        return false;
    };
    // What is published before it is known to listen would not reach it.
    match timeout(LISTEN_TIMEOUT, publisher.wait_for_subscribers(1)).await {
        Ok(true) => {}
        Ok(false) => return false,
        Err(_) => {
            upstream.fail("it does not listen");
            return false;
        }
    }
    let config =
        LaneConfig { window: WINDOW_BYTES, confirm: Confirm::Acknowledged, wants_events: wants_events(&holder.token) };
    let lane = Lane::new(upstream.id, config);
    let life = (holder.endpoint_id, holder.incarnation);
    let Some(()) = glue.lock_upstreams().get_mut(&life).map(|present| present.lane = Some(Arc::clone(&lane))) else {
        return false;
    };
    let feeder = tokio::spawn(feed(Arc::clone(hub), Arc::clone(&lane), publisher));
    hub.open(&lane).await;
    upstream.state.send_replace(State::Ready);
    tracing::info!(upstream = upstream.name, "ready");
    tokio::select! {
        _ = presence.wait_for(|presence| *presence != Presence::Up) => {}
        _ = upstream.dismissed() => {}
        () = lane.reached(Phase::Failed) => {}
    }
    let has_failed = !settle(hub, &lane, presence).await;
    feeder.abort();
    tokio::spawn({
        let (hub, lane) = (Arc::clone(hub), lane);
        async move { hub.retire(&lane).await }
    });
    !has_failed
}

/// Closes a lane and waits for what is on its way. Returns false if the upstream fails meanwhile.
async fn settle(hub: &Hub, lane: &Lane, presence: &mut watch::Receiver<Presence>) -> bool {
    hub.dispatch.close(lane);
    let is_well = tokio::select! {
        biased;
        _ = presence.wait_for(|presence| *presence == Presence::Gone) => false,
        () = lane.reached(Phase::Failed) => false,
        () = poll_fn(|context| lane.poll_settled(context)) => true,
        () = sleep(DRAIN_TIMEOUT) => true,
    };
    if !is_well {
        lane.fail();
    }
    is_well
}

/// Publishes what comes on the lane.
async fn feed(hub: Arc<Hub>, lane: Arc<Lane>, publisher: Publisher) {
    while let Some(sent) = poll_fn(|context| lane.poll_next(context)).await {
        hub.counters.messages_forwarded.add(1);
        // It lives until it is acknowledged: a lane's window bounds how much of it there is.
        if publisher.publish(Duration::MAX, &InputStreamRequest::from(sent).encode_to_vec()).await.is_err() {
            lane.fail();
        }
    }
}

/// An upstream subscribes before it takes its token, so this is only a matter of the network.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);

const RETRY_AFTER: Duration = Duration::from_secs(1);
