//! What one question to the authorizer costs, beside the rules that `bench -- authorized` gives a broker: 503 ACLs, of
//! which 103 are of the principal that asks.
//!
//!     cargo bench --profile dist -p ottla-access

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use ottla_access::{
    Acl, AclHost, AclOperation, Authorizer, Operation, PatternType, Permission, Principal, Question, ResourceType,
};

const QUESTIONS: u32 = 1_000_000;
const ROUNDS: usize = 11;

fn main() {
    let acl = |principal: &str, name: String, pattern: PatternType, operation: AclOperation| Acl {
        kind: ResourceType::Topic,
        name: name.into(),
        pattern,
        principal: Principal::new(principal),
        host: AclHost::new("*"),
        operation,
        permission: Permission::Allow,
    };
    let own = ["run-", "warm-up-", "probe"];
    let own = own.map(|name| acl("app", name.to_owned(), PatternType::Prefixed, AclOperation::All));
    let elsewhere = (0..100)
        .map(|n| acl("app", format!("elsewhere-{n}"), PatternType::Literal, AclOperation::One(Operation::Read)));
    let others = (0..400).map(|n| {
        let pattern = if n % 2 == 0 { PatternType::Literal } else { PatternType::Prefixed };
        acl(&format!("other-{}", n / 4), format!("topic-{n}"), pattern, AclOperation::One(Operation::Read))
    });
    let authorizer = Authorizer::new([], false, own.into_iter().chain(elsewhere).chain(others));
    let (app, host) = (Principal::new("app"), IpAddr::V4(Ipv4Addr::LOCALHOST));
    for (name, expected) in [("run-17", true), ("elsewhere-17", false), ("unknown", false)] {
        let (operation, kind) = (Operation::Write, ResourceType::Topic);
        let ask = || authorizer.allows(Question { principal: &app, host, operation, kind, name: black_box(name) });
        assert_eq!(ask(), expected, "{name}");
        let mut nanoseconds: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let began = Instant::now();
                (0..QUESTIONS).for_each(|_| _ = black_box(ask()));
                began.elapsed().as_secs_f64() * 1e9 / f64::from(QUESTIONS)
            })
            .collect();
        nanoseconds.sort_by(f64::total_cmp);
        let [least, median, most] = [0, ROUNDS / 2, ROUNDS - 1].map(|n| nanoseconds[n]);
        println!("a question about {name}: {median:.0} ns ({least:.0} to {most:.0})");
    }
}
