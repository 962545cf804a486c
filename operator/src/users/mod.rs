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
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use ottla_crds::{KafkaCluster, KafkaUser, KafkaUserStatus, UserAuthentication, UserAuthenticationType, names};
use ottla_kube::change::why;
use ottla_kube::versions::SetBacks;
use ottla_kube::watch::{of_cluster, watcher};
use ottla_kube::watches::{Told, Watches};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::acting::Acting;
use crate::authorities;
use crate::authorities::inspect::{CertificateRequirements, is_good};
use crate::authorities::issue::{self, Pair, Subject};
use crate::authorities::secrets::StoredAuthority;
use crate::authorities::validity::Lifetime;
use crate::clock;
use crate::pruned::{Pruned, StatusWrite, tree};
use judge::UserVerdict;
use verifiers::Shards;

/// How often everything is looked at without a change: Secrets with chosen passwords are not watched.
const LOOK: Duration = Duration::from_secs(30);
/// The pause after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps the credentials of a cluster's users, for ever. Writes only while `acting`. Says each time to `overdue` the
/// end of the earliest certificate whose renewal is overdue ([`judge::first_overdue`]); `None`, too, while not acting.
/// `definitions` counts the changes of the kinds' definitions; `None`: they never change.
pub async fn run(
    client: Client,
    namespace: &str,
    cluster: &str,
    mut acting: Acting,
    mut definitions: Option<watch::Receiver<u64>>,
    overdue: impl Fn(Option<i64>),
) {
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
        pruned: Pruned::default(),
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
        keeper.pruned.forget_if_changed(&mut definitions);
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
    /// What the API server drops of statuses.
    pruned: Pruned,
}

