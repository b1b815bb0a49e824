//! Shares work: each message goes to one of several workers, and to another if that one goes before it is done.
//!
//! ```sh
//! cargo run -p glue-endpoint --example queue_group
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use glue_endpoint::{Builder, Endpoint};

const SECOND: Duration = Duration::from_secs(1);
const JOBS: usize = 20;

async fn endpoint(name: &str) -> Result<Endpoint, Box<dyn std::error::Error>> {
    Ok(Builder::new().network_id(7_302).listen_interface("lo").endpoint_name(name).start().await?)
}

#[expect(clippy::print_stdout, reason = "it shows what it does")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let publisher = endpoint("publisher").await?;
    let done = Arc::new(AtomicUsize::new(0));
    for name in ["ada", "ben"] {
        let worker = endpoint(name).await?;
        let mut jobs = worker.subscribe("$share/workers/jobs/+", "text").await?;
        let done = Arc::clone(&done);
        tokio::spawn(async move {
            // A job is done when the next one is asked for.
            while let Some(job) = jobs.recv().await {
                tokio::time::sleep(Duration::from_millis(2)).await;
                println!("{name} did {:?}", job.payload);
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let quitter = endpoint("quitter").await?;
    let mut jobs = quitter.subscribe("$share/workers/jobs/+", "text").await?;
    publisher.wait_for_members("$share/workers/jobs/+", 3).await;

    for job in 0..JOBS {
        publisher.publish("jobs/sweep", "text", 60 * SECOND, &format!("room {job}")).await?;
    }
    // It takes one job, and leaves: the others that it had go to those who stay.
    if let Some(job) = jobs.recv().await {
        println!("the quitter did {:?}", job.payload);
        done.fetch_add(1, Ordering::Relaxed);
    }
    drop(jobs);
    while publisher.stats().topics.shares_done < JOBS as u64 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(done.load(Ordering::Relaxed), JOBS);
    Ok(())
}
