//! The servers behind an agent.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{Uri, uri};

use super::pool::{Address, Pool};
use super::tls::{Roots, RootsError};

/// A server behind an agent: `http://host:port`, `https://host:port`, or `h2c://host:port` for one that speaks HTTP/2 alone. A path
/// in it comes before that of each request.
#[derive(Debug)]
pub struct Target {
    authority: Authority,
    /// Without a slash at its end.
    base: String,
    http2: bool,
    /// With TLS.
    roots: Option<Roots>,
    is_up: AtomicBool,
    pool: Arc<Pool>,
}

/// Why a text is no target.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// It is something else.
    #[error("`{0}`: expected http://host:port, https://host:port, or h2c://host:port for HTTP/2 alone")]
    Malformed(String),
    /// It wants TLS, and nobody is trusted.
    #[error("`{0}`: {1}")]
    Roots(String, RootsError),
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        Self::trusting(text, Roots::of_system)
    }
}

impl Target {
    /// As [`str::parse`], which takes the authorities that the system trusts; with these, if it needs any.
    ///
    /// # Errors
    /// [`TargetError`] if it is no target, or there are no authorities.
    pub fn trusting(text: &str, roots: impl FnOnce() -> Result<Roots, RootsError>) -> Result<Self, TargetError> {
        let refuse = || TargetError::Malformed(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| refuse())?;
        let Parts { scheme, authority, path_and_query, .. } = uri.into_parts();
        let (http2, is_tls) = match scheme.as_ref().map(Scheme::as_str) {
            Some("http") => (false, false),
            Some("https") => (false, true),
            Some("h2c") => (true, false),
            _ => return Err(refuse()),
        };
        let authority = authority.filter(|authority| !authority.host().is_empty()).ok_or_else(refuse)?;
        let base = path_and_query.as_ref().map_or("", PathAndQuery::path).trim_end_matches('/').to_owned();
        let roots = is_tls.then(roots).transpose().map_err(|error| TargetError::Roots(text.to_owned(), error))?;
        Ok(Self { authority, base, http2, roots, is_up: AtomicBool::new(true), pool: Arc::default() })
    }

    /// What a request for `target` asks the server for: a path, and with HTTP/2 all of it.
    pub(super) fn uri(&self, target: &Uri, is_whole: bool) -> Result<Uri, http::Error> {
        let path = match target.path_and_query() {
            Some(path) if self.base.is_empty() || path == "*" => path.clone(),
            path => PathAndQuery::try_from(format!("{}{}", self.base, path.map_or("/", PathAndQuery::as_str)))?,
        };
        if !is_whole {
            return Ok(path.into());
        }
        let scheme = if self.roots.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        uri::Builder::new().scheme(scheme).authority(self.authority.clone()).path_and_query(path).build()
    }

    pub(super) const fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub(super) const fn speaks_http2(&self) -> bool {
        self.http2
    }

    /// What to connect to.
    pub(super) fn address(&self) -> Address<'_> {
        let host = self.authority.host().trim_start_matches('[').trim_end_matches(']');
        let usual = if self.roots.is_some() { 443 } else { 80 };
        let port = self.authority.port_u16().unwrap_or(usual);
        Address { host, port, roots: self.roots.as_ref() }
    }

    pub(super) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Relaxed)
    }

    pub(super) fn set_up(&self, is_up: bool) {
        if self.is_up.swap(is_up, Ordering::Relaxed) != is_up {
            tracing::info!("{} {}", self.authority, if is_up { "can be reached" } else { "can not be reached" });
        }
    }
}

/// All servers of an agent.
#[derive(Debug)]
pub(super) struct Targets {
    all: Vec<Target>,
    turn: AtomicUsize,
}

impl Targets {
    pub(super) const fn new(all: Vec<Target>) -> Self {
        Self { all, turn: AtomicUsize::new(0) }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Target> {
        self.all.iter()
    }

    /// The next in turn that can be reached. If none can, the next: a check may be late.
    pub(super) fn next(&self) -> Option<&Target> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let from_turn = || self.all.iter().cycle().skip(turn % self.all.len().max(1)).take(self.all.len());
        from_turn().find(|target| target.is_up()).or_else(|| from_turn().next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gateway/tls/one.crt");

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn path_and_query_pass_byte_for_byte() {
        let uri = "/a%2Fb//c?q=%20&q".parse().unwrap();
        assert_eq!(target("http://h:1").uri(&uri, false).unwrap(), "/a%2Fb//c?q=%20&q");
        assert_eq!(target("http://h:1/base/").uri(&uri, true).unwrap(), "http://h:1/base/a%2Fb//c?q=%20&q");
        assert_eq!(target("http://h:1/base").uri(&"*".parse().unwrap(), false).unwrap(), "*");
        let address = |text: &str| (target(text).address().host.to_owned(), target(text).address().port);
        assert_eq!(address("http://[::1]"), ("::1".to_owned(), 80));
        let secure = Target::trusting("https://h/x", || Roots::of_file(CERTIFICATE.as_ref())).unwrap();
        assert_eq!((secure.address().port, secure.address().roots.is_some()), (443, true));
        assert_eq!(secure.uri(&uri, true).unwrap(), "https://h/x/a%2Fb//c?q=%20&q");
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for text in ["", "127.0.0.1:3000", "ftp://h", "http://", "/x"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
        assert!(target("h2c://h").speaks_http2());
    }

    #[test]
    fn who_can_not_be_reached_is_passed_over() {
        let targets = Targets::new(["http://a", "http://b", "http://c"].map(target).into());
        targets.all[1].set_up(false);
        let hosts: Vec<_> = (0..4).map(|_| targets.next().unwrap().address().host).collect();
        assert_eq!(hosts, ["a", "c", "c", "a"]);
        targets.iter().for_each(|target| target.set_up(false));
        assert!(targets.next().is_some());
    }
}
