//! Subscriptions by pattern: `+` for one level of a topic, `#` for all that follow. Ends by itself.
//!
//! ```sh
//! cargo run -p glue-endpoint --example patterns
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use glue_endpoint::{Endpoint, Subscription};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [sensors, display] = ["sensors", "display"]
        .map(|name| Endpoint::builder().network_id(20_731).endpoint_name(name).listen_interface("lo"));
    let (sensors, display) = (sensors.start().await?, display.start().await?);

    let mut heat = display.subscribe("site/+/heat", "celsius").await?;
    let mut oven = display.subscribe("site/oven/#", "").await?;

    // Filters travel to the publisher once; it then knows which of its topics are wanted.
    for (topic, type_name, value) in [
        ("site/oven/heat", "celsius", "231"),
        ("site/oven/door/state", "text", "shut"),
        ("site/hall/heat", "celsius", "19"),
        ("site/hall/light", "lux", "300"),
    ] {
        let publisher = sensors.publisher(topic, type_name)?;
        if topic != "site/hall/light" {
            tokio::time::timeout(Duration::from_secs(5), publisher.wait_for_subscribers(1)).await?;
        }
        publisher.publish(Duration::from_secs(5), value).await?;
    }

    // The oven's heat comes to both, once to each; the light is wanted by nobody, and is not sent.
    show("site/+/heat", &mut heat, 2).await?;
    show("site/oven/#", &mut oven, 2).await?;
    match display.subscribe("site/#/heat", "").await {
        Ok(_) => println!("that should have been refused"),
        Err(error) => println!("{error}"),
    }

    sensors.close(Duration::from_secs(1)).await;
    display.close(Duration::from_secs(1)).await;
    Ok(())
}

async fn show(filter: &str, subscription: &mut Subscription, count: usize) -> Result<(), tokio::time::error::Elapsed> {
    for _ in 0..count {
        if let Some(message) = tokio::time::timeout(Duration::from_secs(5), subscription.recv()).await? {
            println!("{filter}: {} is {:?}", message.topic_name, message.payload);
        }
    }
    Ok(())
}
