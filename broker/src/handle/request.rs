//! A decoded frame: a request, or why it is not served.

use bytes::Bytes;
use ottla_wire::{
    ApiKey, ApiVersionsResponse, Decoder, RequestError, RequestHeader, SaslAuthenticateRequest, Str, encode_response,
};

use crate::env;
use crate::reply::{CloseReason, Reply};

/// A request, decoded.
#[derive(Debug)]
pub struct Request {
    pub(super) header: RequestHeader,
    pub(super) body: ottla_wire::Request,
    pub(super) received: env::Instant,
    /// Bytes of the frame, without its length.
    pub(super) size: usize,
}

/// A frame that is not a served request, and its answer.
pub struct Unreadable {
    /// The API that it names, as far as that is known.
    pub api: ApiKey,
    /// The answer, or the end of the connection.
    pub reply: Reply,
    /// What it asked for that is not served, so that the connection ends; `None`: an answer follows.
    pub unserved: Option<CommonHeader>,
}

/// The parts of a request's header that do not depend on its API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommonHeader {
    /// The API's number.
    pub key: i16,
    /// Its version.
    pub version: i16,
    /// The client's `client.id`; `None`: none.
    pub client_id: Option<Str>,
}

impl CommonHeader {
    fn read(frame: Bytes) -> Option<CommonHeader> {
        let mut decoder = Decoder::new(frame);
        let (key, version) = (decoder.i16().ok()?, decoder.i16().ok()?);
        let _correlation_id = decoder.i32().ok()?;
        let length = usize::try_from(decoder.i16().ok()?).unwrap_or(0);
        let client_id = decoder.bytes(length).ok().and_then(|bytes| Str::try_from(bytes).ok());
        Some(CommonHeader { key, version, client_id })
    }
}

/// Stands for the version of a token that came without a header.
pub(super) const RAW_TOKEN: i16 = -1;
/// The first version of AddPartitionsToTxn that is for brokers.
pub(super) const ADD_PARTITIONS_OF_BROKERS: i16 = 4;
/// The most characters of a client's software name in a log line.
const LONGEST_SOFTWARE: usize = 64;

impl Request {
    /// The client's `client.id`; `None`: none.
    pub fn client_id(&self) -> Option<&Str> {
        self.header.client_id.as_ref()
    }

    /// A token of SASL that came without a header.
    pub fn raw_token(token: Bytes) -> Request {
        let header = RequestHeader {
            api_key: ApiKey::SaslAuthenticate,
            api_version: RAW_TOKEN,
            correlation_id: 0,
            client_id: None,
        };
        let size = token.len();
        let body = ottla_wire::Request::SaslAuthenticate(SaslAuthenticateRequest { auth_bytes: token });
        Request { header, body, received: env::now(), size }
    }

    /// Decodes a frame.
    ///
    /// # Errors
    /// A frame that is not a served request ends the connection without an answer, as in Kafka. But a version of
    /// ApiVersions that is too new is answered in version 0 with the served versions (KIP-511).
    pub fn read(frame: Bytes) -> Result<Request, Unreadable> {
        let mut decoder = Decoder::new(frame.clone());
        let close = |api, reason| Unreadable { api, reply: Reply::Close(reason), unserved: None };
        let unserved =
            |api| Unreadable { unserved: CommonHeader::read(frame.clone()), ..close(api, CloseReason::Unsupported) };
        let header = RequestHeader::decode(&mut decoder).map_err(|error| match error {
            RequestError::UnknownKey(_) => unserved(ApiKey::ApiVersions),
            _ => close(ApiKey::ApiVersions, CloseReason::Malformed),
        })?;
        let api = header.api_key;
        match ottla_wire::Request::decode(&header, decoder) {
            Ok(body) => Ok(Request { header, body, received: env::now(), size: frame.len() }),
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

    /// The API of the request.
    pub fn api(&self) -> ApiKey {
        self.header.api_key
    }

    /// Whether it says that a broker sends it to another one: replication and markers, and the states of share groups.
    /// No quotas are on these, if a broker may have sent them.
    pub(super) fn is_between_brokers(&self) -> bool {
        use ottla_wire::Request as R;
        match &self.body {
            R::Fetch(request) => request.replica_id >= 0 || request.replica_state.replica_id >= 0,
            R::OffsetForLeaderEpoch(request) => request.replica_id >= 0,
            R::AddPartitionsToTxn(_) => self.header.api_version >= ADD_PARTITIONS_OF_BROKERS,
            R::WriteTxnMarkers(_)
            | R::InitializeShareGroupState(_)
            | R::ReadShareGroupState(_)
            | R::WriteShareGroupState(_)
            | R::DeleteShareGroupState(_)
            | R::ReadShareGroupStateSummary(_) => true,
            _ => false,
        }
    }

    /// The name and version of the client's software, if this request has them.
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
