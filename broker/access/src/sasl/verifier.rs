//! What is kept of a password: enough to check a client's proof, and not enough to make one without guessing (RFC 5802,
//! section 3).

use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// The least number of iterations, as in Kafka.
pub const LEAST_ITERATIONS: u32 = 4096;
/// The largest number of iterations, as in Kafka: a client computes as many.
pub const MOST_ITERATIONS: u32 = 16_384;
/// The iterations of passwords that come without a number, as Kafka's tools have it.
pub const DEFAULT_ITERATIONS: u32 = 4096;
/// The longest salt of a new password, in bytes. Tools draw 16 to 64. Every client that begins to log in is sent the
/// salt, users' or not, before anybody knows who it is.
pub const MOST_SALT: usize = 256;

/// The hash function of a mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hash {
    /// Of SCRAM-SHA-256.
    Sha256,
    /// Of SCRAM-SHA-512.
    Sha512,
}

impl Hash {
    /// How many bytes it has.
    pub fn length(self) -> usize {
        match self {
            Hash::Sha256 => 32,
            Hash::Sha512 => 64,
        }
    }

    pub(super) fn digest(self, bytes: &[u8]) -> digest::Digest {
        let algorithm = match self {
            Hash::Sha256 => &digest::SHA256,
            Hash::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, bytes)
    }

    pub(super) fn hmac(self, key: &[u8], message: &[u8]) -> hmac::Tag {
        let algorithm = match self {
            Hash::Sha256 => hmac::HMAC_SHA256,
            Hash::Sha512 => hmac::HMAC_SHA512,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), message)
    }

    /// RFC 5802's `Hi`: takes milliseconds.
    pub fn salted_password(self, password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Zeroizing<Vec<u8>> {
        let algorithm = match self {
            Hash::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Hash::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        };
        #[cfg(test)]
        work::add(self, iterations);
        let mut salted = Zeroizing::new(vec![0; self.length()]);
        pbkdf2::derive(algorithm, iterations, salt, password, &mut salted);
        salted
    }
}

/// What is kept of a password for one mechanism. Has no `Debug`: with the server key, a thief could pretend to be the
/// broker.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Stored")]
pub struct Verifier {
    #[serde(serialize_with = "to_base64")]
    salt: Vec<u8>,
    #[serde(serialize_with = "to_base64")]
    stored_key: Vec<u8>,
    #[serde(serialize_with = "to_base64")]
    server_key: Vec<u8>,
    iterations: u32,
}

/// The same, as it is written in a Secret, before it is checked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    #[serde(deserialize_with = "from_base64")]
    salt: Vec<u8>,
    #[serde(deserialize_with = "from_base64")]
    stored_key: Vec<u8>,
    #[serde(deserialize_with = "from_base64")]
    server_key: Vec<u8>,
    iterations: u32,
}

/// Why there is no verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoVerifier {
    /// Fewer or more iterations than Kafka takes.
    #[error("the number of iterations must be between {LEAST_ITERATIONS} and {MOST_ITERATIONS}")]
    Iterations,
    /// A long salt.
    #[error("the salt must be at most {MOST_SALT} bytes long")]
    Salt,
    /// Keys of another length than the hash function's.
    #[error("a key has the wrong length")]
    KeyLength,
}

impl TryFrom<Stored> for Verifier {
    type Error = NoVerifier;

    fn try_from(stored: Stored) -> Result<Verifier, NoVerifier> {
        let Stored { salt, stored_key, server_key, iterations } = stored;
        check_iterations(iterations)?;
        if stored_key.len() != server_key.len() {
            return Err(NoVerifier::KeyLength);
        }
        Ok(Verifier { salt, stored_key, server_key, iterations })
    }
}

fn check_iterations(iterations: u32) -> Result<(), NoVerifier> {
    if (LEAST_ITERATIONS..=MOST_ITERATIONS).contains(&iterations) { Ok(()) } else { Err(NoVerifier::Iterations) }
}

impl Verifier {
    /// What is kept of `password`. Takes milliseconds.
    ///
    /// # Errors
    /// [`NoVerifier::Iterations`], [`NoVerifier::Salt`].
    pub fn of_password(hash: Hash, password: &[u8], salt: Vec<u8>, iterations: u32) -> Result<Verifier, NoVerifier> {
        check_iterations(iterations)?;
        let iterations = NonZeroU32::new(iterations).ok_or(NoVerifier::Iterations)?;
        let salted = hash.salted_password(password, &salt, iterations);
        Verifier::of_salted(hash, &salted, salt, iterations.get())
    }

