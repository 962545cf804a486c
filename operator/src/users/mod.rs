//! KafkaUsers: from what is asked for to credentials in Secrets, and what came of it in the status.
//!
//! - [`verifiers`]: what is kept of passwords, in a few Secrets for all users, which brokers read
//! - [`secret`]: a user's own Secret, which its applications mount
//! - `owned`: Secrets that go with what they belong to
//! - [`judge`]: which KafkaUser a principal is, and what its status says
//!
//! A user with a password can log in when its status says Ready. A KafkaUser that is deleted can't log in from the
//! moment on when brokers see that it is gone; its entries are removed here later. Passwords are in Secrets only: no
//! log line, Event or status has one.

pub mod judge;
mod owned;
pub mod secret;
pub mod verifiers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use ottla_crds::{KafkaCluster, KafkaUser, KafkaUserStatus, UserAuthentication, UserAuthenticationType, names};
use ottla_kube::change::why;
use ottla_kube::versions::SetBacks;
use ottla_kube::watch::{of_cluster, watcher};
use ottla_kube::watches::{Told, Watches};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::acting::Acting;
use crate::authorities;
use crate::authorities::inspect::{Asked, is_good};
use crate::authorities::issue::{self, Pair, Subject};
use crate::authorities::secrets::Held;
use crate::authorities::validity::Lifetime;
use crate::clock;
use judge::Outcome;
use verifiers::Shards;

/// How often everything is looked at without a change: Secrets with chosen passwords are not watched.
const LOOK: Duration = Duration::from_secs(30);
/// The pause after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps the credentials of a cluster's users, for ever. Writes only while `acting`. Says each time to `overdue` when
/// the first certificate ends that should have been renewed ([`judge::first_overdue`]); `None`, too, while not acting.
pub async fn run(client: Client, namespace: &str, cluster: &str, mut acting: Acting, overdue: impl Fn(Option<i64>)) {
    let set_backs = SetBacks::default();
    let mut watches = Watches::new(&set_backs);
    let users: Api<KafkaUser> = Api::namespaced(client.clone(), namespace);
    let shown =
        watches.keep((), watcher(Api::namespaced(client.clone(), namespace), of_cluster(cluster), &set_backs), |_| ());
    let mut keeper = Keeper {
        users,
        secrets: Api::namespaced(client.clone(), namespace),
        clusters: Api::namespaced(client, namespace),
        cluster,
        checked: BTreeSet::new(),
    };
    let mut pause = LOOK;
    loop {
        tokio::select! {
            told = watches.next() => match told {
                Some(Told::Events(_) | Told::SetBack) => {}
                None => return,
            },
            () = sleep(pause) => {}
        }
        if !acting.may_write() {
            overdue(None);
        }
        acting.begins().await;
        if !watches.are_complete() {
            continue;
        }
        pause = LOOK;
        let users = shown.state();
        if let Err(error) = keeper.reconcile(&users).await {
            tracing::warn!(error = why(&error), "failed to keep the credentials of users: trying again");
            pause = RETRY;
        }
        overdue(judge::first_overdue(&users, clock::now().0.as_second()));
    }
}

struct Keeper<'a> {
    users: Api<KafkaUser>,
    secrets: Api<Secret>,
    clusters: Api<KafkaCluster>,
    cluster: &'a str,
    /// Users whose verifiers were held against their passwords by this process, and those passwords' hashes.
    checked: BTreeSet<(String, [u8; 32])>,
}

