//! Which KafkaUser a principal is, and what its status says: functions of values.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use ottla_crds::{
    CertificateStatus, KafkaCluster, KafkaUser, KafkaUserStatus, ListenerAuthenticationType, UserAuthenticationType,
};

use crate::authorities::inspect;
use crate::authorities::validity::{Lifetime, Validity};

/// What came of a KafkaUser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserVerdict {
    /// It can be used.
    Ready {
        /// Its Secret; `None`: it needs none.
        secret: Option<String>,
        /// Its certificate; `None`: it has none.
        certificate: Option<CertificateStatus>,
    },
    /// An older KafkaUser has the same principal.
    Conflict,
    /// A Secret of its name exists that is not its own.
    ForeignSecret,
    /// The Secret with its password, or the key in it, does not exist.
    NoPassword {
        /// The Secret's name.
        name: String,
        /// The key.
        key: String,
    },
    /// Nothing can issue its certificate.
    NoAuthority {
        /// Whether the cluster gets authorities in a moment.
        will_be: bool,
    },
    /// Its certificate could not be made.
    NotIssued(String),
    /// It has a password, and no listener has a mechanism that takes its name.
    NotAscii {
        /// Its Secret; `None`: clients set its password.
        secret: Option<String>,
    },
}

impl UserVerdict {
    /// The condition that tools read of any kind, and that exists only while it is True: `Stalled` needs a person, who
    /// changes an object that exists; `Reconciling` waits for what may come. `None`: neither.
    fn standard(&self) -> Option<&'static str> {
        match self {
            UserVerdict::Ready { .. } => None,
            UserVerdict::Conflict
            | UserVerdict::ForeignSecret
            | UserVerdict::NoAuthority { will_be: false }
            | UserVerdict::NotIssued(_)
            | UserVerdict::NotAscii { .. } => Some("Stalled"),
            UserVerdict::NoPassword { .. } | UserVerdict::NoAuthority { will_be: true } => Some("Reconciling"),
        }
    }
}

/// The KafkaUser of each principal: of two the older.
pub fn by_principal(users: &[Arc<KafkaUser>]) -> BTreeMap<&str, &Arc<KafkaUser>> {
    let mut users: Vec<_> = users.iter().filter(|user| user.metadata.deletion_timestamp.is_none()).collect();
    users.sort_by_key(|user| (user.metadata.creation_timestamp.clone(), user.metadata.uid.clone()));
    users.reverse(); // the last of a name wins
    users.into_iter().map(|user| (user.principal_name(), user)).collect()
}

/// Whether the status says that another KafkaUser has the principal, or that a Secret is somebody else's.
pub fn is_in_conflict(status: &KafkaUserStatus) -> bool {
    status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.reason == "Conflict")
}

/// What the status says of a certificate; `None`: the certificate can't be read.
pub fn certificate(pem: &str) -> Option<CertificateStatus> {
    let not_after = Timestamp::from_second(Validity::of_pem(pem)?.not_after).ok()?.to_string();
    Some(CertificateStatus { serial: inspect::serial(pem)?, not_after })
}

/// Whether the user has a password, and no listener takes its name: SCRAM takes names of ASCII characters, PLAIN any.
pub fn has_no_mechanism(user: &KafkaUser, cluster: &KafkaCluster) -> bool {
    let has_password = user.spec.authentication.as_ref().is_some_and(|by| by.type_ == UserAuthenticationType::Scram);
    let mut ways = cluster.spec.listeners.iter().flat_map(|listener| &listener.authentication);
    has_password && !user.principal_name().is_ascii() && !ways.any(|way| way.type_ == ListenerAuthenticationType::Plain)
}

/// End of the earliest certificate whose renewal is overdue, in seconds since 1970; `None`: there is none.
pub fn first_overdue(users: &[Arc<KafkaUser>], now: i64) -> Option<i64> {
    let overdue = |user: &Arc<KafkaUser>| {
        let by = user.spec.authentication.as_ref().filter(|by| by.type_ == UserAuthenticationType::Tls)?;
        let certificate = user.status.as_ref()?.certificate.as_ref()?;
        let not_after = certificate.not_after.parse::<Timestamp>().ok()?.as_second();
        let lifetime = Lifetime::of_user(by.validity_days, by.renewal_days);
        (now >= not_after - lifetime.renewal).then_some(not_after)
    };
    users.iter().filter(|user| user.metadata.deletion_timestamp.is_none()).filter_map(overdue).min()
}

