//! Who gets in: limits for an address, and certificates of clients.

mod common;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use common::{Client, Server, Setup, counter, echo, until, within};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::PrivateKeyDer;
use tcp_demux::{Demux, Framing, StartError, TlsFiles};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

async fn from(demux: &Demux, source: [u8; 4]) -> Client {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((source, 0))).expect("it is loopback");
    Client::of(socket.connect(demux.listeners()[0]).await.expect("it listens"))
}

#[tokio::test]
async fn an_address_has_no_more_sockets_than_it_may() {
    let server = Server::start(echo()).await;
    let setup = Setup::new(Framing::Lines).upstream(&server);
    let demux = setup.settings(|settings| settings.max_sockets_per_address = 1).start().await;
    let mut first = from(&demux, [127, 0, 0, 1]).await;
    first.say("first").await;
    assert_eq!(first.hear().await, "first");
    assert_eq!(from(&demux, [127, 0, 0, 1]).await.rest().await, b"");
    let mut other = from(&demux, [127, 0, 0, 2]).await;
    other.say("other").await;
    assert_eq!(other.hear().await, "other");
    assert_eq!(counter(&demux, "sockets_refused_by_address_total").await, 1);
    drop(first);
    until("its place is free", async || demux.clients() == 1).await;
    let mut next = from(&demux, [127, 0, 0, 1]).await;
    next.say("next").await;
    assert_eq!(next.hear().await, "next");
}

#[tokio::test]
async fn behind_a_proxy_the_address_that_counts_is_the_clients() {
    let server = Server::start(echo()).await;
    let mut setup = Setup::new(Framing::Lines).upstream(&server);
    setup.0.listeners.iter_mut().for_each(|listen| listen.proxy_protocol = true);
    let demux = setup.settings(|settings| settings.max_sockets_per_address = 1).start().await;
    let mut held = Vec::new();
    for (client, answer) in [("192.0.2.1", "hello"), ("192.0.2.2", "hello"), ("192.0.2.1", "")] {
        let mut socket = Client::connect(&demux).await;
        socket.say(&format!("PROXY TCP4 {client} 192.0.2.9 4711 7999\r\nhello")).await;
        assert_eq!(socket.hear().await, answer, "{client}");
        held.push(socket);
    }
    assert_eq!(counter(&demux, "sockets_refused_by_address_total").await, 1);
}

/// An authority, and files for a listener that trusts it.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    files: TlsFiles,
    directory: PathBuf,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
        let directory = std::env::temp_dir().join(format!("tcp-demux-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let mut files = TlsFiles::new(directory.join("cert.pem"), directory.join("key.pem"));
        files.client_ca_path = Some(directory.join("ca.pem"));
        let this = Self { issuer, files, directory };
        let (certificate, key) = this.certificate("localhost");
        std::fs::write(&this.files.cert_path, certificate.pem()).expect("it is written");
        std::fs::write(&this.files.key_path, key.serialize_pem()).expect("it is written");
        std::fs::write(this.directory.join("ca.pem"), this.issuer.pem()).expect("it is written");
        this
    }

    fn certificate(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        (params.signed_by(&key, &self.issuer).expect("a certificate"), key)
    }

    /// Says a line to a listener of this authority, with a certificate of `client`'s if there is one. What comes back.
    async fn ask(&self, address: SocketAddr, client: Option<&Self>) -> std::io::Result<Vec<u8>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("it is well");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match client.map(|client| client.certificate("client")) {
            Some((certificate, key)) => {
                let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
                builder.with_client_auth_cert(vec![certificate.der().clone()], key).expect("it is well")
            }
            None => builder.with_no_client_auth(),
        };
        let plain = TcpStream::connect(address).await?;
        let name = "localhost".try_into().expect("a name");
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, plain).await?;
        stream.write_all(b"secret\n").await?;
        let mut answer = vec![0; 7];
        within("an answer", stream.read_exact(&mut answer)).await?;
        Ok(answer)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn with_tls(server: &Server, files: &TlsFiles) -> Setup {
    let mut setup = Setup::new(Framing::Lines).upstream(server);
    setup.0.listeners.iter_mut().for_each(|listen| listen.tls = Some(files.clone()));
    setup
}

#[tokio::test]
async fn only_who_shows_a_certificate_of_the_authority_gets_in() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = Server::start(echo()).await;
    let demux = with_tls(&server, &ours.files).start().await;
    let address = demux.listeners()[0];
    assert_eq!(ours.ask(address, Some(&ours)).await.expect("it gets in"), b"secret\n");
    for stranger in [None, Some(&theirs)] {
        let refused = ours.ask(address, stranger).await.expect_err("it is kept out").to_string();
        // It is told why; unless the end of the connection is there before that is read.
        let says_why = ["CertificateRequired", "UnknownCA", "DecryptError", "reset", "Broken pipe", "eof"];
        assert!(says_why.iter().any(|why| refused.contains(why)), "{refused}");
    }
    assert_eq!(counter(&demux, "tls_failed_total").await, 2);
    assert_eq!(counter(&demux, "messages_received_total").await, 1);
}

#[tokio::test]
async fn an_authority_that_is_none_is_named_at_the_start() {
    let authority = Authority::new("empty");
    let path = authority.directory.join("ca.pem");
    let server = Server::start(echo()).await;
    std::fs::write(&path, "nothing\n").expect("it is written");
    for problem in ["there is no certificate in it", "No such file"] {
        let setup = with_tls(&server, &authority.files);
        let refused = Demux::start(setup.0).await.expect_err("it is refused");
        assert!(matches!(refused, StartError::Tls(_)), "{refused}");
        let text = refused.to_string();
        assert!(text.contains("ca.pem") && text.contains(problem), "{text}");
        let _ = std::fs::remove_file(&path);
    }
}
