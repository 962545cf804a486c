//! get, list, watch.

use std::sync::Arc;

use futures::StreamExt;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

use super::{presenter, respond_object};
use crate::request::Ask;
use crate::selector::Selector;
use crate::server::{Body, Inner, respond};
use crate::status::Status;
use crate::store::Freshness;
use crate::watch::Watch;

pub(super) fn get(server: &Inner, ask: &Ask, name: &str) -> Result<Response<Body>, Status> {
    let object = server.objects.get(&ask.target.key(name), freshness(ask));
    let object = object.ok_or_else(|| Status::not_found(&ask.target.kind, name))?;
    Ok(respond_object(ask, StatusCode::OK, &object, &[]))
}

pub(super) fn list(server: &Inner, ask: &Ask) -> Result<Response<Body>, Status> {
    let selector = selector(ask)?;
    let resource = ask.target.kind.stored_resource();
    let (version, mut objects) = server.objects.list(&resource, ask.target.namespace.as_deref(), freshness(ask));
    objects.retain(|object| selector.matches(&object.value));
    Ok(respond(StatusCode::OK, presenter(ask).list(version, &objects)))
}

pub(super) fn watch(server: &Inner, ask: &Ask) -> Result<Response<Body>, Status> {
    let watch = Watch {
        resource: ask.target.kind.stored_resource(),
        namespace: ask.target.namespace.clone(),
        selector: selector(ask)?,
        presenter: presenter(ask),
        after: ask.query.version()?,
        initial_events: ask.query.flag("sendInitialEvents"),
        bookmarks: ask.query.flag("allowWatchBookmarks"),
        timeout: ask.query.timeout(),
    };
    let lines = watch.start(Arc::clone(&server.objects), server.faults.cut());
    let body = StreamBody::new(lines.map(|line| Ok(Frame::data(line)))).boxed_unsync();
    let mut response = respond(StatusCode::OK, bytes::Bytes::new());
    *response.body_mut() = body;
    Ok(response)
}

pub(super) fn selector(ask: &Ask) -> Result<Selector, Status> {
    Selector::parse(&ask.target.kind, ask.query.get("labelSelector"), ask.query.get("fieldSelector"))
}

fn freshness(ask: &Ask) -> Freshness {
    if ask.query.get("resourceVersion") == "0" { Freshness::Any } else { Freshness::Consistent }
}
