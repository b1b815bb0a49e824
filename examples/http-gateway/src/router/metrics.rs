//! What a router counts, and how it tells it.

use std::time::Duration;

use glue_endpoint::Endpoint;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Counters of a router.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Labels, Counter>,
    latency: Family<Labels, Histogram, fn() -> Histogram>,
    pub(crate) in_flight: Gauge,
    pub(crate) waiting: Gauge,
    pub(crate) retries: Counter,
    pub(crate) connections: Gauge,
    pub(crate) connections_refused: Counter,
    pub(crate) log_lines_dropped: Counter,
    bytes_in: Counter,
    bytes_out: Counter,
    workers: Gauge,
    glue: Family<Name, Gauge<i64>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    worker: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    name: &'static str,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("http_gateway"),
            requests: Family::default(),
            latency: Family::new_with_constructor(histogram as fn() -> Histogram),
            in_flight: Gauge::default(),
            waiting: Gauge::default(),
            retries: Counter::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            log_lines_dropped: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            workers: Gauge::default(),
            glue: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("requests", "Requests that ended", self.requests.clone());
        let help = "From the head of a request to the head of its response";
        registry.register("latency_seconds", help, self.latency.clone());
        registry.register("in_flight", "Requests that have not ended", self.in_flight.clone());
        registry.register("waiting", "Requests that wait for a worker with capacity", self.waiting.clone());
        registry.register("retries", "Times that another worker was tried", self.retries.clone());
        registry.register("connections", "Connections of clients", self.connections.clone());
        registry.register("connections_refused", "Connections beyond the limit", self.connections_refused.clone());
        registry.register("log_lines_dropped", "Access log lines not written", self.log_lines_dropped.clone());
        registry.register("request_body_bytes", "Bytes of bodies that clients sent", self.bytes_in.clone());
        registry.register("response_body_bytes", "Bytes of bodies that clients got", self.bytes_out.clone());
        registry.register("workers", "Workers that are there", self.workers.clone());
        registry.register("glue", "Counters of the endpoint", self.glue.clone());
    }

    pub(crate) fn ended(&self, worker: &str, status: u16, latency: Duration, bytes: (u64, u64)) {
        let labels = Labels { worker: worker.to_owned(), status };
        self.latency.get_or_create(&labels).observe(latency.as_secs_f64());
        self.requests.get_or_create(&labels).inc();
        self.bytes_in.inc_by(bytes.0);
        self.bytes_out.inc_by(bytes.1);
    }

    /// In the format of OpenMetrics, which Prometheus reads.
    pub(crate) fn text(&self, endpoint: &Endpoint, workers: usize) -> String {
        self.workers.set(i64::try_from(workers).unwrap_or(i64::MAX));
        for (name, value) in glue(endpoint) {
            self.glue.get_or_create(&Name { name }).set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        let mut text = String::new();
        // Nothing fails that writes to a string.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn glue(endpoint: &Endpoint) -> [(&'static str, u64); 10] {
    let report = endpoint.stats();
    [
        ("messages_published", report.topics.published),
        ("messages_received", report.topics.messages_received),
        ("messages_missed", report.topics.missed),
        ("duplicates", report.topics.duplicates),
        ("malformed", report.endpoint.malformed + report.topics.malformed),
        ("publishes_held_back", report.endpoint.publishes_held_back),
        ("publishes_short_of_memory", report.endpoint.publishes_short_of_memory),
        ("peers_isolated", report.endpoint.peers_isolated),
        ("memory_held_bytes", report.memory.held() as u64),
        ("memory_peak_bytes", report.memory.peak as u64),
    ]
}

/// From half a millisecond to a minute.
fn histogram() -> Histogram {
    Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0])
}
