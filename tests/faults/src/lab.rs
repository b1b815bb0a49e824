//! Hosts of their own: network namespaces with cables into our switch. All is gone when the laboratory is dropped.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::FaultsError;

/// Namespaces and cables.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    made: Vec<String>,
}

impl Lab {
    /// A laboratory without hosts, with names that no other process uses. Removes what earlier ones left that were killed.
    ///
    /// # Errors
    /// Why there can be none: no root, no `ip`, or namespaces that can not be made.
    pub fn new() -> Result<Self, FaultsError> {
        remove_orphans();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("{PREFIX}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut lab = Self { prefix, made: Vec::new() };
        lab.add("switch")?;
        Ok(lab)
    }

    fn add(&mut self, name: &str) -> Result<(), FaultsError> {
        let namespace = self.namespace(name);
        command("ip", &["netns", "add", &namespace])?;
        self.made.push(namespace);
        // Neighbour discovery of IPv6 would be the only traffic that is not ours.
        let _ = self.run(name, "sysctl", "-qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
        self.ip(name, "link set lo up")
    }

    /// Adds a host with a cable to a port of the switch's: `eth0` there, up and without an address.
    ///
    /// # Errors
    /// If something can not be made.
    pub fn host(&mut self, name: &str, port: &str) -> Result<(), FaultsError> {
        self.add(name)?;
        let switch = self.namespace("switch");
        self.ip(name, &format!("link add eth0 type veth peer name {port} netns {switch}"))?;
        // What leaves in one call would come to the switch in one piece: virtual cables leave segmenting to hardware.
        self.ip(name, "link set eth0 gso_max_segs 1")?;
        self.ip("switch", &format!("link set {port} up"))?;
        self.ip(name, "link set eth0 up")
    }

    /// A host without a cable, which has multicast on its loopback interface.
    ///
    /// # Errors
    /// If something can not be made.
    pub fn lonely_host(&mut self, name: &str) -> Result<(), FaultsError> {
        self.add(name)?;
        self.ip(name, "link set lo multicast on")
    }

    /// Runs `ip` on a host.
    ///
    /// # Errors
    /// If it fails.
    pub fn ip(&self, host: &str, arguments: &str) -> Result<(), FaultsError> {
        let namespace = self.namespace(host);
        let mut all = vec!["-n", &namespace];
        all.extend(arguments.split(' '));
        command("ip", &all)
    }

    /// Runs any program on a host.
    ///
    /// # Errors
    /// If it fails.
    pub fn run(&self, host: &str, program: &str, arguments: &str) -> Result<(), FaultsError> {
        let namespace = self.namespace(host);
        let mut all = vec!["netns", "exec", &namespace, program];
        all.extend(arguments.split(' '));
        command("ip", &all)
    }

    /// Drops so many of a hundred of the UDP datagrams that come to `eth0` of a host.
    ///
    /// # Errors
    /// If there is no `nft`, or it fails.
    pub fn lose(&self, host: &str, percent: u64) -> Result<(), FaultsError> {
        let rules = format!(
            "add table inet faults; add chain inet faults in {{ type filter hook input priority 0; }}; \
             add rule inet faults in iifname eth0 meta l4proto udp numgen random mod 100 < {percent} drop"
        );
        command("ip", &["netns", "exec", &self.namespace(host), "nft", &rules])
    }

    /// Drops nothing any more.
    ///
    /// # Errors
    /// If nothing was dropped.
    pub fn lose_nothing(&self, host: &str) -> Result<(), FaultsError> {
        command("ip", &["netns", "exec", &self.namespace(host), "nft", "delete table inet faults"])
    }

    /// Lets no more than so many kbit/s leave a host, with a queue of 200 ms.
    ///
    /// # Errors
    /// If there is no `tc`, or it fails.
    pub fn limit_rate(&self, host: &str, kbit: u64) -> Result<(), FaultsError> {
        let arguments = format!("qdisc add dev eth0 root tbf rate {kbit}kbit burst 16kb latency 200ms");
        self.run(host, "tc", &arguments)
    }

    /// Lifts the limit.
    ///
    /// # Errors
    /// If there was none.
    pub fn lift_rate(&self, host: &str) -> Result<(), FaultsError> {
        self.run(host, "tc", "qdisc del dev eth0 root")
    }

    /// Starts this program on a host with other arguments. The process that is returned is the program itself.
    ///
    /// # Errors
    /// If it can not be started.
    pub fn start(&self, host: &str, program: Program<'_>) -> Result<Child, FaultsError> {
        let this = std::env::current_exe();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(host)]);
        command.arg(this.map_err(FaultsError::io("the path of this program"))?);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GLUE_")) {
            command.env_remove(name);
        }
        command.args(program.arguments).envs(program.variables.iter().map(|(name, value)| (name, value)));
        // Ctrl-C is for us alone: we end them in order.
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(program.errors);
        command.spawn().map_err(FaultsError::io("starting a process by `ip netns exec`"))
    }

    fn namespace(&self, host: &str) -> String {
        format!("{}-{host}", self.prefix)
    }
}

/// What is started.
#[derive(Debug)]
pub struct Program<'a> {
    /// The command line, without the program.
    pub arguments: &'a [String],
    /// Environment variables.
    pub variables: &'a [(&'static str, String)],
    /// Where its errors go.
    pub errors: Stdio,
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in &self.made {
            let _ = command("ip", &["netns", "del", namespace]);
        }
    }
}

/// Removes the namespaces of processes that are gone.
fn remove_orphans() {
    for entry in std::fs::read_dir("/var/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')).map(|(process, _)| process);
        if process.is_some_and(|process| !std::path::Path::new("/proc").join(process).exists()) {
            let _ = command("ip", &["netns", "del", &name]);
        }
    }
}

fn command(program: &str, arguments: &[&str]) -> Result<(), FaultsError> {
    let line = || format!("{program} {}", arguments.join(" "));
    let failed = |why: String| FaultsError::Command { line: line(), why };
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// What all namespaces of ours begin with; the process that made them follows.
const PREFIX: &str = "glue-faults-";
