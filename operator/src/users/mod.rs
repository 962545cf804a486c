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
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use ottla_crds::{KafkaCluster, KafkaUser, KafkaUserStatus, UserAuthenticationType};
use ottla_kube::change::why;
use ottla_kube::versions::SetBacks;
use ottla_kube::watch::{of_cluster, watcher};
use ottla_kube::watches::{Told, Watches};
use serde_json::json;
use tokio::time::sleep;

use crate::acting::Acting;
use crate::clock;
use judge::Outcome;
use verifiers::Shards;

/// How often everything is looked at without a change: Secrets with chosen passwords are not watched.
const LOOK: Duration = Duration::from_secs(30);
/// The pause after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps the credentials of a cluster's users, for ever. Writes only while `acting`.
pub async fn run(client: Client, namespace: &str, cluster: &str, mut acting: Acting) {
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
        acting.begins().await;
        if !watches.are_complete() {
            continue;
        }
        pause = LOOK;
        if let Err(error) = keeper.reconcile(&shown.state()).await {
            tracing::warn!(cluster, error = why(&error), "failed to keep the credentials of users: trying again");
            pause = RETRY;
        }
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
                self.keep(user, &mut shards, &mut kept).await?
            } else {
                Outcome::Conflict
            };
            outcomes.insert(user.name_any(), outcome);
        }
        shards.retain(&kept);
        shards.write(&self.secrets, &cluster).await?;
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
        shards: &mut Shards,
        kept: &mut BTreeSet<&'u str>,
    ) -> Result<Outcome, kube::Error> {
        let Some(authentication) = &user.spec.authentication else { return Ok(Outcome::Ready { secret: None }) };
        match authentication.type_ {
            UserAuthenticationType::Tls => return Ok(Outcome::NotServed),
            UserAuthenticationType::Scram => {}
        }
        let own = self.secrets.get_opt(&user.name_any()).await?;
        if own.as_ref().is_some_and(|secret| !secret::is_of(secret, user)) {
            return Ok(Outcome::ForeignSecret);
        }
        let chosen = match &authentication.password {
            None => None,
            Some(password) => {
                let reference = &password.value_from.secret_key_ref;
                let source = self.secrets.get_opt(&reference.name).await?;
                let Some(password) = source.and_then(|source| secret::value(&source, &reference.key)) else {
                    // The password that it has stays good.
                    kept.insert(user.principal_name());
                    return Ok(Outcome::NoPassword { name: reference.name.clone(), key: reference.key.clone() });
                };
                Some(password)
            }
        };
        let present = own.as_ref().and_then(|secret| secret::value(secret, secret::PASSWORD));
        let password = chosen.or_else(|| present.clone()).unwrap_or_else(secret::generate);
        if present.as_ref() != Some(&password) {
            self.write_secret(user, secret::wanted(user, &password), own.is_some()).await?;
        }
        kept.insert(user.principal_name());
        let seen = (user.uid().unwrap_or_default(), verifiers::digest(&password));
        if !self.checked.contains(&seen) || !shards.has(user) {
            shards.set(user, &password);
            self.checked.retain(|(uid, _)| *uid != seen.0);
            self.checked.insert(seen);
        }
        Ok(Outcome::Ready { secret: Some(user.name_any()) })
    }

    async fn write_secret(&self, user: &KafkaUser, secret: Secret, exists: bool) -> Result<(), kube::Error> {
        if exists {
            let patch = json!({ "data": secret.data });
            self.secrets.patch(&user.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?;
        } else {
            self.secrets.create(&PostParams::default(), &secret).await?;
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
