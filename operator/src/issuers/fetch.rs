//! One issuer's keys, over HTTP or from the API server.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::Client;
use ottla_access::sasl::Keys;
use ottla_crds::{Issuer, IssuerKeys};
use ottla_kube::change::why;
use serde::Deserialize;
use tokio::time::timeout;

/// How long an issuer may take.
const LIMIT: Duration = Duration::from_secs(10);
/// The most bytes of an answer.
const MOST_BYTES: usize = 256 * 1024;
/// Where the API server says who issues the tokens of ServiceAccounts (OpenID Connect Discovery).
const DISCOVERY: &str = "/.well-known/openid-configuration";
/// Where it has the keys.
const KUBERNETES_KEYS: &str = "/openid/v1/jwks";

/// Where a pod has the token of its ServiceAccount for the API server.
const OWN_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// What an issuer has answered.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Its keys.
    pub keys: IssuerKeys,
    /// The audiences for which the API server is known to take tokens; none of other issuers.
    pub taken: BTreeSet<String>,
}

/// Why keys can't be read.
#[derive(Debug, thiserror::Error)]
pub enum IssuerKeysError {
    /// The system's authorities can't be read, so that no server can prove who it is.
    #[error("the operator's image has no authorities of the web: {0}")]
    Authorities(String),
    /// The issuer can't be reached.
    #[error("failed to read {0}: {1}")]
    Unreachable(String, String),
    /// It answers something else.
    #[error("{0} answered {1}: jwksUrl must be where the keys are, without a redirection")]
    Status(String, StatusCode),
    /// It takes too long.
    #[error("{0} did not answer within {LIMIT:?}")]
    Slow(String),
    /// The API server has no keys of ServiceAccounts.
    #[error("the API server does not say who issues the tokens of ServiceAccounts: {0}")]
    NoServiceAccounts(String),
    /// The document has no keys.
    #[error("{0} has no document with keys (JWKS): {1}")]
    NoKeys(String, String),
}

/// Reads the keys of issuers.
pub struct Fetcher {
    kubernetes: Client,
    web: Result<HttpClient<HttpsConnector<HttpConnector>, Empty<Bytes>>, String>,
    /// The file with the operator's own token.
    own_token: PathBuf,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
}

impl Fetcher {
    /// One that trusts the authorities of the system, or those that `SSL_CERT_FILE` names.
    pub fn new(kubernetes: Client) -> Fetcher {
        let builder = HttpsConnectorBuilder::new().with_native_roots().map_err(|error| error.to_string());
        let web = builder.map(|builder| {
            // Plain text is allowed by the definition of KafkaClusters, on loopback only.
            let connector = builder.https_or_http().enable_http1().build();
            HttpClient::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector)
        });
        Fetcher { kubernetes, web, own_token: OWN_TOKEN.into() }
    }

    /// The issuer's keys as they are now.
    ///
    /// # Errors
    /// See [`IssuerKeysError`].
    pub async fn fetch(&self, issuer: &Issuer) -> Result<Fetched, IssuerKeysError> {
        let (from, keys) = match &issuer.jwks_url {
            Some(url) => (url.as_str(), timeout(LIMIT, self.over_http(url)).await),
            None => (KUBERNETES_KEYS, timeout(LIMIT, self.of_service_accounts()).await),
        };
        let keys = keys.map_err(|_| IssuerKeysError::Slow(from.to_owned()))??;
        let taken = match &keys.issuer {
            Some(name) => self.own_audiences().await.into_iter().chain([name.clone()]).collect(),
            None => BTreeSet::new(),
        };
        match Keys::parse(&keys.jwks) {
            Ok(parsed) if !parsed.is_empty() => Ok(Fetched { keys, taken }),
            Ok(_) => Err(IssuerKeysError::NoKeys(from.to_owned(), "none of its keys checks signatures".to_owned())),
            Err(error) => Err(IssuerKeysError::NoKeys(from.to_owned(), error.to_string())),
        }
    }

    async fn over_http(&self, url: &str) -> Result<IssuerKeys, IssuerKeysError> {
        let web = self.web.as_ref().map_err(|error| IssuerKeysError::Authorities(error.clone()))?;
        let unreachable = |error: &dyn std::error::Error| IssuerKeysError::Unreachable(url.to_owned(), sentence(error));
        let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| unreachable(&error))?;
        let response = web.get(uri).await.map_err(|error| unreachable(&error))?;
        if response.status() != StatusCode::OK {
            return Err(IssuerKeysError::Status(url.to_owned(), response.status()));
        }
        let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
        let body = body.map_err(|error| unreachable(&*error))?.to_bytes();
        Ok(IssuerKeys { issuer: None, jwks: String::from_utf8_lossy(&body).into_owned() })
    }

    /// The audiences of the operator's own token. Who asks for a token without naming an audience, as pods do, gets one
    /// for all that the API server takes: so no right is needed to learn them. None where the operator has no token.
    async fn own_audiences(&self) -> Vec<String> {
        tokio::fs::read_to_string(&self.own_token).await.map(|token| audiences(&token)).unwrap_or_default()
    }

    async fn of_service_accounts(&self) -> Result<IssuerKeys, IssuerKeysError> {
        let refused = |error: kube::Error| IssuerKeysError::NoServiceAccounts(why(&error));
        let get = |path: &str| Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError);
        let discovery: Discovery = self.kubernetes.request(get(DISCOVERY).map_err(refused)?).await.map_err(refused)?;
        let jwks = self.kubernetes.request_text(get(KUBERNETES_KEYS).map_err(refused)?).await.map_err(refused)?;
        Ok(IssuerKeys { issuer: Some(discovery.issuer), jwks })
    }
}

