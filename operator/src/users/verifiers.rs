//! What is kept of passwords, in a few Secrets that brokers read: an entry for each user, in the Secret that the hash
//! of its name decides.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest as sha};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use ottla_access::sasl::verifier::{DEFAULT_ITERATIONS, Hash, SALT, Verifier};
use ottla_access::sasl::{CredentialsEntry, User};
use ottla_crds::{KafkaCluster, KafkaUser, Listener, ListenerAuthenticationType, names};
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
    (hash.as_ref()[0] % names::SCRAM_SHARDS, CredentialsEntry::key(principal))
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
        let entry = entry.and_then(|entry| serde_json::from_slice::<CredentialsEntry>(&entry.0).ok());
        entry.is_some_and(|entry| Some(&entry.user.uid) == user.metadata.uid.as_ref())
    }

    /// Makes the entry of a user with this password, unless the one that there is fits. Takes milliseconds.
    pub fn set(&mut self, user: &KafkaUser, password: &Password) {
        let (shard, key) = place(user.principal_name());
        let data = self.wanted.entry(shard).or_default();
        let uid = user.uid().unwrap_or_default();
        let present = data.get(&key).and_then(|entry| serde_json::from_slice::<CredentialsEntry>(&entry.0).ok());
        let fits = |entry: &CredentialsEntry| {
            let is_of = |hash| entry.user.verifier(hash).is_some_and(|kept| kept.is_of(hash, password.as_bytes()));
            entry.user.uid == uid && is_of(Hash::Sha256) && is_of(Hash::Sha512)
        };
        if present.as_ref().is_some_and(fits) {
            return;
        }
        let verifier = |hash| Verifier::of_password(hash, password.as_bytes(), salt(), DEFAULT_ITERATIONS).ok();
        let made = User { uid, has_certificate: false, sha256: verifier(Hash::Sha256), sha512: verifier(Hash::Sha512) };
        let entry = CredentialsEntry { name: user.principal_name().to_owned(), user: made };
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

    /// Sees to the random bytes from which the salts of unknown users come, as soon as a listener takes passwords: one
    /// Secret has them, so that all brokers show the same.
    pub fn keep_salt(&mut self, listeners: &[Listener]) {
        let takes_passwords = |listener: &Listener| {
            listener.authentication.iter().any(|authentication| match authentication.type_ {
                ListenerAuthenticationType::ScramSha512
                | ListenerAuthenticationType::ScramSha256
                | ListenerAuthenticationType::Plain => true,
                ListenerAuthenticationType::Oauthbearer | ListenerAuthenticationType::Tls => false,
            })
        };
        for (shard, data) in &mut self.wanted {
            if *shard != names::SCRAM_SALT_SHARD {
                data.remove(names::SCRAM_SALT);
            }
        }
        if listeners.iter().any(takes_passwords) || self.wanted.values().any(|data| !data.is_empty()) {
            let data = self.wanted.entry(names::SCRAM_SALT_SHARD).or_default();
            let kept = data.entry(names::SCRAM_SALT.to_owned()).or_default();
            if kept.0.is_empty() {
                *kept = ByteString(salt());
            }
        }
    }

    /// Writes the Secrets that change. While there is nothing to keep in one, it is not created.
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
                    let metadata = owned_by(cluster, name, &self.cluster);
                    let secret = Secret { metadata, data: Some(wanted.clone()), ..Secret::default() };
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
            let keys: BTreeSet<String> = principals.iter().map(|principal| CredentialsEntry::key(principal)).collect();
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

#[cfg(test)]
mod tests {
    use ottla_crds::ListenerAuthentication;

    use super::*;

    fn data(entries: &[(&str, &[u8])]) -> BTreeMap<String, ByteString> {
        entries.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec()))).collect()
    }

    fn shards(read: &[(u8, BTreeMap<String, ByteString>)]) -> Shards {
        let mut wanted: BTreeMap<_, _> = (0..names::SCRAM_SHARDS).map(|shard| (shard, BTreeMap::new())).collect();
        wanted.extend(read.iter().cloned());
        Shards { cluster: "prod".to_owned(), read: BTreeMap::new(), wanted }
    }

    fn listener(type_: ListenerAuthenticationType) -> Listener {
        let authentication = ListenerAuthentication { type_, ..ListenerAuthentication::default() };
        Listener { authentication: vec![authentication], ..Listener::default() }
    }

    /// The shards that have one, with it.
    fn salts(shards: &Shards) -> Vec<(u8, &[u8])> {
        let all = shards.wanted.iter();
        all.filter_map(|(shard, data)| Some((*shard, &*data.get(names::SCRAM_SALT)?.0))).collect()
    }

    #[test]
    fn one_secret_has_the_salt_as_soon_as_passwords_are_used() {
        let with_tokens = listener(ListenerAuthenticationType::Oauthbearer);
        let mut nobodys = shards(&[]);
        nobodys.keep_salt(&[Listener::default(), with_tokens]);
        assert_eq!(salts(&nobodys), []);
        let with_passwords = vec![listener(ListenerAuthenticationType::Plain)];
        for (mut shards, listeners) in
            [(shards(&[]), with_passwords), (shards(&[(5, data(&[("ada", b"{}")]))]), Vec::new())]
        {
            shards.keep_salt(&listeners);
            let kept: Vec<(u8, usize)> = salts(&shards).into_iter().map(|(shard, salt)| (shard, salt.len())).collect();
            assert_eq!(kept, [(0, SALT)]);
        }
    }

    #[test]
    fn a_salt_stays_as_it_is_and_those_of_the_other_secrets_go() {
        let mut shards = shards(&[(0, data(&[("salt", b"zero")])), (3, data(&[("salt", b"three"), ("ada", b"{}")]))]);
        for _ in 0..2 {
            shards.keep_salt(&[]);
            assert_eq!(salts(&shards), [(0, &b"zero"[..])]);
        }
        assert_eq!(shards.wanted[&3], data(&[("ada", b"{}")]));
    }
}
