//! What company costs: one topic alone and among very many topics and filters, and a topic shared by a queue group.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use glue_endpoint::{CallbackSubscription, Endpoint, Publisher};

use crate::error::LoadError;
use crate::roles::{self, EXPIRY, STREAM, TYPE};
use crate::turns::{Process, one_to_one, turns};
use crate::{Load, clock};

/// Publications of so many other topics, none of which is the stream.
pub(crate) fn other_topics(endpoint: &Endpoint, count: usize) -> Result<Vec<Publisher>, LoadError> {
    let topic = |number| format!("site/{}/{number}/heat", number % 1_000);
    (0..count).map(|number| Ok(endpoint.publisher(&topic(number), TYPE)?)).collect()
}

/// Subscriptions with so many filters with wildcards, which match some of [`other_topics`], and not the stream.
pub(crate) fn other_filters(endpoint: &Endpoint, count: usize) -> Result<Vec<CallbackSubscription>, LoadError> {
    let filter = |number| match number % 4 {
        0 => format!("site/{number}/+/heat"),
        1 => format!("site/{number}/#"),
        2 => format!("+/{number}/+/heat"),
        _ => format!("site/+/{number}/#"),
    };
    (0..count).map(|number| Ok(roles::block_on(endpoint.subscribe_with(&filter(number), TYPE, |_| {}))?)).collect()
}

/// Measures the stream alone, and among 10,000 topics and 1,000 filters, in turns; says what a subscriber received, and what
/// both sides used of the processor, which on a busy machine tells more.
pub(crate) fn many(load: Load) -> Result<(), LoadError> {
    turns(load, "alone and among 10,000 topics and 1,000 filters", |which| {
        let (topics, filters) = if which == 0 { ("0", "0") } else { ("10000", "1000") };
        one_to_one(load, &[("TOPICS", topics)], &[("FILTERS", filters)])
    })
}

/// Publishes flat out to a queue group of three processes, and says how many messages were done a second.
pub(crate) fn group(load: Load) -> Result<(), LoadError> {
    let network = i64::from(std::process::id());
    let endpoint = roles::block_on(Endpoint::builder_from_env()?.network_id(network).start())?;
    let publisher = endpoint.publisher(STREAM, TYPE)?;
    let _workers = (0..MEMBERS).map(|_| Process::start(&["worker"], &[])).collect::<Result<Vec<_>, _>>()?;
    roles::block_on(endpoint.wait_for_members(GROUP, MEMBERS));
    let payload = Bytes::from(vec![7; load.size]);
    let (begin, cpu) = (clock::now(), clock::cpu_seconds());
    let done = |endpoint: &Endpoint| endpoint.stats().topics.shares_done;
    while clock::now() - begin < u64::try_from(load.duration.as_nanos()).unwrap_or(u64::MAX) {
        for _ in 0..64 {
            publisher.publish_blocking(EXPIRY, &payload)?;
        }
    }
    let (seconds, cpu) = ((clock::now() - begin) as f64 / 1e9, clock::cpu_seconds() - cpu);
    let rate = done(&endpoint) as f64 / seconds;
    writeln!(
        std::io::stdout(),
        "{} B to a group of {MEMBERS}: {rate:.0} done a second, {cpu:.2} s of processor",
        load.size
    )?;
    Ok(())
}

/// Such a member, until it is killed.
pub(crate) fn worker() -> Result<(), LoadError> {
    let endpoint = roles::start()?;
    let _subscription = roles::block_on(endpoint.subscribe_with(GROUP, TYPE, |_| {}))?;
    std::thread::sleep(Duration::from_secs(3_600));
    Ok(())
}

const MEMBERS: usize = 3;
const GROUP: &str = "$share/load/load/stream";
