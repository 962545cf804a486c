//! What a connection asks of the authorizer with each request, and was answered by the same rules before.
//!
//! A question takes a tenth of a microsecond where its tables are in the processor's cache. Between requests they are
//! not: then it takes a microsecond, one in twenty of a small Produce. What a connection remembers lies beside the rest
//! of its state. Always: an answer is used only for the same question about the same rules.

use std::net::IpAddr;
use std::sync::{Arc, Weak};

use ottla_wire::Str;

use crate::{Access, Operation, Principal, ResourceType};

/// So many are remembered, the first: a client that uses more topics asks again for the others.
const MOST: usize = 8;
/// No longer name is remembered, in bytes. Topics have none; a client may ask for any.
const LONGEST: usize = 249;

/// The questions of one connection.
#[derive(Debug, Default)]
pub struct Questions {
    /// By whose rules they were answered. Weak, so that an idle connection keeps no former rules in memory; their
    /// address is nobody else's meanwhile.
    by: Weak<Access>,
    answered: Vec<Answered>,
}

#[derive(Debug)]
struct Answered {
    principal: Principal,
    host: IpAddr,
    operation: Operation,
    kind: ResourceType,
    name: Str,
    is_allowed: bool,
}

impl Questions {
    /// Whether `principal`, connected from `host`, may do `operation` to the resource, as
    /// [`Authorizer::allows`](crate::Authorizer::allows) says; without an authorizer everybody may.
    pub fn allows(
        &mut self,
        access: &Arc<Access>,
        principal: &Principal,
        host: IpAddr,
        operation: Operation,
        kind: ResourceType,
        name: &str,
    ) -> bool {
        let Some(rules) = &access.authorizer else { return true };
        if !std::ptr::eq(self.by.as_ptr(), Arc::as_ptr(access)) {
            (self.by, self.answered) = (Arc::downgrade(access), Vec::new());
        }
        let is_same = |known: &&Answered| {
            (known.operation, known.kind, known.host) == (operation, kind, host)
                && known.name == name
                && known.principal == *principal
        };
        if let Some(known) = self.answered.iter().find(is_same) {
            return known.is_allowed;
        }
        let is_allowed = rules.allows(principal, host, operation, kind, name);
        if self.answered.len() < MOST && name.len() <= LONGEST {
            let (principal, name) = (principal.clone(), name.into());
            self.answered.push(Answered { principal, host, operation, kind, name, is_allowed });
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::{Acl, AclHost, AclOperation, PatternType, Permission};
    use crate::{Authorizer, Listeners};

    /// Everybody may write to these topics from this host.
    fn access(topics: &[&str], host: &str) -> Arc<Access> {
        let acl = |topic: &&str| Acl {
            kind: ResourceType::Topic,
            pattern: PatternType::Literal,
            name: (*topic).into(),
            principal: Principal::new("*"),
            host: AclHost::new(host),
            operation: AclOperation::One(Operation::Write),
            permission: Permission::Allow,
        };
        let authorizer = Some(Authorizer::new([], false, topics.iter().map(acl)));
        Arc::new(Access { authorizer, listeners: Listeners::default(), ..Access::default() })
    }

    #[test]
    fn an_answer_is_used_for_the_same_question_about_the_same_rules_only() {
        let (here, there): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let mut questions = Questions::default();
        let (ann, bob) = (Principal::new("ann"), Principal::new("bob"));
        let (write, read, topic, group) = (Operation::Write, Operation::Read, ResourceType::Topic, ResourceType::Group);
        let rules = access(&["t"], "10.0.0.1");
        for _ in 0..2 {
            for (principal, host, operation, kind, name, expected) in [
                (&ann, here, write, topic, "t", true),
                (&bob, here, write, topic, "t", true),
                (&ann, there, write, topic, "t", false),
                (&ann, here, read, topic, "t", false),
                (&ann, here, write, group, "t", false),
                (&ann, here, write, topic, "u", false),
            ] {
                let answer = questions.allows(&rules, principal, host, operation, kind, name);
                assert_eq!(answer, expected, "{principal} {host} {operation:?} {kind:?} {name}");
            }
        }
        assert_eq!(questions.answered.len(), 6);

        let former = Arc::downgrade(&rules);
        drop(rules);
        assert!(former.upgrade().is_none(), "nobody keeps former rules");
        for _ in 0..2 {
            let rules = access(&["u"], "*");
            assert!(!questions.allows(&rules, &ann, here, write, topic, "t"));
            assert!(questions.allows(&rules, &ann, here, write, topic, "u"));
        }
        assert!(questions.allows(&Arc::default(), &ann, here, write, topic, "t"), "there is no authorizer");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (rules, mut questions) = (access(&["t3", "t30"], "*"), Questions::default());
        for _ in 0..2 {
            for number in 0..100 {
                let name = format!("t{number}");
                let host = "10.0.0.1".parse().unwrap();
                let answer =
                    questions.allows(&rules, &Principal::ANONYMOUS, host, Operation::Write, ResourceType::Topic, &name);
                assert_eq!(answer, number == 3 || number == 30, "{name}");
            }
        }
        assert_eq!(questions.answered.len(), MOST);

        let mut questions = Questions::default();
        for (length, remembered) in [(LONGEST + 1, 0), (LONGEST, 1)] {
            let (host, name) = ("10.0.0.1".parse().unwrap(), "t".repeat(length));
            let answer =
                questions.allows(&rules, &Principal::ANONYMOUS, host, Operation::Write, ResourceType::Topic, &name);
            assert!(!answer && questions.answered.len() == remembered, "{length}");
        }
    }
}
