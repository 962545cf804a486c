//! What auditors read besides denials: who changes what, a line for each change, on the target `ottla::audit`.
//!
//! The line says what is asked for; a later line of the log, or the object, says whether it was done. Names come from
//! clients: they are quoted, so that nobody writes a line of somebody else's.

use ottla_wire::{ApiKey, Str};
use uuid::Uuid;

use super::client::Peer;
use super::context::Context;
use crate::ask::{Ask, PasswordChange, Whose};
use crate::loggers::AUDIT;

impl Context {
    /// Logs what the client changes.
    pub fn audit(&self, change: &str) {
        write(&self.peer, self.api, change);
    }

    /// Logs what the client changes in the cluster's objects.
    pub(super) fn audit_ask(&self, ask: &Ask) {
        let topic = |id: &Uuid| self.image.topics.get(id).map(|topic| topic.name.clone());
        changes(ask, topic).iter().for_each(|change| self.audit(change));
    }
}

fn write(peer: &Peer, api: ApiKey, change: &str) {
    // A text is quoted where it is printed; what is only displayed is not.
    let principal = peer.principal.to_string();
    tracing::info!(target: AUDIT, principal, host = %peer.address.ip(), ?api, "{change}");
}

/// The changes in words; none of what brokers ask for on their own account.
fn changes(ask: &Ask, name: impl Fn(&Uuid) -> Option<Str>) -> Vec<String> {
    let topic = |id: &Uuid| name(id).map_or_else(|| id.to_string(), |name| format!("{name:?}"));
    match ask {
        Ask::CreateTopic { topic, .. } => vec![format!("creates the topic {:?}", topic.name)],
        Ask::DeleteTopic { topic_id, .. } => vec![format!("deletes the topic {}", topic(topic_id))],
        Ask::CreatePartitions { topic_id, count, .. } => {
            vec![format!("gives the topic {} {count} partitions", topic(topic_id))]
        }
        Ask::Move { topic_id, targets, .. } => {
            vec![format!("moves partitions of the topic {} to {targets:?}", topic(topic_id))]
        }
        Ask::ElectPreferred { topic_id, partitions, .. } => {
            vec![format!("has preferred replicas lead partitions {partitions:?} of the topic {}", topic(topic_id))]
        }
        Ask::SetTopicConfig { topic_id, to, .. } => {
            vec![format!("sets the settings of the topic {} to {to:?}", topic(topic_id))]
        }
        Ask::SetClusterConfig { whose, to, .. } => {
            let whose = match whose {
                Whose::All => "all brokers".to_owned(),
                Whose::Own => "this broker".to_owned(),
                Whose::Group(group) => format!("the group {group:?}"),
            };
            vec![format!("sets the settings of {whose} to {to:?}")]
        }
        Ask::ChangeAcls { add, remove, .. } => {
            let added = add.iter().map(|acl| format!("creates an ACL: {acl:?}"));
            added.chain(remove.iter().map(|acl| format!("deletes an ACL: {acl:?}"))).collect()
        }
        Ask::ChangeQuotas { changes, .. } => {
            changes.iter().map(|change| format!("changes quotas: {change:?}")).collect()
        }
        Ask::ChangePasswords { changes, .. } => {
            let line = |PasswordChange { user, hash, verifier }: &PasswordChange| {
                let does = if verifier.is_some() { "sets" } else { "removes" };
                format!("{does} the password of the user {user:?} for {hash:?}")
            };
            changes.iter().map(line).collect()
        }
        Ask::ChangeIsr { .. }
        | Ask::Report { .. }
        | Ask::Removed { .. }
        | Ask::MovedAway { .. }
        | Ask::ProducerIds { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ottla_access::Principal;
    use ottla_access::sasl::{Hash, Verifier};
    use tokio::sync::oneshot;

    use super::*;
    use crate::ask::NewTopic;
    use crate::loggers::captured::Captured;

    #[test]
    fn nobody_is_somebody_else_in_a_line() {
        let mut peer = Peer::new(([10, 0, 0, 1], 4711).into(), "apps".into());
        peer.principal = Principal::new("eve\n2026-11-25T00:00:00Z INFO ottla::audit: principal=\"User:admin\" denied");
        let log = Captured::default();
        tracing::subscriber::with_default(log.printing("info"), || {
            write(&peer, ApiKey::DeleteTopics, "deletes the topic \"t\"");
        });
        assert_eq!(log.text().lines().count(), 1, "{}", log.text());
        assert!(log.text().contains(r#"principal="User:eve\n2026"#), "{}", log.text());
    }

    #[test]
    fn a_line_says_what_changes_and_neither_secrets_nor_lines_of_others() {
        let said = |ask: Ask| changes(&ask, |_| None);
        let topic = NewTopic { name: "t\nUser:admin deletes".into(), ..NewTopic::default() };
        let create = Ask::CreateTopic { topic, answer: oneshot::channel().0 };
        assert_eq!(said(create), [r#"creates the topic "t\nUser:admin deletes""#]);
        let unknown = Ask::DeleteTopic { topic_id: Uuid::from_u128(7), answer: oneshot::channel().0 };
        assert_eq!(said(unknown), ["deletes the topic 00000000-0000-0000-0000-000000000007"]);
        let to = BTreeMap::from([("consumer.session.timeout.ms".to_owned(), "50000".to_owned())]);
        let whose = Whose::Group("g".into());
        let settings = Ask::SetClusterConfig { whose, from: BTreeMap::new(), to, answer: oneshot::channel().0 };
        assert_eq!(
            said(settings),
            [r#"sets the settings of the group "g" to {"consumer.session.timeout.ms": "50000"}"#]
        );
        let verifier = Verifier::of_password(Hash::Sha256, b"secret", b"salt".to_vec(), 4096).ok();
        let set = PasswordChange { user: "ada".into(), hash: Hash::Sha256, verifier };
        let remove = PasswordChange { verifier: None, ..set.clone() };
        let passwords = Ask::ChangePasswords { changes: vec![set, remove], answer: oneshot::channel().0 };
        let expected = ["sets", "removes"].map(|does| format!(r#"{does} the password of the user "ada" for Sha256"#));
        assert_eq!(said(passwords), expected);
        assert!(said(Ask::ProducerIds { answer: oneshot::channel().0 }).is_empty());
    }
}
