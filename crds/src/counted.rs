//! A client that counts its writes: the write budget of DESIGN §5 is published and watched. And one that does not wait
//! for ever: the connection may lead to an API server that is gone, while others would answer.

use std::time::Duration;

use http::{Method, Request};
use kube::Client;
use kube::client::Body;
use tokio::time::timeout;

/// How long an answer may take to begin. An API server gives up its own work on most requests after a minute; elections
/// can't wait so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// `client`, of whose writes `count` is told the kind and the verb, as Kubernetes calls them. A request that is not
/// answered is an error after [`PATIENCE`].
pub fn counted<F>(client: Client, namespace: &str, count: F) -> Client
where
    F: Fn(&str, &'static str) + Send + 'static,
{
    let service = tower::service_fn(move |request: Request<Body>| {
        if let Some(verb) = verb(request.method()) {
            count(plural(request.uri().path()), verb);
        }
        let client = client.clone();
        async move {
            let answer = timeout(PATIENCE, client.send(request)).await;
            answer.unwrap_or_else(|_| Err(kube::Error::Service("no answer in time".into())))
        }
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
