//! Why a run failed.

use glue_endpoint::{EnvError, IdentityError, PublishError, StartError, SubscribeError};

#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("a process that this one started is gone")]
    Child,
    #[error(transparent)]
    Env(#[from] EnvError),
    #[error("the harness closed our standard output or input: {0}")]
    Harness(#[from] std::io::Error),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("only {found} of {expected} subscribers came in {seconds} s")]
    NoSubscribers { found: usize, expected: usize, seconds: u64 },
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    #[error("{count} pings were not answered")]
    Unanswered { count: u32 },
    #[error(
        "usage: glue-load pub|sub|ping|pong|paced|osub|first|stop|tick|many|private|junk|hurl|group|worker|crowd|member SIZE SECONDS"
    )]
    Usage,
    #[error("{name}={text} is not a number")]
    Variable { name: &'static str, text: String },
}
