//! Ottla on a real Kubernetes cluster, installed by its charts and used by stock clients. Needs the feature `cluster`.
//!
//! Tests share the cluster, a namespace each. Those that count what happens on it, or break it, have it alone; their
//! names are the last in the alphabet, which is the order in which they are run.

mod balancers;
mod chains;
mod chaos;
mod deletion;
mod example;
mod flights;
mod guards;
mod install;
mod issuer;
mod monitoring;
mod pods;
mod pools;
mod rebalance;
mod refusals;
mod removal;
mod rolls;
mod scale;
mod topics;
mod upgrades;
mod users;
mod volumes;
mod write_budget;
mod x_chaos;
mod x_firewall;
mod x_lost_node;
mod x_secured;
