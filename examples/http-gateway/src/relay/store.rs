//! Object stores: a directory, or what speaks S3.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt, once};
use http_body::Body;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, WriteMultipart};

use super::{RelayConfig, RelayError, StoreFailure};
use crate::outgoing::Opening;

/// A store, and what is for it.
#[derive(Clone, Debug)]
pub(crate) struct Relay {
    store: Arc<dyn ObjectStore>,
    threshold_bytes: u64,
    deletion: bool,
}

impl Relay {
    pub(crate) fn open(config: &RelayConfig) -> Result<Self, RelayError> {
        let path = &config.objstore_file;
        let explain = |reason: String| RelayError { path: path.clone(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| explain(error.to_string()))?;
        let store = open(&Description::read(&text).map_err(explain)?).map_err(explain)?;
        Ok(Self { store, threshold_bytes: config.threshold_bytes, deletion: config.deletion })
    }

    /// Whether a body of this length goes by way of the store. One whose length is not known streams.
    pub(crate) fn wants(&self, length: Option<u64>) -> bool {
        length.is_some_and(|length| length > self.threshold_bytes)
    }

    /// Puts a whole body into the store, with little of it in memory at a time.
    pub(crate) async fn put<B>(&self, name: &str, opening: Opening, mut body: Pin<&mut B>) -> Result<(), StoreFailure>
    where
        B: Body,
    {
        let upload = self.store.put_multipart(&Path::from(name)).await.map_err(fail)?;
        let mut upload = WriteMultipart::new(upload);
        upload.put(opening.data);
        let mut is_over = opening.end;
        while !is_over {
            match std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
                None => is_over = true,
                // Half a body must not look like a whole one: what was written so far is given up.
                Some(Err(_)) => return upload.abort().await.map_err(fail).and(Err(StoreFailure)),
                // Trailers do not pass by way of a store.
                Some(Ok(frame)) => {
                    let Ok(mut data) = frame.into_data() else { continue };
                    upload.wait_for_capacity(PARTS_UNDER_WAY).await.map_err(fail)?;
                    upload.put(data.copy_to_bytes(data.remaining()));
                }
            }
        }
        upload.finish().await.map(drop).map_err(fail)
    }

    pub(crate) fn get(&self, name: &str) -> Object {
        let (store, path) = (Arc::clone(&self.store), Path::from(name));
        let open = async move { store.get(&path).await.map(object_store::GetResult::into_stream) };
        Object(once(open).try_flatten().boxed())
    }

    /// An object has been read, or never will be.
    pub(crate) fn release(&self, name: String) {
        if !self.deletion {
            return;
        }
        let store = Arc::clone(&self.store);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // One that was never written is not there: no harm.
                let _ = store.delete(&Path::from(name)).await;
            });
        }
    }
}

/// An object that is read.
pub(crate) struct Object(BoxStream<'static, object_store::Result<Bytes>>);

impl Object {
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, StoreFailure>>> {
        self.0.poll_next_unpin(cx).map(|piece| piece.map(|piece| piece.map_err(fail)))
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Object")
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it maps errors")]
fn fail(error: object_store::Error) -> StoreFailure {
    tracing::warn!("object store: {error}");
    StoreFailure
}

/// What the file says: a type, and the keys of `config`. It needs no more of YAML than that.
#[derive(Debug, Default, PartialEq, Eq)]
struct Description {
    kind: String,
    keys: Vec<(String, String)>,
}

impl Description {
    fn read(text: &str) -> Result<Self, String> {
        let mut description = Self::default();
        for line in text.lines() {
            let content = line.trim();
            if content.is_empty() || content.starts_with('#') || content == "---" {
                continue;
            }
            let (key, value) = content.split_once(':').ok_or_else(|| format!("`{content}`: expected key: value"))?;
            let value = value.trim().trim_matches(['"', '\'']).to_owned();
            match (line.starts_with([' ', '\t']), key.trim()) {
                (false, "type") => description.kind = value.to_ascii_uppercase(),
                (false, "config") if value.is_empty() => {}
                (false, other) => return Err(format!("`{other}` is not known: expected type or config")),
                (true, key) => description.keys.push((key.to_owned(), value)),
            }
        }
        Ok(description)
    }

    /// Every key must be one of these.
    fn check(&self, known: &[&str]) -> Result<(), String> {
        match self.keys.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            Some((key, _)) => Err(format!("config.{key} is not known: expected one of {}", known.join(", "))),
            None => Ok(()),
        }
    }

    fn key(&self, name: &str) -> Option<&str> {
        self.keys.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    fn required(&self, name: &str) -> Result<&str, String> {
        self.key(name).ok_or_else(|| format!("config.{name} is missing"))
    }
}

fn open(description: &Description) -> Result<Arc<dyn ObjectStore>, String> {
    match description.kind.as_str() {
        "FILESYSTEM" => {
            description.check(&["directory"])?;
            let directory = description.required("directory")?;
            let store = LocalFileSystem::new_with_prefix(directory).map_err(|error| error.to_string())?;
            Ok(Arc::new(store))
        }
        "S3" => s3::open(description),
        other => Err(format!("type `{other}`: expected FILESYSTEM or S3")),
    }
}

#[cfg(feature = "s3")]
mod s3 {
    use std::sync::Arc;

    use object_store::ObjectStore;
    use object_store::aws::AmazonS3Builder;

    use super::Description;

    pub(super) fn open(description: &Description) -> Result<Arc<dyn ObjectStore>, String> {
        description.check(&["bucket", "endpoint", "region", "access_key", "secret_key", "insecure"])?;
        let insecure = description.key("insecure") == Some("true");
        let scheme = if insecure { "http" } else { "https" };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(description.required("bucket")?)
            .with_region(description.key("region").unwrap_or("us-east-1"))
            .with_access_key_id(description.required("access_key")?)
            .with_secret_access_key(description.required("secret_key")?)
            .with_allow_http(insecure);
        if let Some(endpoint) = description.key("endpoint") {
            builder = builder.with_endpoint(format!("{scheme}://{endpoint}"));
        }
        Ok(Arc::new(builder.build().map_err(|error| error.to_string())?))
    }
}

#[cfg(not(feature = "s3"))]
mod s3 {
    use std::sync::Arc;

    use object_store::ObjectStore;

    use super::Description;

    pub(super) fn open(_: &Description) -> Result<Arc<dyn ObjectStore>, String> {
        Err("type S3: this program was built without the feature s3".to_owned())
    }
}

/// Parts of 5 MiB that are written while the next is gathered.
const PARTS_UNDER_WAY: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_original_are_read() {
        let text = "type: S3\nconfig:\n  bucket: \"b\"\n  endpoint: 's3.example:9000'\n  insecure: true\n";
        let description = Description::read(text).unwrap();
        assert_eq!((description.kind.as_str(), description.key("bucket")), ("S3", Some("b")));
        assert_eq!(description.key("endpoint"), Some("s3.example:9000"));
        assert!(description.check(&["bucket", "endpoint", "insecure"]).is_ok());
    }

    #[test]
    fn what_is_not_known_is_named() {
        for (text, name) in [
            ("typ: S3", "typ"),
            ("type: GCS", "GCS"),
            ("type: FILESYSTEM\nconfig:\n  dir: /x", "dir"),
            ("type: FILESYSTEM", "directory"),
            ("nonsense", "nonsense"),
        ] {
            let error = Description::read(text).and_then(|description| open(&description).map(drop)).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
    }
}
