//! From objects to who may connect, do what, and how much: a pure function.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytestring::ByteString as Str;
use kube::ResourceExt;
use ottla_access::sasl::{self, Credentials, Issuers, Keys, Mechanism, User};
use ottla_access::{Access, Authentication, Authorizer, ListenerAccess, Listeners, MappingRules, Principal};
use ottla_crds::{
    Issuer, KafkaCluster, KafkaUser, Listener, ListenerAuthentication, ListenerAuthenticationType, UserAuthentication,
    UserAuthenticationType, names,
};

use super::users::KnownUsers;
use super::{acls, quotas};

/// Who may connect to the brokers of `cluster`, do what, and how much.
pub(super) fn access(cluster: &KafkaCluster, known: &KnownUsers) -> Access {
    let users = acls::by_principal(known.users.values().map(|user| &**user));
    Access {
        listeners: listeners(&cluster.spec.listeners, known),
        credentials: credentials(&cluster.name_any(), &users, known),
        authorizer: cluster.spec.authorization.as_ref().map(|authorization| {
            let super_users = authorization.super_users.iter().map(|name| Principal::new(&**name));
            let acls = users.iter().flat_map(|(name, user)| acls::of_user(name, user));
            Arc::new(Authorizer::new(super_users, authorization.allow_everyone_if_no_acl_found, acls))
        }),
        quotas: quotas::rules(cluster, &users),
    }
}

fn listeners(listeners: &[Listener], known: &KnownUsers) -> Listeners {
    let mut named: BTreeMap<Str, ListenerAccess> =
        listeners.iter().map(|listener| (Str::from(&*listener.name), listener_access(listener, known))).collect();
    let brokers = ListenerAccess { tls: true, authentication: Authentication::Brokers };
    named.insert(Str::from_static(names::REPLICATION_LISTENER), brokers);
    Listeners::Named(named)
}

fn listener_access(listener: &Listener, known: &KnownUsers) -> ListenerAccess {
    let mut mechanisms = Vec::new();
    let mut issuers = Issuers::default();
    let mut by_certificate = None;
    for authentication in &listener.authentication {
        match authentication.type_ {
            ListenerAuthenticationType::ScramSha256 => mechanisms.push(Mechanism::ScramSha256),
            ListenerAuthenticationType::ScramSha512 => mechanisms.push(Mechanism::ScramSha512),
            ListenerAuthenticationType::Plain => mechanisms.push(Mechanism::Plain),
            ListenerAuthenticationType::Oauthbearer => {
                mechanisms.push(Mechanism::OAuthBearer);
                issuers = authentication.issuers.iter().filter_map(|spec| issuer(spec, known)).collect();
            }
            ListenerAuthenticationType::Tls => {
                by_certificate = Some(Authentication::Certificate { rules: mapping_rules(listener, authentication) });
            }
        }
    }
    let authentication = match by_certificate {
        Some(by_certificate) => by_certificate,
        None if !listener.authentication.is_empty() => Authentication::Sasl { mechanisms, issuers },
        None => Authentication::None,
    };
    ListenerAccess { tls: listener.tls.is_some(), authentication }
}

/// The rules for certificates of the listener's own authority. With rules that can't be read nobody but KafkaUsers may
/// connect.
fn mapping_rules(listener: &Listener, authentication: &ListenerAuthentication) -> Option<Arc<MappingRules>> {
    let rules = MappingRules::parse(authentication.principal_mapping_rules.as_deref()?);
    rules.inspect_err(|error| tracing::error!(%error, listener = listener.name, "ignored rules")).ok().map(Arc::new)
}

/// The issuer, once its keys were read.
fn issuer(spec: &Issuer, known: &KnownUsers) -> Option<sasl::Issuer> {
    let kept = known.issuers.get(&spec.entry())?;
    let keys = Keys::parse(&kept.jwks)
        .inspect_err(|error| tracing::error!(%error, entry = spec.entry(), "ignored keys that are no JWKS"))
        .ok()?;
    Some(sasl::Issuer {
        name: spec.issuer.clone().or_else(|| kept.issuer.clone())?,
        audience: spec.audience.clone(),
        principal_claim: spec.principal_claim.clone().unwrap_or_else(|| "sub".to_owned()),
        principal_prefix: spec.principal_prefix.clone().unwrap_or_default(),
        is_kubernetes: spec.kubernetes.is_some(),
        keys,
    })
}

/// The users, and what is kept of their passwords if it is of the same KafkaUser.
fn credentials(cluster: &str, users: &BTreeMap<&str, &KafkaUser>, known: &KnownUsers) -> Credentials {
    let by_clients = names::scram_by_clients(cluster);
    // A user may have left an entry where its password was before.
    let passwords = |name: &str, is_by_clients: bool| {
        let entries = known.passwords.iter().filter(|(secret, _)| (**secret == by_clients) == is_by_clients);
        entries.filter_map(|(_, entries)| entries.get(name)).next()
    };
    let user = |(name, user): (&&str, &&KafkaUser)| {
        let uid = user.metadata.uid.clone().unwrap_or_default();
        let authentication = user.spec.authentication.as_ref();
        let by = authentication.map(|authentication| authentication.type_);
        let kept = passwords(name, authentication.is_some_and(UserAuthentication::is_by_clients))
            .filter(|kept| kept.uid == uid && by == Some(UserAuthenticationType::Scram));
        let has_certificate = by == Some(UserAuthenticationType::Tls);
        let without_password = || Arc::new(User { has_certificate, ..User::new(uid) });
        let user = kept.map_or_else(without_password, Clone::clone);
        (Str::from(*name), user)
    };
    Credentials::new(users.iter().map(user), known.salt.clone())
}
