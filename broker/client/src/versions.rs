//! Which versions of each API a broker serves, as it says itself (KIP-35, KIP-511).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use ottla_wire::m18_api_versions::ApiVersion;
use ottla_wire::{ApiVersionsRequest, ApiVersionsResponse, ErrorCode, Message, RequestMessage, decode_response};

use crate::{ClientError, Connection};

/// What the client says of its software.
const SOFTWARE: &str = "ottla";

/// The versions that a broker serves, by API key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Versions(BTreeMap<i16, RangeInclusive<i16>>);

impl Versions {
    fn said(response: &ApiVersionsResponse) -> Versions {
        let range = |api: &ApiVersion| (api.api_key, api.min_version..=api.max_version);
        Versions(response.api_keys.iter().map(range).collect())
    }

    /// The newest version of `R` that the broker serves, of those that the caller can use: a part of `R::VERSIONS`.
    ///
    /// # Errors
    /// [`ClientError::UnsupportedVersion`].
    pub fn newest<R: RequestMessage>(&self, needed: RangeInclusive<i16>) -> Result<i16, ClientError> {
        let served = self.0.get(&(R::KEY as i16));
        let newest = served.map(|served| *served.end().min(needed.end()));
        let is_common = |version: &i16| needed.contains(version) && served.is_some_and(|all| all.contains(version));
        newest.filter(is_common).ok_or_else(|| ClientError::UnsupportedVersion {
            api: R::KEY,
            served: served.cloned(),
            needed,
        })
    }
}

impl Connection {
    /// Asks the broker which versions it serves: for those who can't know. Brokers of one cluster speak the versions
    /// that their code names, as Kafka's do, and save the time.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn versions(&mut self) -> Result<Versions, ClientError> {
        let response = self.api_versions(*ApiVersionsRequest::VERSIONS.end()).await?;
        let response = match response.error_code {
            // It is older, and names the versions of this API that it serves; before Kafka 2.4 it names none.
            ErrorCode::UNSUPPORTED_VERSION => {
                let newest = Versions::said(&response).newest::<ApiVersionsRequest>(ApiVersionsRequest::VERSIONS);
                self.api_versions(newest.unwrap_or(0)).await?
            }
            _ => response,
        };
        if response.error_code.is_none() {
            Ok(Versions::said(&response))
        } else {
            Err(ClientError::Refused(response.error_code))
        }
    }

    async fn api_versions(&mut self, version: i16) -> Result<ApiVersionsResponse, ClientError> {
        let request = ApiVersionsRequest {
            client_software_name: SOFTWARE.into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
        };
        let response = self.exchange(version, &request).await?;
        // A broker answers a version that it does not know in version 0. The error stands at the same place in all.
        let error = response.get(4..6).and_then(|code| code.try_into().ok()).map(i16::from_be_bytes);
        let is_refused = error == Some(ErrorCode::UNSUPPORTED_VERSION.0);
        Ok(decode_response::<ApiVersionsRequest>(if is_refused { 0 } else { version }, response)?.1)
    }
}

#[cfg(test)]
mod tests {
    use ottla_wire::FetchRequest;

    use super::*;

    #[test]
    fn the_newest_version_is_one_that_both_sides_know() {
        let serves = |range| Versions(BTreeMap::from([(1, range)]));
        for (served, needed, expected) in [
            (4..=18, 4..=18, Some(18)),
            (4..=18, 12..=12, Some(12)),
            (4..=11, 4..=12, Some(11)),
            (12..=30, 4..=18, Some(18)),
            (4..=11, 12..=18, None),
            (13..=18, 4..=12, None),
        ] {
            let newest = serves(served.clone()).newest::<FetchRequest>(needed.clone());
            assert_eq!(newest.ok(), expected, "served {served:?}, needed {needed:?}");
        }
        let unknown = Versions::default().newest::<FetchRequest>(4..=18).unwrap_err();
        assert_eq!(unknown.to_string(), "Fetch is needed in versions 4 to 18, and the broker serves none");
        let older = serves(4..=11).newest::<FetchRequest>(12..=18).unwrap_err();
        assert_eq!(older.to_string(), "Fetch is needed in versions 12 to 18, and the broker serves 4 to 11");
    }
}