/// The audiences of a token, which is not checked.
fn audiences(token: &str) -> Vec<String> {
    #[derive(Deserialize)]
    struct Claims {
        aud: Audiences,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audiences {
        One(String),
        Some(Vec<String>),
    }
    let claims = token.split('.').nth(1).and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
    match claims.and_then(|claims| serde_json::from_slice(&claims).ok()) {
        Some(Claims { aud: Audiences::One(audience) }) => vec![audience],
        Some(Claims { aud: Audiences::Some(audiences) }) => audiences,
        None => Vec::new(),
    }
}

/// An error with its causes, as one text.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        texts.push(cause.to_string());
        source = cause.source();
    }
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2lnbmF0dXJl", BASE64_URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_names_one_audience_or_several() {
        for (token, expected) in [
            (
                token(r#"{"aud":["https://kubernetes.default.svc.cluster.local","k3s"]}"#),
                &["https://kubernetes.default.svc.cluster.local", "k3s"][..],
            ),
            (token(r#"{"aud":"api"}"#), &["api"]),
            (token(r#"{"aud":1}"#), &[]),
            (token("{}"), &[]),
            ("no token".to_owned(), &[]),
        ] {
            assert_eq!(audiences(&token), expected, "{token}");
        }
    }

    /// An API server with a name and a key, as far as they are asked for.
    fn kubernetes() -> Client {
        let answer = |request: Request<kube::client::Body>| async move {
            let body = match request.uri().path() {
                DISCOVERY => r#"{"issuer":"https://api.example"}"#.to_owned(),
                _ => JWKS.to_owned(),
            };
            Ok::<_, std::convert::Infallible>(http::Response::new(kube::client::Body::from(body.into_bytes())))
        };
        Client::new(tower::service_fn(answer), "default")
    }

    /// RFC 7517's first example.
    const JWKS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"sig","kid":"1"}]}"#;

    #[tokio::test]
    async fn the_api_servers_audiences_are_its_name_and_those_of_the_operators_token() {
        let file = std::env::temp_dir().join(format!("ottla-token-{}", std::process::id()));
        std::fs::write(&file, token(r#"{"aud":["https://kubernetes.default.svc","k3s"]}"#)).unwrap();
        for (own_token, expected) in [
            (&file, &["https://api.example", "https://kubernetes.default.svc", "k3s"][..]),
            (&file.with_extension("none"), &["https://api.example"]),
        ] {
            let fetcher = Fetcher { own_token: own_token.clone(), ..Fetcher::new(kubernetes()) };
            let fetched = fetcher.fetch(&Issuer::default()).await.unwrap();
            assert_eq!(fetched.taken.iter().collect::<Vec<_>>(), expected);
        }
        std::fs::remove_file(file).unwrap();
    }
}
