//! What a name without a password is shown: salts and work as those of the users, so that nobody learns which users
//! exist.
//!
//! Always: the same name is shown the same by all brokers that know the same users. A change of the users changes it
//! for few of the other names.

use aws_lc_rs::hmac;

use super::credentials::User;
use super::verifier::{DEFAULT_ITERATIONS, Hash, SALT, Verifier};

/// How many bytes are drawn at a time.
const BLOCK: usize = 64;
/// How many bits the salts of Kafka's tools have, and how many bytes are needed for them.
const TEXT_BITS: usize = 130;
const TEXT_BYTES: usize = TEXT_BITS.div_ceil(8);
/// How many digits they have. Fewer than one salt in a thousand million has another number.
const TEXT_DIGITS: std::ops::RangeInclusive<usize> = 20..=26;
/// The base of these digits, and the digits.
const BASE: u32 = 36;
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// What a client sees of a verifier, but for the very salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Form {
    iterations: u32,
    salt: SaltForm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SaltForm {
    /// So many bytes.
    Bytes(usize),
    /// A number in base 36, as Kafka's `ScramFormatter` draws it.
    Text,
}

impl Form {
    /// Of users without an example.
    const DEFAULT: Form = Form { iterations: DEFAULT_ITERATIONS, salt: SaltForm::Bytes(SALT) };

    fn of(verifier: &Verifier) -> Form {
        let salt = verifier.salt();
        let is_text = TEXT_DIGITS.contains(&salt.len()) && salt.iter().all(|byte| DIGITS.contains(byte));
        let salt = if is_text { SaltForm::Text } else { SaltForm::Bytes(salt.len()) };
        Form { iterations: verifier.iterations(), salt }
    }
}

/// How the verifiers of a cluster's users look, with the number of users of each form.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decoys {
    sha256: Vec<(Form, usize)>,
    sha512: Vec<(Form, usize)>,
    /// How many users PLAIN checks with each hash function.
    plain: Vec<(Hash, usize)>,
}

impl Decoys {
    /// As these users are.
    pub(super) fn of<'a>(users: impl Iterator<Item = &'a User> + Clone) -> Decoys {
        let forms = |hash| counted(users.clone().filter_map(|user| user.verifier(hash)).map(Form::of).collect());
        let plain = counted(users.clone().filter_map(User::plain_hash).collect());
        Decoys { sha256: forms(Hash::Sha256), sha512: forms(Hash::Sha512), plain }
    }

    /// A verifier that no password passes.
    pub(super) fn verifier(&self, hash: Hash, secret: &[u8], name: &str) -> Verifier {
        let (forms, mechanism): (_, &[u8]) = match hash {
            Hash::Sha256 => (&self.sha256, b"256"),
            Hash::Sha512 => (&self.sha512, b"512"),
        };
        let form = choose(forms, &drawn(secret, &[b"form", mechanism], name)).unwrap_or(Form::DEFAULT);
        let random = drawn(secret, &[b"salt", mechanism], name);
        let salt = match form.salt {
            SaltForm::Bytes(length) => {
                let mut salt = random.to_vec();
                while salt.len() < length {
                    let block = (salt.len() / BLOCK).to_string();
                    salt.extend(drawn(secret, &[b"salt", mechanism, b"block", block.as_bytes()], name));
                }
                salt.truncate(length);
                salt
            }
            SaltForm::Text => text(&random),
        };
        Verifier::of_nobody(hash, salt, form.iterations)
    }

    /// The hash function with which PLAIN checks a password for this name.
    pub(super) fn plain_hash(&self, secret: &[u8], name: &str) -> Hash {
        choose(&self.plain, &drawn(secret, &[b"plain"], name)).unwrap_or(Hash::Sha512)
    }
}

/// Each value once, in order, and how often it came.
fn counted<T: Ord + Copy>(mut values: Vec<T>) -> Vec<(T, usize)> {
    values.sort_unstable();
    values.chunk_by(|a, b| a == b).map(|same| (same[0], same.len())).collect()
}

/// One of the values, each as likely as it is frequent; `None`: there are none.
fn choose<T: Copy>(values: &[(T, usize)], random: &[u8; BLOCK]) -> Option<T> {
    let all: usize = values.iter().map(|(_, count)| count).sum();
    let random = random.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    // A part of the whole: where the counts change a little, it is the same value for nearly all.
    let place = (u128::from(random) * all as u128) >> u64::BITS;
    let mut passed = 0;
    let mut is_chosen = |count: usize| {
        passed += count as u128;
        place < passed
    };
    values.iter().find(|(_, count)| is_chosen(*count)).map(|(value, _)| *value)
}

/// Bytes that nobody can foresee who does not know the secret, and that are always the same.
fn drawn(secret: &[u8], purpose: &[&[u8]], name: &str) -> [u8; BLOCK] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA512, secret));
    // Purposes have no zero, so that no name continues one.
    purpose.iter().for_each(|part| context.update(part));
    context.update(&[0]);
    context.update(name.as_bytes());
    let mut bytes = [0; BLOCK];
    bytes.copy_from_slice(context.sign().as_ref());
    bytes
}

