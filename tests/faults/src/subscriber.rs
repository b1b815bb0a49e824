//! A process that subscribes to all topics, and logs each message and each gap.

use std::sync::Arc;

use glue_endpoint::{Endpoint, Item, Message, SubscribeError};

use crate::error::FaultsError;
use crate::journal::Journal;
use crate::line::What;
use crate::node::{Node, NodeArguments, Order};
use crate::payload::Numbered;
use crate::topics::{TYPE, Topic};

/// Logs what comes until told to end.
///
/// # Errors
/// If the endpoint or the log can not be used.
pub async fn run(arguments: &NodeArguments) -> Result<(), FaultsError> {
    let role = if std::env::var_os("GLUE_CACHE").is_some() { "cache" } else { "subscriber" };
    let mut node = Node::start(role, arguments).await?;
    let journal = Arc::clone(&node.journal);
    // Half of the topics by a function, half by a queue: both ways of the library are used.
    let mut callbacks = Vec::new();
    for (index, topic) in Topic::ALL.into_iter().enumerate() {
        let journal = Arc::clone(&journal);
        if index % 2 == 0 {
            journal.write(What::Subscribed { topic: topic.name.to_owned() });
            let subscribed = node
                .endpoint
                .subscribe_items_from(topic.name, TYPE, topic.subscribe_options(), move |item| log(&journal, &item))
                .await;
            callbacks.push(subscribed.map_err(endpoint_error)?);
        } else {
            follow(&node.endpoint, topic, journal).await.map_err(endpoint_error)?;
        }
    }
    while node.order().await != Order::End {}
    drop(callbacks);
    node.close().await;
    Ok(())
}

fn endpoint_error(error: SubscribeError) -> FaultsError {
    FaultsError::Endpoint(error.to_string())
}

/// Subscribes, and logs in a task that ends with the endpoint.
async fn follow(endpoint: &Endpoint, topic: Topic, journal: Arc<Journal>) -> Result<(), SubscribeError> {
    journal.write(What::Subscribed { topic: topic.name.to_owned() });
    let mut subscription = endpoint.subscribe_from(topic.name, TYPE, topic.subscribe_options()).await?;
    tokio::spawn(async move {
        while let Some(item) = subscription.recv_item().await {
            log(&journal, &item);
        }
    });
    Ok(())
}

fn log(journal: &Journal, item: &Item) {
    journal.write(match item {
        Item::Message(message) => got(message),
        Item::Gap(gap) => What::Gap {
            topic: gap.source.topic_name.to_string(),
            id: gap.source.endpoint_id.to_string(),
            incarnation: gap.source.incarnation.0,
            from: gap.from,
            to: gap.to,
            reason: format!("{:?}", gap.reason),
        },
    });
}

fn got(message: &Message) -> What {
    let (topic, sequence) = (message.topic_name.to_string(), message.sequence_number);
    match Numbered::parse(&message.payload) {
        Some(Numbered { label, number }) => What::Got {
            topic,
            id: message.endpoint_id.to_string(),
            incarnation: message.incarnation.0,
            sequence,
            label: label.to_owned(),
            number,
        },
        None => What::Bad { topic, sequence },
    }
}
