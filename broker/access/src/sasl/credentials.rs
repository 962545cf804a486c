//! The users of a cluster and what is kept of their passwords: an immutable snapshot.

use std::collections::HashMap;
use std::sync::Arc;

use ottla_wire::Str;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::decoys::Decoys;
use super::outcome::Identity;
use super::verifier::{Hash, Verifier};

/// A user: with a password, if it has a verifier.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// The uid of its KafkaUser: a user that is deleted and created again is another one.
    pub uid: String,
    /// Whether the user says who it is with a certificate.
    #[serde(skip)]
    pub has_certificate: bool,
    /// The verifier for SCRAM-SHA-256; `None`: the user has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Verifier>,
    /// The verifier for SCRAM-SHA-512; `None`: the user has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha512: Option<Verifier>,
}

/// A user under its name: an entry of a Secret with what is kept of passwords.
#[derive(Serialize, Deserialize)]
pub struct CredentialsEntry {
    /// The principal's name.
    pub name: String,
    /// The user.
    #[serde(flatten)]
    pub user: User,
}

impl CredentialsEntry {
    /// The key of the entry of this principal in a Secret: a hash, because a name may have any characters.
    pub fn key(principal: &str) -> String {
        Hash::Sha256.digest(principal.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl User {
    /// A user without a password.
    pub fn new(uid: String) -> User {
        User { uid, has_certificate: false, sha256: None, sha512: None }
    }

    /// Keeps this for a mechanism with this hash function.
    pub fn set_verifier(&mut self, hash: Hash, verifier: Option<Verifier>) {
        match hash {
            Hash::Sha256 => self.sha256 = verifier,
            Hash::Sha512 => self.sha512 = verifier,
        }
    }

    /// The verifier for a mechanism with this hash function; `None`: the user has none for it.
    pub fn verifier(&self, hash: Hash) -> Option<&Verifier> {
        match hash {
            Hash::Sha256 => self.sha256.as_ref(),
            Hash::Sha512 => self.sha512.as_ref(),
        }
    }

    /// The hash function of the verifier against which PLAIN checks a password; `None`: the user has none.
    pub(super) fn plain_hash(&self) -> Option<Hash> {
        [Hash::Sha512, Hash::Sha256].into_iter().find(|hash| self.verifier(*hash).is_some())
    }
}

/// The users by name. Has no `Debug`.
#[derive(Clone, PartialEq)]
pub struct Credentials {
    users: Arc<HashMap<Str, Arc<User>>>,
    /// What unknown users are shown.
    decoys: Arc<Decoys>,
    /// From which their salts come.
    secret: Arc<Zeroizing<Vec<u8>>>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials of {} users", self.users.len())
    }
}

impl Default for Credentials {
    fn default() -> Credentials {
        Credentials::new([], Vec::new())
    }
}

impl Credentials {
    /// These users. `secret` is the same on all brokers, and nobody else knows it.
    pub fn new(users: impl IntoIterator<Item = (Str, Arc<User>)>, secret: Vec<u8>) -> Credentials {
        let users: HashMap<Str, Arc<User>> = users.into_iter().collect();
        let decoys = Decoys::of(users.values().map(|user| &**user));
        Credentials { users: Arc::new(users), decoys: Arc::new(decoys), secret: Arc::new(Zeroizing::new(secret)) }
    }

    /// The user of this name.
    pub fn user(&self, name: &str) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    /// All users, in no order.
    pub fn users(&self) -> impl Iterator<Item = (&Str, &Arc<User>)> {
        self.users.iter()
    }

    /// Whether there is a user of this name with this uid.
    pub fn has(&self, name: &str, uid: &str) -> bool {
        self.of_uid(name, uid).is_some()
    }

    /// Whether what a client has shown is still good: its KafkaUser exists, and has the password that it has proven.
    pub fn still_holds(&self, identity: &Identity) -> bool {
        let Some(uid) = &identity.uid else { return true };
        self.of_uid(identity.principal.name(), uid).is_some_and(|user| match &identity.proof {
            Some(proof) => user.verifier(proof.hash()).is_some_and(|verifier| proof.is_of(verifier)),
            None => true,
        })
    }

    /// Whether there is a user of this name with this uid that says who it is with a certificate.
    pub fn has_certificate(&self, name: &str, uid: &str) -> bool {
        self.of_uid(name, uid).is_some_and(|user| user.has_certificate)
    }

    fn of_uid(&self, name: &str, uid: &str) -> Option<&Arc<User>> {
        self.user(name).filter(|user| user.uid == uid)
    }

    /// The hash function with which PLAIN checks a password for this name, whether or not there is a user.
    pub(super) fn plain_hash(&self, name: &str) -> Hash {
        let known = self.user(name).and_then(|user| user.plain_hash());
        known.unwrap_or_else(|| self.decoys.plain_hash(&self.secret, name))
    }

    /// The verifier of a user and the user's uid; or one that no password passes, and none.
    pub(super) fn verifier(&self, name: &str, hash: Hash) -> (Verifier, Option<String>) {
        let user = self.user(name);
        match user.and_then(|user| Some((user.verifier(hash)?, &user.uid))) {
            Some((verifier, uid)) => (verifier.clone(), Some(uid.clone())),
            None => (self.decoys.verifier(hash, &self.secret, name), None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Principal;

    fn verifier(hash: Hash, password: &str) -> Option<Verifier> {
        Verifier::of_password(hash, password.as_bytes(), vec![7; 20], 4096).ok()
    }

    /// The user `ada`, with these passwords for the two mechanisms.
    fn credentials(uid: &str, sha256: Option<&str>, sha512: Option<&str>) -> Credentials {
        let mut user = User::new(uid.to_owned());
        user.set_verifier(Hash::Sha256, sha256.and_then(|password| verifier(Hash::Sha256, password)));
        user.set_verifier(Hash::Sha512, sha512.and_then(|password| verifier(Hash::Sha512, password)));
        Credentials::new([("ada".into(), Arc::new(user))], Vec::new())
    }

    /// A client that has proven the password `pw` of `ada` for this mechanism.
    fn proven(uid: &str, hash: Hash) -> Identity {
        let proof = verifier(hash, "pw").map(|verifier| verifier.proof(hash));
        Identity { principal: Principal::new("ada"), uid: Some(uid.to_owned()), expires_ms: None, proof }
    }

    #[test]
    fn what_a_client_has_shown_holds_for_the_same_user_with_the_same_password() {
        let ada = proven("1", Hash::Sha256);
        for (story, now, holds) in [
            ("nothing changed", credentials("1", Some("pw"), Some("pw")), true),
            ("the other mechanism's changed", credentials("1", Some("pw"), Some("another")), true),
            ("another password", credentials("1", Some("another"), Some("pw")), false),
            ("the mechanism's was removed", credentials("1", None, Some("pw")), false),
            ("the user was created again", credentials("2", Some("pw"), Some("pw")), false),
            ("the user was deleted", Credentials::default(), false),
        ] {
            assert_eq!(now.still_holds(&ada), holds, "{story}");
        }
        let now = credentials("1", Some("another"), Some("pw"));
        assert!(now.still_holds(&proven("1", Hash::Sha512)));
        // Who has proven no password has none to lose.
        assert!(now.still_holds(&Identity { proof: None, ..ada.clone() }));
        assert!(Credentials::default().still_holds(&Identity { uid: None, proof: None, ..ada }));
    }

    #[test]
    fn a_user_without_a_password_is_checked_like_nobody() {
        let certified = credentials("1", None, None);
        assert_eq!(certified.plain_hash("ada"), certified.plain_hash("nobody"));
        assert_eq!(credentials("1", Some("pw"), None).plain_hash("ada"), Hash::Sha256);
        assert_eq!(credentials("1", Some("pw"), Some("pw")).plain_hash("ada"), Hash::Sha512);
    }
}