/// A number of 130 bits, in base 36.
fn text(random: &[u8; BLOCK]) -> Vec<u8> {
    let mut number = [0; TEXT_BYTES];
    number.copy_from_slice(&random[..TEXT_BYTES]);
    number[0] &= u8::MAX >> (TEXT_BYTES * 8 - TEXT_BITS);
    let mut digits = Vec::with_capacity(*TEXT_DIGITS.end());
    while number.iter().any(|byte| *byte != 0) {
        let mut rest = 0;
        for byte in &mut number {
            let dividend = rest << 8 | u32::from(*byte);
            // Below 256, because the rest was below the base.
            *byte = (dividend / BASE) as u8;
            rest = dividend % BASE;
        }
        digits.push(DIGITS[rest as usize]);
    }
    digits.reverse();
    digits
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    const SECRET: &[u8] = b"secret";

    /// A user for whose password this is kept.
    fn user(kept: &[(Hash, &[u8], u32)]) -> User {
        let mut user = User::new("1".to_owned());
        for (hash, salt, iterations) in kept {
            user.set_verifier(*hash, Verifier::of_password(*hash, b"pw", salt.to_vec(), *iterations).ok());
        }
        user
    }

    fn decoys(users: &[User]) -> Decoys {
        Decoys::of(users.iter())
    }

    fn seen(decoys: &Decoys, hash: Hash, name: &str) -> Form {
        Form::of(&decoys.verifier(hash, SECRET, name))
    }

    #[test]
    fn without_an_example_a_decoy_looks_like_the_operators_work() {
        for users in [vec![], vec![User::new("1".to_owned())]] {
            let decoys = decoys(&users);
            assert_eq!(seen(&decoys, Hash::Sha256, "nobody"), Form::DEFAULT);
            assert_eq!(decoys.plain_hash(SECRET, "nobody"), Hash::Sha512);
        }
    }

    #[test]
    fn decoys_look_like_the_users_as_often_as_there_are_such_users() {
        let of_tool = user(&[(Hash::Sha256, b"1a2b3c4d5e6f7g8h9i0j1k2l3m", 8192)]);
        let of_operator = user(&[(Hash::Sha256, &[7; 20], 4096), (Hash::Sha512, &[8; 20], 4096)]);
        let decoys = decoys(&[of_tool, of_operator.clone(), of_operator.clone(), of_operator]);
        let names: Vec<String> = (0..1000).map(|n| format!("name-{n}")).collect();
        let of_tool = Form { iterations: 8192, salt: SaltForm::Text };
        let looks = |form: Form| names.iter().filter(|name| seen(&decoys, Hash::Sha256, name) == form).count();
        assert_eq!(looks(of_tool) + looks(Form::DEFAULT), 1000);
        assert!((200..300).contains(&looks(of_tool)), "{}", looks(of_tool));
        assert!(names.iter().all(|name| seen(&decoys, Hash::Sha512, name) == Form::DEFAULT));
        let with_256 = names.iter().filter(|name| decoys.plain_hash(SECRET, name) == Hash::Sha256).count();
        assert!((200..300).contains(&with_256), "{with_256}");
    }

    #[test]
    fn salts_of_every_length_are_imitated() {
        for length in [0, 1, 64, 65, 128, 1000] {
            // The salts of users before there was an upper limit stay what they are.
            let stored = serde_json::json!({
                "salt": BASE64_STANDARD.encode(vec![7; length]), "storedKey": "", "serverKey": "", "iterations": 4096
            });
            let mut user = User::new("1".to_owned());
            user.set_verifier(Hash::Sha256, serde_json::from_value(stored).ok());
            let decoys = decoys(&[user]);
            let decoy = decoys.verifier(Hash::Sha256, SECRET, "nobody");
            assert_eq!(decoy.salt().len(), length);
            let mut parts: Vec<&[u8]> = decoy.salt().chunks_exact(16).collect();
            parts.sort_unstable();
            assert!(parts.windows(2).all(|pair| pair[0] != pair[1]), "{length}: nothing comes twice");
        }
    }

    #[test]
    fn a_user_more_changes_what_few_names_are_shown() {
        let users = |of_tools: usize| {
            let of_tool = user(&[(Hash::Sha256, b"1a2b3c4d5e6f7g8h9i0j1k2l3m", 8192)]);
            let of_operator = user(&[(Hash::Sha256, &[7; 20], 4096)]);
            decoys(&[vec![of_tool; of_tools], vec![of_operator; 50]].concat())
        };
        let (before, after) = (users(50), users(51));
        let salt = |decoys: &Decoys, name: &str| decoys.verifier(Hash::Sha256, SECRET, name).salt().to_vec();
        let names = (0..1000).map(|n| format!("name-{n}"));
        let changed = names.filter(|name| salt(&before, name) != salt(&after, name)).count();
        assert!(changed < 20, "{changed}");
    }

    #[test]
    fn salts_are_of_the_name_the_mechanism_and_the_secret() {
        let decoys = decoys(&[]);
        let salt = |hash, secret: &[u8], name| decoys.verifier(hash, secret, name).salt().to_vec();
        let salts = [
            salt(Hash::Sha256, SECRET, "a"),
            salt(Hash::Sha512, SECRET, "a"),
            salt(Hash::Sha256, SECRET, "b"),
            salt(Hash::Sha256, b"other", "a"),
        ];
        assert!((0..salts.len()).all(|n| !salts[..n].contains(&salts[n])));
        assert_eq!(salts[0], salt(Hash::Sha256, SECRET, "a"));
    }

    #[test]
    fn numbers_of_130_bits_in_base_36() {
        let number = |bytes: &[u8]| {
            let mut random = [0; BLOCK];
            random[TEXT_BYTES - bytes.len()..TEXT_BYTES].copy_from_slice(bytes);
            String::from_utf8(text(&random)).unwrap()
        };
        assert_eq!(number(&[35]), "z");
        assert_eq!(number(&[36]), "10");
        assert_eq!(number(&1_000_000_u32.to_be_bytes()), "lfls");
        // 2^130 - 1: what does not belong to the number is cut off.
        assert_eq!(number(&[0xff; TEXT_BYTES]), LARGEST);
    }

    /// 2^130 - 1.
    const LARGEST: &str = "1omfro7zwmumr3umxudzyj6scf";
}
