//! PLAIN (RFC 4616): the password itself, under TLS only. It is checked against what SCRAM keeps.

use std::collections::HashSet;

use aws_lc_rs::hmac;
use ottla_wire::Str;
use zeroize::Zeroizing;

use super::credentials::Credentials;
use super::outcome::{Identity, Reason};
use super::verifier::{Hash, Verifier};
use crate::Principal;

/// The check of a password: it takes milliseconds, so a worker does it.
pub struct PasswordCheck {
    name: Str,
    password: Zeroizing<Vec<u8>>,
    hash: Hash,
    verifier: Verifier,
    uid: Option<String>,
}

/// A client's message: names and password, between bytes of zero.
///
/// # Errors
/// [`Reason::Malformed`]; [`Reason::OtherIdentity`] when the client wants to be somebody else than it has a password
/// for.
pub(super) fn parse(token: &[u8], credentials: &Credentials) -> Result<PasswordCheck, Reason> {
    let mut parts = token.split(|byte| *byte == 0);
    let (Some(authzid), Some(name), Some(password), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Reason::Malformed);
    };
    let name = std::str::from_utf8(name).map_err(|_| Reason::Malformed)?;
    if name.is_empty() || password.is_empty() || std::str::from_utf8(password).is_err() {
        return Err(Reason::Malformed);
    }
    if !authzid.is_empty() && authzid != name.as_bytes() {
        return Err(Reason::OtherIdentity);
    }
    let hash = credentials.plain_hash(name);
    let (verifier, uid) = credentials.verifier(name, hash);
    let password = Zeroizing::new(password.to_vec());
    Ok(PasswordCheck { name: Str::from(name), password, hash, verifier, uid })
}

impl PasswordCheck {
    /// Checks the password, for unknown users too: nobody learns from the time which users exist.
    ///
    /// # Errors
    /// [`Reason::Credentials`].
    pub fn run(self) -> Result<Identity, Reason> {
        let is_right = self.verifier.is_of(self.hash, &self.password);
        if is_right && self.uid.is_some() { Ok(self.identity()) } else { Err(Reason::Credentials) }
    }

    /// A sign of name, password and verifier under a key.
    fn sign(&self, key: &hmac::Key) -> [u8; 32] {
        let mut context = hmac::Context::with_key(key);
        for part in [str::as_bytes(&self.name), &self.password[..], self.verifier.salt(), self.verifier.stored_key()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut sign = [0; 32];
        sign.copy_from_slice(&context.sign().as_ref()[..32]);
        sign
    }

    /// Who the client is, if the password is right.
    pub fn identity(&self) -> Identity {
        let principal = Principal::new(self.name.clone());
        let proof = Some(self.verifier.proof(self.hash));
        Identity { principal, uid: self.uid.clone(), expires_ms: None, proof }
    }
}

/// A client's message.
pub fn message(name: &str, password: &str) -> Vec<u8> {
    [b"\0", name.as_bytes(), b"\0", password.as_bytes()].concat()
}

/// Passwords that were right before, by signs under a key of this process: a client that comes again need not wait for
/// a worker. Has neither names nor passwords.
pub struct Remembered {
    key: hmac::Key,
    signs: HashSet<[u8; 32]>,
}

/// How many are remembered; beyond that, all are forgotten.
const MOST_REMEMBERED: usize = 10_000;

impl Remembered {
    /// Nothing yet, under a key that is drawn for this process.
    pub fn new(key: &[u8]) -> Remembered {
        Remembered { key: hmac::Key::new(hmac::HMAC_SHA256, key), signs: HashSet::new() }
    }

    /// The sign of a check.
    pub fn sign(&self, check: &PasswordCheck) -> Sign {
        Sign(check.sign(&self.key))
    }

    /// Whether the check with this sign has succeeded before.
    pub fn contains(&self, sign: &Sign) -> bool {
        self.signs.contains(&sign.0)
    }

