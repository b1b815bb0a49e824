//! The demultiplexer as a whole.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::framing::Framing;
use crate::glue;
use crate::grpc;
use crate::hub::Hub;
use crate::listener::{self, Manner};
use crate::log_level::LogLevel;
use crate::management;
use crate::settings::Settings;
use crate::socket::Reason;
use crate::tls::{Tls, TlsFiles};
use crate::upstreams::{AddRefused, GrpcUpstream, Kind, State, Upstream, Wish};

/// What a demultiplexer is started with.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {
    /// Where clients connect. Default: nowhere.
    pub listeners: Vec<Listen>,
    /// Where it is managed. Default: nowhere.
    pub management: Option<Management>,
    /// Services that are asked by gRPC. More may come later.
    pub upstreams: Vec<GrpcUpstream>,
    /// The endpoint by which upstreams and other instances are found, and the name of the service that they share. Default:
    /// none.
    pub glue: Option<(glue_endpoint::Endpoint, String)>,
    /// Limits and times.
    pub settings: Settings,
    /// What is logged, if that may be changed. Default: it may not.
    pub log_level: Option<LogLevel>,
}

/// One address for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listen {
    /// Address; port 0 is a free port.
    pub address: SocketAddr,
    /// How the bytes are cut into messages. Default raw.
    pub framing: Framing,
    /// A PROXY header of version 1 or 2 is expected first. Default false: who connects is believed to be who it is.
    pub proxy_protocol: bool,
    /// Certificate and key. Default `None`: plain TCP. A socket with TLS costs about 30 KiB more.
    pub tls: Option<TlsFiles>,
}

impl Listen {
    /// The defaults, at an address.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self { address, framing: Framing::Raw, proxy_protocol: false, tls: None }
    }
}

/// The address of the management API.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Management {
    /// Address; port 0 is a free port.
    pub address: SocketAddr,
    /// What a request has to show: `Authorization: Bearer <token>`.
    pub token: Option<String>,
    /// Certificate and key. Default `None`: plain HTTP.
    pub tls: Option<TlsFiles>,
}

impl Management {
    /// Without a token, which only a loopback address may be.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self { address, token: None, tls: None }
    }
}

/// Why a demultiplexer did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address can not be listened on.
    #[error("can not listen on {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// A certificate or key is not well.
    #[error("TLS: {0}")]
    Tls(String),
    /// Management beyond loopback, and no token.
    #[error("management on {0}, which others can reach, needs a token")]
    NoToken(SocketAddr),
    /// The network can not be joined.
    #[error(transparent)]
    Glue(#[from] glue::GlueError),
    /// An upstream was refused.
    #[error("upstream {name}: {refused}")]
    Upstream {
        /// Its address.
        name: String,
        /// Why.
        refused: AddRefused,
    },
}

/// Listens, and serves who connects. Ends when dropped.
#[derive(Debug)]
pub struct Demux {
    hub: Arc<Hub>,
    listeners: Vec<SocketAddr>,
    management: Option<SocketAddr>,
    tls: Vec<Arc<Tls>>,
    tasks: JoinSet<()>,
}

