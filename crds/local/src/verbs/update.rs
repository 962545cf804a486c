//! replace and patch, of an object or of its status or scale.

use std::sync::Arc;

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::create::namespace_accepts;
use super::{birth, now, prune, refuse_object, respond_object, scale, strict_error};
use crate::apply::{Writer, apply, record};
use crate::object::{finalizers, is_being_deleted, metadata, metadata_mut};
use crate::request::{Ask, Subresource, check_shape, yaml};
use crate::server::{Body, Inner};
use crate::status::Status;
use crate::store::WriteDecision;
use crate::{admit, patch};

pub(super) async fn replace(server: &Arc<Inner>, ask: &Ask, name: &str) -> Result<Response<Body>, Status> {
    let kind = &ask.target.kind;
    let body = ask.decode()?;
    check_name(metadata(&body, "name"), name)?;
    let unconditional = kind.unconditional || ask.target.subresource == Subresource::Scale;
    if metadata(&body, "resourceVersion").is_empty() && !unconditional {
        return Err(Status::version_required(kind, name));
    }
    let refuse = |_: &Value, unknown: &[String]| refuse_object(kind, unknown);
    update(server, ask, name, |_| Ok(body), refuse).await
}

pub(super) async fn patch(server: &Arc<Inner>, ask: &Ask, name: &str) -> Result<Response<Body>, Status> {
    if ask.content_type == "application/apply-patch+yaml" {
        return apply_patch(server, ask, name).await;
    }
    let kind = &ask.target.kind;
    let refuse = |object: &Value, unknown: &[String]| Status::strict_patch(object, &strict_error(unknown));
    update(server, ask, name, |current| patch::patched(kind, &ask.content_type, current, &ask.body), refuse).await
}

fn check_name(stated: &str, name: &str) -> Result<(), Status> {
    if stated == name {
        return Ok(());
    }
    Err(Status::bad_request(format!("the name of the object ({stated}) does not match the name on the URL ({name})")))
}

/// One turn: `edit` makes the new object from the present one, each as this endpoint shows it.
async fn update(
    server: &Arc<Inner>,
    ask: &Ask,
    name: &str,
    edit: impl FnOnce(&Value) -> Result<Value, Status>,
    refuse: impl FnOnce(&Value, &[String]) -> Status,
) -> Result<Response<Body>, Status> {
    let (kind, subresource) = (&ask.target.kind, ask.target.subresource);
    let now = now();
    let mut warnings = Vec::new();
    if server.faults.refuses_write() {
        return Err(Status::modified(kind, name));
    }
    let written = server
        .objects
        .write(ask.target.key(name), |present| {
            let old = present.ok_or_else(|| Status::not_found(kind, name))?;
            let mut new = match subresource {
                Subresource::None | Subresource::Status => kind.to_stored(edit(&kind.to_shown(old))?),
                Subresource::Scale => scale::scaled(kind, old, &edit(&scale::of(kind, old))?)?,
            };
            check_shape(&new)?;
            let version = metadata(&new, "resourceVersion");
            if !version.is_empty() && version != metadata(old, "resourceVersion") {
                return Err(Status::modified(kind, name));
            }
            warnings = prune(ask, &mut new, refuse)?;
            admit::update(kind, subresource, old, &mut new)?;
            record(kind, old, &mut new, &Writer { manager: ask.manager(), subresource, now: &now });
            Ok(decide(ask, old, new))
        })
        .await?;
    Ok(respond_object(ask, StatusCode::OK, written.object(), &warnings))
}

/// Server-side apply: like an update, but it may also be how an object begins.
async fn apply_patch(server: &Arc<Inner>, ask: &Ask, name: &str) -> Result<Response<Body>, Status> {
    let (kind, subresource) = (&ask.target.kind, ask.target.subresource);
    if subresource == Subresource::Scale {
        return Err(Status::unsupported_media_type("server-side apply of a scale is not supported"));
    }
    if ask.query.get("fieldManager").is_empty() {
        return Err(Status::bad_request("fieldManager is required for apply patch"));
    }
    let mut applied = yaml(&ask.body)?;
    check_shape(&applied)?;
    if !metadata(&applied, "name").is_empty() {
        check_name(metadata(&applied, "name"), name)?;
    }
    applied = kind.to_stored(applied);
    let namespace = ask.target.namespace.as_deref().unwrap_or_default();
    let refuse = |_: &Value, unknown: &[String]| Status::untyped_apply(kind, namespace, name, unknown);
    let warnings = prune(ask, &mut applied, refuse)?;
    let expected_version = metadata(&applied, "resourceVersion").to_owned();
    metadata_mut(&mut applied).remove("managedFields");
    metadata_mut(&mut applied).remove("resourceVersion");
    let force = ask.query.flag("force");
    let birth = birth();
    let writer = Writer { manager: ask.manager(), subresource, now: &birth.now };
    let mut created = false;
    let written = server
        .objects
        .write(ask.target.key(name), |present| {
            let Some(old) = present else {
                if subresource == Subresource::Status {
                    return Err(Status::not_found(kind, name));
                }
                created = true;
                metadata_mut(&mut applied).insert("name".into(), name.into());
                admit::name_new(&ask.target, &mut applied, &birth)?;
                let mut new = apply(kind, &json!({}), &applied, &writer, force)?;
                admit::create(kind, &mut new, &birth)?;
                namespace_accepts(&server.objects, &ask.target, &new)?;
                return Ok(if ask.query.dry_run() { WriteDecision::Pretend(new) } else { WriteDecision::Put(new) });
            };
            if !expected_version.is_empty() && expected_version != metadata(old, "resourceVersion") {
                return Err(Status::modified(kind, name));
            }
            let mut new = apply(kind, old, &applied, &writer, force)?;
            admit::update(kind, subresource, old, &mut new)?;
            Ok(decide(ask, old, new))
        })
        .await?;
    let code = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(respond_object(ask, code, written.object(), &warnings))
}

/// What becomes of `old`. An object on its way out goes when its last finalizer does.
fn decide(ask: &Ask, old: &Value, mut new: Value) -> WriteDecision {
    metadata_mut(&mut new).insert("resourceVersion".into(), metadata(old, "resourceVersion").into());
    let namespace_stays = ask.target.kind.is_namespace();
    if &new == old {
        WriteDecision::Keep
    } else if ask.query.dry_run() {
        WriteDecision::Pretend(new)
    } else if is_being_deleted(old) && finalizers(&new).is_empty() && !namespace_stays {
        WriteDecision::Delete(new)
    } else {
        WriteDecision::Put(new)
    }
}
