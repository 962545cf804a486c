//! Exchanges of SCRAM: a client that is right, mistaken, or up to something.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use ottla_access::sasl::{Hash, Mechanism};
use ottla_e2e::choices::Choices;

use super::{Round, USERS, World, damaged};

pub const MECHANISMS: [Mechanism; 2] = [Mechanism::ScramSha256, Mechanism::ScramSha512];

const NONCES: [&str; 3] = ["abc", "rOprNGfwEbeRWgbNEkqO", "!\"#$%&'()*+-./:;<=>?@[]^_`{|}~"];
/// What may stand behind the nonce.
const EXTENSIONS: [&str; 12] = [
    "",
    "",
    "",
    ",x=y",
    ",ext=a=b",
    ",x=",
    ",1=y",
    ",x",
    ",tokenauth=true",
    ",tokenauth=TRUE",
    ",tokenauth=false",
    ",x=\u{e9}",
];

/// What a client does wrong with the nonce that it sends back.
const OTHER_NONCES: [fn(&str) -> String; 4] = [
    |nonce| nonce[1..].to_owned(),
    |nonce| format!("{nonce}x"),
    |_| "fyko+d2lbbFgONRv9qkx".to_owned(),
    |_| String::new(),
];

/// A client's side, by its own means.
struct Client {
    hash: Hash,
    password: String,
    first: Vec<u8>,
}

impl Client {
    fn hash(&self, bytes: &[u8]) -> Vec<u8> {
        let algorithm = match self.hash {
            Hash::Sha256 => &digest::SHA256,
            Hash::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, bytes).as_ref().to_vec()
    }

    fn sign(&self, key: &[u8], message: &[u8]) -> Vec<u8> {
        let algorithm = match self.hash {
            Hash::Sha256 => hmac::HMAC_SHA256,
            Hash::Sha512 => hmac::HMAC_SHA512,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), message).as_ref().to_vec()
    }

    /// The first message: its header, and the rest.
    fn parts(&self) -> (String, String) {
        let first = String::from_utf8_lossy(&self.first).into_owned();
        let header: String = first.split_inclusive(',').take(2).collect();
        let bare = first[header.len()..].to_owned();
        (header, bare)
    }

    /// The final message, which is signed with the message that is `signed` in its place.
    fn last(&self, answer: &[u8], without_proof: &str, signed: &str) -> String {
        let answer = String::from_utf8_lossy(answer);
        let part = |key: &str| answer.split(',').find_map(|part| part.strip_prefix(key)).unwrap_or_default();
        let salt = BASE64.decode(part("s=")).unwrap_or_default();
        let iterations = part("i=").parse().unwrap_or(NonZeroU32::MIN);
        let salted = self.hash.salted_password(self.password.as_bytes(), &salt, iterations);
        let key = self.sign(&salted, b"Client Key");
        let message = format!("{},{answer},{signed}", self.parts().1);
        let signature = self.sign(&self.hash(&key), message.as_bytes());
        let proof: Vec<u8> = key.iter().zip(&signature).map(|(key, sign)| key ^ sign).collect();
        format!("{without_proof},p={}", BASE64.encode(proof))
    }

    /// The final message without its proof, as it should be.
    fn without_proof(&self, answer: &[u8]) -> String {
        format!("c={},r={}", BASE64.encode(self.parts().0), nonce_of(answer))
    }
}

fn nonce_of(answer: &[u8]) -> String {
    let answer = String::from_utf8_lossy(answer);
    answer.split(',').find_map(|part| part.strip_prefix("r=")).unwrap_or_default().to_owned()
}

fn hash_of(mechanism: Mechanism) -> Hash {
    if mechanism == Mechanism::ScramSha256 { Hash::Sha256 } else { Hash::Sha512 }
}

