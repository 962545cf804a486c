//! The users of the cluster, as the API server shows them: KafkaUsers, the Secrets with what is kept of passwords, and
//! the keys of issuers of tokens.
//!
//! They are watched apart from the other objects: a broker serves also where there are no KafkaUsers, or where it may
//! not read them. What is known is kept on disk, for a start while the API server is away, in a folder that only the
//! broker's user can read.
//!
//! Always: a KafkaUser that a complete list does not show is revoked. Only while a kind can't be listed, what was known
//! of it stays.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::runtime::watcher::Event;
use ottla_access::sasl::{CredentialsEntry, User};
use ottla_crds::{IssuerKeys, KafkaUser, UserAuthentication, names};
use ottla_kube::versions::SetBacks;
use ottla_kube::watch::{events, named, of_cluster, watcher};
use ottla_kube::watches::{Told, Watches};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::api_server::ApiServer;
use crate::data_dir::{read_checked, write_checked_private};
use crate::env;
use crate::image::{ClusterImage, ImageReceiver};

/// The folder in the data directory.
const FOLDER: &str = "secrets";
const FILE: &str = "users";

/// What is known of the users, by the names of the objects.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct KnownUsers {
    /// The KafkaUsers.
    pub users: BTreeMap<String, Arc<KafkaUser>>,
    /// What is kept of passwords, by the names of Secrets and users.
    pub passwords: BTreeMap<String, BTreeMap<String, Arc<User>>>,
    /// Random bytes that only the operator and brokers know; until the operator's are known, some of this broker alone.
    pub salt: Vec<u8>,
    /// The keys of issuers, by the names of their entries. Those that were read last stay good while nobody can read
    /// them again.
    #[serde(default)]
    pub issuers: BTreeMap<String, IssuerKeys>,
}

#[allow(clippy::large_enum_variant, reason = "there is one at a time")]
enum UserEvent {
    User(Event<KafkaUser>),
    Secret(Event<Secret>),
    Issuers(Event<ConfigMap>),
}

impl KnownUsers {
    /// The copy on disk; no users if there is none.
    pub fn read(dir: &Path) -> KnownUsers {
        let (folder, file) = (dir.join(FOLDER), dir.join(FOLDER).join(FILE));
        for (path, mode) in [(&folder, 0o700), (&file, 0o600)] {
            // Versions before let others read the file.
            match std::fs::set_permissions(path, Permissions::from_mode(mode)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%error, path = %path.display(), "failed to restrict the copy of the users to its owner");
                }
                Ok(()) | Err(_) => {}
            }
        }
        let mut known: KnownUsers = match read_checked(&file) {
            Ok(known) => known.unwrap_or_default(),
            Err(error) => {
                tracing::error!(%error, "failed to read the copy of the users: they can log in when the API server answers");
                KnownUsers::default()
            }
        };
        // From no bytes, anybody could compute what unknown users are shown.
        if known.salt.is_empty() {
            known.salt = env::random_bytes().to_vec();
        }
        known
    }

    fn write(&self, dir: &Path) -> io::Result<()> {
        let folder = dir.join(FOLDER);
        match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        write_checked_private(&folder.join(FILE), self).map_err(io::Error::other)
    }

    /// Takes in an event about the users of `cluster`. `listed`: the users of the list that is being read.
    fn learn(&mut self, cluster: &str, listed: &mut Option<BTreeSet<String>>, news: UserEvent) {
        match news {
            UserEvent::User(Event::Init) => *listed = Some(BTreeSet::new()),
            UserEvent::User(Event::Apply(user) | Event::InitApply(user)) => {
                let name = user.name_any();
                if let Some(listed) = listed {
                    listed.insert(name.clone());
                }
                self.users.insert(name, Arc::new(user));
            }
            UserEvent::User(Event::Delete(user)) => drop(self.users.remove(&user.name_any())),
            UserEvent::User(Event::InitDone) => {
                let listed = listed.take().unwrap_or_default();
                self.users.retain(|name, _| listed.contains(name));
            }
            UserEvent::Secret(Event::Apply(secret) | Event::InitApply(secret)) => {
                self.learn_passwords(cluster, &secret)
            }
            // Nobody can log in with a password that has no KafkaUser, so old entries do no harm.
            UserEvent::Secret(Event::Init | Event::InitDone | Event::Delete(_)) => {}
            UserEvent::Issuers(Event::Apply(keys) | Event::InitApply(keys)) => self.learn_issuers(&keys),
            // Listeners name the issuers, so keys that nobody names do no harm.
            UserEvent::Issuers(Event::Init | Event::InitDone | Event::Delete(_)) => {}
        }
    }

    fn learn_passwords(&mut self, cluster: &str, secret: &Secret) {
        let name = secret.name_any();
        // Operators before had other bytes in each Secret.
        let has_salt = name == names::scram_secret(cluster, names::SCRAM_SALT_SHARD);
        let mut entries = BTreeMap::new();
        for (key, value) in secret.data.iter().flatten() {
            if key == names::SCRAM_SALT {
                if has_salt && !value.0.is_empty() {
                    self.salt.clone_from(&value.0);
                }
                continue;
            }
            match serde_json::from_slice::<CredentialsEntry>(&value.0) {
                Ok(CredentialsEntry { name, user }) => drop(entries.insert(name, Arc::new(user))),
                // The error's text may have parts of the entry.
                Err(_) => tracing::error!(secret = name, key, "ignored an entry that is none of a user's password"),
            }
        }
        self.passwords.insert(name, entries);
    }

    fn learn_issuers(&mut self, keys: &ConfigMap) {
        self.issuers.clear();
        for (entry, value) in keys.data.iter().flatten() {
            match serde_json::from_str(value) {
                Ok(keys) => drop(self.issuers.insert(entry.clone(), keys)),
                Err(error) => tracing::error!(%error, entry, "ignored an entry that has no keys of an issuer"),
            }
        }
    }
}

