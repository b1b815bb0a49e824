//! This program was built without object stores.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Body;

use super::{RelayConfig, RelayError, StoreFailure};
use crate::outgoing::Opening;

/// There is none.
#[derive(Clone, Debug)]
pub(crate) struct Relay(Infallible);

/// There is none.
#[derive(Debug)]
pub(crate) struct Object(Infallible);

impl Relay {
    pub(crate) fn open(config: &RelayConfig) -> Result<Self, RelayError> {
        let reason = "this program was built without the feature storage-relay".to_owned();
        Err(RelayError { path: config.objstore_file.clone(), reason })
    }

    pub(crate) fn wants(&self, _length: Option<u64>) -> bool {
        match self.0 {}
    }

    #[expect(clippy::unused_async, reason = "as the other")]
    pub(crate) async fn put<B: Body>(
        &self,
        _name: &str,
        _opening: Opening,
        _body: Pin<&mut B>,
    ) -> Result<(), StoreFailure> {
        match self.0 {}
    }

    pub(crate) fn get(&self, _name: &str) -> Object {
        match self.0 {}
    }

    pub(crate) fn release(&self, _name: String) {
        match self.0 {}
    }
}

impl Object {
    #[expect(clippy::needless_pass_by_ref_mut, reason = "as the other")]
    pub(crate) fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, StoreFailure>>> {
        match self.0 {}
    }
}
