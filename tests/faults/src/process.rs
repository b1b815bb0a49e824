//! A process on a host of ours: it has one life after the other.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::FaultsError;
use crate::lab::{Lab, Program};

/// A process, or the place for one.
#[derive(Debug)]
pub struct Process {
    /// Its name; that of a life has a number behind.
    pub name: String,
    host: String,
    arguments: Vec<String>,
    variables: Vec<(&'static str, String)>,
    directory: Option<PathBuf>,
    lives: u32,
    child: Option<Child>,
}

/// How its lives are started.
#[derive(Debug)]
pub struct Recipe<'a> {
    /// The name.
    pub name: String,
    /// The host.
    pub host: String,
    /// The command line: what of this program it runs. A label is added, and a log if there is a directory.
    pub arguments: &'a [&'a str],
    /// The environment.
    pub variables: Vec<(&'static str, String)>,
    /// Where logs go, and what lives say as errors. Without one, nothing is logged and errors are shown.
    pub directory: Option<&'a Path>,
}

impl Process {
    /// A place for a process, in which none is yet.
    #[must_use]
    pub fn new(recipe: Recipe<'_>) -> Self {
        Self {
            name: recipe.name,
            host: recipe.host,
            arguments: recipe.arguments.iter().copied().map(str::to_owned).collect(),
            variables: recipe.variables,
            directory: recipe.directory.map(Path::to_owned),
            lives: 0,
            child: None,
        }
    }

    /// Begins a life, unless there is one.
    ///
    /// # Errors
    /// If the process can not be started.
    pub fn start(&mut self, lab: &Lab) -> Result<(), FaultsError> {
        if self.child.is_some() {
            return Ok(());
        }
        self.lives += 1;
        let label = format!("{}-{}", self.name, self.lives);
        let mut arguments = self.arguments.clone();
        arguments.extend(["--label".to_owned(), label.clone()]);
        let mut errors = Stdio::inherit();
        if let Some(directory) = &self.directory {
            arguments.extend(["--log".to_owned(), directory.join(format!("{label}.log")).display().to_string()]);
            let file = File::create(directory.join(format!("{label}.err")));
            errors = file.map_err(FaultsError::io("a file for errors"))?.into();
        }
        self.child =
            Some(lab.start(&self.host, Program { arguments: &arguments, variables: &self.variables, errors })?);
        Ok(())
    }

    /// How many lives there have been.
    #[must_use]
    pub const fn lives(&self) -> u32 {
        self.lives
    }

    /// The number of the process that lives.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Says a line to it. That it is gone is no error here.
    pub fn say(&mut self, line: &str) {
        if let Some(input) = self.child.as_mut().and_then(|child| child.stdin.as_mut()) {
            let _ = writeln!(input, "{line}");
        }
    }

    /// Kills it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops it, or lets it go on.
    pub fn pause(&self, is_paused: bool) {
        let signal = if is_paused { Signal::STOP } else { Signal::CONT };
        if let Some(id) = self.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
            let _ = kill_process(id, signal);
        }
    }

    /// Waits until it has ended by itself, and kills it if it does not in time. Returns whether it has.
    pub fn finish(&mut self, patience: Duration) -> bool {
        let begin = Instant::now();
        while let Some(child) = &mut self.child {
            if matches!(child.try_wait(), Ok(Some(_))) {
                self.child = None;
                return true;
            }
            if begin.elapsed() > patience {
                self.kill();
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }

    /// That it lives if it should.
    ///
    /// # Errors
    /// That it ended by itself, and where to look for why.
    pub fn check(&mut self) -> Result<(), FaultsError> {
        let Some(child) = &mut self.child else { return Ok(()) };
        match child.try_wait() {
            Ok(None) => Ok(()),
            ended => {
                let place = self
                    .directory
                    .as_ref()
                    .map(|directory| directory.join(format!("{}-{}.err", self.name, self.lives)));
                let said = place.and_then(|place| std::fs::read_to_string(place).ok()).unwrap_or_default();
                Err(FaultsError::Broken(format!("{} ended by itself, {ended:?}: {}", self.name, said.trim())))
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
