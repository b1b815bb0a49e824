//! Values in place of bytes: a sensor publishes readings in JSON, and a message that is no reading is seen as such.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use glue_endpoint::{Endpoint, Json, TypedItem};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Reading {
    room: String,
    celsius: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let builder = || Endpoint::builder().network_id(7_001).listen_interface("lo");
    let (sensor, display) = (builder().start().await?, builder().start().await?);

    let mut readings = display.typed_subscription::<Reading, Json>("temperature").await?;
    let publisher = sensor.typed_publisher::<Reading, Json>("temperature")?;
    publisher.untyped().wait_for_subscribers(1).await;

    let expiry = Duration::from_secs(1);
    publisher.publish(expiry, &Reading { room: "kitchen".to_owned(), celsius: 21.5 }).await?;
    publisher.untyped().publish(expiry, r#"{"room": "attic", "celsius": "warm"}"#).await?;

    for _ in 0..2 {
        match readings.recv_item().await {
            Some(TypedItem::Message(reading)) => {
                println!("{:?} from {}", reading.value, reading.message.endpoint_name);
            }
            Some(TypedItem::Undecodable(failure)) => println!("{failure}"),
            Some(TypedItem::Gap(gap)) => println!("{} readings are missing: {:?}", gap.count(), gap.reason),
            None => break,
        }
    }
    sensor.close(expiry).await;
    Ok(())
}