    /// What is kept of a password of which a client of AlterUserScramCredentials has sent the salted one (KIP-554).
    ///
    /// # Errors
    /// See [`NoVerifier`].
    pub fn of_salted(hash: Hash, salted: &[u8], salt: Vec<u8>, iterations: u32) -> Result<Verifier, NoVerifier> {
        check_iterations(iterations)?;
        if salt.len() > MOST_SALT {
            return Err(NoVerifier::Salt);
        }
        if salted.len() != hash.length() {
            return Err(NoVerifier::KeyLength);
        }
        let client_key = hash.hmac(salted, b"Client Key");
        let stored_key = hash.digest(client_key.as_ref()).as_ref().to_vec();
        let server_key = hash.hmac(salted, b"Server Key").as_ref().to_vec();
        Ok(Verifier { salt, stored_key, server_key, iterations })
    }

    /// A verifier that no password passes.
    pub(super) fn of_nobody(hash: Hash, salt: Vec<u8>, iterations: u32) -> Verifier {
        let keys = vec![0; hash.length()];
        Verifier { salt, stored_key: keys.clone(), server_key: keys, iterations }
    }

    /// The salt.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// The hash of the client key: another one after each change of the password.
    pub(super) fn stored_key(&self) -> &[u8] {
        &self.stored_key
    }

    /// What a client has shown that has passed this verifier, which is for mechanisms with this hash function.
    pub(super) fn proof(&self, hash: Hash) -> Proof {
        Proof { hash, stored_key: self.stored_key.clone() }
    }

    /// The number of iterations.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Whether this is the verifier of `password`. Takes milliseconds.
    pub fn is_of(&self, hash: Hash, password: &[u8]) -> bool {
        let Some(iterations) = NonZeroU32::new(self.iterations) else { return false };
        let salted = hash.salted_password(password, &self.salt, iterations);
        let client_key = hash.hmac(&salted, b"Client Key");
        self.is_of_key(hash, client_key.as_ref())
    }

    /// Whether this is the verifier of the password with this client key.
    pub(super) fn is_of_key(&self, hash: Hash, client_key: &[u8]) -> bool {
        let digest = hash.digest(client_key);
        constant_time::verify_slices_are_equal(digest.as_ref(), &self.stored_key).is_ok()
    }

    /// The signature of the stored key: a client's proof is its client key, hidden by this.
    pub(super) fn client_signature(&self, hash: Hash, message: &[u8]) -> hmac::Tag {
        hash.hmac(&self.stored_key, message)
    }

    /// The proof that the broker knows the verifier.
    pub(super) fn server_signature(&self, hash: Hash, message: &[u8]) -> hmac::Tag {
        hash.hmac(&self.server_key, message)
    }
}

/// The password that a client has proven to know, as it is kept. Has no `Debug`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Proof {
    #[zeroize(skip)]
    hash: Hash,
    stored_key: Vec<u8>,
}

impl Proof {
    /// For which of a user's verifiers the client has known the password.
    pub(super) fn hash(&self) -> Hash {
        self.hash
    }

    /// Whether the password of this verifier is the one that was proven.
    pub(super) fn is_of(&self, verifier: &Verifier) -> bool {
        self.stored_key == verifier.stored_key
    }
}

/// The length of new salts, in bytes.
pub const SALT: usize = 20;

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    BASE64_STANDARD.decode(text).map_err(|_| de::Error::custom("not base64"))
}

/// What passwords have cost, counted.
#[cfg(test)]
pub(super) mod work {
    use std::cell::RefCell;
    use std::num::NonZeroU32;

    use super::Hash;

    thread_local! {
        static DONE: RefCell<Vec<(Hash, u32)>> = const { RefCell::new(Vec::new()) };
    }

    /// Each time that a password was salted by this thread in the job, with so many iterations of a hash function.
    pub(in crate::sasl) fn of(job: impl FnOnce()) -> Vec<(Hash, u32)> {
        DONE.take();
        job();
        DONE.take()
    }

    pub(super) fn add(hash: Hash, iterations: NonZeroU32) {
        DONE.with_borrow_mut(|done| done.push((hash, iterations.get())));
    }
}
