//! SCRAM (RFC 5802, RFC 7677, KIP-84): a client proves that it knows a password without sending it.
//!
//! Kafka's `ScramSaslServer` with three deviations. `c=` must encode the client's own gs2 header, which Kafka never
//! looks at. The final nonce may also be the client's nonce before the whole one, because librdkafka before 2.6.1 sends
//! it that way; a replay stays impossible. A user that does not exist is shown a salt and fails at the end, as with a
//! wrong password; Kafka fails at once.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ottla_wire::Str;

use super::credentials::Credentials;
use super::outcome::{Identity, Reason};
use super::verifier::{Hash, MOST_ITERATIONS, Verifier};
use crate::Principal;

/// The broker's side, before the client's first message.
pub(super) struct Begun {
    pub hash: Hash,
    /// Random characters of this exchange.
    pub nonce: String,
}

/// The broker's side, after its first message.
pub(super) struct Challenged {
    hash: Hash,
    name: Str,
    verifier: Verifier,
    /// None: there is no such user.
    uid: Option<String>,
    gs2_header: String,
    client_nonce: String,
    nonce: String,
    /// The client's first message without its header, and the broker's.
    messages: String,
}

/// A client's first message.
struct First<'a> {
    gs2_header: &'a str,
    bare: &'a str,
    name: String,
    nonce: &'a str,
}

impl Begun {
    /// Answers the client's first message.
    pub(super) fn first(self, token: &[u8], credentials: &Credentials) -> Result<(String, Challenged), Reason> {
        let text = std::str::from_utf8(token).map_err(|_| Reason::Malformed)?;
        let First { gs2_header, bare, name, nonce: client_nonce } = First::parse(text)?;
        let (verifier, uid) = credentials.verifier(&name, self.hash);
        let nonce = format!("{client_nonce}{}", self.nonce);
        let salt = BASE64_STANDARD.encode(verifier.salt());
        let answer = format!("r={nonce},s={salt},i={}", verifier.iterations());
        let challenged = Challenged {
            hash: self.hash,
            name: Str::from(name),
            verifier,
            uid,
            gs2_header: gs2_header.to_owned(),
            client_nonce: client_nonce.to_owned(),
            nonce,
            messages: format!("{bare},{answer}"),
        };
        Ok((answer, challenged))
    }
}

impl<'a> First<'a> {
    /// `n,[a=authzid],n=name,r=nonce[,extensions]`
    fn parse(text: &'a str) -> Result<First<'a>, Reason> {
        let rest = text.strip_prefix("n,").ok_or(Reason::ChannelBinding)?;
        let (authzid, bare) = rest.split_once(',').ok_or(Reason::Malformed)?;
        let gs2_header = &text[..text.len() - bare.len()];
        let mut attributes = bare.split(',');
        let name = attributes.next().and_then(|first| first.strip_prefix("n=")).ok_or(Reason::Malformed)?;
        let name = decoded_name(name).ok_or(Reason::Malformed)?;
        let nonce = attributes.next().and_then(|second| second.strip_prefix("r=")).ok_or(Reason::Malformed)?;
        if !is_nonce(nonce) {
            return Err(Reason::Malformed);
        }
        for extension in attributes {
            match extension.split_once('=') {
                // Delegation tokens (KIP-48) are not served.
                Some(("tokenauth", value)) if value.eq_ignore_ascii_case("true") => {
                    return Err(Reason::DelegationToken);
                }
                Some((key, value)) if is_extension(key, value) => {}
                Some(_) | None => return Err(Reason::Malformed),
            }
        }
        if !authzid.is_empty() {
            let authzid = authzid.strip_prefix("a=").and_then(decoded_name).ok_or(Reason::Malformed)?;
            if authzid != name {
                return Err(Reason::OtherIdentity);
            }
        }
        Ok(First { gs2_header, bare, name, nonce })
    }
}

impl Challenged {
    /// Checks the client's final message; answers with the broker's own proof.
    pub(super) fn last(self, token: &[u8]) -> Result<(String, Identity), Reason> {
        let text = std::str::from_utf8(token).map_err(|_| Reason::Malformed)?;
        // The proof comes last (RFC 5802, section 7).
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(Reason::Malformed)?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next().and_then(|first| first.strip_prefix("c=")).ok_or(Reason::Malformed)?;
        let nonce = attributes.next().and_then(|second| second.strip_prefix("r=")).ok_or(Reason::Malformed)?;
        let proof = BASE64_STANDARD.decode(proof).map_err(|_| Reason::Malformed)?;
        if proof.len() != self.hash.length() {
            return Err(Reason::Malformed);
        }
        if BASE64_STANDARD.decode(binding).ok().as_deref() != Some(self.gs2_header.as_bytes()) {
            return Err(Reason::ChannelBinding);
        }
        if nonce != self.nonce && nonce.strip_prefix(&*self.client_nonce) != Some(&self.nonce) {
            return Err(Reason::Nonce);
        }
        let message = format!("{},{without_proof}", self.messages);
        let signature = self.verifier.client_signature(self.hash, message.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(proof, sign)| proof ^ sign).collect();
        let is_right = self.verifier.is_of_key(self.hash, &client_key);
        if !is_right || self.uid.is_none() {
            return Err(Reason::Credentials);
        }
        let signature = self.verifier.server_signature(self.hash, message.as_bytes());
        let answer = format!("v={}", BASE64_STANDARD.encode(signature.as_ref()));
        let proof = Some(self.verifier.proof(self.hash));
        Ok((answer, Identity { principal: Principal::new(self.name), uid: self.uid, expires_ms: None, proof }))
    }
}

/// A name as it stands in a message: `=2C` is a comma and `=3D` an equals sign. ASCII only, as in Kafka.
fn decoded_name(text: &str) -> Option<String> {
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('=') {
        name.push_str(&rest[..at]);
        name.push(match rest.get(at..at + 3)? {
            "=2C" => ',',
            "=3D" => '=',
            _ => return None,
        });
        rest = &rest[at + 3..];
    }
    name.push_str(rest);
    (!name.is_empty() && name.bytes().all(|byte| (1..0x80).contains(&byte))).then_some(name)
}

/// Letters, and any ASCII but NUL.
fn is_extension(key: &str, value: &str) -> bool {
    let are_letters = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphabetic());
    are_letters && !value.is_empty() && value.bytes().all(|byte| (1..0x80).contains(&byte))
}

