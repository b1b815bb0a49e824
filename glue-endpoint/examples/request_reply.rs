//! Asks for something, and gets an answer: two responders share the requests to a topic.
//!
//! ```sh
//! cargo run -p glue-endpoint --example request_reply
//! ```

use std::time::Duration;

use glue_endpoint::{Builder, Endpoint, RequestError, Responder};

const SECOND: Duration = Duration::from_secs(1);

async fn endpoint(name: &str) -> Result<Endpoint, Box<dyn std::error::Error>> {
    Ok(Builder::new().network_id(7_300).listen_interface("lo").endpoint_name(name).start().await?)
}

/// Doubles numbers, and fails for what is none.
async fn double(mut responder: Responder) {
    while let Some(request) = responder.recv().await {
        let number = std::str::from_utf8(request.payload()).ok().and_then(|text| text.parse::<i64>().ok());
        // That nobody waits any more is no concern of ours.
        let _ = match number {
            Some(number) => request.reply(&(2 * number).to_string()),
            None => request.fail("not a number"),
        };
    }
}

#[expect(clippy::print_stdout, reason = "it shows what it does")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (left, right, client) = (endpoint("left").await?, endpoint("right").await?, endpoint("client").await?);
    tokio::spawn(double(left.respond("double", "text").await?));
    tokio::spawn(double(right.respond("double", "text").await?));
    client.wait_for_responders("double", "text", 2).await;

    for number in 1..=4 {
        let reply = client.request("double", "text", &number.to_string(), SECOND).await?;
        println!("{number} doubled is {:?}, says {}", reply.payload, reply.endpoint_name);
    }
    let reply = client.request_first("double", "text", "21", SECOND).await?;
    println!("{} was the first to say {:?}", reply.endpoint_name, reply.payload);
    let replies = client.request_all("double", "text", "5", SECOND)?.collect().await;
    println!("{} of 2 answered", replies.iter().filter(|reply| reply.is_ok()).count());

    let failed = client.request("double", "text", "five", SECOND).await;
    assert_eq!(failed.err(), Some(RequestError::Responder("not a number".to_owned())));
    let nobody = client.request("triple", "text", "5", SECOND).await;
    assert_eq!(nobody.err(), Some(RequestError::NoResponders));
    for endpoint in [client, left, right] {
        endpoint.close(SECOND).await;
    }
    Ok(())
}
