//! From objects to who may connect, do what, and how much: a pure function.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytestring::ByteString as Str;
use ottla_access::quotas::rules::{Entity, Name, QuotaRules, Quotas};
use ottla_access::sasl::{Credentials, Mechanism, User};
use ottla_access::{Access, Authentication, Authorizer, ListenerAccess, Listeners, Principal};
use ottla_crds::{KafkaCluster, KafkaUser, Listener, ListenerAuthenticationType, names};

use super::users::KnownUsers;

/// Who may connect to the brokers of `cluster`, do what, and how much.
pub fn access(cluster: &KafkaCluster, known: &KnownUsers) -> Access {
    let users = by_principal(known);
    Access {
        listeners: listeners(&cluster.spec.listeners),
        credentials: credentials(&users, known),
        authorizer: cluster.spec.authorization.as_ref().map(|authorization| {
            let super_users = authorization.super_users.iter().map(|name| Principal::new(&**name));
            // The ACLs of KafkaUsers are not compiled yet: until then only super users may do anything.
            Authorizer::new(super_users, authorization.allow_everyone_if_no_acl_found, [])
        }),
        quotas: quotas(cluster, &users),
    }
}

/// The KafkaUser of each principal: of two the older, as the operator says, too.
fn by_principal(known: &KnownUsers) -> BTreeMap<&str, &KafkaUser> {
    let mut users: Vec<&KafkaUser> = known.users.values().map(|user| &**user).collect();
    users.sort_by_key(|user| (user.metadata.creation_timestamp.clone(), user.metadata.uid.clone()));
    users.reverse(); // the last of a name wins
    let is_there = |user: &&KafkaUser| user.metadata.deletion_timestamp.is_none();
    users.into_iter().filter(is_there).map(|user| (user.principal_name(), user)).collect()
}

fn listeners(listeners: &[Listener]) -> Listeners {
    let mut named: BTreeMap<Str, ListenerAccess> =
        listeners.iter().map(|listener| (Str::from(&*listener.name), listener_access(listener))).collect();
    let brokers = ListenerAccess { tls: true, authentication: Authentication::Brokers };
    named.insert(Str::from_static(names::REPLICATION_LISTENER), brokers);
    Listeners::Named(named)
}

fn listener_access(listener: &Listener) -> ListenerAccess {
    let mut mechanisms = Vec::new();
    let mut by_certificate = false;
    for authentication in &listener.authentication {
        match authentication.type_ {
            ListenerAuthenticationType::ScramSha256 => mechanisms.push(Mechanism::ScramSha256),
            ListenerAuthenticationType::ScramSha512 => mechanisms.push(Mechanism::ScramSha512),
            ListenerAuthenticationType::Plain => mechanisms.push(Mechanism::Plain),
            ListenerAuthenticationType::Oauthbearer => mechanisms.push(Mechanism::OAuthBearer),
            ListenerAuthenticationType::Tls => by_certificate = true,
        }
    }
    let authentication = match () {
        () if by_certificate => Authentication::Certificate,
        () if !listener.authentication.is_empty() => Authentication::Sasl(mechanisms),
        () => Authentication::None,
    };
    ListenerAccess { tls: listener.tls.is_some(), authentication }
}

/// The users, and what is kept of their passwords if it is of the same KafkaUser.
fn credentials(users: &BTreeMap<&str, &KafkaUser>, known: &KnownUsers) -> Credentials {
    let passwords: BTreeMap<&str, &Arc<User>> =
        known.passwords.values().flatten().map(|(name, user)| (&**name, user)).collect();
    let user = |(name, user): (&&str, &&KafkaUser)| {
        let uid = user.metadata.uid.clone().unwrap_or_default();
        let kept = passwords.get(name).filter(|kept| kept.uid == uid && user.spec.authentication.is_some());
        let user = kept.map_or_else(|| Arc::new(User { uid, sha256: None, sha512: None }), |kept| (*kept).clone());
        (Str::from(*name), user)
    };
    Credentials::new(users.iter().map(user), known.salt.clone())
}

fn quotas(cluster: &KafkaCluster, users: &BTreeMap<&str, &KafkaUser>) -> QuotaRules {
    let mut rules = QuotaRules::default();
    let named = |name: &str| if name == "*" { Name::Any } else { Name::Is(Str::from(name)) };
    for (name, user) in users {
        let Some(quotas) = &user.spec.quotas else { continue };
        rules.set(Entity::User(named(name)), of(&quotas.all));
        for client in &quotas.clients {
            rules.set(Entity::UserAndClient(named(name), named(&client.client_id)), of(&client.quotas));
        }
    }
    if let Some(quotas) = &cluster.spec.quotas {
        for client in &quotas.clients {
            rules.set(Entity::Client(named(&client.client_id)), of(&client.quotas));
        }
        for quota in &quotas.ips {
            let rate = f64::from(quota.connection_creation_rate);
            match quota.ip.parse::<IpAddr>() {
                Ok(address) => rules.set_connection_rate(Some(address), rate),
                Err(_) if quota.ip == "*" => rules.set_connection_rate(None, rate),
                Err(_) => tracing::warn!(ip = quota.ip, "ignored a quota of what is no address"),
            }
        }
    }
    rules
}

fn of(quotas: &ottla_crds::Quotas) -> Quotas {
    let whole = |rate: i64| rate as f64;
    Quotas {
        producer_byte_rate: quotas.producer_byte_rate.map(whole),
        consumer_byte_rate: quotas.consumer_byte_rate.map(whole),
        request_percentage: quotas.request_percentage,
        controller_mutation_rate: quotas.controller_mutation_rate,
    }
}
