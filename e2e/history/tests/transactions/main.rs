//! The checker of transactions: broken histories, allowed ones, and random ones that are then broken.

mod allowed;
mod broken;
mod model;
mod mutations;
mod random;
mod words;