impl Demux {
    /// Starts one.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let hub = Hub::new(config.settings);
        let mut demux = Self { hub, listeners: Vec::new(), management: None, tls: Vec::new(), tasks: JoinSet::new() };
        for listen in config.listeners {
            let (listener, address) = bind(listen.address).await?;
            demux.listeners.push(address);
            let manner = Manner {
                framing: Arc::new(listen.framing),
                proxy_protocol: listen.proxy_protocol,
                tls: demux.tls(listen.tls)?,
            };
            demux.tasks.spawn(listener::accept(Arc::clone(&demux.hub), listener, manner));
        }
        for upstream in config.upstreams {
            let name = upstream.name();
            demux.hub.add_upstream(upstream).map_err(|refused| StartError::Upstream { name, refused })?;
        }
        if let Some(management) = config.management {
            demux.manage(management, config.log_level).await?;
        }
        if let Some((endpoint, service)) = config.glue {
            let joined = glue::join(&demux.hub, endpoint, &service).await?;
            demux.tasks.spawn(joined);
        }
        demux.tasks.spawn(sweep(Arc::clone(&demux.hub)));
        Ok(demux)
    }

    async fn manage(&mut self, management: Management, log_level: Option<LogLevel>) -> Result<(), StartError> {
        if management.token.is_none() && !management.address.ip().is_loopback() {
            return Err(StartError::NoToken(management.address));
        }
        let (listener, address) = bind(management.address).await?;
        self.management = Some(address);
        let tls = self.tls(management.tls)?;
        let token = management.token.map(Into::into);
        let context = management::Context { hub: Arc::clone(&self.hub), token, log_level };
        self.tasks.spawn(management::serve(context, listener, tls));
        Ok(())
    }

    fn tls(&mut self, files: Option<TlsFiles>) -> Result<Option<Arc<Tls>>, StartError> {
        let tls = files.map(Tls::load).transpose().map_err(StartError::Tls)?;
        self.tls.extend(tls.clone());
        Ok(tls)
    }

    /// Takes over settings, the set of configured upstreams, and certificates, without losing a socket. Upstreams that were
    /// there before and are the same go on; `before` are those that were configured last.
    ///
    /// # Errors
    /// What is wrong with a certificate; all else was taken over.
    pub fn reload(
        &self,
        settings: Settings,
        upstreams: &[GrpcUpstream],
        before: &[GrpcUpstream],
    ) -> Result<(), String> {
        self.hub.change_settings(|now| *now = settings);
        for gone in before.iter().filter(|upstream| !upstreams.contains(upstream)) {
            let all = self.hub.upstreams.all();
            let gone = all.iter().filter(|upstream| upstream.kind == Kind::Grpc(gone.clone()));
            gone.for_each(|upstream| {
                upstream.wish.send_replace(Wish::Remove);
            });
        }
        for new in upstreams.iter().filter(|upstream| !before.contains(upstream)) {
            if let Err(refused) = self.hub.add_upstream(new.clone()) {
                tracing::warn!(upstream = new.name(), "{refused}");
            }
        }
        self.tls.iter().try_for_each(|tls| tls.reload())
    }

    /// Where it listens for clients, in the order of [`Config::listeners`].
    #[must_use]
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.listeners
    }

    /// Where it is managed.
    #[must_use]
    pub const fn management(&self) -> Option<SocketAddr> {
        self.management
    }

    /// Adds an upstream, and keeps it in use.
    ///
    /// # Errors
    /// [`AddRefused`] if there is one of its address, or there are 256.
    pub fn add_upstream(&self, upstream: GrpcUpstream) -> Result<(), AddRefused> {
        self.hub.add_upstream(upstream).map(|_| ())
    }

    /// How many upstreams take messages.
    #[must_use]
    pub fn ready_upstreams(&self) -> usize {
        self.hub.upstreams.all().iter().filter(|upstream| *upstream.state.borrow() == State::Ready).count()
    }

    /// How many clients are connected here.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.hub.directory().len()
    }

    /// How many other instances are known.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.hub.glue().map_or(0, |glue| glue.instances().len())
    }

    /// Takes no more clients, closes those that are there once what waits for them is written, and ends after `patience` at
    /// most.
    pub async fn close(mut self, patience: Duration) {
        self.tasks.shutdown().await;
        self.hub.directory().all().for_each(|socket| socket.close(Reason::Shutdown));
        let _ = timeout(patience, self.hub.is_empty()).await;
    }
}

impl Hub {
    /// Adds an upstream, and keeps it in use from now on.
    pub(crate) fn add_upstream(self: &Arc<Self>, config: GrpcUpstream) -> Result<Arc<Upstream>, AddRefused> {
        let upstream = Upstream::new(config.name(), Kind::Grpc(config.clone()));
        self.upstreams.add(&upstream)?;
        tokio::spawn(grpc::run(Arc::clone(self), Arc::clone(&upstream), config));
        Ok(upstream)
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound.await.map_err(|error| StartError::Bind { address, error })
}

async fn sweep(hub: Arc<Hub>) {
    let mut ticks = interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        hub.sweep();
    }
}

/// How exact times of sockets are. A look at 10,000 sockets takes less than a millisecond.
const SWEEP_INTERVAL: Duration = Duration::from_millis(100);
