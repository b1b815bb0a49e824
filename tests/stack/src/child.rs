//! Parts of a test that need a process of their own: the test's binary, run again for one function alone.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child as Process, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// A child. It is killed when dropped.
#[derive(Debug)]
pub struct Child {
    process: Process,
    input: Option<ChildStdin>,
    told: mpsc::Receiver<String>,
}

impl Child {
    /// Runs the ignored test function `child` of this binary with `role` to play (see [`role`]), started by the command
    /// line `prefix`, if there is one.
    ///
    /// # Panics
    /// If it can not be started.
    #[must_use]
    pub fn start(role: &str, prefix: &[&str], variables: &[(&str, String)]) -> Self {
        let binary = std::env::current_exe().expect("a binary");
        let mut command = match prefix {
            [] => Command::new(binary),
            [program, arguments @ ..] => {
                let mut command = Command::new(program);
                command.args(arguments).arg(binary);
                command
            }
        };
        command.args(["--exact", "child", "--ignored", "--nocapture", "--quiet"]).env(ROLE, role);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a child");
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some((_, line)) = line.rsplit_once(MARK) {
                    let _ = tell.send(line.to_owned());
                }
            }
        });
        Self { process, input, told }
    }

    /// Sends it a line.
    ///
    /// # Panics
    /// If it is gone.
    pub fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("not closed");
        writeln!(input, "{line}").expect("the child reads");
    }

    /// The next line that the child tells with [`tell`]; `None` at the end of its output.
    ///
    /// # Panics
    /// If none comes within `limit`.
    pub fn line(&mut self, limit: Duration) -> Option<String> {
        match self.told.recv_timeout(limit) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the child tells nothing for {limit:?}"),
        }
    }

    /// Waits until the child tells a line that begins like this, and returns the rest; passes over others.
    ///
    /// # Panics
    /// If it does not within `limit`, or tells of something that is `broken`.
    pub fn await_line(&mut self, start: &str, limit: Duration) -> String {
        let end = Instant::now() + limit;
        let mut others = Vec::new();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(line) = self.told.recv_timeout(left) else {
                panic!("not told {start:?} in {limit:?}, but {others:?}")
            };
            assert!(!line.starts_with("broken"), "{line}");
            if let Some(rest) = line.strip_prefix(start) {
                return rest.trim().to_owned();
            }
            others.push(line);
        }
    }

    /// Ends it at once, without a chance to say goodbye.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If there is none to wait for.
    pub fn wait(&mut self) -> ExitStatus {
        self.input = None;
        self.process.wait().expect("a child")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What this process is to do, if it is a child.
#[must_use]
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Tells the parent a line.
#[expect(clippy::print_stdout, reason = "the parent reads it there")]
pub fn tell(line: &str) {
    println!("{MARK}{line}");
}

/// Waits until the parent has closed our input, or is gone; what it says is passed over.
pub fn wait_for_parent() {
    for _ in std::io::stdin().lines().map_while(Result::ok) {}
}

const ROLE: &str = "STACK_ROLE";
/// Sets what is told apart from what the test harness prints.
const MARK: &str = "\u{1}";
