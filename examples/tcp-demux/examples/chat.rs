//! A service behind `tcp-demux`: a chat in rooms, for clients with nothing but `nc`. Start as many as you like: they find
//! the demultiplexers by themselves, and share the clients.
//!
//! ```sh
//! tcp-demux serve --framing lines &
//! cargo run -p tcp-demux --example chat
//! ```
//!
//! Which client is in which room is known by the demultiplexers, so a service that dies takes nothing along.

use std::error::Error;

use glue_endpoint::{Endpoint, PublishError};
use tcp_demux::{ClientId, Everyone, Happening, Upstream};

const HELP: &str = "/join ROOM, /leave ROOM, /to ROOM TEXT, /all TEXT, /quit";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = Endpoint::from_env().await?;
    let mut chat = Upstream::join(&endpoint, "tcp-demux", true).await?;
    while let Some(received) = chat.recv().await {
        match received.what {
            Happening::Connected(_) => chat.send(received.client, HELP).await?,
            Happening::Data(line) => answer(&mut chat, received.client, &String::from_utf8_lossy(&line)).await?,
            _ => {}
        }
    }
    Ok(())
}

async fn answer(chat: &mut Upstream, client: ClientId, line: &str) -> Result<(), PublishError> {
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    match command {
        "/join" => {
            chat.join_group(client, rest).await?;
            chat.send(client, format!("you are in {rest}")).await
        }
        "/leave" => chat.leave_group(client, rest).await,
        "/to" => {
            let (room, text) = rest.split_once(' ').unwrap_or((rest, ""));
            chat.send_to_group(room, format!("{room}: {text}")).await
        }
        "/all" => chat.broadcast(Everyone::All, format!("all: {rest}")).await,
        "/quit" => {
            chat.send(client, "bye").await?;
            chat.close(client).await
        }
        _ => chat.send(client, HELP).await,
    }
}
