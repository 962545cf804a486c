//! A frame, decoded: a request, or the reason why it is none of ours.

use bytes::Bytes;
use ottla_wire::{ApiKey, ApiVersionsResponse, Decoder, RequestError, RequestHeader, Str, encode_response};

use crate::env;
use crate::reply::{CloseReason, Reply};

/// A request, decoded.
#[derive(Debug)]
pub struct Request {
    pub(super) header: RequestHeader,
    pub(super) body: ottla_wire::Request,
    pub(super) received: env::Instant,
}

/// A frame that is no request of ours, and what becomes of it.
pub struct Unreadable {
    /// The API that it named, as far as that is known.
    pub api: ApiKey,
    /// The answer, or the end of the connection.
    pub reply: Reply,
    /// What was asked for, where it is not served and the connection ends.
    pub unserved: Option<Asked>,
}

/// What a request's header says, as far as it is known without its API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The API's number.
    pub key: i16,
    /// Its version.
    pub version: i16,
    /// What the client calls itself.
    pub client_id: Option<Str>,
}

impl Asked {
    fn read(frame: Bytes) -> Option<Asked> {
        let mut decoder = Decoder::new(frame);
        let (key, version) = (decoder.i16().ok()?, decoder.i16().ok()?);
        let _correlation_id = decoder.i32().ok()?;
        let length = usize::try_from(decoder.i16().ok()?).unwrap_or(0);
        let client_id = decoder.bytes(length).ok().and_then(|bytes| Str::try_from(bytes).ok());
        Some(Asked { key, version, client_id })
    }
}

/// Of a client's name for its software, as much as a line of the log needs.
const LONGEST_SOFTWARE: usize = 64;

impl Request {
    /// Decodes a frame.
    ///
    /// # Errors
    /// Anything that is not a request of ours ends the connection without a word, as in Kafka; but a version of
    /// ApiVersions that is newer than ours is answered in version 0 with those that we have (KIP-511).
    pub fn read(frame: Bytes) -> Result<Request, Unreadable> {
        let mut decoder = Decoder::new(frame.clone());
        let close = |api, reason| Unreadable { api, reply: Reply::Close(reason), unserved: None };
        let unserved =
            |api| Unreadable { unserved: Asked::read(frame.clone()), ..close(api, CloseReason::Unsupported) };
        let header = RequestHeader::decode(&mut decoder).map_err(|error| match error {
            RequestError::UnknownKey(_) => unserved(ApiKey::ApiVersions),
            _ => close(ApiKey::ApiVersions, CloseReason::Malformed),
        })?;
        let api = header.api_key;
        match ottla_wire::Request::decode(&header, decoder) {
            Ok(body) => Ok(Request { header, body, received: env::now() }),
            Err(RequestError::UnsupportedVersion(ApiKey::ApiVersions, _)) => {
                let answer = encode_response(0, header.correlation_id, &ApiVersionsResponse::unsupported_version());
                let reply = answer.map_or(Reply::Close(CloseReason::TooLarge), Reply::Now);
                Err(Unreadable { api, reply, unserved: None })
            }
            Err(RequestError::UnsupportedVersion(..)) => Err(unserved(api)),
            Err(error) => {
                tracing::debug!(%error, "refused a request");
                Err(close(api, CloseReason::Malformed))
            }
        }
    }

    /// Which API it is for.
    pub fn api(&self) -> ApiKey {
        self.header.api_key
    }

    /// What the client says of itself, where this request says it: the software's name and version.
    pub(super) fn software(&self) -> Option<String> {
        match &self.body {
            ottla_wire::Request::ApiVersions(request) if !request.client_software_name.is_empty() => {
                let (name, version) = (&request.client_software_name, &request.client_software_version);
                let short = |text: &str| text.chars().take(LONGEST_SOFTWARE).collect::<String>();
                Some(format!("{} {}", short(name), short(version)))
            }
            _ => None,
        }
    }
}
