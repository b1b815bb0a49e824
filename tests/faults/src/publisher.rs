//! A process that publishes numbered messages, and logs each before and after.

use std::collections::VecDeque;
use std::time::Duration;

use glue_endpoint::{Publisher, Receipt, TryPublishError};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::error::FaultsError;
use crate::line::What;
use crate::node::{Node, NodeArguments, Order};
use crate::payload::Numbered;
use crate::topics::{TYPE, Topic};

/// Publishes on all topics until told to halt, and ends when told to end.
///
/// # Errors
/// If the endpoint or the log can not be used.
pub async fn run(arguments: &NodeArguments) -> Result<(), FaultsError> {
    let mut node = Node::start("publisher", arguments).await?;
    let outlets = Topic::ALL.map(|topic| Outlet::new(&node, topic, arguments));
    let mut outlets = outlets.into_iter().collect::<Result<Vec<_>, _>>()?;
    let (mut ticks, mut published) = (interval(TICK), true);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            order = node.order() => match order {
                Order::Healed => {}
                Order::Halt => published = false,
                Order::End => break,
            },
            now = ticks.tick() => for outlet in &mut outlets {
                if published {
                    outlet.publish_what_is_due(now, &node)?;
                }
                outlet.log_what_is_cached(&node);
            },
        }
    }
    node.close().await;
    Ok(())
}

/// One topic of a publisher.
struct Outlet {
    topic: Topic,
    label: String,
    expiry: Duration,
    publisher: Publisher,
    due: Instant,
    /// How many messages were published.
    count: u64,
    receipts: VecDeque<(u64, Receipt)>,
}

impl Outlet {
    fn new(node: &Node, topic: Topic, arguments: &NodeArguments) -> Result<Self, FaultsError> {
        let publisher = node.endpoint.publisher_with(topic.name, TYPE, topic.publisher_options());
        let lifespan = arguments.lifespan.map_or(Duration::MAX, Duration::from_millis);
        Ok(Self {
            topic,
            label: arguments.label.clone(),
            expiry: topic.expiry.min(lifespan),
            publisher: publisher.map_err(|error| FaultsError::Endpoint(error.to_string()))?,
            due: Instant::now(),
            count: 0,
            receipts: VecDeque::new(),
        })
    }

    fn publish_what_is_due(&mut self, now: Instant, node: &Node) -> Result<(), FaultsError> {
        if now < self.due {
            return Ok(());
        }
        // After a pause it does not catch up.
        self.due = now + self.topic.every;
        let (number, topic) = (self.count + 1, self.topic.name.to_owned());
        let payload = Numbered { label: &self.label, number }.to_bytes(filler(number));
        let expiry = u64::try_from(self.expiry.as_millis()).unwrap_or(u64::MAX);
        node.journal.write(What::Intent { topic: topic.clone(), number, expiry });
        let taken = if self.topic.cached {
            let receipt = self.publisher.try_publish_confirmed(self.expiry, &*payload);
            receipt.map(|receipt| self.receipts.push_back((number, receipt)))
        } else {
            self.publisher.try_publish(self.expiry, &*payload)
        };
        match taken {
            Ok(()) => {
                node.journal.write(What::Sent { topic, number });
                self.count = number;
                Ok(())
            }
            // The number is used for the next try.
            Err(TryPublishError::WouldBlock) => {
                node.journal.note(&format!("no room for {topic} {number}"));
                Ok(())
            }
            Err(error) => Err(FaultsError::Endpoint(error.to_string())),
        }
    }

    fn log_what_is_cached(&mut self, node: &Node) {
        let topic = self.topic.name;
        self.receipts.retain(|(number, receipt)| {
            let cached = receipt.cached() > 0;
            if cached {
                node.journal.write(What::Kept { topic: topic.to_owned(), number: *number });
            }
            !cached && !receipt.is_settled()
        });
        while self.receipts.len() > MAX_RECEIPTS {
            self.receipts.pop_front();
        }
    }
}

/// Bytes behind a message's number: mostly few, sometimes more than a datagram, now and then many datagrams.
const fn filler(number: u64) -> usize {
    match number {
        number if number % 50 == 0 => 20_000,
        number if number % 10 == 0 => 2_000,
        _ => 40,
    }
}

const TICK: Duration = Duration::from_millis(10);
/// Of messages whose fate is unknown for longer it is not logged that they are cached; then nobody expects that they are.
const MAX_RECEIPTS: usize = 10_000;
