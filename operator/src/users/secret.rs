//! A user's own Secret: what an application mounts to log in. Its keys are those of Strimzi's users.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use ottla_crds::KafkaUser;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::owned::owned_by;

/// The key of the password.
pub const PASSWORD: &str = "password";
/// The key of a line for Java's `sasl.jaas.config`.
pub const JAAS: &str = "sasl.jaas.config";

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

/// The Secret of a user with this password.
pub fn wanted(user: &KafkaUser, password: &Password) -> Secret {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let jaas = format!(
        "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"{}\" password=\"{}\";",
        quoted(user.principal_name()),
        quoted(password)
    );
    let data = [(PASSWORD, password.to_string()), (JAAS, jaas)];
    Secret {
        metadata: owned_by(user, user.name_any(), &user.spec.cluster_ref.name),
        type_: Some("Opaque".to_owned()),
        data: Some(data.into_iter().map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes()))).collect()),
        ..Secret::default()
    }
}
