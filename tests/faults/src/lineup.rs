//! Five hosts on our switch, with a publisher and a subscriber each and a cache, and what is done to them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use crate::error::FaultsError;
use crate::lab::{Lab, Program};
use crate::plan::{CACHE, Fault, HOSTS, PROCESSES, host_name, host_of, process_name};
use crate::process::{Process, Recipe};

/// The hosts and processes of a run. All are gone when it is dropped.
#[derive(Debug)]
pub struct Lineup {
    // In this order: processes end before their hosts are removed.
    processes: Vec<Process>,
    switch: Child,
    lab: Lab,
    addresses: Vec<u32>,
    /// Which should not live now: they were killed, and will be started.
    killed: BTreeSet<usize>,
}

impl Lineup {
    /// Makes the hosts and starts everything.
    ///
    /// # Errors
    /// Why that is not possible here.
    pub fn start(directory: &Path, seed: u64, key: Option<&str>) -> Result<Self, FaultsError> {
        let mut lab = Lab::new()?;
        let ports: Vec<String> = (0..HOSTS).map(|host| format!("to-{}", host_name(host))).collect();
        let mut addresses = Vec::new();
        for (host, port) in ports.iter().enumerate() {
            let name = host_name(host);
            lab.host(&name, port)?;
            addresses.push(0);
            lab.ip(&name, &format!("addr add {} dev eth0", address(host, 0)))?;
        }
        let switch = start_switch(&lab, directory, &ports, seed)?;
        let processes = (0..PROCESSES).map(|process| Process::new(recipe(process, directory, seed, key))).collect();
        let mut lineup = Self { processes, switch, lab, addresses, killed: BTreeSet::new() };
        for process in &mut lineup.processes {
            process.start(&lineup.lab)?;
        }
        Ok(lineup)
    }

    /// Begins a fault.
    ///
    /// # Errors
    /// If the system does not let us.
    pub fn begin(&mut self, fault: &Fault) -> Result<(), FaultsError> {
        match fault {
            Fault::Kill(process) => {
                self.killed.insert(*process);
                self.process(*process)?.kill();
                Ok(())
            }
            Fault::Stop(process) => {
                self.process(*process)?.pause(true);
                Ok(())
            }
            Fault::LinkDown(host) => self.lab.ip(&host_name(*host), "link set eth0 down"),
            Fault::Address(host) => self.change_address(*host),
            Fault::Partition(pairs) => pairs.iter().try_for_each(|(from, to)| self.order(&format!("cut {from} {to}"))),
            Fault::Lose(host, percent) => self.lab.lose(&host_name(*host), *percent),
            Fault::Rate(host, kbit) => self.lab.limit_rate(&host_name(*host), *kbit),
            Fault::Impair(host, words) => self.order(&format!("link {host} * {words}")),
        }
    }

    /// Ends a fault.
    ///
    /// # Errors
    /// If the system does not let us.
    pub fn end(&mut self, fault: &Fault) -> Result<(), FaultsError> {
        match fault {
            Fault::Kill(process) => {
                self.killed.remove(process);
                let place = self.processes.get_mut(*process).ok_or_else(unknown)?;
                place.start(&self.lab)
            }
            Fault::Stop(process) => {
                self.process(*process)?.pause(false);
                Ok(())
            }
            Fault::LinkDown(host) => self.lab.ip(&host_name(*host), "link set eth0 up"),
            Fault::Address(_) => Ok(()),
            Fault::Partition(pairs) => pairs.iter().try_for_each(|(from, to)| self.order(&format!("join {from} {to}"))),
            Fault::Lose(host, _) => self.lab.lose_nothing(&host_name(*host)),
            Fault::Rate(host, _) => self.lab.lift_rate(&host_name(*host)),
            Fault::Impair(host, _) => self.order(&format!("link {host} *")),
        }
    }

    /// Kills a process and starts another in its place.
    ///
    /// # Errors
    /// If it can not be started.
    pub fn restart(&mut self, process: usize) -> Result<(), FaultsError> {
        let place = self.processes.get_mut(process).ok_or_else(unknown)?;
        place.kill();
        place.start(&self.lab)
    }

