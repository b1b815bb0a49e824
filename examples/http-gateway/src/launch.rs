//! Tells everybody of agents that come and go, on the topics of fuyuu-router.

use std::collections::BTreeMap;
use std::time::Duration;

use glue_endpoint::{Endpoint, History, PublishError, Publisher, PublisherOptions, Will, WillError};

/// An agent is there, until it says otherwise or dies: then its last will does.
#[derive(Debug)]
pub struct Launched {
    terminate: Publisher,
    packet: Vec<u8>,
    _will: Will,
}

/// Why nobody was told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// The endpoint can not publish.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The endpoint can have no more wills.
    #[error(transparent)]
    Will(#[from] WillError),
}

impl Launched {
    /// Makes the will, then publishes `{agent_id, labels}` to `fuyuu-router/launch`, as soon as anybody has subscribed, or a
    /// second has passed: who starts knows nobody yet. Who subscribes later may ask for the last message.
    ///
    /// # Errors
    /// [`LaunchError`]; nothing was published.
    pub async fn tell(
        endpoint: &Endpoint,
        agent_id: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<Self, LaunchError> {
        let mut packet = serde_json::json!({ "agent_id": agent_id });
        // As the original: what is empty is left out.
        if let (Some(fields), false) = (packet.as_object_mut(), labels.is_empty()) {
            fields.insert("labels".to_owned(), serde_json::json!(labels));
        }
        let packet = packet.to_string().into_bytes();
        let will = endpoint.will(TERMINATE, TYPE, LIFETIME, &packet)?;
        let terminate = endpoint.publisher(TERMINATE, TYPE)?;
        let launch = endpoint.publisher_with(LAUNCH, TYPE, PublisherOptions::new().history(History::Last(1)))?;
        // Whether anybody has is no matter.
        let _ = tokio::time::timeout(LISTENERS, launch.wait_for_subscribers(1)).await;
        launch.publish(Duration::MAX, &packet).await?;
        Ok(Self { terminate, packet, _will: will })
    }

    /// The agent goes in good order, which takes back its will: so this says the same.
    ///
    /// # Errors
    /// [`LaunchError::Publish`]; nothing was published.
    pub async fn terminate(self) -> Result<(), LaunchError> {
        Ok(self.terminate.publish(LIFETIME, &self.packet).await?)
    }
}

const LAUNCH: &str = "fuyuu-router/launch";
const TERMINATE: &str = "fuyuu-router/terminate";
const TYPE: &str = "json";

/// Who is out of reach for so long has missed it.
const LIFETIME: Duration = Duration::from_secs(60);

/// How long subscribers are waited for. They are known within an announcement or two.
const LISTENERS: Duration = Duration::from_secs(1);