fn encoded_name(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// Printable characters but the comma.
fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b',')
}

/// A client's side.
pub struct ScramClient {
    hash: Hash,
    password: zeroize::Zeroizing<String>,
    nonce: String,
    bare: String,
}

/// A client's side, when it waits for the broker's proof.
pub struct ScramProof {
    expected: String,
}

/// Why a client ends the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker's SCRAM message is not what it should be: {0}")]
pub struct NotTheBroker(&'static str);

impl ScramClient {
    /// A client with random characters of its own.
    pub fn new(hash: Hash, name: &str, password: &str, nonce: &str) -> ScramClient {
        let bare = format!("n={},r={nonce}", encoded_name(name));
        ScramClient { hash, password: password.to_owned().into(), nonce: nonce.to_owned(), bare }
    }

    /// Its first message.
    pub fn first(&self) -> String {
        format!("n,,{}", self.bare)
    }

    /// Its final message, after the broker's first. Takes milliseconds.
    ///
    /// # Errors
    /// When the broker's message makes no sense, or asks for more work than Kafka's.
    pub fn last(self, server_first: &[u8]) -> Result<(String, ScramProof), NotTheBroker> {
        let (hash, password) = (self.hash, self.password.clone());
        self.last_of_salted(server_first, |salt, iterations| {
            hash.salted_password(password.as_bytes(), salt, iterations)
        })
    }

    /// The same for who has salted the password before: `salted` gives it for this salt and so many iterations.
    ///
    /// # Errors
    /// As [`ScramClient::last`].
    pub fn last_of_salted(
        self,
        server_first: &[u8],
        salted: impl FnOnce(&[u8], std::num::NonZeroU32) -> zeroize::Zeroizing<Vec<u8>>,
    ) -> Result<(String, ScramProof), NotTheBroker> {
        let malformed = NotTheBroker("malformed");
        let text = std::str::from_utf8(server_first).map_err(|_| malformed)?;
        let mut parts = text.split(',');
        let mut part = |key: &str| parts.next().and_then(|part| part.strip_prefix(key)).ok_or(malformed);
        let (nonce, salt, iterations) = (part("r=")?, part("s=")?, part("i=")?);
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(NotTheBroker("the nonce"));
        }
        let salt = BASE64_STANDARD.decode(salt).map_err(|_| malformed)?;
        let iterations: std::num::NonZeroU32 = iterations.parse().map_err(|_| malformed)?;
        if iterations.get() > MOST_ITERATIONS {
            return Err(NotTheBroker("too many iterations"));
        }
        let salted = salted(&salt, iterations);
        let without_proof = format!("c={},r={nonce}", BASE64_STANDARD.encode("n,,"));
        let message = format!("{},{text},{without_proof}", self.bare);
        let client_key = self.hash.hmac(&salted, b"Client Key");
        let stored_key = self.hash.digest(client_key.as_ref());
        let signature = self.hash.hmac(stored_key.as_ref(), message.as_bytes());
        let proof: Vec<u8> = client_key.as_ref().iter().zip(signature.as_ref()).map(|(key, sign)| key ^ sign).collect();
        let server_key = self.hash.hmac(&salted, b"Server Key");
        let expected = self.hash.hmac(server_key.as_ref(), message.as_bytes());
        let expected = format!("v={}", BASE64_STANDARD.encode(expected.as_ref()));
        Ok((format!("{without_proof},p={}", BASE64_STANDARD.encode(proof)), ScramProof { expected }))
    }
}

