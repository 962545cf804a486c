//! A client that counts its writes: the write budget of DESIGN §5 is published and watched.

use std::sync::Arc;

use axum::http::{Method, Request};
use kube::Client;
use kube::client::Body;

use crate::metrics::Metrics;

/// `client`, whose writes are counted by kind and verb.
pub fn counted(client: Client, namespace: &str, metrics: Arc<Metrics>) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        if let Some(verb) = verb(request.method()) {
            metrics.kubernetes_writes.with_label_values(&[plural(request.uri().path()), verb]).inc();
        }
        let client = client.clone();
        async move { client.send(request).await }
    });
    Client::new(service, namespace)
}

fn verb(method: &Method) -> Option<&'static str> {
    match *method {
        Method::POST => Some("create"),
        Method::PUT => Some("update"),
        Method::PATCH => Some("patch"),
        Method::DELETE => Some("delete"),
        _ => None,
    }
}

/// The kind in a path such as `/apis/ottla.io/v1alpha1/namespaces/default/kafkatopics/a/status`.
fn plural(path: &str) -> &str {
    let mut parts = path.split('/').skip_while(|part| *part != "namespaces").skip(2);
    parts.next().unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_stands_after_the_namespace() {
        assert_eq!(plural("/apis/ottla.io/v1alpha1/namespaces/default/kafkatopics/a/status"), "kafkatopics");
        assert_eq!(plural("/apis/coordination.k8s.io/v1/namespaces/x/leases"), "leases");
        assert_eq!(plural("/version"), "other");
    }
}
