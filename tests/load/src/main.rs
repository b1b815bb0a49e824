//! Load generator that speaks the line protocol of the rivals harness.
fn main() {}