impl Keeper<'_> {
    async fn reconcile(&mut self, users: &[Arc<KafkaUser>]) -> Result<(), kube::Error> {
        let Some(cluster) = self.clusters.get_opt(self.cluster).await? else { return Ok(()) };
        let mut shards = Shards::read(&self.secrets, self.cluster).await?;
        let judged = judge::by_principal(users);
        let mut outcomes: BTreeMap<String, UserVerdict> = BTreeMap::new();
        let mut kept: BTreeSet<&str> = BTreeSet::new();
        for user in users.iter().filter(|user| user.metadata.deletion_timestamp.is_none()) {
            let outcome = if judged.get(user.principal_name()).is_some_and(|chosen| chosen.uid() == user.uid()) {
                self.keep(user, &cluster, &mut shards, &mut kept).await?
            } else {
                // Another user has the principal. What this one could log in with before goes nevertheless.
                if user.spec.authentication.is_none() {
                    self.keep_nothing_of_before(user).await?;
                }
                UserVerdict::Conflict
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
    ) -> Result<UserVerdict, kube::Error> {
        let Some(authentication) = &user.spec.authentication else {
            return self.keep_nothing_of_before(user).await;
        };
        let own = self.secrets.get_opt(&user.name_any()).await?;
        if own.as_ref().is_some_and(|secret| !secret::is_of(secret, user)) {
            return Ok(UserVerdict::ForeignSecret);
        }
        let outcome = match authentication.type_ {
            UserAuthenticationType::Scram if authentication.is_by_clients() => self.keep_nothing(own.as_ref()).await?,
            UserAuthenticationType::Tls => self.keep_certificate(user, authentication, own.as_ref(), cluster).await?,
            UserAuthenticationType::Scram => {
                self.keep_password(user, authentication, own.as_ref(), shards, kept).await?
            }
        };
        Ok(match outcome {
            UserVerdict::Ready { secret, .. } if judge::has_no_mechanism(user, cluster) => {
                UserVerdict::NotAscii { secret }
            }
            outcome => outcome,
        })
    }

    /// The user had a password or a certificate before, and does not authenticate by itself any more: what it could log
    /// in with goes. Users without a Secret, of which there may be many, are not looked up. One in conflict may have a
    /// Secret that its status does not show.
    async fn keep_nothing_of_before(&self, user: &KafkaUser) -> Result<UserVerdict, kube::Error> {
        let may_have = |status: &KafkaUserStatus| status.secret.is_some() || judge::is_in_conflict(status);
        let own = match user.status.as_ref().is_some_and(may_have) {
            true => self.secrets.get_opt(&user.name_any()).await?.filter(|secret| secret::is_of(secret, user)),
            false => None,
        };
        self.keep_nothing(own.as_ref()).await
    }

    /// Deletes the user's Secret: it has nothing there, as when clients set its password.
    async fn keep_nothing(&self, own: Option<&Secret>) -> Result<UserVerdict, kube::Error> {
        if let Some(own) = own {
            // The one that was read: by now the name may be somebody else's.
            let read = Preconditions { uid: own.uid(), resource_version: own.resource_version() };
            self.secrets.delete(&own.name_any(), &DeleteParams::default().preconditions(read)).await?;
        }
        Ok(UserVerdict::Ready { secret: None, certificate: None })
    }

    /// Makes the certificate of a user, or a new one when it is due.
    async fn keep_certificate(
        &self,
        user: &KafkaUser,
        authentication: &UserAuthentication,
        own: Option<&Secret>,
        cluster: &KafkaCluster,
    ) -> Result<UserVerdict, kube::Error> {
        let authority = self.secrets.get_opt(&names::clients_ca(self.cluster)).await?;
        let (Some(authority), Some(cluster_ca)) =
            (authority.as_ref().and_then(StoredAuthority::of), self.cluster_ca().await?)
        else {
            return Ok(UserVerdict::NoAuthority { will_be: cluster.spec.has_authorities() });
        };
        let lifetime = Lifetime::of_user(authentication.validity_days, authentication.renewal_days);
        let (uid, now) = (user.uid().unwrap_or_default(), clock::now().0.as_second());
        let subject = Subject::User { name: user.principal_name(), uid: &uid };
        let cluster_uid = cluster.uid().unwrap_or_default();
        let names = subject.names(&cluster_uid).into_iter().collect();
        let asked = CertificateRequirements { authority: &authority.issuing.certificate, names: &names, lifetime };
        let present =
            own.and_then(|own| Some((secret::value(own, secret::CERTIFICATE)?, secret::value(own, secret::KEY)?)));
        let pair = match present {
            Some((certificate, key)) if is_good(&certificate, asked, now) => {
                Pair { certificate: certificate.to_string(), key }
            }
            _ => match issue::certificate(&authority.issuing, &cluster_uid, &subject, now, lifetime) {
                Ok(pair) => pair,
                Err(error) => return Ok(UserVerdict::NotIssued(error.to_string())),
            },
        };
        self.write_secret(user, secret::with_certificate(user, &pair, &authority.trusted(), &cluster_ca), own).await?;
        let certificate = judge::certificate(&pair.certificate);
        Ok(UserVerdict::Ready { secret: Some(user.name_any()), certificate })
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
    ) -> Result<UserVerdict, kube::Error> {
        let chosen = match &authentication.password {
            None => None,
            Some(password) => {
                // A password that clients set is none of the operator's.
                let Some(source) = &password.value_from else {
                    return Ok(UserVerdict::Ready { secret: None, certificate: None });
                };
                let reference = &source.secret_key_ref;
                let source = self.secrets.get_opt(&reference.name).await?;
                let Some(password) = source.and_then(|source| secret::value(&source, &reference.key)) else {
                    // The password that it has stays good.
                    kept.insert(user.principal_name());
                    return Ok(UserVerdict::NoPassword { name: reference.name.clone(), key: reference.key.clone() });
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
        Ok(UserVerdict::Ready { secret: Some(user.name_any()), certificate: None })
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

    /// Writes the status, if it changes, and the API server would not drop what changes.
    async fn report(&mut self, user: &KafkaUser, outcome: &UserVerdict) -> Result<(), kube::Error> {
        let status: KafkaUserStatus = judge::status(user, outcome, &clock::now());
        if user.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let asked = StatusWrite { kind: "KafkaUser", read: tree(&user.status), next: tree(&status) };
        if self.pruned.is_in_vain(asked.clone()) {
            return Ok(());
        }
        let mut patch = json!({ "status": status });
        // A merge keeps what it does not name: what the user has no more is taken away by a null.
        patch["status"]["secret"] = json!(status.secret);
        patch["status"]["certificate"] = json!(status.certificate);
        let patch = Patch::Merge(patch);
        let written = self.users.patch_status(&user.name_any(), &PatchParams::default(), &patch).await?;
        self.pruned.note(&asked, &tree(&written.status));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use k8s_openapi::ByteString;
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;
    use kube::api::ListParams;
    use ottla_access::sasl::CredentialsEntry;
    use ottla_local_api::{Server, Store};

    use super::*;

    /// The keeper of a cluster `prod` with a user `orders`.
    struct Bench {
        keeper: Keeper<'static>,
        _server: Server,
    }

    impl Bench {
        async fn new(authentication: Value) -> Bench {
            Bench::with(authentication, ottla_crds::all()).await
        }

        /// An API server with these definitions.
        async fn with(authentication: Value, definitions: Vec<CustomResourceDefinition>) -> Bench {
            let server = Server::new(Store::Memory, definitions).unwrap();
            let client = server.client("default");
            let clusters: Api<KafkaCluster> = Api::namespaced(client.clone(), "default");
            let cluster = KafkaCluster::new("prod", serde_json::from_value(json!({ "brokers": {} })).unwrap());
            clusters.create(&PostParams::default(), &cluster).await.unwrap();
            let users: Api<KafkaUser> = Api::namespaced(client.clone(), "default");
            let spec = json!({ "clusterRef": { "name": "prod" }, "authentication": authentication });
            let user = KafkaUser::new("orders", serde_json::from_value(spec).unwrap());
            users.create(&PostParams::default(), &user).await.unwrap();
            let secrets = Api::namespaced(client, "default");
            let (checked, pruned) = (BTreeSet::new(), Pruned::default());
            let keeper = Keeper { users, secrets, clusters, cluster: "prod", checked, pruned };
            Bench { keeper, _server: server }
        }

        /// Reconciles, and returns the user's status and the names of all Secrets.
        async fn reconcile(&mut self) -> (KafkaUserStatus, BTreeSet<String>) {
            self.reconcile_beside(&[]).await
        }

        /// The same, while there are these users, too.
        async fn reconcile_beside(&mut self, others: &[&Arc<KafkaUser>]) -> (KafkaUserStatus, BTreeSet<String>) {
            let user = Arc::new(self.keeper.users.get("orders").await.unwrap());
            let users: Vec<_> = others.iter().copied().chain([&user]).cloned().collect();
            self.keeper.reconcile(&users).await.unwrap();
            let status = self.keeper.users.get("orders").await.unwrap().status.unwrap();
            let secrets = self.keeper.secrets.list(&ListParams::default()).await.unwrap().items;
            (status, secrets.iter().map(ResourceExt::name_any).collect())
        }

        async fn change(&self, spec: Value) {
            let patch = Patch::Merge(json!({ "spec": spec }));
            self.keeper.users.patch("orders", &PatchParams::default(), &patch).await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_a_user_could_log_in_with_goes_with_its_authentication() {
        let mut bench = Bench::new(json!({ "type": "scram" })).await;
        let (status, secrets) = bench.reconcile().await;
        assert_eq!(status.secret.as_deref(), Some("orders"));
        assert!(secrets.contains("orders"), "{secrets:?}");

        bench.change(json!({ "authentication": null })).await;
        let (status, secrets) = bench.reconcile().await;
        assert_eq!((status.secret, status.conditions[0].status.as_str()), (None, "True"));
        assert!(!secrets.contains("orders"), "{secrets:?}");
        let shards = Shards::read(&bench.keeper.secrets, "prod").await.unwrap();
        assert!(!shards.has(&bench.keeper.users.get("orders").await.unwrap()), "its password is still known");
    }

    /// Another KafkaUser has the principal from now on. The older one is meant, and one that was restored, or is of the
    /// same second, may come second.
    #[tokio::test]
    async fn the_secret_of_a_user_in_conflict_goes_with_its_authentication() {
        for ends_at_once in [false, true] {
            let mut bench = Bench::new(json!({ "type": "scram" })).await;
            bench.reconcile().await;
            let spec = json!({ "clusterRef": { "name": "prod" }, "principalName": "orders" });
            let rival = KafkaUser::new("rival", serde_json::from_value(spec).unwrap());
            let mut rival = bench.keeper.users.create(&PostParams::default(), &rival).await.unwrap();
            rival.metadata.creation_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
            let rival = Arc::new(rival);
            let (status, secrets) = bench.reconcile_beside(&[&rival]).await;
            assert_eq!((status.conditions[0].reason.as_str(), status.secret), ("Conflict", None));
            assert!(secrets.contains("orders"), "it may get the principal back: {secrets:?}");

            bench.change(json!({ "authentication": null })).await;
            let rivals: &[&Arc<KafkaUser>] = if ends_at_once { &[] } else { &[&rival] };
            let (status, secrets) = bench.reconcile_beside(rivals).await;
            assert!(!secrets.contains("orders"), "the conflict has ended: {ends_at_once}, {secrets:?}");
            let reason = if ends_at_once { "Ready" } else { "Conflict" };
            assert_eq!((status.conditions[0].reason.as_str(), status.secret), (reason, None));
        }
    }

    #[tokio::test]
    async fn a_secret_of_somebody_else_stays_when_the_users_authentication_goes() {
        let mut bench = Bench::new(json!({ "type": "scram" })).await;
        let theirs = json!({ "metadata": { "name": "orders" }, "data": { "key": "dGhlaXJz" } });
        bench.keeper.secrets.create(&PostParams::default(), &serde_json::from_value(theirs).unwrap()).await.unwrap();
        let before = bench.keeper.secrets.get("orders").await.unwrap();
        let (status, _) = bench.reconcile().await;
        assert_eq!((status.conditions[0].reason.as_str(), status.secret), ("Conflict", None));
        for authentication in [Value::Null, json!({ "type": "scram", "password": { "byClients": {} } })] {
            bench.change(json!({ "authentication": authentication })).await;
            bench.reconcile().await;
            assert_eq!(bench.keeper.secrets.get("orders").await.unwrap(), before, "{authentication}");
        }
    }

    #[tokio::test]
    async fn a_status_is_not_written_again_for_what_an_older_definition_drops() {
        let older = |definition: CustomResourceDefinition| {
            let json = serde_json::to_string(&definition).unwrap();
            serde_json::from_str(&json.replace(r#""principal":{"#, r#""subject":{"#)).unwrap()
        };
        let definitions = ottla_crds::all().into_iter().map(older).collect();
        let mut bench = Bench::with(json!({ "type": "scram" }), definitions).await;
        let writes = Arc::new(AtomicUsize::new(0));
        let count = {
            let writes = writes.clone();
            move |kind: &str, _: &str| _ = writes.fetch_add((kind == "kafkausers").into(), Ordering::Relaxed)
        };
        let client = ottla_kube::counted(bench.keeper.users.clone().into_client(), "default", count);
        bench.keeper.users = Api::namespaced(client, "default");
        let (status, _) = bench.reconcile().await;
        assert_eq!((status.principal, status.secret.as_deref()), (None, Some("orders")), "dropped, and kept");
        assert_eq!(writes.load(Ordering::Relaxed), 1);
        bench.reconcile().await;
        assert_eq!(writes.load(Ordering::Relaxed), 1, "nothing else has changed");

        let (changes, receiver) = watch::channel(0);
        let mut definitions = Some(receiver);
        bench.keeper.pruned.forget_if_changed(&mut definitions);
        bench.reconcile().await;
        assert_eq!(writes.load(Ordering::Relaxed), 1, "the definitions are the same");
        changes.send_replace(1);
        bench.keeper.pruned.forget_if_changed(&mut definitions);
        bench.reconcile().await;
        assert_eq!(writes.load(Ordering::Relaxed), 2, "the definitions have changed");
    }

    #[tokio::test]
    async fn passwords_that_clients_set_go_with_the_secret_that_somebody_deletes() {
        let mut bench = Bench::new(json!({ "type": "scram", "password": { "byClients": {} } })).await;
        let name = names::scram_by_clients("prod");
        let (_, secrets) = bench.reconcile().await;
        assert!(secrets.contains(&name), "{secrets:?}");
        let set = json!({ "data": { (CredentialsEntry::key("orders")): ByteString(b"an entry".to_vec()) } });
        bench.keeper.secrets.patch(&name, &PatchParams::default(), &Patch::Merge(set)).await.unwrap();
        bench.reconcile().await;
        let kept = bench.keeper.secrets.get(&name).await.unwrap().data.unwrap_or_default();
        assert_eq!(kept.len(), 1, "an entry of a user that exists stays");

        bench.keeper.secrets.delete(&name, &DeleteParams::default()).await.unwrap();
        bench.reconcile().await;
        // Brokers know only what it has now.
        assert_eq!(bench.keeper.secrets.get(&name).await.unwrap().data.unwrap_or_default().len(), 0);
    }
}
