//! A user's own Secret: what an application mounts to log in. Its keys are those of Strimzi's users.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use ottla_crds::{KafkaUser, names};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::owned::owned_by;
use crate::authorities::issue::Pair;

/// The key of the password.
pub const PASSWORD: &str = "password";
/// The key of a line for Java's `sasl.jaas.config`.
pub const JAAS: &str = "sasl.jaas.config";

/// The key of a file of Java's properties with everything that a client needs.
pub const CLIENT_PROPERTIES: &str = "client.properties";
/// The key of the authorities of brokers.
pub const CLUSTER_CA: &str = "cluster-ca.crt";
/// The key of a user's certificate.
pub const CERTIFICATE: &str = "user.crt";
/// The key of its private key.
pub const KEY: &str = "user.key";

/// A password. Has no `Debug`.
pub type Password = Zeroizing<String>;

/// Whether a Secret was made for this user.
pub fn is_of(secret: &Secret, user: &KafkaUser) -> bool {
    secret.owner_references().iter().any(|owner| Some(&owner.uid) == user.metadata.uid.as_ref())
}

/// The text under a key; `None`: it is missing, empty, or no text.
pub fn value(secret: &Secret, key: &str) -> Option<Password> {
    let bytes = &secret.data.as_ref()?.get(key)?.0;
    let text = String::from_utf8(bytes.clone()).ok().filter(|text| !text.is_empty())?;
    Some(Zeroizing::new(text))
}

/// A new password: 32 characters with 122 random bits.
pub fn generate() -> Password {
    Zeroizing::new(Uuid::new_v4().simple().to_string())
}

/// What a user of a password gets: `cluster_ca` are the authorities of brokers, if these have certificates.
pub fn with_password(user: &KafkaUser, password: &Password, cluster_ca: Option<&str>) -> Secret {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let jaas = format!(
        "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"{}\" password=\"{}\";",
        quoted(user.principal_name()),
        quoted(password)
    );
    let protocol = if cluster_ca.is_some() { "SASL_SSL" } else { "SASL_PLAINTEXT" };
    let properties =
        [("security.protocol", protocol), ("sasl.mechanism", "SCRAM-SHA-512"), (JAAS, jaas.as_str())].into_iter();
    let properties = client_properties(properties.chain(truststore(cluster_ca).into_iter().flatten()));
    let data = [(PASSWORD, password.as_str()), (JAAS, jaas.as_str()), (CLIENT_PROPERTIES, properties.as_str())];
    let cluster_ca = cluster_ca.map(|authorities| (CLUSTER_CA, authorities));
    secret(user, data.into_iter().chain(cluster_ca))
}

/// What a user of a certificate gets: besides it the authorities of users and of brokers.
pub fn with_certificate(user: &KafkaUser, pair: &Pair, clients_ca: &str, cluster_ca: &str) -> Secret {
    let own = [
        ("security.protocol", "SSL"),
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.certificate.chain", pair.certificate.as_str()),
        ("ssl.keystore.key", pair.key.as_str()),
    ];
    let properties = client_properties(own.into_iter().chain(truststore(Some(cluster_ca)).into_iter().flatten()));
    let data = [
        (CERTIFICATE, pair.certificate.as_str()),
        (KEY, pair.key.as_str()),
        (names::CA_CERTIFICATE, clients_ca),
        (CLUSTER_CA, cluster_ca),
        (CLIENT_PROPERTIES, properties.as_str()),
    ];
    secret(user, data)
}

fn truststore(cluster_ca: Option<&str>) -> Option<[(&'static str, &str); 2]> {
    cluster_ca.map(|authorities| [("ssl.truststore.type", "PEM"), ("ssl.truststore.certificates", authorities)])
}

/// A file of Java's properties.
fn client_properties<'a>(properties: impl IntoIterator<Item = (&'a str, &'a str)>) -> Zeroizing<String> {
    let escaped = |value: &str| value.trim().replace('\\', "\\\\").replace('\n', "\\n");
    Zeroizing::new(properties.into_iter().map(|(name, value)| format!("{name}={}\n", escaped(value))).collect())
}

fn secret<'a>(user: &KafkaUser, data: impl IntoIterator<Item = (&'a str, &'a str)>) -> Secret {
    let data = data.into_iter().map(|(key, text)| (key.to_owned(), ByteString(text.as_bytes().to_vec())));
    Secret {
        metadata: owned_by(user, user.name_any(), &user.spec.cluster_ref.name),
        type_: Some("Opaque".to_owned()),
        data: Some(data.collect()),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_of_java_reads_its_properties() {
        let user = KafkaUser::new("orders", Default::default());
        let text = |secret: &Secret, key: &str| value(secret, key).unwrap().to_string();
        let password = Zeroizing::new("a\"b\\c".to_owned());
        let secret = with_password(&user, &password, Some("PEM\nPEM\n"));
        let login =
            r#"org.apache.kafka.common.security.scram.ScramLoginModule required username="orders" password="a\"b\\c";"#;
        assert_eq!(text(&secret, JAAS), login);
        assert_eq!(
            text(&secret, CLIENT_PROPERTIES),
            format!(
                "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\nsasl.jaas.config={}\nssl.truststore.type=PEM\n\
                 ssl.truststore.certificates=PEM\\nPEM\n",
                login.replace('\\', "\\\\")
            )
        );
        let pair = Pair { certificate: "CERT\n".to_owned(), key: "KEY\n".to_owned().into() };
        let secret = with_certificate(&user, &pair, "USERS\n", "BROKERS\n");
        assert!(text(&secret, CLIENT_PROPERTIES).contains("\nssl.keystore.key=KEY\n"));
        assert_eq!((text(&secret, KEY), text(&secret, "ca.crt")), ("KEY\n".to_owned(), "USERS\n".to_owned()));
    }
}
