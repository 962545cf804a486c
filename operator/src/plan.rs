//! The writes to make next, from everything that is known. Values in, values out: no client, clock or randomness.
//!
//! A plan has only steps that are safe now; steps that depend on their outcome are planned when the objects show it. So
//! a plan may be applied twice, late, in part, or by two operators at once.
//!
//! - [`world`]: what a plan depends on; [`step`]: one write; [`news`]: Events
//! - [`assignments`]: elections, tombstones and removals
//! - [`moves`]: which brokers should hold replicas, and which should lead, as a KafkaTopic says
//! - [`relocation`]: the moves that the operator makes by itself
//! - [`rebalance`]: the life of a KafkaRebalance
//! - [`rate`]: how fast replicas are copied
//! - [`fresh`]: volumes that are replaced by order, or because their node is lost
//! - [`claim`]: which of several KafkaTopics has a topic
//! - [`topic`]: from a KafkaTopic to its assignments and its status
//! - [`replicas`]: the brokers that its partitions wait for
//! - [`cluster`]: the cluster's status
//! - [`rollout`]: which revision brokers get, and which of them restart
//! - [`rules`]: the settings of topics that the plan needs
//! - [`condition`]: conditions that keep their transition times
//! - [`standard`]: the conditions that tools read of any kind
//! - [`platform`]: what Kubernetes shows of brokers that run on it
//!
//! Always: a topic has our finalizer before its first assignment exists; a topic that was once assigned is never placed
//! again; files are removed only on a tombstone; without a change to make, the plan is empty.

use ottla_config::BrokerSettings;

pub use self::news::{News, Recovered};
use self::rules::RuleBook;
pub use self::step::Step;
pub use self::world::{Broker, HeldBack, World};

pub mod assignments;
pub mod claim;
pub mod cluster;
pub mod condition;
pub mod fresh;
pub mod moves;
pub mod news;
pub mod platform;
pub mod rate;
pub mod rebalance;
pub mod relocation;
pub mod replicas;
pub mod rollout;
pub mod rules;
pub mod standard;
pub mod step;
pub mod topic;
pub mod world;

/// The steps to take now, the most urgent first.
pub fn plan(world: &World) -> Vec<Step> {
    let Some(cluster) = &world.cluster else { return topic::without_cluster(world) };
    let settings = BrokerSettings::resolve(&cluster.spec.broker_config());
    let rules = RuleBook::new(world, &settings);
    // A paused cluster keeps the rate at which brokers copy what is moving already; its rebalances say why they stand.
    let relocates = world.relocates && !cluster.spec.paused;
    let relocation = relocates.then(|| relocation::relocation(world, cluster, &rules));
    let mut steps = assignments::elections(world, &rules);
    let rollout = rollout::decide(world, cluster, &settings, &rules);
    let renewal = fresh::obstacle(world, cluster, &rules);
    let lost = fresh::lost(world, cluster, &rules);
    let planned = cluster::Planned {
        rollout: rollout.as_ref(),
        relocation: relocation.as_ref(),
        renewal: renewal.as_ref(),
        lost: lost.as_ref(),
    };
    steps.extend(cluster::status(world, cluster, planned));
    steps.extend(assignments::forgotten(world));
    steps.extend(assignments::emptied_graves(world));
    steps.extend(topic::topics(world, cluster, &settings, &rules));
    steps.extend(rebalance::paused(world, cluster));
    steps.extend(relocation.into_iter().flat_map(|relocation| relocation.steps));
    steps.extend(moves::returns(world, &rules));
    let restart = rollout.and_then(|rollout| rollout.restart).map(|restart| Step::Restart(Box::new(restart)));
    // Each is checked as if the other did not happen.
    let renews = restart.is_none();
    steps.extend(restart);
    steps.extend(fresh::step(world, cluster, &rules).filter(|_| renews));
    // Without entries there can be no fork: the first topic of a cluster does not wait.
    if let Some(held_back) = world.held_back.as_ref().filter(|_| !world.assignments.is_empty()) {
        steps.retain(|step| !step.waits_for(held_back));
    }
    steps
}

#[cfg(test)]
mod tests;
