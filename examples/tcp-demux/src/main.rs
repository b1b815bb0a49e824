//! Thin.
use std::time::Duration;
fn main() {
    tracing_subscriber::fmt().init();
    let rt = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    rt.block_on(async {
        let mut args = std::env::args().skip(1);
        if args.next().as_deref() == Some("test-server") {
            let l = tokio::net::TcpListener::bind(("127.0.0.1", args.next().unwrap().parse::<u16>().unwrap())).await.unwrap();
            let mut b = tcp_demux::test_server::Behaviour::default();
            b.ready_sleep = Duration::from_millis(10);
            b.extended = args.next().is_some();
            tcp_demux::test_server::serve(l, b).await.unwrap();
        } else {
            let mut c = tcp_demux::Config::default();
            c.listeners.push(tcp_demux::Listen::new("127.0.0.1:7999".parse().unwrap()));
            c.management = Some(tcp_demux::Management::new("127.0.0.1:8000".parse().unwrap()));
            let _d = tcp_demux::Demux::start(c).await.unwrap();
            std::future::pending::<()>().await;
        }
    });
}
