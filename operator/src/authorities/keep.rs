//! Keeps a cluster's authorities and its brokers' certificates in Secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use ottla_crds::{Authority, AuthorityStatus, KafkaCluster, names};
use ottla_kube::change::why;
use ottla_kube::versions::SetBacks;
use ottla_kube::watch::{named, watcher};
use ottla_kube::watches::Watches;
use ottla_rules::assignment::BrokerId;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;

use super::hosts;
use super::inspect::{CertificateRequirements, is_good};
use super::issue::{self, NotIssued, Pair, Subject};
use super::rotation::{self, Others, Phase, RotationStep, Whose};
use super::secrets::{Content, Other, StoredAuthority, is_of, of_broker, text};
use super::validity::{AUTHORITY, BROKER, Validity};
use crate::acting::Acting;
use crate::clock;
use crate::pruned::{Pruned, StatusWrite};

/// How often everything is looked at without a change.
const LOOK: Duration = Duration::from_secs(30);
/// How often during a rotation, and after a failure.
const SOON: Duration = Duration::from_secs(2);
const DAY: i64 = 24 * 3600;

/// Why certificates can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The API server refuses, or can't be reached.
    #[error("{}", why(.0))]
    Request(#[from] kube::Error),
    /// A certificate can't be made.
    #[error("failed to make a certificate: {0}")]
    NotIssued(#[from] NotIssued),
    /// A Secret that Ottla did not make has a name that it needs.
    #[error(
        "the Secret \"{0}\" exists and does not belong to this cluster, so it was not changed: delete it, or create the \
        KafkaCluster under another name"
    )]
    Foreign(String),
}

/// Keeps the authorities of a cluster, for ever. Writes only while `acting`. `definitions` counts the changes of the
/// kinds' definitions; `None`: they never change.
pub async fn run(
    client: Client,
    namespace: &str,
    cluster: &str,
    mut acting: Acting,
    mut definitions: Option<watch::Receiver<u64>>,
) {
    let set_backs = SetBacks::default();
    let mut watches = Watches::new(&set_backs);
    let clusters = watcher(Api::namespaced(client.clone(), namespace), named(cluster), &set_backs);
    let shown = watches.keep((), clusters, |_| ());
    let (mut pause, mut pruned) = (LOOK, Pruned::default());
    loop {
        tokio::select! {
            told = watches.next() => if told.is_none() { return },
            () = sleep(pause) => {}
        }
        acting.begins().await;
        let object: Option<Arc<KafkaCluster>> = shown.state().into_iter().next();
        let Some(object) = object else { continue };
        pruned.forget_if_changed(&mut definitions);
        pause = match ensure(&client, &object, &mut pruned).await {
            Ok(true) => LOOK,
            Ok(false) => SOON,
            Err(error) => {
                tracing::warn!(%error, "failed to keep the certificates of a cluster: trying again");
                SOON
            }
        };
    }
}

/// Makes what is missing, renews what is due, and takes the next step of a rotation. Returns whether everything is as
/// it should be, with no rotation under way. `pruned`: what the API server drops of the status.
///
/// # Errors
/// See [`CertificateError`].
pub async fn ensure(client: &Client, cluster: &KafkaCluster, pruned: &mut Pruned) -> Result<bool, CertificateError> {
    let is_ending = cluster.metadata.deletion_timestamp.is_some();
    if !cluster.spec.has_authorities() || cluster.spec.paused || is_ending {
        return Ok(true);
    }
    let namespace = cluster.namespace().unwrap_or_default();
    let keeper = Keeper {
        secrets: Api::namespaced(client.clone(), &namespace),
        leases: Api::namespaced(client.clone(), &namespace),
        now: clock::now().0.as_second(),
        cluster,
    };
    let authorities = keeper.keep().await?;
    let is_steady = authorities.iter().all(|authority| authority.phase == Phase::Steady.name());
    let before = cluster.status.as_ref().map_or(&[][..], |status| &status.authorities);
    let of = |authorities: &[AuthorityStatus]| json!({ "authorities": authorities });
    let asked = StatusWrite { kind: "KafkaCluster", read: of(before), next: of(&authorities) };
    if cluster.status.is_some() && before != authorities && !pruned.is_in_vain(asked.clone()) {
        let patch = Patch::Merge(json!({ "status": asked.next }));
        let clusters: Api<KafkaCluster> = Api::namespaced(client.clone(), &namespace);
        let written = clusters.patch_status(&cluster.name_any(), &PatchParams::default(), &patch).await?;
        pruned.note(&asked, &of(&written.status.unwrap_or_default().authorities));
    }
    Ok(is_steady)
}

struct Keeper<'a> {
    secrets: Api<Secret>,
    leases: Api<Lease>,
    now: i64,
    cluster: &'a KafkaCluster,
}

/// What each broker has loaded, by its Lease: hashes of the authorities of brokers, of those of users, and of its
/// certificate.
type Loaded = BTreeMap<BrokerId, Vec<String>>;

