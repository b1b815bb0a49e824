//! An endpoint configured by environment variables that publishes or prints.
fn main() {}