/// Those who learn of users.
#[derive(Clone)]
pub(super) struct Learner {
    pub api: ApiServer,
    pub set_backs: SetBacks,
    pub publish: watch::Sender<Arc<KnownUsers>>,
}

impl Learner {
    /// Follows the KafkaUsers, for ever.
    pub(super) async fn follow_users(self) {
        let mut watches = Watches::new(&self.set_backs);
        let users = watcher(self.api.objects(), of_cluster(&self.api.cluster), &self.set_backs);
        watches.add(&(), users, UserEvent::User);
        self.learn(watches).await;
    }

    /// Follows what is kept of passwords, and the keys of issuers, for ever, from the time on when a listener or
    /// a client that sets passwords needs them.
    pub(super) async fn follow_credentials(self, mut images: ImageReceiver) {
        let needs = |image: &Arc<ClusterImage>| {
            image.access.listeners.named().any(|(_, listener)| !listener.mechanisms().is_empty())
        };
        let mut known = self.publish.subscribe();
        let by_clients = |known: &Arc<KnownUsers>| {
            let authentications = known.users.values().filter_map(|user| user.spec.authentication.as_ref());
            authentications.into_iter().any(UserAuthentication::is_by_clients)
        };
        tokio::select! {
            needed = images.wait_for(needs) => if needed.is_err() { return },
            needed = known.wait_for(by_clients) => if needed.is_err() { return },
        }
        let mut watches = Watches::new(&self.set_backs);
        for shard in 0..names::SCRAM_SHARDS {
            let secret = named(&names::scram_secret(&self.api.cluster, shard));
            watches.add(&(), events::<Secret>(self.api.objects(), secret), UserEvent::Secret);
        }
        let by_clients = named(&names::scram_by_clients(&self.api.cluster));
        watches.add(&(), events::<Secret>(self.api.objects(), by_clients), UserEvent::Secret);
        let keys = named(&names::issuer_keys(&self.api.cluster));
        watches.add(&(), events::<ConfigMap>(self.api.objects(), keys), UserEvent::Issuers);
        self.learn(watches).await;
    }

    async fn learn(self, mut watches: Watches<UserEvent>) {
        let mut listed = None;
        // Known, but for what a list that is not complete leaves open.
        let mut behind = Vec::new();
        while let Some(told) = watches.next().await {
            let Told::Events(news) = told else { continue };
            behind.extend(news);
            let is_listing = behind.iter().fold(listed.is_some(), |listing, news| match news {
                UserEvent::User(Event::Init) => true,
                UserEvent::User(Event::InitDone) => false,
                UserEvent::User(_) | UserEvent::Secret(_) | UserEvent::Issuers(_) => listing,
            });
            if is_listing {
                continue;
            }
            self.publish.send_if_modified(|known| {
                let before = known.clone();
                let after = Arc::make_mut(known);
                behind.drain(..).for_each(|news| after.learn(&self.api.cluster, &mut listed, news));
                *known != before
            });
        }
    }
}