fn encoded(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

fn random(choices: &mut Choices) -> [u8; 16] {
    [(); 16].map(|()| choices.below(256) as u8)
}

/// A random exchange, and whether its user exists on neither side.
pub fn play<'a>(world: &'a World, choices: &mut Choices) -> (Round<'a>, bool) {
    let mechanism = choices.of(&MECHANISMS);
    let (name, password) = choices.of(&[USERS[0], USERS[0], USERS[1], ("nobody", "x")]);
    let password = if choices.below(4) == 0 { "a guess" } else { password };
    let mut round = Round::begin(world, mechanism, random(choices));
    let name =
        if choices.below(12) == 0 { choices.of(&["", "a=b", "us=2cer", "\u{e9}"]).into() } else { encoded(name) };
    let header = match choices.below(8) {
        0 => choices.of(&["y,,", "p=tls-unique,,", "n,a=alice,", "n,a=,", "n,alice,", "n,", ""]),
        _ => "n,,",
    };
    let nonce = if choices.below(12) == 0 { choices.of(&["", "a b", "\u{e9}"]) } else { choices.of(&NONCES) };
    let extension = choices.of(&EXTENSIONS);
    let mut first = format!("{header}n={name},r={nonce}{extension}").into_bytes();
    if choices.below(5) == 0 {
        first = damaged(choices, &first);
    }
    let client = Client { hash: hash_of(mechanism), password: password.to_owned(), first };
    let known = USERS.map(|(name, _)| format!("n={},r=", encoded(name)));
    let is_stranger = !known.iter().any(|known| client.parts().1.starts_with(known.as_str()));
    let Some(answer) = round.send(&client.first) else { return (round, is_stranger) };
    let without_proof = client.without_proof(&answer);
    let last = match choices.below(8) {
        0 => {
            let nonce = choices.of(&OTHER_NONCES)(&nonce_of(&answer));
            let without_proof = format!("c={},r={nonce}", BASE64.encode(client.parts().0));
            client.last(&answer, &without_proof, &without_proof)
        }
        1 => {
            let last = client.last(&answer, &without_proof, &without_proof);
            let shapes: [fn(&str) -> String; 5] = [
                |last| last.replacen("c=", "c=*", 1),
                |last| last.replacen("c=", "", 1),
                |last| last.rsplit_once(",p=").map_or(String::new(), |(without, _)| without.to_owned()),
                |last| format!("{last},x=y"),
                |last| last.replacen(",r=", ",m=x,r=", 1),
            ];
            choices.of(&shapes)(&last)
        }
        _ => client.last(&answer, &without_proof, &without_proof),
    };
    let last = if choices.below(5) == 0 { damaged(choices, last.as_bytes()) } else { last.into_bytes() };
    round.send(last);
    (round, is_stranger)
}

/// The title of a case, its exchange, and how it ends here and there.
pub type Case<'a> = (&'static str, Round<'a>, &'static str, &'static str);

/// Exchanges that are meant to end in another way here than there.
pub fn differences(world: &World) -> Vec<Case<'_>> {
    let mechanism = MECHANISMS[0];
    let begin = || Round::begin(world, mechanism, [7; 16]);
    let client = |first: &str, (_, password): (&str, &str)| Client {
        hash: hash_of(mechanism),
        password: password.to_owned(),
        first: first.as_bytes().to_vec(),
    };
    // A client of the first user; what it sends last is made of the answer.
    let with_last = |change: &dyn Fn(&Client, &[u8]) -> String| {
        let (mut round, client) = (begin(), client("n,,n=alice,r=abc", USERS[0]));
        if let Some(answer) = round.send(&client.first) {
            round.send(change(&client, &answer));
        }
        round
    };
    let with_first = |first: &str, user| {
        let (mut round, client) = (begin(), client(first, user));
        if let Some(answer) = round.send(&client.first) {
            let without_proof = client.without_proof(&answer);
            round.send(client.last(&answer, &without_proof, &without_proof));
        }
        round
    };
    let other_binding = with_last(&|client, answer| {
        let without_proof = format!("c={},r={}", BASE64.encode("y,,"), nonce_of(answer));
        client.last(answer, &without_proof, &without_proof)
    });
    let doubled = with_last(&|client, answer| {
        let without_proof = format!("c=biws,r=abc{}", nonce_of(answer));
        client.last(answer, &without_proof, &without_proof)
    });
    let extended = with_last(&|client, answer| {
        let without_proof = format!("{},x=y", client.without_proof(answer));
        client.last(answer, &without_proof, &without_proof)
    });
    let added = with_last(&|client, answer| {
        let without_proof = client.without_proof(answer);
        client.last(answer, &format!("{without_proof},x=y"), &without_proof)
    });
    let shorter = with_last(&|client, answer| format!("{},p=AAAA", client.without_proof(answer)));
    vec![
        ("a gs2 header that is not the one of the first message", other_binding, "refused", "done"),
        ("the nonce as librdkafka before 2.6.1 sends it", doubled, "done", "refused"),
        ("an extension of the final message, signed", extended, "done", "refused"),
        ("an extension of the final message that was added on the way", added, "refused", "done"),
        ("a proof of another length", shorter, "refused", "stumbled"),
        ("a mandatory extension", with_first("n,,m=x,n=alice,r=abc", USERS[0]), "refused", "answer"),
        (
            "an authorization id with escapes",
            with_first("n,a=a=2Cb=3Dc,n=a=2Cb=3Dc,r=abc", USERS[1]),
            "done",
            "stumbled",
        ),
    ]
}