    /// The check with this sign has succeeded.
    pub fn remember(&mut self, sign: Sign) {
        if self.signs.len() >= MOST_REMEMBERED {
            self.signs.clear();
        }
        self.signs.insert(sign.0);
    }
}

/// Stands for a name, a password and a verifier.
pub struct Sign([u8; 32]);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::verifier::work;
    use super::*;
    use crate::sasl::User;

    fn credentials(password: &str) -> Credentials {
        let verifier = Verifier::of_password(Hash::Sha256, password.as_bytes(), vec![1; 20], 4096).unwrap();
        let user = User { uid: "1".to_owned(), has_certificate: false, sha256: Some(verifier), sha512: None };
        Credentials::new([("alice".into(), Arc::new(user))], b"secret".to_vec())
    }

    #[test]
    fn a_password_is_right_or_wrong_and_messages_have_one_form() {
        let credentials = credentials("pw");
        for (token, expected) in [
            (&b"\0alice\0pw"[..], Ok(())),
            (b"alice\0alice\0pw", Ok(())),
            (b"bob\0alice\0pw", Err(Reason::OtherIdentity)),
            (b"\0alice\0PW", Err(Reason::Credentials)),
            (b"\0nobody\0pw", Err(Reason::Credentials)),
            (b"\0alice\0", Err(Reason::Malformed)),
            (b"\0\0pw", Err(Reason::Malformed)),
            (b"alice\0pw", Err(Reason::Malformed)),
            (b"\0alice\0pw\0", Err(Reason::Malformed)),
            (b"\0alice\0\xff", Err(Reason::Malformed)),
            (b"", Err(Reason::Malformed)),
        ] {
            let outcome = parse(token, &credentials).and_then(PasswordCheck::run).map(|_| ());
            assert_eq!(outcome, expected, "{token:?}");
        }
    }

    #[test]
    fn an_unknown_name_costs_as_much_work_as_a_users() {
        let user = |kept: &[(Hash, u32)]| {
            let mut user = User::new("1".to_owned());
            for (hash, iterations) in kept {
                user.set_verifier(*hash, Verifier::of_password(*hash, b"pw", vec![1; 20], *iterations).ok());
            }
            Arc::new(user)
        };
        let work_for = |name: &str, credentials: &Credentials| {
            work::of(|| {
                let check = parse(&message(name, "a guess"), credentials).unwrap_or_else(|_| unreachable!());
                assert_eq!(check.run().err(), Some(Reason::Credentials), "{name}");
            })
        };
        for (kept, expected) in [
            (vec![(Hash::Sha256, 4096)], (Hash::Sha256, 4096)),
            (vec![(Hash::Sha256, 8192)], (Hash::Sha256, 8192)),
            (vec![(Hash::Sha512, 5000)], (Hash::Sha512, 5000)),
            (vec![(Hash::Sha256, 8192), (Hash::Sha512, 4096)], (Hash::Sha512, 4096)),
        ] {
            // The second one has no password.
            let users = [("alice".into(), user(&kept)), ("carol".into(), user(&[]))];
            let credentials = Credentials::new(users, b"secret".to_vec());
            for name in ["alice", "carol", "nobody", "somebody"] {
                assert_eq!(work_for(name, &credentials), [expected], "{name} beside {kept:?}");
            }
        }
    }

    #[test]
    fn what_is_remembered_is_forgotten_with_the_password() {
        let mut remembered = Remembered::new(b"key");
        let sign = |remembered: &Remembered, token: &[u8], password| {
            remembered.sign(&parse(token, &credentials(password)).unwrap_or_else(|_| unreachable!()))
        };
        let first = sign(&remembered, b"\0alice\0pw", "pw");
        assert!(!remembered.contains(&first));
        remembered.remember(first);
        assert!(remembered.contains(&sign(&remembered, b"\0alice\0pw", "pw")));
        assert!(!remembered.contains(&sign(&remembered, b"\0alice\0pw2", "pw")));
        assert!(!remembered.contains(&sign(&remembered, b"\0alice\0pw", "changed")));
    }
}
