//! Makes authorities and certificates, with keys on the curve P-256.

use std::net::IpAddr;

use ottla_crds::names;
use ottla_rules::assignment::BrokerId;
use rcgen::string::{Ia5String, PrintableString};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;
use x509_parser::asn1_rs::Tag;
use x509_parser::pem::parse_x509_pem;
use zeroize::Zeroizing;

use super::validity::{Lifetime, Validity};

/// A certificate and its key, in PEM. Has no `Debug`: the key must not be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: Zeroizing<String>,
}

/// Whom a certificate is for.
pub enum Subject<'a> {
    /// A broker, and the names and addresses under which clients connect to it.
    Broker {
        /// Its id.
        id: BrokerId,
        /// Names and addresses.
        hosts: &'a [String],
    },
    /// The operator, which asks brokers whether they are alive.
    Operator,
    /// A user.
    User {
        /// Its name.
        name: &'a str,
        /// The uid of its KafkaUser: one that is deleted and created again is another user.
        uid: &'a str,
    },
}

impl Subject<'_> {
    /// The alternative names of its certificates: the URI that says who it is, then a broker's hosts.
    pub fn names(&self, cluster_uid: &str) -> Vec<String> {
        let uri = |path: String| format!("ottla://{cluster_uid}/{path}");
        match self {
            Subject::Broker { id, hosts } => {
                let own = [uri(format!("broker/{id}")), names::broker_server_name(*id)];
                own.into_iter().chain(hosts.iter().cloned()).collect()
            }
            Subject::Operator => vec![uri("operator".to_owned())],
            Subject::User { name, uid } => vec![uri(format!("user/{}/{uid}", percent_encoded(name)))],
        }
    }

    fn common_name(&self) -> String {
        match self {
            Subject::Broker { id, .. } => format!("broker-{id}"),
            Subject::Operator => "operator".to_owned(),
            Subject::User { name, .. } => (*name).to_owned(),
        }
    }

    fn purposes(&self) -> Vec<ExtendedKeyUsagePurpose> {
        match self {
            // A broker is a client of other brokers, too.
            Subject::Broker { .. } => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            Subject::Operator | Subject::User { .. } => vec![ExtendedKeyUsagePurpose::ClientAuth],
        }
    }
}

/// Why there is no certificate: the authority's text makes no sense, or a name can't stand in a certificate.
pub type NotIssued = rcgen::Error;

/// A new authority with a new key.
///
/// # Errors
/// See [`NotIssued`].
pub fn authority(common_name: &str, now: i64, lifetime: Lifetime) -> Result<Pair, NotIssued> {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    self_signed(name, KeyPair::generate()?, now, lifetime)
}

/// The same authority with the same key and the same subject for longer: nobody notices. Who checks a certificate finds
/// its authority by that subject, and a key that was rotated has another than the first one.
///
/// # Errors
/// See [`NotIssued`].
pub fn authority_again(before: &Pair, now: i64, lifetime: Lifetime) -> Result<Pair, NotIssued> {
    self_signed(subject(&before.certificate)?, KeyPair::from_pem(&before.key)?, now, lifetime)
}

/// The subject of a certificate.
fn subject(certificate: &str) -> Result<DistinguishedName, NotIssued> {
    let (_, pem) = parse_x509_pem(certificate.as_bytes()).map_err(|_| NotIssued::CouldNotParseCertificate)?;
    let certificate = pem.parse_x509().map_err(|_| NotIssued::CouldNotParseCertificate)?;
    let mut name = DistinguishedName::new();
    for attribute in certificate.subject().iter_attributes() {
        let oid: Vec<u64> = attribute.attr_type().iter().into_iter().flatten().collect();
        let text = attribute.as_str().map_err(|_| NotIssued::CouldNotParseCertificate)?;
        let value = match attribute.attr_value().tag() {
            Tag::PrintableString => DnValue::PrintableString(PrintableString::try_from(text)?),
            Tag::Ia5String => DnValue::Ia5String(Ia5String::try_from(text)?),
            _ => DnValue::Utf8String(text.to_owned()),
        };
        name.push(DnType::CustomDnType(oid), value);
    }
    Ok(name)
}

fn self_signed(name: DistinguishedName, key: KeyPair, now: i64, lifetime: Lifetime) -> Result<Pair, NotIssued> {
    let mut params = params("", lifetime.from(now))?;
    params.distinguished_name = name;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let certificate = params.self_signed(&key)?.pem();
    Ok(Pair { certificate, key: key.serialize_pem().into() })
}

/// A certificate of `authority` with a new key.
///
/// # Errors
/// See [`NotIssued`].
pub fn certificate(
    authority: &Pair,
    cluster_uid: &str,
    subject: &Subject<'_>,
    now: i64,
    lifetime: Lifetime,
) -> Result<Pair, NotIssued> {
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key)?)?;
    let key = KeyPair::generate()?;
    let mut params = params(&subject.common_name(), lifetime.from(now))?;
    params.subject_alt_names =
        subject.names(cluster_uid).iter().map(|name| alternative(name)).collect::<Result<_, _>>()?;
    params.extended_key_usages = subject.purposes();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer)?.pem();
    Ok(Pair { certificate, key: key.serialize_pem().into() })
}