    /// Says a line to these processes.
    pub fn say(&mut self, processes: std::ops::Range<usize>, line: &str) {
        self.processes.get_mut(processes).into_iter().flatten().for_each(|process| process.say(line));
    }

    /// Waits for the ends of all; kills who does not end in time, and returns their names.
    pub fn finish(&mut self, patience: Duration) -> Vec<String> {
        let mut late = Vec::new();
        for process in &mut self.processes {
            if !process.finish(patience) {
                late.push(process.name.clone());
            }
        }
        late
    }

    /// How many lives there were.
    #[must_use]
    pub fn lives(&self) -> u32 {
        self.processes.iter().map(Process::lives).sum()
    }

    /// That everything that should be there is there.
    ///
    /// # Errors
    /// What ended by itself.
    pub fn check(&mut self) -> Result<(), FaultsError> {
        if let Ok(Some(status)) = self.switch.try_wait() {
            return Err(FaultsError::Broken(format!("the switch ended by itself, {status}: see switch.err")));
        }
        self.processes.iter_mut().try_for_each(Process::check)
    }

    fn process(&mut self, process: usize) -> Result<&mut Process, FaultsError> {
        self.processes.get_mut(process).ok_or_else(unknown)
    }

    /// The old one goes first, as when a host moves to another network.
    fn change_address(&mut self, host: usize) -> Result<(), FaultsError> {
        let count = self.addresses.get_mut(host).ok_or_else(unknown)?;
        let (old, name) = (*count, host_name(host));
        *count = (old + 1) % ADDRESSES;
        let new = *count;
        self.lab.ip(&name, &format!("addr del {} dev eth0", address(host, old)))?;
        self.lab.ip(&name, &format!("addr add {} dev eth0", address(host, new)))
    }

    fn order(&mut self, line: &str) -> Result<(), FaultsError> {
        let input = self.switch.stdin.as_mut().ok_or_else(unknown)?;
        writeln!(input, "{line}").map_err(FaultsError::io("an order to the switch"))
    }
}

impl Drop for Lineup {
    fn drop(&mut self) {
        self.processes.clear();
        // The end of its input ends it, and it says what it did.
        self.switch.stdin = None;
        let begin = std::time::Instant::now();
        while matches!(self.switch.try_wait(), Ok(None)) && begin.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.switch.kill();
        let _ = self.switch.wait();
    }
}

fn unknown() -> FaultsError {
    FaultsError::Usage("there is no such process or host".to_owned())
}

fn address(host: usize, change: u32) -> String {
    format!("10.77.0.{}/24", (u32::try_from(host).unwrap_or(0) + 1) * ADDRESSES + change)
}

fn start_switch(lab: &Lab, directory: &Path, ports: &[String], seed: u64) -> Result<Child, FaultsError> {
    let arguments = ["impair".to_owned(), "--ports".to_owned(), ports.join(","), "--seed".to_owned(), seed.to_string()];
    let errors = File::create(directory.join("switch.err")).map_err(FaultsError::io("switch.err"))?;
    lab.start("switch", Program { arguments: &arguments, variables: &[], errors: errors.into() })
}

fn recipe<'a>(process: usize, directory: &'a Path, seed: u64, key: Option<&str>) -> Recipe<'a> {
    let name = process_name(process);
    let mut variables = vec![("GLUE_NETWORK_ID", seed.to_string())];
    if process < CACHE && process.is_multiple_of(2) {
        // Half of them are known again after a restart, the others are strangers.
        variables.push(("GLUE_ENDPOINT_ID", (process + 1).to_string()));
        variables.push(("GLUE_ENDPOINT_NAME", name.clone()));
    }
    if process == CACHE {
        variables.push(("GLUE_CACHE", "cached".to_owned()));
    }
    variables.extend(key.map(|key| ("GLUE_NETWORK_KEY", key.to_owned())));
    let arguments: &[&str] = if process < HOSTS { &["publisher"] } else { &["subscriber"] };
    Recipe { name, host: host_name(host_of(process)), arguments, variables, directory: Some(directory) }
}

/// How many addresses a host has in turn.
const ADDRESSES: u32 = 20;
