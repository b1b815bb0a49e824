//! One request in the books: metrics and access log.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use http::{Method, StatusCode, Uri, Version};

use super::metrics::Metrics;
use super::request::Fate;
use crate::headers::Origin;

/// Where lines of the access log go: a thread of its own, so that a slow reader slows no request. 1,024 lines wait for
/// it; beyond, lines are dropped and counted.
#[derive(Clone, Debug)]
pub(crate) struct AccessLog(SyncSender<String>);

impl AccessLog {
    /// To standard output.
    pub(crate) fn start() -> std::io::Result<Self> {
        let (lines, waiting) = sync_channel::<String>(MOST_LINES);
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || {
            for line in waiting {
                let mut out = std::io::stdout().lock();
                if writeln!(out, "{line}").is_err() {
                    return;
                }
            }
        })?;
        Ok(Self(lines))
    }
}

/// A request from its head to the end of its answer.
#[derive(Debug)]
pub(crate) struct Record {
    metrics: Arc<Metrics>,
    log: Option<AccessLog>,
    started: Instant,
    /// Of the request, if there is a log.
    line: Option<Box<Line>>,
    fate: Arc<Fate>,
    latency: Duration,
    worker: String,
    status: StatusCode,
    pub(crate) bytes_out: u64,
    /// All of the answer was handed over.
    pub(crate) is_whole: bool,
}

#[derive(Debug)]
struct Line {
    origin: Origin,
    method: Method,
    target: Uri,
    version: Version,
    id: String,
}

impl Record {
    pub(crate) fn new(metrics: &Arc<Metrics>, log: Option<&AccessLog>, fate: Arc<Fate>) -> Self {
        metrics.in_flight.inc();
        Self {
            metrics: Arc::clone(metrics),
            log: log.cloned(),
            started: Instant::now(),
            line: None,
            fate,
            latency: Duration::ZERO,
            worker: String::new(),
            status: CLIENT_GONE,
            bytes_out: 0,
            is_whole: false,
        }
    }

    pub(crate) fn request(&mut self, origin: &Origin, method: &Method, target: &Uri, version: Version) {
        if self.log.is_some() {
            let (method, target, id) = (method.clone(), target.clone(), String::new());
            self.line = Some(Box::new(Line { origin: origin.clone(), method, target, version, id }));
        }
    }

    pub(crate) fn set_id(&mut self, id: &str) {
        if let Some(line) = &mut self.line {
            id.clone_into(&mut line.id);
        }
    }

    pub(crate) fn answer(&mut self, worker: Option<String>, status: StatusCode) {
        self.latency = self.started.elapsed();
        self.worker = worker.unwrap_or_default();
        self.status = status;
    }

    fn write(&self) {
        let (Some(log), Some(line)) = (&self.log, &self.line) else { return };
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let text = serde_json::json!({
            "time": time.as_secs_f64(),
            "client": line.origin.address.to_string(),
            "tls": line.origin.is_tls,
            "method": line.method.as_str(),
            "target": line.target.to_string(),
            "version": format!("{:?}", line.version),
            "request_id": line.id,
            "worker": self.worker,
            "status": self.status.as_u16(),
            "latency_ms": millis(self.latency),
            "duration_ms": millis(self.started.elapsed()),
            "bytes_in": self.fate.bytes(),
            "bytes_out": self.bytes_out,
            "whole": self.is_whole,
        });
        if log.0.try_send(text.to_string()).is_err() {
            self.metrics.log_lines_dropped.inc();
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        if self.status == CLIENT_GONE {
            self.latency = self.started.elapsed();
        }
        let bytes = (self.fate.bytes(), self.bytes_out);
        self.metrics.ended(&self.worker, self.status.as_u16(), self.latency, bytes);
        self.write();
    }
}

fn millis(time: Duration) -> f64 {
    // Microseconds are enough, and read better.
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// The client went before there was an answer. No code of a standard says so; other proxies use this one.
const CLIENT_GONE: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => StatusCode::BAD_REQUEST,
};

const MOST_LINES: usize = 1_024;
