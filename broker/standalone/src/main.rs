//! Ottla on a laptop.
fn main() {}