fn params(common_name: &str, validity: Validity) -> Result<CertificateParams, NotIssued> {
    let mut params = CertificateParams::new(Vec::new())?;
    let time = |seconds| OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| NotIssued::Time);
    (params.not_before, params.not_after) = (time(validity.not_before)?, time(validity.not_after)?);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    Ok(params)
}

/// A name as what it looks like: an address, a URI, or else a name of DNS.
fn alternative(name: &str) -> Result<SanType, NotIssued> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let text = Ia5String::try_from(name.to_owned())?;
    Ok(if name.contains("://") { SanType::URI(text) } else { SanType::DnsName(text) })
}

/// A name as a segment of a URI's path.
fn percent_encoded(name: &str) -> String {
    let unreserved = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    name.bytes()
        .map(|byte| if unreserved(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use x509_parser::extensions::GeneralName;
    use x509_parser::pem::parse_x509_pem;

    use super::*;
    use crate::authorities::validity::{AUTHORITY, BROKER, USER};

    const NOW: i64 = 1_800_000_000;

    /// The common name, the alternative names as text, and whether `issuer` has signed it.
    fn read(pem: &str, issuer: &str) -> (String, Vec<String>, bool) {
        let (_, block) = parse_x509_pem(pem.as_bytes()).unwrap();
        let certificate = block.parse_x509().unwrap();
        let (_, issuer) = parse_x509_pem(issuer.as_bytes()).unwrap();
        let issuer = issuer.parse_x509().unwrap();
        let names = certificate.subject_alternative_name().unwrap().map(|names| {
            names
                .value
                .general_names
                .iter()
                .map(|name| match name {
                    GeneralName::URI(uri) => (*uri).to_owned(),
                    GeneralName::DNSName(name) => (*name).to_owned(),
                    GeneralName::IPAddress(bytes) => format!("{bytes:?}"),
                    other => format!("{other:?}"),
                })
                .collect()
        });
        let common_name = certificate.subject().iter_common_name().next().unwrap().as_str().unwrap().to_owned();
        let is_signed =
            certificate.issuer() == issuer.subject() && certificate.verify_signature(Some(issuer.public_key())).is_ok();
        (common_name, names.unwrap_or_default(), is_signed)
    }

    #[test]
    fn brokers_and_users_have_certificates_that_name_them() {
        let ca = authority("prod cluster", NOW, AUTHORITY).unwrap();
        let hosts = ["prod-broker-3.prod-brokers.kafka.svc".to_owned(), "10.0.0.7".to_owned()];
        let broker = Subject::Broker { id: BrokerId(3), hosts: &hosts };
        let broker = certificate(&ca, "uid-1", &broker, NOW, BROKER).unwrap();
        let expected = [
            "ottla://uid-1/broker/3",
            "broker-3.ottla.internal",
            "prod-broker-3.prod-brokers.kafka.svc",
            "[10, 0, 0, 7]",
        ];
        assert_eq!(
            read(&broker.certificate, &ca.certificate),
            ("broker-3".to_owned(), expected.map(str::to_owned).to_vec(), true)
        );
        assert_eq!(Validity::of_pem(&broker.certificate), Some(BROKER.from(NOW)));

        let user = Subject::User { name: "orders/eu", uid: "uid-2" };
        let user = certificate(&ca, "uid-1", &user, NOW, USER).unwrap();
        let expected = vec!["ottla://uid-1/user/orders%2Feu/uid-2".to_owned()];
        assert_eq!(read(&user.certificate, &ca.certificate), ("orders/eu".to_owned(), expected, true));
        assert!(user.key.as_str() != broker.key.as_str());
    }

    #[test]
    fn an_authority_that_is_renewed_keeps_its_key_and_what_it_has_issued() {
        let ca = authority("prod clients", NOW, AUTHORITY).unwrap();
        let user = certificate(&ca, "uid-1", &Subject::User { name: "orders", uid: "u" }, NOW, USER).unwrap();
        let renewed = authority_again(&ca, NOW + 1000, AUTHORITY).unwrap();
        assert!(renewed.key == ca.key && renewed.certificate != ca.certificate);
        let of = |pair: &Pair| {
            let (_, pem) = parse_x509_pem(pair.certificate.as_bytes()).unwrap();
            pem.parse_x509().unwrap().subject().as_raw().to_vec()
        };
        assert_eq!(of(&renewed), of(&ca), "byte by byte");
        assert!(read(&user.certificate, &renewed.certificate).2);
        let other = authority("prod clients", NOW, AUTHORITY).unwrap();
        assert!(!read(&user.certificate, &other.certificate).2, "another key");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let ca = authority("prod", NOW, AUTHORITY).unwrap();
        let broken = Pair { certificate: "nonsense".to_owned(), key: ca.key.clone() };
        let user = Subject::User { name: "orders", uid: "u" };
        assert!(certificate(&broken, "uid", &user, NOW, USER).is_err());
        let broken = Pair { certificate: ca.certificate.clone(), key: "nonsense".to_owned().into() };
        assert!(certificate(&broken, "uid", &user, NOW, USER).is_err());
        assert!(authority("prod", i64::MAX - AUTHORITY.length, AUTHORITY).is_err());
    }
}
