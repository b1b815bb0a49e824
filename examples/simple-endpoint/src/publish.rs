//! The publisher.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

use glue_endpoint::{Endpoint, PublishError, Publisher};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use crate::args::Args;
use crate::failure::Failure;
use crate::output::Line;
use crate::payload::Payload;
use crate::peers::Peers;
use crate::stop::{Cause, Stop};

pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    let mut stop = Stop::after(args.seconds)?;
    let endpoint = Endpoint::from_env().await?;
    let publisher = endpoint.publisher(&args.topic_name, &args.topic_type)?;
    let mut peers = Peers::watch(&endpoint, args.output());
    let mut progress = interval(PROGRESS_INTERVAL);
    progress.set_missed_tick_behavior(MissedTickBehavior::Delay);

    let published = Cell::new(0);
    let mut all = pin!(publish_all(&publisher, args, &published));
    let stopped = loop {
        tokio::select! {
            result = &mut all => break result.map(|()| None)?,
            cause = stop.requested() => break Some(cause),
            peer = peers.next() => drop(peer?),
            _ = progress.tick() => {
                tracing::info!(published = published.get(), subscribers = publisher.subscribers(), "publishing");
            }
        }
    };

    let patience = if stopped.is_some() { args.expiry().min(SHORT_PATIENCE) } else { args.expiry() + GRACE };
    let settled = tokio::select! {
        settled = endpoint.close(patience) => settled,
        () = stop.insisted() => false,
    };
    let count = published.get();
    args.output().print(&Line::Published { count, settled })?;
    match (stopped, args.count) {
        (Some(Cause::Time), Some(wanted)) => {
            Err(Failure::Runtime(format!("the time is over after {count} of {wanted} messages")))
        }
        (None, _) if !settled => Err(Failure::Runtime(format!(
            "not all was acknowledged or expired within {patience:?} after the last message"
        ))),
        _ => Ok(()),
    }
}

/// Publishes as many messages as were asked for, once those are there who were to be waited for.
async fn publish_all(publisher: &Publisher, args: &Args, published: &Cell<u64>) -> Result<(), PublishError> {
    while publisher.subscribers() < args.wait_for() {
        sleep(SUBSCRIBER_CHECK).await;
    }
    let mut payload = Payload::new(args.size);
    let start = Instant::now();
    for number in 0..args.count.unwrap_or(u64::MAX) {
        // Each has its own time from the start, so that no delay adds up.
        sleep_until(start + Duration::from_secs_f64(number as f64 / args.rate)).await;
        publisher.publish(args.expiry(), payload.numbered(number)).await?;
        published.set(number + 1);
    }
    Ok(())
}

/// How often the log tells how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// How often it is looked whether subscribers are there. A look takes less than a microsecond.
const SUBSCRIBER_CHECK: Duration = Duration::from_millis(10);

/// How long one who wants the end waits for acknowledgements.
const SHORT_PATIENCE: Duration = Duration::from_secs(1);

/// Beyond the expiry: a subscriber that vanished is given up within 2 s, unless a slower announce interval was set.
const GRACE: Duration = Duration::from_secs(10);
