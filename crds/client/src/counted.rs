//! A client that counts its writes, for the published write budget (DESIGN §5), and that limits how long it waits: a
//! connection may lead to an API server that is unreachable, while other API servers would answer.

use std::time::Duration;

use http::{Method, Request};
use kube::Client;
use kube::client::Body;
use tokio::time::timeout;

/// How long the API server may take to begin an answer. An API server ends most requests after a minute, but elections
/// can't wait so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns `client` with `count` called at each write, with the kind and the verb in Kubernetes' words. A request
/// without an answer fails after [`PATIENCE`].
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
            answer.unwrap_or_else(|_| Err(kube::Error::Service("the API server did not answer in time".into())))
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
    fn the_kind_comes_after_the_namespace() {
        assert_eq!(plural("/apis/ottla.io/v1alpha1/namespaces/default/kafkatopics/a/status"), "kafkatopics");
        assert_eq!(plural("/apis/coordination.k8s.io/v1/namespaces/x/leases"), "leases");
        assert_eq!(plural("/version"), "other");
    }
}