impl Keeper<'_> {
    async fn keep(&self) -> Result<Vec<AuthorityStatus>, CertificateError> {
        let name = self.cluster.name_any();
        let security = self.cluster.spec.security.clone().unwrap_or_default();
        let (cluster_ca, clients_ca) = (names::cluster_ca(&name), names::clients_ca(&name));
        let brokers = self.authority(&cluster_ca, "cluster", &security.cluster_ca).await?;
        let users = self.authority(&clients_ca, "clients", &security.clients_ca).await?;
        self.publish(&names::cluster_ca_cert(&name), &brokers).await?;
        self.publish(&names::clients_ca_cert(&name), &users).await?;
        let certificates = self.certificates(&brokers).await?;

        let loaded = self.loaded().await?;
        let lagging = |position: usize, wanted: &dyn Fn(BrokerId) -> String| -> Vec<BrokerId> {
            let has = |id: BrokerId| loaded.get(&id).and_then(|loaded| loaded.get(position)) == Some(&wanted(id));
            certificates.keys().copied().filter(|id| !has(*id)).collect()
        };
        let (of_brokers, of_users) = (names::digest(&brokers.trusted()), names::digest(&users.trusted()));
        let behind = [lagging(0, &|_| of_brokers.clone()), lagging(1, &|_| of_users.clone())];
        let stale = lagging(2, &|id| names::digest(&certificates[&id]));
        let [behind_brokers, behind_users] = behind;
        let rotations = [
            (Whose::Brokers, &cluster_ca, &security.cluster_ca, brokers, behind_brokers, stale),
            (Whose::Users, &clients_ca, &security.clients_ca, users, behind_users, Vec::new()),
        ];
        let mut told = Vec::new();
        for (whose, secret, spec, held, behind, stale) in rotations {
            told.push(self.rotate(whose, secret, spec, held, &behind, &stale).await?);
        }
        Ok(told)
    }

    /// The authority in this Secret: made if it is missing, renewed with the same key when it is due.
    async fn authority(&self, secret: &str, name: &str, spec: &Authority) -> Result<StoredAuthority, CertificateError> {
        let read = self.read(secret).await?;
        let held = match read.as_ref().and_then(StoredAuthority::of) {
            None => {
                tracing::info!(authority = name, "making an authority");
                let common_name = format!("{} {name}", self.cluster.name_any());
                let issuing = issue::authority(&common_name, self.now, AUTHORITY)?;
                StoredAuthority { generation: spec.key_generation, issuing, other: None }
            }
            Some(held) if Validity::of_pem(&held.issuing.certificate).is_none_or(|v| v.is_due(AUTHORITY, self.now)) => {
                let issuing = issue::authority_again(&held.issuing, self.now, AUTHORITY)?;
                StoredAuthority { issuing, ..held }
            }
            Some(held) => return Ok(held),
        };
        self.write(secret, held.content(), read.as_ref()).await?;
        Ok(held)
    }

    /// Publishes which authorities are trusted.
    async fn publish(&self, secret: &str, held: &StoredAuthority) -> Result<(), CertificateError> {
        let read = self.read(secret).await?;
        let mut content = Content::default();
        content.set(names::CA_CERTIFICATE, &held.trusted());
        self.write(secret, content, read.as_ref()).await
    }

    /// The certificate of each broker: made if it is missing, and again if it is not the right one.
    async fn certificates(&self, authority: &StoredAuthority) -> Result<BTreeMap<BrokerId, String>, CertificateError> {
        let name = names::broker_certificates(&self.cluster.name_any());
        let uid = self.cluster.uid().unwrap_or_default();
        let read = self.read(&name).await?;
        let (mut content, mut certificates) = (Content::default(), BTreeMap::new());
        for id in self.brokers() {
            let hosts = hosts::hosts(self.cluster, id);
            let subject = Subject::Broker { id, hosts: &hosts };
            let names = subject.names(&uid).into_iter().collect();
            let asked =
                CertificateRequirements { authority: &authority.issuing.certificate, names: &names, lifetime: BROKER };
            let [certificate_key, key_key] = of_broker(id);
            let present = read.as_ref().and_then(|read| Some((text(read, &certificate_key)?, text(read, &key_key)?)));
            let pair = match present {
                Some((certificate, key)) if is_good(&certificate, asked, self.now) => {
                    Pair { certificate, key: key.into() }
                }
                _ => issue::certificate(&authority.issuing, &uid, &subject, self.now, BROKER)?,
            };
            content.set(&certificate_key, &pair.certificate);
            content.set(&key_key, &pair.key);
            certificates.insert(id, pair.certificate);
        }
        self.write(&name, content, read.as_ref()).await?;
        Ok(certificates)
    }

    /// The brokers that the spec asks for, and those that have not left yet.
    fn brokers(&self) -> BTreeSet<BrokerId> {
        let there = self.cluster.status.iter().flat_map(|status| &status.brokers).map(|broker| broker.id);
        self.cluster.spec.broker_ids().chain(there).collect()
    }

    async fn loaded(&self) -> Result<Loaded, CertificateError> {
        let name = self.cluster.name_any();
        let of_cluster = ListParams::default().labels(&format!("{}={name}", names::CLUSTER_LABEL));
        let leases = self.leases.list(&of_cluster).await?;
        let loaded = leases.items.iter().filter_map(|lease| {
            let said = lease.annotations().get(names::TLS_ANNOTATION)?;
            Some((names::broker_id(&name, &lease.name_any())?, said.split(' ').map(str::to_owned).collect()))
        });
        Ok(loaded.collect())
    }

    /// Takes the next step of a rotation, if there is one, and says how far it has come.
    async fn rotate(
        &self,
        whose: Whose,
        secret: &str,
        spec: &Authority,
        held: StoredAuthority,
        behind: &[BrokerId],
        stale: &[BrokerId],
    ) -> Result<AuthorityStatus, CertificateError> {
        let name = match whose {
            Whose::Brokers => "cluster",
            Whose::Users => "clients",
        };
        let patience = spec.overlap_days * DAY;
        let others = Others { patience, all_trust: behind.is_empty(), all_renewed: stale.is_empty() };
        let mut next = held.clone();
        let phase = match rotation::step(whose, held.keys(), spec.key_generation, others, self.now) {
            RotationStep::Wait(phase) => phase,
            RotationStep::Trust(generation) => {
                let common_name = format!("{} {name} {generation}", self.cluster.name_any());
                let pair = issue::authority(&common_name, self.now, AUTHORITY)?;
                next.other = Some(Other { generation, since: self.now, pair });
                Phase::TrustBoth
            }
            RotationStep::Issue => {
                if let Some(other) = next.other.take() {
                    let former = Other { generation: held.generation, since: self.now, pair: held.issuing.clone() };
                    next = StoredAuthority { generation: other.generation, issuing: other.pair, other: Some(former) };
                }
                Phase::Renew
            }
            RotationStep::Drop => {
                next.other = None;
                Phase::Steady
            }
        };
        if next != held {
            tracing::info!(authority = name, phase = phase.name(), "the next step of a rotation");
            let read = self.read(secret).await?;
            self.write(secret, next.content(), read.as_ref()).await?;
        }
        let not_after = Validity::of_pem(&next.issuing.certificate).map_or(0, |validity| validity.not_after);
        let (reason, waiting_for) = waiting_for(phase, &next, patience, behind, stale).unzip();
        Ok(AuthorityStatus {
            name: name.to_owned(),
            key_generation: next.generation,
            phase: phase.name().to_owned(),
            reason: reason.map(str::to_owned),
            waiting_for,
            not_after: Timestamp::from_second(not_after).unwrap_or_default().to_string(),
        })
    }

    async fn read(&self, name: &str) -> Result<Option<Secret>, CertificateError> {
        let read = self.secrets.get_opt(name).await?;
        match read {
            Some(secret) if !is_of(&secret, &self.cluster.name_any()) => {
                Err(CertificateError::Foreign(name.to_owned()))
            }
            read => Ok(read),
        }
    }

    /// Writes a Secret if it changes. The version that was read is replaced, and no other: of two operators, one
    /// decides.
    async fn write(&self, name: &str, content: Content, read: Option<&Secret>) -> Result<(), CertificateError> {
        if read.is_some_and(|read| Content::of(read) == content) {
            return Ok(());
        }
        let secret = content.into_secret(self.cluster, name, read);
        match read {
            Some(_) => drop(self.secrets.replace(name, &PostParams::default(), &secret).await?),
            None => drop(self.secrets.create(&PostParams::default(), &secret).await?),
        }
        Ok(())
    }
}

/// What a phase waits for, for the status: a word and a sentence. `None`: it waits for nothing.
fn waiting_for(
    phase: Phase,
    held: &StoredAuthority,
    patience: i64,
    behind: &[BrokerId],
    stale: &[BrokerId],
) -> Option<(&'static str, String)> {
    let named = |brokers: &[BrokerId]| brokers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let until = held.other.as_ref().and_then(|other| Timestamp::from_second(other.since + patience).ok());
    match phase {
        Phase::Steady => None,
        Phase::TrustBoth | Phase::Renew if !behind.is_empty() => Some((
            AuthorityStatus::WAITING_FOR_TRUST,
            format!("brokers that do not trust both keys yet: {}", named(behind)),
        )),
        Phase::TrustBoth | Phase::Renew if !stale.is_empty() => Some((
            AuthorityStatus::WAITING_FOR_CERTIFICATES,
            format!("brokers that use an old certificate: {}", named(stale)),
        )),
        Phase::TrustBoth | Phase::Renew => {
            until.map(|until| (AuthorityStatus::WAITING_FOR_CLIENTS, format!("clients, until {until}")))
        }
    }
}

#[cfg(test)]
mod tests;
