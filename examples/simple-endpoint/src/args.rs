//! The command line.

use std::fmt::Write;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Parser, Subcommand};
use glue_endpoint::Settings;

use crate::output::Output;

/// Publishes messages to a topic, or prints those that others publish.
///
/// Endpoints on one network find each other by themselves; no broker or address is needed.
#[derive(Debug, Parser)]
#[command(version, after_help = after_help(), args_conflicts_with_subcommands = true, args_override_self = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Publish; without it, subscribe and print.
    #[arg(long)]
    pub(crate) send_messages: bool,
    /// Topic to publish or subscribe to; a subscriber takes every topic with `#`.
    #[arg(long, value_name = "NAME", default_value = "some_topic")]
    pub(crate) topic_name: String,
    /// Type of the topic's messages: both sides must name the same one, but a subscriber may leave it empty for any.
    #[arg(long, value_name = "NAME", default_value = "some_type")]
    pub(crate) topic_type: String,
    /// Publisher: messages a second.
    #[arg(long, value_name = "PER-SECOND", default_value = "20", value_parser = rate)]
    pub(crate) rate: f64,
    /// Publisher: bytes of a message, which is its number, a semicolon and random bytes.
    #[arg(long, value_name = "BYTES", default_value = "65536", value_parser = size())]
    pub(crate) size: usize,
    /// Publisher: how long a message lives. A subscriber that could not get it by then misses it.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) expiry_ms: u64,
    /// Exit when so many messages are received, or are published and then acknowledged or expired.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Publisher: publish nothing before so many subscribers are there. Without it 1 with --count, whose messages would
    /// otherwise reach nobody, and 0 without.
    #[arg(long, value_name = "N")]
    wait_for: Option<usize>,
    /// Exit after this time; with --count it is a failure (exit status 1) if the time is over first.
    #[arg(long, value_parser = seconds)]
    pub(crate) seconds: Option<Duration>,
    /// Print one JSON object a line instead of text for people.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Command {
    /// Start one publisher and three subscribers, show how they find each other and what arrives
    Demo,
    /// Print a new network key: what GLUE_NETWORK_KEY is to be on every endpoint of a private network
    Keygen,
}

impl Args {
    pub(crate) const fn expiry(&self) -> Duration {
        Duration::from_millis(self.expiry_ms)
    }

    pub(crate) const fn output(&self) -> Output {
        if self.json { Output::Json } else { Output::Text }
    }

    pub(crate) fn wait_for(&self) -> usize {
        self.wait_for.unwrap_or_else(|| self.count.is_some().into())
    }
}

fn size() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(..=MOST_BYTES)
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().map_err(|error| format!("{error}"))?;
    (0.001..=1e6).contains(&rate).then_some(rate).ok_or_else(|| "expected 0.001 to 1000000".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|error| format!("{error}"))?;
    let is_sensible = (0.0..=MOST_SECONDS).contains(&seconds);
    is_sensible.then(|| Duration::from_secs_f64(seconds)).ok_or_else(|| format!("expected 0 to {MOST_SECONDS}"))
}

fn after_help() -> String {
    let mut help = EXAMPLES.to_owned();
    help.push_str("\nEnvironment variables, all optional:\n");
    let list = Settings::VARIABLES.iter().map(|v| (v.name, v.meaning, v.expected, v.default)).chain([LOG]);
    for (name, meaning, expected, default) in list {
        // Nothing fails that writes to a string.
        let _ = writeln!(help, "  {name}\n      {meaning}\n      {expected} [default: {default}]");
    }
    help.push_str("\nExit status: 0 if all went well, 1 if something failed, 2 for a bad option or variable.\n");
    help
}

const EXAMPLES: &str = "\
Examples:
  simple-endpoint demo
      See it work.
  simple-endpoint
  simple-endpoint --send-messages
      A subscriber and a publisher, in two shells of one host or on two hosts of one network.
  simple-endpoint --json --count 1000 >received.jsonl
  simple-endpoint --send-messages --count 1000 --rate 500 --expiry-ms 5000 --wait-for 3
      Run the first in three shells and the second in a fourth: each subscriber gets all 1,000 messages.
  export GLUE_NETWORK_KEY=$(simple-endpoint keygen)
      Makes every endpoint that gets the variable a member of a private network.
  GLUE_DISCOVERY_TARGET_ADDRESS=0 simple-endpoint
  GLUE_DISCOVERY_TARGET_ADDRESS=127.0.0.1:27320 simple-endpoint --send-messages
      Without multicast: the first endpoint is the rendezvous of all others.
";

const LOG: (&str, &str, &str, &str) = (
    "GLUE_LOG (or RUST_LOG)",
    "What is logged to standard error.",
    "error, warn, info, debug or trace, also for single modules: info,glue_discovery=debug",
    "info",
);

/// What a message may have.
const MOST_BYTES: u64 = 64 << 20;

/// A century: beyond any use, and well within what a clock can count.
const MOST_SECONDS: f64 = 3.2e9;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_counted_publisher_waits_for_a_subscriber() {
        let wait_for = |line: &str| Args::parse_from(line.split(' ')).wait_for();
        assert_eq!(wait_for("x --send-messages"), 0);
        assert_eq!(wait_for("x --send-messages --count 5"), 1);
        assert_eq!(wait_for("x --send-messages --count 5 --wait-for 3"), 3);
        assert_eq!(wait_for("x --send-messages --count 5 --wait-for 0"), 0);
    }

    #[test]
    fn impossible_values_are_refused() {
        for line in [
            "x --rate 0",
            "x --rate -1",
            "x --rate NaN",
            "x --rate inf",
            "x --seconds -1",
            "x --seconds NaN",
            "x --seconds 1e300",
            "x --expiry-ms 0",
            "x --count 0",
            "x --size -1",
            "x --size 67108865",
            "x demo --json",
            "x --json demo",
        ] {
            assert!(Args::try_parse_from(line.split(' ')).is_err(), "{line} is accepted");
        }
    }

    #[test]
    fn help_lists_every_variable() {
        let help = Args::command().render_long_help().to_string();
        for variable in Settings::VARIABLES {
            assert!(help.contains(variable.name), "{} is missing", variable.name);
        }
    }
}