impl Keeper<'_> {
    async fn reconcile(&mut self, users: &[Arc<KafkaUser>]) -> Result<(), kube::Error> {
        let Some(cluster) = self.clusters.get_opt(self.cluster).await? else { return Ok(()) };
        let mut shards = Shards::read(&self.secrets, self.cluster).await?;
        let judged = judge::by_principal(users);
        let mut outcomes: BTreeMap<String, Outcome> = BTreeMap::new();
        let mut kept: BTreeSet<&str> = BTreeSet::new();
        for user in users.iter().filter(|user| user.metadata.deletion_timestamp.is_none()) {
            let outcome = if judged.get(user.principal_name()).is_some_and(|chosen| chosen.uid() == user.uid()) {
                self.keep(user, &cluster, &mut shards, &mut kept).await?
            } else {
                Outcome::Conflict
            };
            outcomes.insert(user.name_any(), outcome);
        }
        shards.retain(&kept);
        shards.keep_salt(&cluster.spec.listeners);
        shards.write(&self.secrets, &cluster).await?;
        let is_by_clients =
            |user: &&Arc<KafkaUser>| user.spec.authentication.as_ref().is_some_and(UserAuthentication::is_by_clients);
        let by_clients = judged.values().copied().filter(is_by_clients).map(|user| user.principal_name()).collect();
        verifiers::keep_by_clients(&self.secrets, &cluster, &by_clients).await?;
        for user in users.iter().filter(|user| user.metadata.deletion_timestamp.is_none()) {
            if let Some(outcome) = outcomes.get(&user.name_any()) {
                self.report(user, outcome).await?;
            }
        }
        Ok(())
    }

    /// Makes the credentials of a user.
    async fn keep<'u>(
        &mut self,
        user: &'u KafkaUser,
        cluster: &KafkaCluster,
        shards: &mut Shards,
        kept: &mut BTreeSet<&'u str>,
    ) -> Result<Outcome, kube::Error> {
        let Some(authentication) = &user.spec.authentication else {
            return Ok(Outcome::Ready { secret: None, certificate: None });
        };
        let own = self.secrets.get_opt(&user.name_any()).await?;
        if own.as_ref().is_some_and(|secret| !secret::is_of(secret, user)) {
            return Ok(Outcome::ForeignSecret);
        }
        let outcome = match authentication.type_ {
            UserAuthenticationType::Scram if authentication.is_by_clients() => self.keep_nothing(own.as_ref()).await?,
            UserAuthenticationType::Tls => self.keep_certificate(user, authentication, own.as_ref(), cluster).await?,
            UserAuthenticationType::Scram => {
                self.keep_password(user, authentication, own.as_ref(), shards, kept).await?
            }
        };
        Ok(match outcome {
            Outcome::Ready { secret, .. } if judge::has_no_mechanism(user, cluster) => Outcome::NotAscii { secret },
            outcome => outcome,
        })
    }

    /// Clients set the user's password, so there is none in a Secret.
    async fn keep_nothing(&self, own: Option<&Secret>) -> Result<Outcome, kube::Error> {
        if let Some(own) = own {
            self.secrets.delete(&own.name_any(), &DeleteParams::default()).await?;
        }
        Ok(Outcome::Ready { secret: None, certificate: None })
    }

    /// Makes the certificate of a user, or a new one when it is due.
    async fn keep_certificate(
        &self,
        user: &KafkaUser,
        authentication: &UserAuthentication,
        own: Option<&Secret>,
        cluster: &KafkaCluster,
    ) -> Result<Outcome, kube::Error> {
        let authority = self.secrets.get_opt(&names::clients_ca(self.cluster)).await?;
        let (Some(authority), Some(cluster_ca)) = (authority.as_ref().and_then(Held::of), self.cluster_ca().await?)
        else {
            return Ok(Outcome::NoAuthority { will_be: cluster.spec.has_authorities() });
        };
        let lifetime = Lifetime::of_user(authentication.validity_days, authentication.renewal_days);
        let (uid, now) = (user.uid().unwrap_or_default(), clock::now().0.as_second());
        let subject = Subject::User { name: user.principal_name(), uid: &uid };
        let cluster_uid = cluster.uid().unwrap_or_default();
        let names = subject.names(&cluster_uid).into_iter().collect();
        let asked = Asked { authority: &authority.issuing.certificate, names: &names, lifetime };
        let present =
            own.and_then(|own| Some((secret::value(own, secret::CERTIFICATE)?, secret::value(own, secret::KEY)?)));
        let pair = match present {
            Some((certificate, key)) if is_good(&certificate, asked, now) => {
                Pair { certificate: certificate.to_string(), key }
            }
            _ => match issue::certificate(&authority.issuing, &cluster_uid, &subject, now, lifetime) {
                Ok(pair) => pair,
                Err(error) => return Ok(Outcome::NotIssued(error.to_string())),
            },
        };
        self.write_secret(user, secret::with_certificate(user, &pair, &authority.trusted(), &cluster_ca), own).await?;
        let certificate = judge::certificate(&pair.certificate);
        Ok(Outcome::Ready { secret: Some(user.name_any()), certificate })
    }

    /// The authorities of brokers; `None`: they have no certificates.
    async fn cluster_ca(&self) -> Result<Option<String>, kube::Error> {
        let secret = self.secrets.get_opt(&names::cluster_ca_cert(self.cluster)).await?;
        Ok(secret.and_then(|secret| authorities::secrets::text(&secret, names::CA_CERTIFICATE)))
    }

    /// Makes what is kept of the password of a user.
    async fn keep_password<'u>(
        &mut self,
        user: &'u KafkaUser,
        authentication: &UserAuthentication,
        own: Option<&Secret>,
        shards: &mut Shards,
        kept: &mut BTreeSet<&'u str>,
    ) -> Result<Outcome, kube::Error> {
        let chosen = match &authentication.password {
            None => None,
            Some(password) => {
                // A password that clients set is none of the operator's.
                let Some(source) = &password.value_from else {
                    return Ok(Outcome::Ready { secret: None, certificate: None });
                };
                let reference = &source.secret_key_ref;
                let source = self.secrets.get_opt(&reference.name).await?;
                let Some(password) = source.and_then(|source| secret::value(&source, &reference.key)) else {
                    // The password that it has stays good.
                    kept.insert(user.principal_name());
                    return Ok(Outcome::NoPassword { name: reference.name.clone(), key: reference.key.clone() });
                };
                Some(password)
            }
        };
        let present = own.and_then(|secret| secret::value(secret, secret::PASSWORD));
        let password = chosen.or(present).unwrap_or_else(secret::generate);
        let cluster_ca = self.cluster_ca().await?;
        self.write_secret(user, secret::with_password(user, &password, cluster_ca.as_deref()), own).await?;
        kept.insert(user.principal_name());
        let seen = (user.uid().unwrap_or_default(), verifiers::digest(&password));
        if !self.checked.contains(&seen) || !shards.has(user) {
            shards.set(user, &password);
            self.checked.retain(|(uid, _)| *uid != seen.0);
            self.checked.insert(seen);
        }
        Ok(Outcome::Ready { secret: Some(user.name_any()), certificate: None })
    }

    /// Writes a user's Secret, if it changes. What the user does not need any more goes.
    async fn write_secret(&self, user: &KafkaUser, secret: Secret, own: Option<&Secret>) -> Result<(), kube::Error> {
        let Some(own) = own else {
            self.secrets.create(&PostParams::default(), &secret).await?;
            return Ok(());
        };
        let (wanted, present) = (secret.data.unwrap_or_default(), own.data.clone().unwrap_or_default());
        if wanted != present {
            let gone = present.keys().filter(|key| !wanted.contains_key(*key)).map(|key| (&**key, Value::Null));
            let data: BTreeMap<&str, Value> =
                wanted.iter().map(|(key, value)| (&**key, json!(value))).chain(gone).collect();
            let patch = Patch::Merge(json!({ "data": data }));
            self.secrets.patch(&user.name_any(), &PatchParams::default(), &patch).await?;
        }
        Ok(())
    }

    /// Writes the status, if it changes.
    async fn report(&self, user: &KafkaUser, outcome: &Outcome) -> Result<(), kube::Error> {
        let status: KafkaUserStatus = judge::status(user, outcome, &clock::now());
        if user.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let patch = json!({ "status": status });
        self.users.patch_status(&user.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }
}
