//! What a certificate says, and whether it is still the right one.

use std::collections::BTreeSet;
use std::net::IpAddr;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

use super::validity::{Lifetime, Validity};

/// What is asked of a certificate.
#[derive(Clone, Copy)]
pub struct CertificateRequirements<'a> {
    /// The certificate of the authority that issues now.
    pub authority: &'a str,
    /// Its alternative names: the URI and the hosts.
    pub names: &'a BTreeSet<String>,
    /// How long it is good, and when it is renewed.
    pub lifetime: Lifetime,
}

/// Whether the first certificate of a text is what is asked for, and not due.
pub fn is_good(pem: &str, asked: CertificateRequirements<'_>, now: i64) -> bool {
    let names = read(pem, |certificate| {
        let is_issued = read(asked.authority, |authority| {
            certificate.issuer() == authority.subject()
                && certificate.verify_signature(Some(authority.public_key())).is_ok()
        });
        (is_issued == Some(true)).then(|| alternative_names(certificate))
    });
    let due = Validity::of_pem(pem).is_none_or(|validity| validity.is_due(asked.lifetime, now));
    !due && names.flatten().as_ref() == Some(asked.names)
}

/// The serial number of the first certificate of a text, in hexadecimal digits; `None`: the text has none that can be
/// read.
pub fn serial(pem: &str) -> Option<String> {
    read(pem, |certificate| certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn read<T>(pem: &str, what: impl FnOnce(&X509Certificate<'_>) -> T) -> Option<T> {
    let (_, block) = parse_x509_pem(pem.as_bytes()).ok()?;
    Some(what(&block.parse_x509().ok()?))
}

fn alternative_names(certificate: &X509Certificate<'_>) -> BTreeSet<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::URI(text) | GeneralName::DNSName(text) => Some((*text).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    };
    names.iter().flat_map(|names| &names.value.general_names).filter_map(text).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorities::issue::{self, Subject};
    use crate::authorities::validity::{AUTHORITY, BROKER};
    use ottla_rules::assignment::BrokerId;

    #[test]
    fn a_certificate_is_replaced_when_it_is_due_has_other_names_or_another_authority() {
        let now = 1_800_000_000;
        let [ca, other] = [(); 2].map(|()| issue::authority("prod", now, AUTHORITY).unwrap());
        let hosts = ["broker.example".to_owned(), "10.0.0.7".to_owned(), "::1".to_owned()];
        let subject = Subject::Broker { id: BrokerId(3), hosts: &hosts };
        let made = issue::certificate(&ca, "uid-1", &subject, now, BROKER).unwrap().certificate;
        let names = subject.names("uid-1").into_iter().collect::<BTreeSet<_>>();
        let fewer = names.iter().take(2).cloned().collect();
        let asked = CertificateRequirements { authority: &ca.certificate, names: &names, lifetime: BROKER };
        let due = now + BROKER.length - BROKER.renewal;
        for (story, asked, at, expected) in [
            ("as it was made", asked, now, true),
            ("just not due", asked, due - 1, true),
            ("due", asked, due, false),
            ("other names", CertificateRequirements { names: &fewer, ..asked }, now, false),
            ("another authority", CertificateRequirements { authority: &other.certificate, ..asked }, now, false),
        ] {
            assert_eq!(is_good(&made, asked, at), expected, "{story}");
        }
        assert!(!is_good("nonsense", asked, now));
        assert!(serial(&made).is_some_and(|serial| serial.len() >= 16));
    }
}
