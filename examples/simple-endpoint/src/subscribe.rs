//! The subscriber.

use std::time::{Duration, SystemTime};

use glue_endpoint::{Endpoint, Item, WallTime};

use crate::args::Args;
use crate::failure::Failure;
use crate::output::{Line, Message, Output};
use crate::payload;
use crate::peers::Peers;
use crate::stop::{Cause, Stop};
use crate::tally::Tally;

pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    let mut stop = Stop::after(args.seconds)?;
    let endpoint = Endpoint::from_env().await?;
    let mut subscription = endpoint.subscribe(&args.topic_name, &args.topic_type).await?;
    let mut peers = Peers::watch(&endpoint, args.output());
    let mut tally = Tally::default();

    let mut stopped = None;
    while stopped.is_none() && args.count.is_none_or(|count| tally.counts.received < count) {
        tokio::select! {
            biased;
            cause = stop.requested() => stopped = Some(cause),
            // Before messages: that a publisher has begun anew is known before its first one comes.
            peer = peers.next() => peer?.into_iter().for_each(|id| tally.peer_up(id)),
            item = subscription.recv_item() => item.into_iter().try_for_each(|item| take(item, &mut tally, args.output()))?,
        }
        // While messages wait, nothing else would make this task pause, and signals would not be heard.
        tokio::task::consume_budget().await;
    }

    endpoint.close(PATIENCE).await;
    // What was acknowledged is ours to print, unless enough was printed.
    while stopped.is_some()
        && let Some(item) = subscription.recv_item().await
    {
        take(item, &mut tally, args.output())?;
    }
    args.output().print(&Line::Summary(tally.counts))?;
    match (stopped, args.count) {
        (Some(Cause::Time), Some(wanted)) if tally.counts.received < wanted => {
            Err(Failure::Runtime(format!("the time is over after {} of {wanted} messages", tally.counts.received)))
        }
        _ => Ok(()),
    }
}

/// Counts an item, and prints it if it is a message.
fn take(item: Item, tally: &mut Tally, output: Output) -> Result<(), Failure> {
    let message = match item {
        Item::Message(message) => message,
        Item::Gap(gap) => {
            tally.gap(gap.count());
            tracing::warn!(from = %gap.source.endpoint_name, reason = ?gap.reason, "{} messages missed", gap.count());
            return Ok(());
        }
    };
    let seq = payload::number(&message.payload);
    tally.message(message.endpoint_id, message.timestamp, seq);
    let source = message.source();
    output.print(&Line::Message(Message {
        from: (&*source.endpoint_name).into(),
        topic: (&*source.topic_name).into(),
        topic_type: (&*source.topic_type).into(),
        seq,
        size: message.payload.len(),
        age_us: age_us(message.timestamp),
    }))?;
    Ok(())
}

/// How old a message is by the system's clock, if its publisher told the time. Zero if it comes from the future: a
/// publisher's clock may be ahead of ours.
fn age_us(timestamp: WallTime) -> Option<u64> {
    if timestamp == WallTime::ZERO_TIME {
        return None;
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let published = Duration::from_nanos(u64::try_from(timestamp.as_unix_nanos()).unwrap_or(0));
    u64::try_from(now.saturating_sub(published).as_micros()).ok()
}

/// A subscriber has nothing to say that others wait for, but its goodbye.
const PATIENCE: Duration = Duration::from_millis(100);