/// Keeps a copy on disk of what is known, for ever.
pub(super) async fn keep(mut known: watch::Receiver<Arc<KnownUsers>>, dir: PathBuf) {
    while known.changed().await.is_ok() {
        let (now, dir) = (known.borrow_and_update().clone(), dir.clone());
        match env::blocking(move || now.write(&dir)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "failed to keep a copy of the users on disk"),
            Err(_) => return, // the runtime stops
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> KafkaUser {
        let value = serde_json::json!({
            "apiVersion": "ottla.io/v1alpha1", "kind": "KafkaUser",
            "metadata": { "name": name }, "spec": { "clusterRef": { "name": "prod" } },
        });
        serde_json::from_value(value).unwrap()
    }

    fn names(known: &KnownUsers) -> Vec<&str> {
        known.users.keys().map(String::as_str).collect()
    }

    #[test]
    fn a_user_that_a_list_does_not_show_is_revoked_and_without_a_whole_list_nobody_is() {
        let (mut known, mut listed) = (KnownUsers::default(), None);
        let mut learn = |known: &mut KnownUsers, news| known.learn("prod", &mut listed, UserEvent::User(news));
        learn(&mut known, Event::Apply(user("ada")));
        learn(&mut known, Event::Apply(user("bob")));
        // The definition is gone, or the API server in the middle of the list: it begins, and does not end.
        learn(&mut known, Event::Init);
        learn(&mut known, Event::InitApply(user("ada")));
        assert_eq!(names(&known), ["ada", "bob"]);
        learn(&mut known, Event::Init);
        learn(&mut known, Event::InitApply(user("ada")));
        learn(&mut known, Event::InitDone);
        assert_eq!(names(&known), ["ada"]);
        learn(&mut known, Event::Delete(user("ada")));
        assert_eq!(names(&known), [""; 0]);
    }

    #[test]
    fn the_salts_of_unknown_users_come_from_one_secret_for_all_brokers() {
        let secret = |name: &str, salt: &str| -> Secret {
            let data = serde_json::json!({ "salt": salt });
            serde_json::from_value(serde_json::json!({ "metadata": { "name": name }, "data": data })).unwrap()
        };
        let told = [("prod-scram-0", "YQ=="), ("prod-scram-3", "Yg=="), ("prod-scram-by-clients", "Yw==")];
        for turn in 0..told.len() {
            let mut known = KnownUsers { salt: b"of this broker".to_vec(), ..KnownUsers::default() };
            for (name, salt) in told.iter().cycle().skip(turn).take(told.len()) {
                known.learn("prod", &mut None, UserEvent::Secret(Event::Apply(secret(name, salt))));
            }
            assert_eq!(known.salt, b"a");
            // Without it, what was known stays.
            known.learn("prod", &mut None, UserEvent::Secret(Event::Apply(secret("prod-scram-0", ""))));
            assert_eq!(known.salt, b"a");
        }
    }

    #[test]
    fn until_the_operators_bytes_are_known_each_broker_has_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (KnownUsers::read(dir.path()), KnownUsers::read(dir.path()));
        assert!(one.salt.len() >= 16 && one.salt != other.salt);
        one.write(dir.path()).unwrap();
        assert!(KnownUsers::read(dir.path()) == one, "they are kept");
    }

    #[test]
    fn only_the_brokers_user_reads_the_copy_also_one_of_a_version_before() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path().join(FOLDER), dir.path().join(FOLDER).join(FILE));
        let set = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let modes = || [&folder, &file].map(|path| path.metadata().unwrap().permissions().mode() & 0o777);
        KnownUsers::default().write(dir.path()).unwrap();
        assert_eq!(modes(), [0o700, 0o600]);
        set(&folder, 0o755);
        set(&file, 0o644);
        std::fs::write(folder.join("users.tmp"), "left by a crash").unwrap();
        let known = KnownUsers::read(dir.path());
        assert_eq!(modes(), [0o700, 0o600]);
        known.write(dir.path()).unwrap();
        assert_eq!(modes(), [0o700, 0o600]);
    }
}
