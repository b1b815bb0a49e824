//! `tcp-demux test-upstream`: as the test server, but found by glue.

use std::io::{Write, stdout};

use bytes::Bytes;
use glue_endpoint::{Endpoint, PublishError};
use tcp_demux::{Everyone, GlueError, Happening, Received, Upstream};

use crate::args::TestUpstream;
use crate::failure::Failure;

pub(crate) async fn run(args: &TestUpstream) -> Result<(), Failure> {
    let endpoint = Endpoint::from_env().await?;
    let mut upstream = Upstream::join(&endpoint, &args.service, true).await?;
    // Whether somebody reads it makes no difference.
    let _ = writeln!(stdout(), "upstream {}", endpoint.name());
    let mut number = 0;
    while let Some(received) = upstream.recv().await {
        let Received { client, what, .. } = received;
        match what {
            Happening::Data(data) if args.echo => upstream.send(client, data).await?,
            Happening::Data(data) => {
                number += 1;
                answer(&mut upstream, client, number, &data).await?;
            }
            other => tracing::info!(%client, ?other),
        }
    }
    Ok(())
}

async fn answer(
    upstream: &mut Upstream,
    client: tcp_demux::ClientId,
    number: u64,
    data: &Bytes,
) -> Result<(), PublishError> {
    tracing::info!(%client, bytes = data.len(), number);
    if number % 2 == 1 {
        upstream.send(client, format!("Hello, {client}: this was message {number}.\n")).await
    } else {
        upstream.broadcast(Everyone::All, format!("To all: message {number} came.\n")).await
    }
}

impl From<GlueError> for Failure {
    fn from(error: GlueError) -> Self {
        Self::Configuration(error.to_string())
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        Self::Runtime(error.to_string())
    }
}
