//! ApiVersions (KIP-511, KIP-584): the APIs and versions that this broker serves, from the constants that the decoder
//! uses.

use ottla_rules::features::SUPPORTED;
use ottla_wire::m18_api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use ottla_wire::{ApiKey, ErrorCode, Str};

use crate::handle::client::Client;
use crate::handle::context::Context;
use crate::reply::Reply;

/// The feature whose level tools print as the version of a cluster.
const METADATA_VERSION: &str = "metadata.version";
/// The levels of Kafka 4.3: from 3.3-IV3 to 4.3-IV0.
const METADATA_VERSIONS: (i16, i16) = (7, 30);

/// Answers at once. A feature that is not named has level 0.
pub(crate) fn handle(context: &Context, client: &Client, request: ApiVersionsRequest) -> Reply {
    let named = |name: &Str| context.version < 3 || is_software_name(name);
    if !named(&request.client_software_name) || !named(&request.client_software_version) {
        return context.reply(&ApiVersionsResponse { error_code: ErrorCode::INVALID_REQUEST, ..Default::default() });
    }
    client.versions_answered();
    let supported =
        |name: &str, (min_version, max_version)| SupportedFeatureKey { name: name.into(), min_version, max_version };
    let finalized = |name: &str, level| FinalizedFeatureKey {
        name: name.into(),
        min_version_level: level,
        max_version_level: level,
    };
    let (metadata, features) = (std::iter::once(METADATA_VERSION), &context.image.features);
    context.reply(&ApiVersionsResponse {
        api_keys: ApiKey::ALL.iter().copied().map(ApiVersion::of).collect(),
        supported_features: (metadata.clone().map(|name| supported(name, METADATA_VERSIONS)))
            .chain(SUPPORTED.iter().map(|(name, highest)| supported(name, (0, *highest))))
            .collect(),
        finalized_features: (metadata.map(|name| finalized(name, METADATA_VERSIONS.1)))
            .chain(features.levels.iter().map(|(name, level)| finalized(name, *level)))
            .collect(),
        finalized_features_epoch: features.epoch,
        ..Default::default()
    })
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`, as `ApiVersionsRequest` in Kafka has it.
fn is_software_name(name: &str) -> bool {
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_begin_and_end_with_a_letter_or_digit() {
        for good in ["librdkafka", "4.3.1", "a", "apache-kafka-java"] {
            assert!(is_software_name(good), "{good}");
        }
        for bad in ["", "-a", "a.", "a b", "é"] {
            assert!(!is_software_name(bad), "{bad}");
        }
    }
}
