//! Random rules and questions, through `ottla_access::Authorizer` and Kafka's own StandardAuthorizer in a JVM: the same
//! verdicts.
//!
//!     OTTLA_ACL_ROUNDS=100000 cargo test -p ottla-e2e --test authorizer    # ten million questions
//!     OTTLA_ACL_SEED=7 cargo test -p ottla-e2e --test authorizer           # a round once more, alone
//!
//! Left out, because it is meant to differ: hosts that are written in several ways, which Kafka compares as text; and
//! names that sort before the wildcard, of which Kafka's authorizer throws.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use ottla_access::{
    Acl, AclHost, AclOperation, Authorizer, Operation, PatternType, Permission, Principal, Question, ResourceType,
};
use ottla_e2e::choices::Choices;
use ottla_e2e::java;
use ottla_e2e::need::{Need, met};

/// A million questions.
const ROUNDS: u64 = 10_000;
const QUESTIONS: usize = 100;

const KINDS: [ResourceType; 6] = [
    ResourceType::Topic,
    ResourceType::Group,
    ResourceType::Cluster,
    ResourceType::TransactionalId,
    ResourceType::DelegationToken,
    ResourceType::User,
];
/// Names that are prefixes of each other, and some that are not.
const NAMES: [&str; 7] = ["a", "ab", "abc", "abd", "b", "ba", "kafka-cluster"];
const PRINCIPALS: [&str; 3] = ["u", "v", "w"];
const HOSTS: [&str; 3] = ["10.0.0.1", "10.0.0.2", "0:0:0:0:0:0:0:1"];

/// The choices of a seed.
struct Random(Choices);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        self.0.of(all)
    }

    /// One of these, or the wildcard.
    fn or_any(&mut self, all: &[&'static str]) -> &'static str {
        if self.below(3) == 0 { "*" } else { self.of(all) }
    }

    fn acl(&mut self, kinds: &[ResourceType]) -> Acl {
        let pattern = self.of(&[PatternType::Literal, PatternType::Literal, PatternType::Prefixed]);
        let name = self.or_any(&NAMES);
        let operation = match self.below(6) {
            0 => AclOperation::All,
            _ => AclOperation::One(self.of(&Operation::ALL)),
        };
        Acl {
            kind: self.of(kinds),
            principal: Principal::new(self.or_any(&PRINCIPALS)),
            pattern,
            name: name.into(),
            host: AclHost::new(self.or_any(&HOSTS)),
            operation,
            permission: self.of(&[Permission::Allow, Permission::Allow, Permission::Deny]),
        }
    }
}

/// One round: the commands for Kafka's authorizer, and the lines that it should print.
#[derive(Default)]
struct Round {
    commands: String,
    expected: Vec<bool>,
}

fn play(seed: u64) -> Result<Round> {
    let mut choices = Random(Choices::new(seed));
    let mut round = Round::default();
    // Few types, so that rules meet questions.
    let kinds = [choices.of(&KINDS), choices.of(&KINDS)];
    let (is_open, has_super_user) = (choices.below(2) == 0, choices.below(4) == 0);
    writeln!(round.commands, "new {} {is_open}", if has_super_user { "User:w" } else { "-" })?;
    // Each once: Kafka's authorizer takes no duplicates.
    let acls: BTreeSet<Acl> = (0..choices.below(12)).map(|_| choices.acl(&kinds)).collect();
    for acl in &acls {
        let Acl { kind, principal, pattern, name, host, operation, permission } = acl;
        writeln!(
            round.commands,
            "acl {} {} {name} {principal} {} {} {}",
            kind.code(),
            pattern.code(),
            host.text(),
            operation.code(),
            permission.code()
        )?;
    }
    let rules = Authorizer::new(has_super_user.then(|| Principal::new("w")), is_open, acls);
    for _ in 0..QUESTIONS {
        let (principal, host) = (choices.of(&PRINCIPALS), choices.of(&HOSTS));
        let (operation, kind, name) = (choices.of(&Operation::ALL), choices.of(&kinds), choices.of(&NAMES));
        let who = format!("{principal} {host} {} {}", operation.code(), kind.code());
        let address: IpAddr = host.parse()?;
        let principal = Principal::new(principal);
        if choices.below(5) == 0 {
            writeln!(round.commands, "any {who}")?;
            round.expected.push(rules.allows_any(&principal, address, operation, kind));
        } else {
            writeln!(round.commands, "may {who} {name}")?;
            round.expected.push(rules.allows(Question { principal: &principal, host: address, operation, kind, name }));
        }
    }
    Ok(round)
}

#[test]
fn verdicts_are_those_of_kafkas_authorizer() -> Result<()> {
    if !met(&[Need::Java]) {
        return Ok(());
    }
    let variable = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let fresh = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos() as u64;
    let first = variable("OTTLA_ACL_SEED").unwrap_or(fresh);
    let alone = variable("OTTLA_ACL_SEED").map(|_| 1);
    let count = alone.or(variable("OTTLA_ACL_ROUNDS")).unwrap_or(ROUNDS);
    println!("OTTLA_ACL_SEED from {first}, {count} rounds");
    let seeds: Vec<u64> = (0..count).map(|round| first.wrapping_add(round)).collect();
    let rounds = seeds.iter().map(|seed| play(*seed)).collect::<Result<Vec<_>>>()?;
    let commands: String = rounds.iter().map(|round| &*round.commands).collect();
    let mut lines = java::answers("Authorizing.java", &commands)?.into_iter();
    let mut allowed = 0;
    for (seed, round) in seeds.iter().zip(&rounds) {
        let asked = round.commands.lines().filter(|line| line.starts_with("may") || line.starts_with("any"));
        for (command, ours) in asked.zip(&round.expected) {
            let theirs = lines.next().context("Kafka's authorizer said too little")?;
            let rules = &round.commands;
            ensure!(ours.to_string() == theirs, "OTTLA_ACL_SEED={seed}: {command}: {ours}, by Kafka {theirs}\n{rules}");
            allowed += usize::from(*ours);
        }
    }
    ensure!(lines.next().is_none(), "Kafka's authorizer said too much");
    let all: usize = rounds.iter().map(|round| round.expected.len()).sum();
    println!("{all} questions, {allowed} allowed");
    ensure!((all / 20..all - all / 20).contains(&allowed) || count == 1, "hardly any difference: {allowed} of {all}");
    Ok(())
}
