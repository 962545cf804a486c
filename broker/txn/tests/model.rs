//! Whatever producers of one transactional id do, by both protocols, in whatever order, with answers lost, requests
//! delayed, the log slow or failing, markers repeated and the coordinator restarted:
//!
//! - every ticket is answered once;
//! - an outcome that was answered stays, and no partition gets a marker of the other one;
//! - markers go only to the partitions of one transaction, and to every one whose addition was answered;
//! - an identity is given to one producer only, and a fenced producer changes nothing and succeeds in nothing;
//! - a decided transaction ends when every partition has its marker, not before, whatever was lost on the way;
//! - what the coordinator knows is what it reads from its log.
//!
//! Not so, and left out: a delayed request of the protocol before V2 (KAFKA-17754).

mod model {
    pub mod clients;
    pub mod history;
    pub mod world;
}

use std::hash::{BuildHasher, Hasher, RandomState};

use model::world::{Op, World};
use ottla_txn::TransactionVersion;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let client = 0..model::clients::CLIENTS;
    let op = prop_oneof![
        30 => (client.clone(), any::<u8>()).prop_map(|(client, choice)| Op::Step(client, choice)),
        6 => (client.clone(), any::<[u8; 4]>()).prop_map(|(client, choices)| Op::Run(client, choices)),
        3 => client.clone().prop_map(Op::LoseAnswer),
        2 => client.clone().prop_map(Op::Crash),
        3 => client.prop_map(Op::Recover),
        5 => any::<prop::sample::Index>().prop_map(Op::Delayed),
        14 => Just(Op::LogOne),
        2 => any::<bool>().prop_map(Op::LogFails),
        1 => Just(Op::LogLate),
        12 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(send, result)| Op::Markers(send, result)),
        3 => (0u64..30_000).prop_map(Op::Pass),
        1 => any::<bool>().prop_map(Op::Restart),
    ];
    prop::collection::vec(op, 1..250)
}

fn levels() -> impl Strategy<Value = TransactionVersion> {
    prop_oneof![1 => Just(TransactionVersion::V0), 1 => Just(TransactionVersion::V1), 3 => Just(TransactionVersion::V2)]
}

/// Where the epochs begin: some cases run out of them.
fn first_epochs() -> impl Strategy<Value = Option<i16>> {
    prop_oneof![2 => Just(None), 1 => (32_760i16..=32_766).prop_map(Some)]
}

/// `MODEL_SEED=n` plays the cases of a seed again.
#[test]
fn transactions_keep_their_promises() {
    let seed = std::env::var("MODEL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| RandomState::new().build_hasher().finish());
    println!("MODEL_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases: 500, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let protocols = prop::array::uniform3(any::<bool>());
    let result = runner.run(&(ops(), levels(), first_epochs(), protocols), |(ops, level, first_epoch, protocols)| {
        let mut world = World::new(level, first_epoch, protocols);
        for op in &ops {
            world.run(op);
        }
        world.settle();
        Ok(())
    });
    if let Err(error) = result {
        panic!("MODEL_SEED={seed}: {error}");
    }
}
