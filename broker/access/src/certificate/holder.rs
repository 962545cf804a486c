//! Who a certificate of the cluster's own authorities is for: it says so in a URI among its alternative names,
//! `ottla://CLUSTER/broker/ID`, `ottla://CLUSTER/operator` or `ottla://CLUSTER/user/NAME/UID`.
//!
//! The caller has checked that the authority of brokers, or that of users, has issued the certificate. CLUSTER is for
//! people who read it: an authority issues for one cluster only.

use ottla_wire::Str;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// Who a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The broker with this id.
    Broker(i32),
    /// The operator.
    Operator,
    /// A KafkaUser.
    User {
        /// The name of its principal.
        name: Str,
        /// Its uid: one that is deleted and created again is another one.
        uid: String,
    },
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// Who it is for.
    pub holder: Holder,
    /// Its last second, in seconds since 1970.
    pub not_after: i64,
}

impl Certified {
    /// Reads a certificate in DER. `None`: it is none of Ottla's, or names several holders.
    pub fn of(der: &[u8]) -> Option<Certified> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = certificate.subject_alternative_name().ok()??;
        let mut holders = names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => uri.strip_prefix("ottla://"),
            _ => None,
        });
        let (holder, None) = (holders.next()?, holders.next()) else { return None };
        Some(Certified { holder: holder_of(holder)?, not_after: certificate.validity().not_after.timestamp() })
    }
}

/// The last second of a certificate in DER, in seconds since 1970; `None`: it is none.
pub fn not_after(der: &[u8]) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// From what comes behind the scheme.
fn holder_of(uri: &str) -> Option<Holder> {
    let mut parts = uri.split('/').skip(1);
    let holder = match (parts.next()?, parts.next(), parts.next()) {
        ("operator", None, None) => Holder::Operator,
        ("broker", Some(id), None) => Holder::Broker(id.parse().ok().filter(|id| *id >= 0)?),
        ("user", Some(name), Some(uid)) if !uid.is_empty() => {
            Holder::User { name: Str::from(decoded(name)?), uid: uid.to_owned() }
        }
        _ => return None,
    };
    parts.next().is_none().then_some(holder)
}

/// The text of a segment of a path, which is percent-encoded.
fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
    }
    String::from_utf8(bytes).ok().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_uris_that_we_write_name_somebody() {
        let user = |name: &'static str| Some(Holder::User { name: Str::from_static(name), uid: "u-1".to_owned() });
        for (uri, expected) in [
            ("c/broker/3", Some(Holder::Broker(3))),
            ("c/operator", Some(Holder::Operator)),
            ("c/user/orders/u-1", user("orders")),
            ("c/user/orders%2Feu/u-1", user("orders/eu")),
            ("c/user/%C3%A4/u-1", user("ä")),
            ("c/broker/-1", None),
            ("c/broker/x", None),
            ("c/broker", None),
            ("c/broker/3/4", None),
            ("c/operator/x", None),
            ("c/user/orders", None),
            ("c/user/orders/", None),
            ("c/user//u-1", None),
            ("c/user/a%2/u-1", None),
            ("c/user/a%zz/u-1", None),
            ("c/user/%FF/u-1", None),
            ("c/user/a/u-1/b", None),
            ("broker/3", None),
            ("", None),
        ] {
            assert_eq!(holder_of(uri), expected, "{uri}");
        }
    }

    proptest! {
        #[test]
        fn bytes_that_are_no_certificate_name_nobody(bytes: Vec<u8>) {
            prop_assert_eq!(Certified::of(&bytes), None);
        }
    }
}
