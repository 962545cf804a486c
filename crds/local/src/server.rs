//! The server: one function from request to response, for `kube` in the process and for `kubectl` over HTTP.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::Value;

use crate::faults::Faults;
use crate::folder::{Folder, FolderError};
use crate::kind::{BadDefinition, Kind, Kinds};
use crate::request::{Ask, Target, header_text};
use crate::schema::Schema;
use crate::status::Status;
use crate::store::Objects;
use crate::{discovery, garbage, initial, openapi, verbs};

/// A response body: whole, or a watch's stream of lines.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A real API server takes 3 MiB.
const MAX_BODY: usize = 3 * 1024 * 1024;

/// Where objects live.
#[derive(Debug, Clone)]
pub enum Store {
    /// In memory, gone with the server.
    Memory,
    /// In files of this folder; one a file, changed as a whole.
    Folder(PathBuf),
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A custom resource definition that cannot be served.
    #[error(transparent)]
    Definition(#[from] BadDefinition),
    /// A folder that is in use, cannot be read, or holds something that is not an object of a served kind.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// A small Kubernetes API. Clones share it.
#[derive(Debug, Clone)]
pub struct Server(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub kinds: Kinds,
    pub objects: Arc<Objects>,
    pub faults: Faults,
}

impl Server {
    /// Starts with what the store holds. Must be called in a tokio runtime, which then also collects garbage until
    /// the last clone is dropped.
    pub fn new(store: Store, crds: Vec<CustomResourceDefinition>) -> Result<Self, StartError> {
        let definitions = initial::definitions(&crds);
        let kinds = Kinds::new(crds)?;
        let (folder, mut objects, version) = match store {
            Store::Memory => (None, Vec::new(), 0),
            Store::Folder(path) => {
                let (folder, objects, version) = Folder::open(&path, &kinds)?;
                (Some(folder), objects, version)
            }
        };
        objects.extend(initial::namespaces(&objects));
        objects.extend(definitions);
        let objects = Objects::new(objects, version, folder);
        let objects = Arc::new(objects);
        let faults = Faults::new(Arc::clone(&objects));
        let inner = Arc::new(Inner { kinds, objects, faults });
        garbage::start(&inner);
        Ok(Self(inner))
    }

    /// What of these definitions cannot be evaluated here: rules and patterns in a dialect that this server does not
    /// know. An object that meets one is refused, so a test of the definitions should ask.
    pub fn unsupported(crds: Vec<CustomResourceDefinition>) -> Result<Vec<String>, StartError> {
        let kinds = Kinds::new(crds)?;
        let of_kind = |kind: &Arc<Kind>| {
            let found = kind.schema.as_ref().map(Schema::unsupported).unwrap_or_default();
            found.into_iter().map(|what| format!("{}: {what}", kind.resource())).collect::<Vec<_>>()
        };
        Ok(kinds.iter().flat_map(of_kind).collect())
    }

    /// A client in this process: no socket, no credentials.
    pub fn client(&self, default_namespace: &str) -> kube::Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let server = server.clone();
            async move {
                // What cannot be reached fails without an answer, as a refused connection does.
                server.0.faults.reach().await?;
                let request = collect(request).await?;
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(server.handle(request).await)
            }
        });
        kube::Client::new(service, default_namespace)
    }

    /// What tests make go wrong.
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }

    /// Answers one request.
    pub async fn handle(&self, request: Request<Bytes>) -> Response<Body> {
        match self.0.answer(request).await {
            Ok(response) => response,
            Err(status) => respond(status.code, status.to_json()),
        }
    }
}

/// The whole request, unless it is larger than a real server takes.
pub(crate) async fn collect<B>(request: Request<B>) -> Result<Request<Bytes>, Box<dyn std::error::Error + Send + Sync>>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await?.to_bytes();
    Ok(Request::from_parts(head, body))
}

impl Inner {
    async fn answer(self: &Arc<Self>, request: Request<Bytes>) -> Result<Response<Body>, Status> {
        let path = request.uri().path();
        if let Some(target) = Target::parse(&self.kinds, path) {
            return verbs::answer(self, Ask::new(target, request)).await;
        }
        if request.method() != http::Method::GET {
            return Err(Status::no_such_resource());
        }
        match path {
            "/healthz" | "/livez" | "/readyz" => Ok(respond(StatusCode::OK, "ok".into())),
            "/version" => Ok(respond_json(&discovery::version())),
            _ if path.starts_with("/openapi/v3") => openapi::answer(&self.kinds, path).map(|doc| respond_json(&doc)),
            _ => discovery::answer(&self.kinds, path, header_text(request.headers(), header::ACCEPT)),
        }
    }
}

pub(crate) fn respond(code: StatusCode, json: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(json).boxed_unsync());
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

pub(crate) fn respond_json(value: &Value) -> Response<Body> {
    respond(StatusCode::OK, value.to_string().into())
}
