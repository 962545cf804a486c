//! What is kept of passwords, in a few Secrets that brokers read: an entry for each user, in the Secret that the hash
//! of its name decides.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest as sha};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use ottla_access::sasl::verifier::{DEFAULT_ITERATIONS, Hash, SALT, Verifier};
use ottla_access::sasl::{Entry, User};
use ottla_crds::{KafkaCluster, KafkaUser, names};
use serde_json::{Value, json};
use uuid::Uuid;

use super::owned::owned_by;
use super::secret::Password;

/// The Secrets, as they were read and as they should be.
pub struct Shards {
    cluster: String,
    read: BTreeMap<u8, Option<BTreeMap<String, ByteString>>>,
    wanted: BTreeMap<u8, BTreeMap<String, ByteString>>,
}

/// A hash of a password, to see whether it has changed.
pub fn digest(password: &Password) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(sha(&SHA256, password.as_bytes()).as_ref());
    bytes
}

/// The Secret of a principal, and the key in it.
fn place(principal: &str) -> (u8, String) {
    let hash = sha(&SHA256, principal.as_bytes());
    (hash.as_ref()[0] % names::SCRAM_SHARDS, Entry::key(principal))
}

impl Shards {
    /// Reads the Secrets.
    pub async fn read(secrets: &Api<Secret>, cluster: &str) -> Result<Shards, kube::Error> {
        let mut read = BTreeMap::new();
        for shard in 0..names::SCRAM_SHARDS {
            let secret = secrets.get_opt(&names::scram_secret(cluster, shard)).await?;
            read.insert(shard, secret.map(|secret| secret.data.unwrap_or_default()));
        }
        let wanted = read.iter().map(|(shard, data)| (*shard, data.clone().unwrap_or_default())).collect();
        Ok(Shards { cluster: cluster.to_owned(), read, wanted })
    }

    /// Whether there is an entry of this very KafkaUser.
    pub fn has(&self, user: &KafkaUser) -> bool {
        let (shard, key) = place(user.principal_name());
        let entry = self.wanted.get(&shard).and_then(|data| data.get(&key));
        let entry = entry.and_then(|entry| serde_json::from_slice::<Entry>(&entry.0).ok());
        entry.is_some_and(|entry| Some(&entry.user.uid) == user.metadata.uid.as_ref())
    }

    /// Makes the entry of a user with this password, unless the one that there is fits. Takes milliseconds.
    pub fn set(&mut self, user: &KafkaUser, password: &Password) {
        let (shard, key) = place(user.principal_name());
        let data = self.wanted.entry(shard).or_default();
        let uid = user.uid().unwrap_or_default();
        let present = data.get(&key).and_then(|entry| serde_json::from_slice::<Entry>(&entry.0).ok());
        let fits = |entry: &Entry| {
            let is_of = |hash| entry.user.verifier(hash).is_some_and(|kept| kept.is_of(hash, password.as_bytes()));
            entry.user.uid == uid && is_of(Hash::Sha256) && is_of(Hash::Sha512)
        };
        if present.as_ref().is_some_and(fits) {
            return;
        }
        let verifier = |hash| Verifier::of_password(hash, password.as_bytes(), salt(), DEFAULT_ITERATIONS).ok();
        let made = User { uid, has_certificate: false, sha256: verifier(Hash::Sha256), sha512: verifier(Hash::Sha512) };
        let entry = Entry { name: user.principal_name().to_owned(), user: made };
        let bytes = serde_json::to_vec(&entry).expect("an entry is JSON");
        data.insert(key, ByteString(bytes));
    }

    /// Removes the entries of all other principals.
    pub fn retain(&mut self, principals: &BTreeSet<&str>) {
        let keys: BTreeSet<String> = principals.iter().map(|principal| place(principal).1).collect();
        for data in self.wanted.values_mut() {
            data.retain(|key, _| key == names::SCRAM_SALT || keys.contains(key));
        }
    }

    /// Writes the Secrets that change. While there is no entry at all, none is created.
    pub async fn write(&self, secrets: &Api<Secret>, cluster: &KafkaCluster) -> Result<(), kube::Error> {
        for (shard, wanted) in &self.wanted {
            let name = names::scram_secret(&self.cluster, *shard);
            match self.read.get(shard).and_then(Option::as_ref) {
                Some(read) if read == wanted => {}
                Some(read) => {
                    let mut changes: BTreeMap<&str, Value> =
                        read.keys().filter(|key| !wanted.contains_key(*key)).map(|key| (&**key, Value::Null)).collect();
                    changes.extend(
                        wanted
                            .iter()
                            .filter(|(key, value)| read.get(*key) != Some(value))
                            .map(|(key, value)| (&**key, json!(value))),
                    );
                    let patch = json!({ "data": changes });
                    secrets.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
                }
                None if wanted.is_empty() => {}
                None => {
                    let mut data = wanted.clone();
                    data.insert(names::SCRAM_SALT.to_owned(), ByteString(salt()));
                    let metadata = owned_by(cluster, name, &self.cluster);
                    let secret = Secret { metadata, data: Some(data), ..Secret::default() };
                    secrets.create(&PostParams::default(), &secret).await?;
                }
            }
        }
        Ok(())
    }
}

/// Creates the Secret for what is kept of passwords that clients set, as soon as there are such users, and removes the
/// entries of all other principals.
pub async fn keep_by_clients(
    secrets: &Api<Secret>,
    cluster: &KafkaCluster,
    principals: &BTreeSet<&str>,
) -> Result<(), kube::Error> {
    let name = names::scram_by_clients(&cluster.name_any());
    match secrets.get_opt(&name).await? {
        None if principals.is_empty() => {}
        None => {
            let metadata = owned_by(cluster, name, &cluster.name_any());
            secrets.create(&PostParams::default(), &Secret { metadata, ..Secret::default() }).await?;
        }
        Some(secret) => {
            let keys: BTreeSet<String> = principals.iter().map(|principal| Entry::key(principal)).collect();
            let data = secret.data.unwrap_or_default();
            let gone = data.keys().filter(|key| !keys.contains(*key)).map(|key| (key.clone(), Value::Null));
            let gone: serde_json::Map<String, Value> = gone.collect();
            if !gone.is_empty() {
                let metadata = json!({ "resourceVersion": secret.metadata.resource_version });
                let patch = Patch::Merge(json!({ "metadata": metadata, "data": gone }));
                secrets.patch(&name, &PatchParams::default(), &patch).await?;
            }
        }
    }
    Ok(())
}

/// Random bytes.
fn salt() -> Vec<u8> {
    let random = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
    random[..SALT].to_vec()
}
