//! create, also as the first server-side apply.

use std::sync::Arc;

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{birth, prune, refuse_object, respond_object};
use crate::admit;
use crate::apply::{Writer, record};
use crate::object::{Key, is_being_deleted, metadata};
use crate::request::{Ask, Target};
use crate::server::{Body, Inner};
use crate::status::Status;
use crate::store::{Freshness, Objects, WriteDecision};

pub(super) async fn create(server: &Arc<Inner>, ask: &Ask) -> Result<Response<Body>, Status> {
    let kind = &ask.target.kind;
    let mut object = kind.to_stored(ask.decode()?);
    let warnings = prune(ask, &mut object, |_, unknown| refuse_object(kind, unknown))?;
    let birth = birth();
    let name = admit::name_new(&ask.target, &mut object, &birth)?;
    admit::create(kind, &mut object, &birth)?;
    let writer = Writer { manager: ask.manager(), subresource: ask.target.subresource, now: &birth.now };
    record(kind, &json!({}), &mut object, &writer);
    let written = server
        .objects
        .write(ask.target.key(&name), |present| {
            if present.is_some() {
                return Err(Status::already_exists(kind, &name));
            }
            namespace_accepts(&server.objects, &ask.target, &object)?;
            Ok(if ask.query.dry_run() { WriteDecision::Pretend(object) } else { WriteDecision::Put(object) })
        })
        .await?;
    Ok(respond_object(ask, StatusCode::CREATED, written.object(), &warnings))
}

/// New objects need a namespace that is there and stays.
pub(super) fn namespace_accepts(objects: &Objects, target: &Target, object: &Value) -> Result<(), Status> {
    let Some(namespace) = &target.namespace else { return Ok(()) };
    let key = Key { resource: "namespaces".to_owned(), namespace: String::new(), name: namespace.clone() };
    match objects.get(&key, Freshness::Consistent) {
        None => Err(Status::no_namespace(namespace)),
        Some(found) if is_being_deleted(&found.value) => {
            let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
            Err(Status::forbidden(&target.kind, metadata(object, "name"), &why))
        }
        Some(_) => Ok(()),
    }
}
