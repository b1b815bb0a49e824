//! Knowing who has a message: two subscribers, one of which goes away in between. Ends by itself.
//!
//! ```sh
//! cargo run -p glue-endpoint --example receipts
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use glue_endpoint::Endpoint;
use tokio::time::timeout;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let builder = |name| Endpoint::builder().network_id(20_734).endpoint_name(name).listen_interface("lo");
    let (bank, ledger, auditor) =
        (builder("bank").start().await?, builder("ledger").start().await?, builder("auditor").start().await?);
    let _ledger = ledger.subscribe("transfers", "text").await?;
    let _auditor = auditor.subscribe("transfers", "text").await?;
    let transfers = bank.publisher("transfers", "text")?;
    timeout(5 * SECOND, transfers.wait_for_subscribers(2)).await?;

    let receipt = transfers.publish_confirmed(5 * SECOND, "10 from Alice to Bob").await?;
    println!("sent: {} of {} have it", receipt.received(), receipt.interested());
    timeout(5 * SECOND, receipt.settled()).await?;
    println!("settled: {} of {} have it", receipt.received(), receipt.interested());

    auditor.close(SECOND).await;
    let receipt = transfers.publish_confirmed(5 * SECOND, "7 from Bob to Carol").await?;
    timeout(5 * SECOND, receipt.settled()).await?;
    println!("without the auditor: {} of {} have it", receipt.received(), receipt.interested());

    bank.close(SECOND).await;
    ledger.close(SECOND).await;
    Ok(())
}
