//! Tokens: a printer says what it can do, others see who can, and see it go.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::time::Duration;

use glue_endpoint::{Endpoint, TokenEvent};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let builder = || Endpoint::builder().network_id(7_002).listen_interface("lo");
    let desk = builder().endpoint_name("desk").start().await?;
    let printer = builder().endpoint_name("printer").start().await?;

    let mut events = desk.token_events("can/#")?;
    let color = printer.token("can/print/color")?;
    let _paper = printer.token("can/print/paper")?;
    for _ in 0..2 {
        print(events.recv().await);
    }
    println!("{} can print", desk.tokens("can/print/+")?.len());

    drop(color);
    print(events.recv().await);
    // The rest goes with its holder.
    printer.close(Duration::from_secs(1)).await;
    print(events.recv().await);
    Ok(())
}

fn print(event: Option<TokenEvent>) {
    match event {
        Some(TokenEvent::Up(holder)) => println!("{} holds {}", holder.endpoint_name, holder.token),
        Some(TokenEvent::Down(holder)) => println!("{} holds {} no more", holder.endpoint_name, holder.token),
        None => println!("closed"),
    }
}