/// The status after `outcome`. The times of conditions that do not change stay.
pub fn status(user: &KafkaUser, outcome: &UserVerdict, now: &Time) -> KafkaUserStatus {
    let name = user.metadata.name.as_deref().unwrap_or_default();
    let (ready, reason, message) = match outcome {
        UserVerdict::Ready { .. } => ("True", "Ready", String::new()),
        UserVerdict::Conflict => (
            "False",
            "Conflict",
            format!(
                "an older KafkaUser has the principal User:{}, so this one has no effect: delete one of them",
                user.principal_name()
            ),
        ),
        UserVerdict::ForeignSecret => (
            "False",
            "Conflict",
            format!(
                "the Secret \"{name}\" exists and does not belong to this user, so it was not changed and the user can \
                not log in: delete the Secret, or give the user another name"
            ),
        ),
        UserVerdict::NoPassword { name, key } => (
            "False",
            "PasswordMissing",
            format!("the Secret \"{name}\" has no key \"{key}\", where this user's password should be: add the key"),
        ),
        UserVerdict::NoAuthority { will_be: true } => {
            ("False", "AuthorityMissing", "the authority of the cluster's users is being made".to_owned())
        }
        UserVerdict::NoAuthority { will_be: false } => (
            "False",
            "AuthorityMissing",
            "the KafkaCluster has no authorities that could issue a certificate: give a listener tls: {}".to_owned(),
        ),
        UserVerdict::NotIssued(error) => {
            ("False", "NotIssued", format!("failed to make the user's certificate: {error}"))
        }
        UserVerdict::NotAscii { .. } => (
            "False",
            "NotAscii",
            format!(
                "the principal's name \"{}\" has non-ASCII characters, which SCRAM does not take, and no listener \
                 has plain: the user can not log in. Create a KafkaUser with another principalName, or add plain to a listener",
                user.principal_name()
            ),
        ),
    };
    let before = user.status.as_ref();
    let condition = |type_: &str, status: &str| {
        let old = before.and_then(|status| status.conditions.iter().find(|condition| condition.type_ == type_));
        let since = old.filter(|old| old.status == status).map(|old| old.last_transition_time.clone());
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.clone(),
            last_transition_time: since.unwrap_or_else(|| now.clone()),
            observed_generation: user.metadata.generation,
        }
    };
    let standard = outcome.standard().map(|type_| condition(type_, "True"));
    let (secret, certificate) = match outcome {
        UserVerdict::Ready { secret, certificate } => (secret.clone(), certificate.clone()),
        UserVerdict::NotAscii { secret } => (secret.clone(), None),
        // It has what it had before.
        UserVerdict::NoPassword { .. } | UserVerdict::NoAuthority { .. } | UserVerdict::NotIssued(_) => {
            before.map(|status| (status.secret.clone(), status.certificate.clone())).unwrap_or_default()
        }
        UserVerdict::Conflict | UserVerdict::ForeignSecret => (None, None),
    };
    KafkaUserStatus {
        observed_generation: user.metadata.generation,
        principal: Some(format!("User:{}", user.principal_name())),
        secret,
        certificate,
        conditions: [condition("Ready", ready)].into_iter().chain(standard).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn user(name: &str, created: &str, spec: Value) -> Arc<KafkaUser> {
        let metadata = json!({ "name": name, "uid": name, "creationTimestamp": created, "generation": 2 });
        let mut object = json!({ "apiVersion": "ottla.io/v1alpha1", "kind": "KafkaUser", "metadata": metadata });
        object["spec"] = spec;
        object["spec"]["clusterRef"] = json!({ "name": "prod" });
        Arc::new(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn of_two_users_of_one_principal_the_older_is_meant() {
        let older = user("older", "2026-01-01T00:00:00Z", json!({ "principalName": "orders" }));
        let newer = user("orders", "2026-01-02T00:00:00Z", json!({}));
        for users in [[older.clone(), newer.clone()], [newer, older]] {
            assert_eq!(by_principal(&users)["orders"].metadata.name.as_deref(), Some("older"));
        }
    }

    #[test]
    fn a_certificate_that_is_not_renewed_when_it_is_due_is_overdue_until_it_ends() {
        let with = |name: &str, authentication: Value, not_after: &str| {
            let created = "2026-01-01T00:00:00Z";
            let mut user = KafkaUser::clone(&user(name, created, json!({ "authentication": authentication })));
            let certificate = CertificateStatus { serial: "1".to_owned(), not_after: not_after.to_owned() };
            user.status = Some(KafkaUserStatus { certificate: Some(certificate), ..KafkaUserStatus::default() });
            Arc::new(user)
        };
        let (march, june) = ("2026-03-01T00:00:00Z", "2026-06-01T00:00:00Z");
        let users = [
            with("short", json!({ "type": "tls", "validityDays": 6 }), march),
            with("year", json!({ "type": "tls", "renewalDays": 10 }), june),
            // What is left in the status of a user that has another credential now.
            with("scram", json!({ "type": "scram" }), march),
        ];
        let second = |text: &str| text.parse::<Timestamp>().unwrap().as_second();
        for (now, expected) in [
            ("2026-02-26T23:59:59Z", None),
            ("2026-02-27T00:00:00Z", Some(march)),
            ("2026-05-22T00:00:00Z", Some(march)),
        ] {
            assert_eq!(first_overdue(&users, second(now)), expected.map(second), "{now}");
        }
        assert_eq!(first_overdue(&users[1..], second("2026-05-22T00:00:00Z")), Some(second(june)));
        assert_eq!(first_overdue(&users[1..], second("2026-05-21T23:59:59Z")), None);
    }

    #[test]
    fn the_status_says_what_to_do_and_keeps_the_time_of_what_has_not_changed() {
        let now = |seconds| Time(Timestamp::from_second(seconds).unwrap());
        let mut orders = KafkaUser::clone(&user("orders", "2026-01-01T00:00:00Z", json!({})));
        let missing = UserVerdict::NoPassword { name: "pw".to_owned(), key: "password".to_owned() };
        let first = status(&orders, &missing, &now(1));
        assert_eq!(first.principal.as_deref(), Some("User:orders"));
        let message = "the Secret \"pw\" has no key \"password\", where this user's password should be: add the key";
        assert_eq!((first.conditions[0].status.as_str(), first.conditions[0].message.as_str()), ("False", message));
        orders.status = Some(first.clone());
        assert_eq!(status(&orders, &missing, &now(2)), first);
        let ready =
            status(&orders, &UserVerdict::Ready { secret: Some("orders".to_owned()), certificate: None }, &now(3));
        assert_eq!((ready.secret.as_deref(), &ready.conditions[0].last_transition_time), (Some("orders"), &now(3)));
    }

    #[test]
    fn a_name_that_is_not_of_ascii_needs_a_listener_with_plain() {
        let cluster = |ways: Value| -> KafkaCluster {
            let listener = json!({ "name": "apps", "port": 9094, "tls": {}, "authentication": ways });
            let spec = json!({ "brokers": {}, "listeners": [listener] });
            serde_json::from_value(json!({
                "apiVersion": "ottla.io/v1alpha1", "kind": "KafkaCluster", "metadata": { "name": "prod" }, "spec": spec
            }))
            .unwrap()
        };
        let scram = cluster(json!([{ "type": "scram-sha-512" }]));
        let both = cluster(json!([{ "type": "scram-sha-512" }, { "type": "plain" }]));
        let named = |name: &str, by: &str| {
            user("orders", "2026-01-01T00:00:00Z", json!({ "principalName": name, "authentication": { "type": by } }))
        };
        assert!(has_no_mechanism(&named("jürgen", "scram"), &scram));
        assert!(!has_no_mechanism(&named("jürgen", "scram"), &both));
        assert!(!has_no_mechanism(&named("jürgen", "tls"), &scram));
        assert!(!has_no_mechanism(&named("juergen", "scram"), &scram));
        let outcome = UserVerdict::NotAscii { secret: Some("orders".to_owned()) };
        let status = status(&named("jürgen", "scram"), &outcome, &Time(Timestamp::UNIX_EPOCH));
        assert_eq!(status.secret.as_deref(), Some("orders"));
        assert!(
            status.conditions[0].message.contains("\"jürgen\" has non-ASCII characters"),
            "{:?}",
            status.conditions
        );
    }

    #[test]
    fn a_user_that_needs_a_person_is_stalled_and_one_that_waits_is_not() {
        let orders = user("orders", "2026-01-01T00:00:00Z", json!({}));
        let missing = UserVerdict::NoPassword { name: "pw".to_owned(), key: "password".to_owned() };
        for (outcome, expected) in [
            (UserVerdict::Ready { secret: None, certificate: None }, vec!["Ready"]),
            (UserVerdict::Conflict, vec!["Ready", "Stalled"]),
            (UserVerdict::ForeignSecret, vec!["Ready", "Stalled"]),
            (missing, vec!["Ready", "Reconciling"]),
            (UserVerdict::NoAuthority { will_be: true }, vec!["Ready", "Reconciling"]),
            (UserVerdict::NoAuthority { will_be: false }, vec!["Ready", "Stalled"]),
            (UserVerdict::NotIssued("too long".to_owned()), vec!["Ready", "Stalled"]),
            (UserVerdict::NotAscii { secret: None }, vec!["Ready", "Stalled"]),
        ] {
            let status = status(&orders, &outcome, &Time(Timestamp::UNIX_EPOCH));
            let types: Vec<&str> = status.conditions.iter().map(|condition| &*condition.type_).collect();
            assert_eq!(types, expected, "{outcome:?}");
            let messages = status.conditions.iter().map(|condition| &condition.message);
            assert!(messages.clone().all(|message| Some(message) == messages.clone().next()));
        }
    }
}