impl ScramProof {
    /// Checks that the broker knows the password's verifier.
    ///
    /// # Errors
    /// When it does not.
    pub fn check(self, server_final: &[u8]) -> Result<(), NotTheBroker> {
        if server_final == self.expected.as_bytes() { Ok(()) } else { Err(NotTheBroker("the broker's proof")) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sasl::User;

    const USER: &str = "user";

    /// RFC 7677, section 3, and the same exchange with SHA-512.
    fn credentials() -> Credentials {
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = |hash| Verifier::of_password(hash, b"pencil", salt.clone(), 4096).unwrap();
        let user = User {
            uid: "1".to_owned(),
            has_certificate: false,
            sha256: Some(verifier(Hash::Sha256)),
            sha512: Some(verifier(Hash::Sha512)),
        };
        Credentials::new([(USER.into(), Arc::new(user))], b"secret".to_vec())
    }

    fn begun(nonce: &str) -> Begun {
        Begun { hash: Hash::Sha256, nonce: nonce.to_owned() }
    }

    const CLIENT_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

    #[test]
    fn the_exchange_of_rfc_7677() {
        let first = format!("n,,n=user,r={CLIENT_NONCE}");
        let (answer, challenged) = begun(SERVER_NONCE).first(first.as_bytes(), &credentials()).unwrap();
        assert_eq!(answer, format!("r={CLIENT_NONCE}{SERVER_NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"));
        let last = format!("c=biws,r={CLIENT_NONCE}{SERVER_NONCE},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let (answer, identity) = challenged.last(last.as_bytes()).unwrap();
        assert_eq!(answer, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert_eq!(identity.principal, Principal::new(USER));
    }

    #[test]
    fn the_client_of_rfc_7677() {
        let client = || ScramClient::new(Hash::Sha256, USER, "pencil", CLIENT_NONCE);
        assert_eq!(client().first(), format!("n,,n=user,r={CLIENT_NONCE}"));
        let challenge = format!("r={CLIENT_NONCE}{SERVER_NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let answered = || client().last(challenge.as_bytes()).unwrap();
        let (last, proof) = answered();
        let expected = format!("c=biws,r={CLIENT_NONCE}{SERVER_NONCE},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        assert_eq!(last, expected);
        proof.check(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap();
        for last in ["v=7rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", "e=invalid-proof", ""] {
            assert!(answered().1.check(last.as_bytes()).is_err(), "{last}");
        }
    }

    #[test]
    fn a_challenge_that_no_broker_would_send_is_refused() {
        let client = || ScramClient::new(Hash::Sha512, "a=b,c", "p", "abc");
        assert_eq!(client().first(), "n,,n=a=3Db=2Cc,r=abc");
        for challenge in [
            "",
            "r=abc,s=YQ==,i=4096",
            "r=xyz1,s=YQ==,i=4096",
            "r=abc1,s=*,i=1",
            "r=abc1,s=YQ==,i=0",
            "r=abc1,s=YQ==,i=1000001",
        ] {
            assert!(client().last(challenge.as_bytes()).is_err(), "{challenge}");
        }
    }

    #[test]
    fn client_and_broker_prove_to_each_other_that_they_know_the_password() {
        for hash in [Hash::Sha256, Hash::Sha512] {
            for (name, password, is_let_in) in
                [(USER, "pencil", true), (USER, "pen", false), ("nobody", "pencil", false)]
            {
                let client = ScramClient::new(hash, name, password, "abc");
                let begun = Begun { hash, nonce: "def".to_owned() };
                let (answer, challenged) = begun.first(client.first().as_bytes(), &credentials()).unwrap();
                let (last, proof) = client.last(answer.as_bytes()).unwrap();
                match challenged.last(last.as_bytes()) {
                    Ok((answer, _)) => {
                        assert!(is_let_in, "{name} {password}");
                        proof.check(answer.as_bytes()).unwrap();
                    }
                    Err(reason) => assert_eq!((reason, is_let_in), (Reason::Credentials, false), "{name} {password}"),
                }
            }
        }
    }

    #[test]
    fn first_messages_that_are_refused() {
        for (message, reason) in [
            ("y,,n=user,r=abc", Reason::ChannelBinding),
            ("p=tls-unique,,n=user,r=abc", Reason::ChannelBinding),
            ("n,,r=abc,n=user", Reason::Malformed),
            ("n,,n=,r=abc", Reason::Malformed),
            ("n,,n=us=er,r=abc", Reason::Malformed),
            ("n,,n=us=2cer,r=abc", Reason::Malformed),
            ("n,,n=us\u{e9}r,r=abc", Reason::Malformed),
            ("n,,n=user,r=", Reason::Malformed),
            ("n,,n=user,r=a b", Reason::Malformed),
            ("n,,m=ext,n=user,r=abc", Reason::Malformed),
            ("n,,n=user,r=abc,1=2", Reason::Malformed),
            ("n,,n=user,r=abc,x=", Reason::Malformed),
            ("n,,n=user,r=abc,x=\u{e9}", Reason::Malformed),
            ("n,,n=user,r=abc,tokenauth=true", Reason::DelegationToken),
            ("n,,n=user,r=abc,tokenauth=TRUE", Reason::DelegationToken),
            ("n,a=other,n=user,r=abc", Reason::OtherIdentity),
            ("n,other,n=user,r=abc", Reason::Malformed),
            ("n", Reason::ChannelBinding),
            ("n,", Reason::Malformed),
            ("", Reason::ChannelBinding),
        ] {
            let refused = begun("x").first(message.as_bytes(), &credentials()).map(|(answer, _)| answer);
            assert_eq!(refused, Err(reason), "{message:?}");
        }
        for message in ["n,a=user,n=user,r=abc", "n,,n=us=2Cer,r=abc,x=y"] {
            assert!(begun("x").first(message.as_bytes(), &credentials()).is_ok(), "{message:?}");
        }
    }

    #[test]
    fn nonces_and_headers_of_other_exchanges_are_refused_and_that_of_an_old_librdkafka_is_not() {
        let exchange = |change: &dyn Fn(&str) -> String, header: &str| {
            let client = ScramClient::new(Hash::Sha256, USER, "pencil", "abc");
            let (answer, challenged) = begun("def").first(client.first().as_bytes(), &credentials()).unwrap();
            // The client signs what it sends, so only the broker's own check can refuse it.
            let salted = Hash::Sha256.salted_password(
                b"pencil",
                &BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(),
                std::num::NonZeroU32::new(4096).unwrap(),
            );
            let without_proof = format!("c={},r={}", BASE64_STANDARD.encode(header), change("abcdef"));
            let message = format!("n=user,r=abc,{answer},{without_proof}");
            let key = Hash::Sha256.hmac(&salted, b"Client Key");
            let sign = Hash::Sha256.hmac(Hash::Sha256.digest(key.as_ref()).as_ref(), message.as_bytes());
            let proof: Vec<u8> = key.as_ref().iter().zip(sign.as_ref()).map(|(key, sign)| key ^ sign).collect();
            let last = format!("{without_proof},p={}", BASE64_STANDARD.encode(proof));
            challenged.last(last.as_bytes()).map(|_| ())
        };
        assert_eq!(exchange(&str::to_owned, "n,,"), Ok(()));
        assert_eq!(exchange(&|nonce| format!("abc{nonce}"), "n,,"), Ok(()), "librdkafka before 2.6.1");
        for replayed in ["abc", "abcxyz", "abcde", "def", "xabcdef", "abcabcabcdef"] {
            assert_eq!(exchange(&|_| replayed.to_owned(), "n,,"), Err(Reason::Nonce), "{replayed}");
        }
        for header in ["y,,", "n,a=user,", "", "n"] {
            assert_eq!(exchange(&str::to_owned, header), Err(Reason::ChannelBinding), "{header}");
        }
    }

    #[test]
    fn a_user_that_does_not_exist_always_has_the_same_salt_and_looks_like_any_other() {
        let salt_of = |name: &str| {
            let first = format!("n,,n={name},r=abc");
            begun("def").first(first.as_bytes(), &credentials()).unwrap().0
        };
        assert_eq!(salt_of("nobody"), salt_of("nobody"));
        assert_ne!(salt_of("nobody"), salt_of("no-one"));
        assert!(salt_of("nobody").ends_with(",i=4096"));
    }
}
