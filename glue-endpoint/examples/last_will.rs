//! A last will: a worker dies without a goodbye, and its will says so on the topic where its work is followed. The worker is this
//! program again, in a process of its own, as only a process can die like that.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::process::Command;
use std::time::Duration;

use glue_endpoint::{Builder, Endpoint};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|argument| argument == "worker") { worker().await } else { observer().await }
}

/// A short interval, so that a death is soon seen.
fn builder(name: &str) -> Builder {
    let builder = Endpoint::builder().network_id(7_003).listen_interface("lo").endpoint_name(name);
    builder.discovery_interval(Duration::from_millis(200))
}

async fn worker() -> Result<(), Box<dyn Error>> {
    let endpoint = builder("worker").start().await?;
    let expiry = Duration::from_secs(10);
    let _will = endpoint.will("work", "text", expiry, "I died")?;
    let work = endpoint.publisher("work", "text")?;
    work.wait_for_subscribers(1).await;
    for step in 1..=3 {
        work.publish(expiry, &format!("step {step}")).await?;
    }
    // It is killed long before.
    tokio::time::sleep(expiry).await;
    Ok(())
}

async fn observer() -> Result<(), Box<dyn Error>> {
    let endpoint = builder("observer").start().await?;
    let mut work = endpoint.subscribe("work", "text").await?;
    let mut worker = Command::new(std::env::current_exe()?).arg("worker").spawn()?;
    while let Some(message) = work.recv().await {
        println!("{}: {}", message.endpoint_name, String::from_utf8_lossy(&message.payload));
        if message.is_will() {
            break;
        }
        if message.sequence_number == 3 {
            worker.kill()?;
            worker.wait()?;
        }
    }
    Ok(())
}
