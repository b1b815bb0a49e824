//! Hosts of their own: network namespaces, joined by virtual cables.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Namespaces, which are gone with everything in them when this is dropped.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    hosts: Vec<String>,
}

impl Lab {
    /// A laboratory without hosts.
    ///
    /// # Errors
    /// Why there can be none: no root, no `ip`, or namespaces that can not be made.
    pub fn new() -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("glue{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut lab = Self { prefix, hosts: Vec::new() };
        lab.try_host("probe")?;
        lab.try_inside("probe", &["link", "add", "p0", "type", "veth", "peer", "name", "p1"])?;
        lab.try_inside("probe", &["link", "add", "p2", "type", "bridge"])?;
        Ok(lab)
    }

    /// Adds a host with a loopback interface.
    ///
    /// # Panics
    /// If it can not be made.
    pub fn host(&mut self, name: &str) {
        self.try_host(name).expect("a namespace");
    }

    /// Runs `ip` on a host.
    ///
    /// # Panics
    /// If it fails.
    pub fn ip(&self, host: &str, arguments: &str) {
        let arguments: Vec<_> = arguments.split(' ').collect();
        self.try_inside(host, &arguments).unwrap_or_else(|why| panic!("{why}"));
    }

    /// Lays a cable between two hosts: an interface in each, up and without an address.
    ///
    /// # Panics
    /// If it can not be laid.
    pub fn cable(&self, (a, at_a): (&str, &str), (b, at_b): (&str, &str)) {
        let there = self.namespace(b);
        self.ip(a, &format!("link add {at_a} type veth peer name {at_b} netns {there}"));
        self.ip(a, &format!("link set {at_a} up"));
        self.ip(b, &format!("link set {at_b} up"));
    }

    /// The command line that runs a program on a host.
    #[must_use]
    pub fn on(&self, host: &str) -> [String; 5] {
        ["ip", "netns", "exec", &self.namespace(host), "env"].map(str::to_owned)
    }

    fn namespace(&self, host: &str) -> String {
        format!("{}-{host}", self.prefix)
    }

    fn try_host(&mut self, name: &str) -> Result<(), String> {
        let namespace = self.namespace(name);
        run(&["netns", "add", &namespace])?;
        self.hosts.push(namespace);
        self.try_inside(name, &["link", "set", "lo", "up"])
    }

    fn try_inside(&self, host: &str, arguments: &[&str]) -> Result<(), String> {
        let namespace = self.namespace(host);
        run(&[&["-n", &namespace], arguments].concat())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for host in &self.hosts {
            let _ = run(&["netns", "del", host]);
        }
    }
}

fn run(arguments: &[&str]) -> Result<(), String> {
    let line = || format!("ip {}", arguments.join(" "));
    let output = Command::new("ip").args(arguments).output().map_err(|error| format!("{}: {error}", line()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", line(), String::from_utf8_lossy(&output.stderr).trim()))
}
