//! Messages that outlive their publisher: a sensor reports and is switched off; who comes later gets its reports from a
//! cache. Run it by `cargo run -p glue-endpoint --example cache`; it ends by itself.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use glue_endpoint::{Builder, Endpoint, SubscribeOptions, Wish};

const FOREVER: Duration = Duration::MAX;
const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Any endpoint may cache. It needs to know nothing of the topics but a pattern, and takes no more than its budget.
    let keeper = endpoint("keeper").await?;
    let _cache = keeper.cache("site/#", 8 << 20)?;

    let sensor = endpoint("sensor").await?;
    let reports = sensor.publisher("site/door", "text")?;
    tokio::time::timeout(PATIENCE, reports.wait_for_subscribers(1)).await?;
    for report in ["open", "closed"] {
        reports.publish(FOREVER, report).await?;
    }
    // Who wants to be sure that a message outlives it asks for a receipt.
    let receipt = reports.publish_confirmed(FOREVER, "locked").await?;
    tokio::time::timeout(PATIENCE, receipt.settled()).await?;
    println!("sensor: received by {}, cached by {}", receipt.received(), receipt.cached());
    assert_eq!(receipt.cached(), 1);
    sensor.close(PATIENCE).await;

    // The screen is switched on when the sensor is gone.
    let screen = endpoint("screen").await?;
    let mut log = screen.subscribe_from("site/#", "", SubscribeOptions::new().history(Wish::All)).await?;
    for expected in ["open", "closed", "locked"] {
        let message = tokio::time::timeout(PATIENCE, log.recv()).await?.ok_or("closed")?;
        let text = String::from_utf8_lossy(&message.payload);
        println!("screen: {} of {}: {text}", message.sequence_number, message.endpoint_name);
        assert_eq!((&*message.endpoint_name, &*text), ("sensor", expected));
    }
    println!("keeper: {} messages were handed on", keeper.stats().caches.carried);

    keeper.close(PATIENCE).await;
    screen.close(PATIENCE).await;
    Ok(())
}

async fn endpoint(name: &str) -> Result<Endpoint, Box<dyn std::error::Error>> {
    Ok(Builder::new().network_id(7_311).listen_interface("lo").endpoint_name(name).start().await?)
}
