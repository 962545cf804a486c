//! OAUTHBEARER (RFC 7628) as Kafka's `OAuthBearerSaslServer` serves it: a token of an issuer, under TLS only.
//!
//! A bad token is answered with a document that says so. The client sends one byte for that, and then the exchange
//! fails.

use super::issuers::Issuers;
use super::outcome::{Identity, Reason};

/// Divides the parts of messages.
const SEPARATOR: char = '\x01';
/// What a client sends for the document.
const ACKNOWLEDGEMENT: &[u8] = b"\x01";
/// What a client is sent for a bad token, whatever is wrong with it.
pub const INVALID_TOKEN: &str = r#"{"status":"invalid_token"}"#;

/// Takes the client's first message: who it is.
///
/// # Errors
/// [`Reason::Malformed`]; [`Reason::OtherIdentity`] when the client wants to be somebody else than the token's;
/// [`Reason::Token`].
pub(super) fn first(message: &[u8], issuers: &Issuers, now_ms: i64) -> Result<Identity, Reason> {
    let (authzid, token) = parse(message).ok_or(Reason::Malformed)?;
    let identity = issuers.check(token, now_ms)?;
    if !authzid.is_empty() && *identity.principal.name() != authzid {
        return Err(Reason::OtherIdentity);
    }
    Ok(identity)
}

/// Whether this is what a client sends for [`INVALID_TOKEN`].
pub(super) fn acknowledges(message: &[u8]) -> bool {
    message == ACKNOWLEDGEMENT
}

/// The names in a message: for whom, if the client says so, and the token. Extensions (KIP-342) are accepted and
/// ignored.
fn parse(message: &[u8]) -> Option<(String, &str)> {
    let message = std::str::from_utf8(message).ok()?;
    let rest = message.strip_prefix("n,")?;
    let (header, pairs) = rest.split_once(SEPARATOR)?;
    let header = header.strip_suffix(',')?;
    let authzid = if header.is_empty() { String::new() } else { sasl_name(header.strip_prefix("a=")?)? };
    // Each pair ends with a separator, and one more ends them all.
    let pairs = pairs.strip_suffix(SEPARATOR)?;
    let mut auth = None;
    for pair in pairs.strip_suffix(SEPARATOR)?.split(SEPARATOR) {
        let (key, value) = pair.split_once('=')?;
        let is_text = |c: char| matches!(c, ' '..='~' | '\t' | '\r' | '\n');
        let are_letters = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphabetic());
        if !are_letters || value.is_empty() || !value.chars().all(is_text) {
            return None;
        }
        // As in Kafka, the last one counts.
        if key == "auth" {
            auth = Some(value);
        }
    }
    Some((authzid, bearer(auth?)?))
}

/// A name with commas and equals signs escaped, as in SCRAM.
fn sasl_name(name: &str) -> Option<String> {
    let unescaped = name.replace("=2C", ",").replace("=3D", "=");
    let is_plain = !name.is_empty() && !name.contains(',') && !name.replace("=2C", "").replace("=3D", "").contains('=');
    is_plain.then_some(unescaped)
}

/// The token after the word `Bearer`: any that may be one (RFC 6750, section 2.1), so that a client hears what is wrong
/// with it.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_start_matches(' ');
    let is_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~' | '+' | '/');
    let text = token.trim_end_matches('=');
    (scheme.eq_ignore_ascii_case("bearer") && !text.is_empty() && text.chars().all(is_token)).then_some(token)
}

/// A client's message.
pub fn message(token: &str) -> Vec<u8> {
    format!("n,,{SEPARATOR}auth=Bearer {token}{SEPARATOR}{SEPARATOR}").into_bytes()
}
