//! One issuer's keys, over HTTP or from the API server.

use std::time::Duration;

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

/// Why keys can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
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
        Fetcher { kubernetes, web }
    }

    /// The issuer's keys as they are now.
    ///
    /// # Errors
    /// See [`Failed`].
    pub async fn fetch(&self, issuer: &Issuer) -> Result<IssuerKeys, Failed> {
        let (from, keys) = match &issuer.jwks_url {
            Some(url) => (url.as_str(), timeout(LIMIT, self.over_http(url)).await),
            None => (KUBERNETES_KEYS, timeout(LIMIT, self.of_service_accounts()).await),
        };
        let keys = keys.map_err(|_| Failed::Slow(from.to_owned()))??;
        match Keys::parse(&keys.jwks) {
            Ok(parsed) if !parsed.is_empty() => Ok(keys),
            Ok(_) => Err(Failed::NoKeys(from.to_owned(), "none of its keys checks signatures".to_owned())),
            Err(error) => Err(Failed::NoKeys(from.to_owned(), error.to_string())),
        }
    }

    async fn over_http(&self, url: &str) -> Result<IssuerKeys, Failed> {
        let web = self.web.as_ref().map_err(|error| Failed::Authorities(error.clone()))?;
        let unreachable = |error: &dyn std::error::Error| Failed::Unreachable(url.to_owned(), sentence(error));
        let uri: Uri = url.parse().map_err(|error: http::uri::InvalidUri| unreachable(&error))?;
        let response = web.get(uri).await.map_err(|error| unreachable(&error))?;
        if response.status() != StatusCode::OK {
            return Err(Failed::Status(url.to_owned(), response.status()));
        }
        let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
        let body = body.map_err(|error| unreachable(&*error))?.to_bytes();
        Ok(IssuerKeys { issuer: None, jwks: String::from_utf8_lossy(&body).into_owned() })
    }

    async fn of_service_accounts(&self) -> Result<IssuerKeys, Failed> {
        let refused = |error: kube::Error| Failed::NoServiceAccounts(why(&error));
        let get = |path: &str| Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError);
        let discovery: Discovery = self.kubernetes.request(get(DISCOVERY).map_err(refused)?).await.map_err(refused)?;
        let jwks = self.kubernetes.request_text(get(KUBERNETES_KEYS).map_err(refused)?).await.map_err(refused)?;
        Ok(IssuerKeys { issuer: Some(discovery.issuer), jwks })
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
