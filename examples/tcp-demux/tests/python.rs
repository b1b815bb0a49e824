//! An upstream that another language's tools generated from the original protocol works unchanged.
//!
//! It needs Python 3 with venv, and the first time its package registry. Without them it says so, and passes.

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{Client, Setup};
use tcp_demux::{Framing, GrpcUpstream};

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A Python that has grpcio, with the generated modules beside it. The error says what is missing.
fn prepare(directory: &Path) -> Result<PathBuf, String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    let python = directory.join("bin/python");
    let has_grpc = || run(Command::new(&python).args(["-c", "import grpc_tools, grpc"])).is_ok();
    if !has_grpc() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(directory))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "grpcio", "grpcio-tools"]))?;
    }
    let include = format!("-I{}", sources.display());
    let out = [format!("--python_out={}", directory.display()), format!("--grpc_python_out={}", directory.display())];
    run(Command::new(&python).args(["-m", "grpc_tools.protoc", &include]).args(out).arg("original.proto"))?;
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let problem = || format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.status.success().then_some(()).ok_or_else(problem)
}

#[tokio::test]
async fn a_server_generated_by_python_works_unchanged() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tcp-demux-python");
    let python = match prepare(&directory) {
        Ok(python) => python,
        Err(missing) => return println!("NOT RUN, Python with grpcio is missing: {missing}"),
    };
    let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/server.py");
    let mut command = Command::new(python);
    let command = command.arg(server).env("PYTHONPATH", &directory).stdout(Stdio::piped());
    let mut server = Running(command.spawn().expect("Python runs"));
    let mut port = String::new();
    let out = server.0.stdout.take().expect("it is piped");
    BufReader::new(out).read_line(&mut port).expect("the server starts");
    let port = port.trim().parse().expect("the server prints its port");

    let demux = Setup::new(Framing::Lines).start().await;
    demux.add_upstream(GrpcUpstream::new("127.0.0.1", port)).expect("it is added");
    let (mut one, mut two) = (Client::connect(&demux).await, Client::connect(&demux).await);
    one.say("first").await;
    assert_eq!(one.hear().await, "python 1: first, 0 unknown bytes");
    two.say("second").await;
    for client in [&mut one, &mut two] {
        assert_eq!(client.hear().await, "python 2: second, 0 unknown bytes");
    }
}
