//! The verbs: each reads the request, asks the store, and presents the outcome.

mod create;
mod delete;
mod read;
mod scale;
mod update;

pub(crate) use delete::remove_object;

use std::sync::Arc;

use http::{HeaderValue, Method, Response, StatusCode, header};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::admit::Birth;
use crate::kind::Kind;
use crate::object::Object;
use crate::present::Presenter;
use crate::request::{Ask, Subresource};
use crate::server::{Body, Inner, respond};
use crate::status::Status;
use crate::uids;

pub(crate) async fn answer(server: &Arc<Inner>, ask: Ask) -> Result<Response<Body>, Status> {
    let name = ask.target.name.clone();
    match (&ask.method, &name, ask.target.subresource) {
        (&Method::GET, None, _) if ask.query.flag("watch") => read::watch(server, &ask),
        (&Method::GET, None, _) => read::list(server, &ask),
        (&Method::GET, Some(name), _) => read::get(server, &ask, name),
        _ if ask.target.kind.read_only => Err(Status::method_not_allowed()),
        (&Method::POST, None, _) => create::create(server, &ask).await,
        (&Method::PUT, Some(name), _) => update::replace(server, &ask, name).await,
        (&Method::PATCH, Some(name), _) => update::patch(server, &ask, name).await,
        (&Method::DELETE, Some(name), Subresource::None) => delete::delete(server, &ask, name).await,
        (&Method::DELETE, None, _) => delete::delete_collection(server, &ask).await,
        _ => Err(Status::method_not_allowed()),
    }
}

/// One object, with what its writer should know.
fn respond_object(ask: &Ask, code: StatusCode, object: &Object, warnings: &[String]) -> Response<Body> {
    let json = match ask.target.subresource {
        Subresource::Scale => scale::of(&ask.target.kind, &object.value).to_string().into(),
        Subresource::None | Subresource::Status => presenter(ask).one(object),
    };
    let mut response = respond(code, json);
    for warning in warnings {
        if let Ok(value) = HeaderValue::from_str(&format!("299 - {warning:?}")) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}

fn presenter(ask: &Ask) -> Presenter {
    Presenter::new(&ask.target.kind, &ask.accept, ask.query.get("includeObject"))
}

pub(crate) fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub(crate) fn birth() -> Birth {
    // Kubernetes leaves out vowels and look-alikes, so that no word comes about.
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let random = uids::draw();
    let letter = |byte: &u8| LETTERS.get(usize::from(*byte) % LETTERS.len()).map(|letter| char::from(*letter));
    let suffix = random.as_bytes().iter().take(5).filter_map(letter).collect();
    Birth { uid: uids::draw().to_string(), now: now(), suffix }
}

/// Removes the fields that the kind does not know, and returns the warnings or the error that the client asked for:
/// their paths to warn of, or, with `fieldValidation=Strict`, the refusal that `refuse` makes of them.
fn prune(
    ask: &Ask,
    object: &mut Value,
    refuse: impl FnOnce(&Value, &[String]) -> Status,
) -> Result<Vec<String>, Status> {
    let Some(schema) = &ask.target.kind.schema else { return Ok(Vec::new()) };
    let before = object.clone();
    let unknown = schema.prune(object);
    match ask.query.get("fieldValidation") {
        "" | "Warn" => Ok(unknown_fields(&unknown)),
        "Ignore" => Ok(Vec::new()),
        "Strict" if unknown.is_empty() => Ok(Vec::new()),
        "Strict" => Err(refuse(&before, &unknown)),
        other => Err(Status::bad_request(format!("invalid fieldValidation {other:?}: must be Ignore, Warn or Strict"))),
    }
}

fn unknown_fields(paths: &[String]) -> Vec<String> {
    paths.iter().map(|path| format!("unknown field {path:?}")).collect()
}

fn strict_error(paths: &[String]) -> String {
    format!("strict decoding error: {}", unknown_fields(paths).join(", "))
}

/// The refusal of a whole object with unknown fields.
fn refuse_object(kind: &Kind, paths: &[String]) -> Status {
    let (version, kind) = (&kind.version, &kind.kind);
    let error = strict_error(paths);
    Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {error}"))
}
