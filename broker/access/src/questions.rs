//! What a connection asks of the authorizer with each request, and was answered by the same rules before.
//!
//! A question takes a tenth of a microsecond where its tables are in the processor's cache. Between requests they are
//! not: then it takes a microsecond, one in twenty of a small Produce. What a connection remembers lies beside the rest
//! of its state. Always: an answer is used only for the same question about the same rules.

use std::net::IpAddr;
use std::sync::{Arc, Weak};

use ottla_wire::Str;

use crate::{Authorizer, Operation, Principal, Question, ResourceType};

/// So many are remembered, the first: a client that uses more topics asks again for the others.
const MOST: usize = 8;
/// No longer name is remembered, in bytes. Topics have none; a client may ask for any.
const LONGEST: usize = 249;

/// The questions of one connection.
#[derive(Debug, Default)]
pub struct Questions {
    /// The rules by which they were answered. Weak, so that an idle connection keeps no former ones in memory; their
    /// address is nobody else's meanwhile.
    rules: Weak<Authorizer>,
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
    /// What [`Authorizer::allows`] says.
    pub fn allows(&mut self, rules: &Arc<Authorizer>, question: Question<'_>) -> bool {
        if !std::ptr::eq(self.rules.as_ptr(), Arc::as_ptr(rules)) {
            (self.rules, self.answered) = (Arc::downgrade(rules), Vec::new());
        }
        if let Some(known) = self.answered.iter().find(|known| known.is(question)) {
            return known.is_allowed;
        }
        let is_allowed = rules.allows(question);
        if self.answered.len() < MOST && question.name.len() <= LONGEST {
            self.answered.push(Answered::new(question, is_allowed));
        }
        is_allowed
    }
}

impl Answered {
    fn new(question: Question<'_>, is_allowed: bool) -> Answered {
        let Question { principal, host, operation, kind, name } = question;
        Answered { principal: principal.clone(), host, operation, kind, name: name.into(), is_allowed }
    }

    fn is(&self, question: Question<'_>) -> bool {
        let Question { principal, host, operation, kind, name } = question;
        (self.operation, self.kind, self.host) == (operation, kind, host)
            && self.name == name
            && self.principal == *principal
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::{Acl, AclHost, AclOperation, PatternType, Permission};

    /// Everybody may write to these topics from this host.
    fn rules(topics: &[&str], host: &str) -> Arc<Authorizer> {
        let acl = |topic: &&str| Acl {
            kind: ResourceType::Topic,
            pattern: PatternType::Literal,
            name: (*topic).into(),
            principal: Principal::new("*"),
            host: AclHost::new(host),
            operation: AclOperation::One(Operation::Write),
            permission: Permission::Allow,
        };
        Arc::new(Authorizer::new([], false, topics.iter().map(acl)))
    }

    #[test]
    fn an_answer_is_used_for_the_same_question_about_the_same_rules_only() {
        let (ann, bob) = (&Principal::new("ann"), &Principal::new("bob"));
        let (here, there): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let known =
            Question { principal: ann, host: here, operation: Operation::Write, kind: ResourceType::Topic, name: "t" };
        let mut questions = Questions::default();
        let first = rules(&["t"], "10.0.0.1");
        for _ in 0..2 {
            for (question, expected) in [
                (known, true),
                (Question { principal: bob, ..known }, true),
                (Question { host: there, ..known }, false),
                (Question { operation: Operation::Read, ..known }, false),
                (Question { kind: ResourceType::Group, ..known }, false),
                (Question { name: "u", ..known }, false),
            ] {
                assert_eq!(questions.allows(&first, question), expected, "{question:?}");
            }
        }
        assert_eq!(questions.answered.len(), 6);

        let former = Arc::downgrade(&first);
        drop(first);
        assert!(former.upgrade().is_none(), "nobody keeps former rules");
        for _ in 0..2 {
            let later = rules(&["u"], "*");
            assert!(!questions.allows(&later, known));
            assert!(questions.allows(&later, Question { name: "u", ..known }));
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let principal = &Principal::ANONYMOUS;
        let (host, operation, kind) = ("10.0.0.1".parse().unwrap(), Operation::Write, ResourceType::Topic);
        let (rules, mut questions) = (rules(&["t3", "t30"], "*"), Questions::default());
        for _ in 0..2 {
            for number in 0..100 {
                let name = &format!("t{number}");
                let answer = questions.allows(&rules, Question { principal, host, operation, kind, name });
                assert_eq!(answer, number == 3 || number == 30, "{name}");
            }
        }
        assert_eq!(questions.answered.len(), MOST);

        let mut questions = Questions::default();
        for (length, remembered) in [(LONGEST + 1, 0), (LONGEST, 1)] {
            let name = &"t".repeat(length);
            let answer = questions.allows(&rules, Question { principal, host, operation, kind, name });
            assert!(!answer && questions.answered.len() == remembered, "{length}");
        }
    }
}
