//! Who joins late gets what it missed: a log of which the last messages are kept, and a value that is there until it is
//! cleared. Run it by `cargo run -p glue-endpoint --example late_joiner`; it ends by itself.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use glue_endpoint::{Builder, Endpoint, History, PublisherOptions, SubscribeOptions, Subscription, Wish};

const FOREVER: Duration = Duration::MAX;
const PATIENCE: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let machine = endpoint("machine").await?;
    let log = machine.publisher_with("log", "text", PublisherOptions::new().history(History::Last(3)))?;
    for line in ["power on", "warming up", "ready", "running"] {
        log.publish(FOREVER, line).await?;
    }
    let speed = machine.publisher_with("speed", "text", PublisherOptions::retained())?;
    speed.publish(FOREVER, "10 rpm").await?;
    speed.publish(FOREVER, "20 rpm").await?;

    // The screen is switched on after all of that.
    let screen = endpoint("screen").await?;
    let mut lines = screen.subscribe_from("log", "text", SubscribeOptions::new().history(Wish::All)).await?;
    for _ in 0..3 {
        println!("log: {}", next(&mut lines).await?);
    }
    let last = SubscribeOptions::new().history(Wish::Last(1));
    let mut value = screen.subscribe_from("speed", "text", last).await?;
    println!("speed: {}", next(&mut value).await?);

    // What is published from now on follows without a seam.
    log.publish(FOREVER, "stopping").await?;
    println!("log: {}", next(&mut lines).await?);

    // An empty message clears the value: it is seen by who is there, and who joins later gets nothing.
    speed.publish(FOREVER, "").await?;
    println!("speed: {:?}", next(&mut value).await?);
    let mut late = screen.subscribe_from("speed", "text", last).await?;
    let nothing = tokio::time::timeout(Duration::from_millis(300), late.recv()).await;
    println!("speed for who joins later: {}", if nothing.is_err() { "none" } else { "some" });

    machine.close(PATIENCE).await;
    screen.close(PATIENCE).await;
    Ok(())
}

async fn endpoint(name: &str) -> Result<Endpoint, Box<dyn std::error::Error>> {
    Ok(Builder::new().network_id(7_301).listen_interface("lo").endpoint_name(name).start().await?)
}

async fn next(subscription: &mut Subscription) -> Result<String, Box<dyn std::error::Error>> {
    let message = tokio::time::timeout(Duration::from_secs(5), subscription.recv()).await?.ok_or("closed")?;
    Ok(String::from_utf8_lossy(&message.payload).into_owned())
}
