//! Certificates of listeners that name an issuer of cert-manager. The operator writes a `Certificate`; cert-manager
//! fills its Secret, which the brokers' pods mount.
//!
//! Not every Kubernetes cluster has cert-manager, so these objects are not watched: they are applied when they are to
//! be others, and every ten minutes, in case somebody has changed them. They belong to the KafkaCluster and go with it;
//! those of listeners that name no issuer any more are removed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::core::GroupVersionKind;
use kube::{Client, Resource, ResourceExt};
use ottla_crds::{IssuerRef, KafkaCluster, ListenerType, names};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::apply::{ApplyError, owned, remove_one, write};
use super::build::label::{MANAGED_BY_LABEL, MANAGER, labels};
use super::validate::{Listener, ValidatedCluster};
use crate::authorities::hosts::qualified;
use crate::plan::platform::Obstacle;

/// How long an applied Certificate is taken for what it was.
pub const AGAIN: Duration = Duration::from_secs(600);

/// How long until what was missing is looked for again: cert-manager, or an authority in a Secret.
pub const MISSING_FOR: Duration = Duration::from_secs(60);

/// The Certificates that were applied, and what was read of the Secrets that users make.
#[derive(Debug, Default)]
pub struct KnownCertificates {
    /// By name: as they were applied, and when.
    applied: BTreeMap<String, (Value, Instant)>,
    /// Whether those of an operator before this one were looked for.
    looked: bool,
    /// The Secrets that rules need, by name: whether each has an authority, and when it was read.
    authorities: BTreeMap<String, (bool, Instant)>,
}

/// Applies the Certificates of the cluster, and removes those that are no longer built. The obstacle: an issuer is
/// named, and there is no cert-manager.
///
/// # Errors
/// When a name is taken; when the API server refuses or can't be reached.
pub async fn apply(
    client: &Client,
    cluster: &ValidatedCluster,
    object: &KafkaCluster,
    known: &mut KnownCertificates,
) -> Result<Option<Obstacle>, ApplyError> {
    // An operator before this one may have applied some, before all TLS was removed: that is looked for once.
    if !cluster.has_authorities && known.applied.is_empty() && known.looked {
        return Ok(None);
    }
    let built = build(cluster, object);
    let is_due = |name: &String, value: &Value| {
        known.applied.get(name).is_none_or(|(applied, at)| applied != value || at.elapsed() >= AGAIN)
    };
    let due: Vec<_> = built.iter().filter(|(name, value)| is_due(name, value)).collect();
    let left_over = known.applied.keys().any(|name| !built.contains_key(name));
    if due.is_empty() && !left_over && known.looked {
        return Ok(None);
    }
    let resource = resource();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &cluster.namespace, &resource);
    let selector = format!("{}={},{MANAGED_BY_LABEL}={MANAGER}", names::CLUSTER_LABEL, cluster.name);
    let there = match api.list_metadata(&ListParams::default().labels(&selector)).await {
        Ok(there) => there,
        // For a kind that it does not know, an API server answers with this code and no reason.
        Err(kube::Error::Api(status)) if status.code == 404 => {
            known.looked = true;
            return Ok(cluster.listeners.iter().find_map(no_cert_manager));
        }
        Err(source) => return Err(ApplyError::new("list", resource.kind, &cluster.name, source)),
    };
    for left in there.iter().filter(|left| !built.contains_key(&left.name_any())) {
        remove_one(&api, &resource, &left.name_any(), left.uid()).await?;
    }
    known.applied.retain(|name, _| built.contains_key(name));
    known.looked = true;
    for (name, value) in due {
        let uid = owned(&api, &resource, name, &cluster.name).await?;
        write(&api, &resource, name, value, uid).await?;
        known.applied.insert(name.clone(), (value.clone(), Instant::now()));
    }
    Ok(None)
}

/// Why rules for the subjects of certificates let nobody in; `None`: they do, or the Secret does not exist, which pods
/// wait for. Issuers that prove domains (ACME) leave `ca.crt` empty. A Secret is read again after ten minutes, or after
/// one minute while it has no authority.
///
/// # Errors
/// When the API server refuses or can't be reached.
pub async fn without_authority(
    client: &Client,
    cluster: &ValidatedCluster,
    object: &KafkaCluster,
    known: &mut KnownCertificates,
) -> Result<Option<Obstacle>, ApplyError> {
    let of_rules = object.spec.listeners.iter().filter(|listener| has_rules(listener)).filter_map(|listener| {
        let validated = cluster.listeners.iter().find(|validated| validated.name == listener.name);
        Some((listener, validated?.certificate.as_ref()?))
    });
    let of_rules: Vec<_> = of_rules.collect();
    known.authorities.retain(|secret, _| of_rules.iter().any(|(_, name)| *name == secret));
    for (listener, secret) in of_rules {
        if !known.has_authority(client, cluster, secret).await? {
            let message = format!(
                "the Secret {secret} has no {}, so principalMappingRules of the listener {} let nobody in: add the \
                 authority that has issued those clients' certificates",
                names::CA_CERTIFICATE,
                listener.name,
            );
            return Ok(Some(Obstacle::new("NoClientAuthority", message)));
        }
    }
    Ok(None)
}

impl KnownCertificates {
    /// Whether the Secret has an authority, or does not exist: that is not remembered.
    async fn has_authority(
        &mut self,
        client: &Client,
        cluster: &ValidatedCluster,
        name: &str,
    ) -> Result<bool, ApplyError> {
        if let Some((has, at)) = self.authorities.get(name)
            && at.elapsed() < if *has { AGAIN } else { MISSING_FOR }
        {
            return Ok(*has);
        }
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &cluster.namespace);
        let read = secrets.get_opt(name).await.map_err(|source| ApplyError::new("get", "Secret", name, source))?;
        let Some(secret) = read else { return Ok(true) };
        let has = secret.data.unwrap_or_default().get(names::CA_CERTIFICATE).is_some_and(|text| !text.0.is_empty());
        self.authorities.insert(name.to_owned(), (has, Instant::now()));
        Ok(has)
    }
}

/// Whether certificates of the listener's own authority are good there.
pub fn has_rules(listener: &ottla_crds::Listener) -> bool {
    listener.authentication.iter().any(|authentication| authentication.principal_mapping_rules.is_some())
}

fn no_cert_manager(listener: &Listener) -> Option<Obstacle> {
    let (name, issuer) = (&listener.name, &listener.issuer.as_ref()?.name);
    Some(Obstacle::new(
        "NoCertManager",
        format!(
            "listener {name} names the issuer {issuer} of cert-manager, which this Kubernetes cluster does not have: \
             install cert-manager, or name a Secret in tls.secretRef"
        ),
    ))
}

fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("cert-manager.io", "v1", "Certificate"), "certificates")
}

/// The Certificates, by name.
fn build(cluster: &ValidatedCluster, object: &KafkaCluster) -> BTreeMap<String, Value> {
    let of = |listener: &Listener| {
        let name = names::listener_certificate(&cluster.name, &listener.name);
        let value = certificate(cluster, object, &name, listener, listener.issuer.as_ref()?)?;
        Some((name, value))
    };
    cluster.listeners.iter().filter_map(of).collect()
}

/// `None` as long as no host of the listener is known.
fn certificate(
    cluster: &ValidatedCluster,
    object: &KafkaCluster,
    name: &str,
    listener: &Listener,
    issuer: &IssuerRef,
) -> Option<Value> {
    let (addresses, hosts): (Vec<String>, Vec<String>) =
        hosts(cluster, object, listener).into_iter().partition(|host| host.parse::<IpAddr>().is_ok());
    if addresses.is_empty() && hosts.is_empty() {
        return None;
    }
    let resource = resource();
    let mut value = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {
            "name": name,
            "namespace": cluster.namespace,
            "labels": labels(&cluster.name),
            "ownerReferences": object.owner_ref(&()).into_iter().collect::<Vec<_>>(),
        },
        "spec": {
            "secretName": name,
            "issuerRef": { "group": "cert-manager.io", "kind": issuer.kind, "name": issuer.name },
            "usages": ["digital signature", "server auth"],
            "privateKey": { "algorithm": "ECDSA", "size": 256, "encoding": "PKCS8", "rotationPolicy": "Always" },
        },
    });
    for (field, names) in [("dnsNames", hosts), ("ipAddresses", addresses)] {
        if !names.is_empty() {
            value["spec"][field] = json!(names);
        }
    }
    Some(value)
}

/// Where clients reach the listener. An issuer that the public trusts signs no names of a Kubernetes cluster, so these
/// are only in certificates of internal listeners. Of the pods' names there may be a thousand: one stands for them.
fn hosts(cluster: &ValidatedCluster, object: &KafkaCluster, listener: &Listener) -> BTreeSet<String> {
    if listener.type_ == ListenerType::Internal {
        let bootstrap = names::bootstrap_service(&cluster.name);
        let pods = format!("*.{}", names::headless_service(&cluster.name));
        let qualified = [&pods, &bootstrap].map(|service| qualified(service, &cluster.namespace));
        let in_namespace = format!("{bootstrap}.{}", cluster.namespace);
        return qualified.into_iter().flatten().chain([bootstrap, in_namespace]).collect();
    }
    let brokers = object.status.iter().flat_map(|status| &status.brokers);
    let endpoints = brokers.flat_map(|broker| &broker.endpoints);
    endpoints.filter(|endpoint| endpoint.listener == listener.name).map(|endpoint| endpoint.host.clone()).collect()
}

#[cfg(test)]
mod tests {
    use kube::api::{Patch, PatchParams};
    use ottla_local_api::{Server, Store};

    use super::*;

    fn cluster(tls: &Value) -> (ValidatedCluster, KafkaCluster) {
        let endpoint = |host: &str| json!({ "listener": "outside", "host": host, "port": 9094 });
        let object: KafkaCluster = serde_json::from_value(json!({
            "apiVersion": "ottla.io/v1alpha1", "kind": "KafkaCluster",
            "metadata": { "name": "prod", "namespace": "default", "uid": "u-1" },
            "spec": {
                "brokers": { "storage": { "size": "1Gi" } },
                "listeners": [
                    { "name": "internal", "port": 9092, "tls": tls },
                    { "name": "outside", "port": 9094, "type": "loadBalancer", "tls": tls },
                    { "name": "node", "port": 9095, "type": "nodePort", "tls": tls },
                ],
            },
            "status": { "brokers": [
                { "id": 0, "state": "Online", "endpoints": [endpoint("192.0.2.7")] },
                { "id": 1, "state": "Online", "endpoints": [endpoint("b1.example.com")] },
            ] },
        }))
        .unwrap();
        (ValidatedCluster::new(&object, "ottla:1").unwrap(), object)
    }

    fn issued() -> (ValidatedCluster, KafkaCluster) {
        cluster(&json!({ "issuerRef": { "kind": "ClusterIssuer", "name": "ours" } }))
    }

    #[test]
    fn a_certificate_has_the_names_under_which_clients_reach_the_listener() {
        let (cluster, object) = issued();
        let built = build(&cluster, &object);
        assert_eq!(built.keys().collect::<Vec<_>>(), ["prod-listener-internal", "prod-listener-outside"]);
        let internal = &built["prod-listener-internal"]["spec"];
        assert_eq!(
            internal["dnsNames"],
            json!([
                "*.prod-brokers.default.svc",
                "*.prod-brokers.default.svc.cluster.local",
                "prod-bootstrap",
                "prod-bootstrap.default",
                "prod-bootstrap.default.svc",
                "prod-bootstrap.default.svc.cluster.local",
            ])
        );
        let outside = &built["prod-listener-outside"];
        assert_eq!(
            outside["spec"],
            json!({
                "secretName": "prod-listener-outside",
                "issuerRef": { "group": "cert-manager.io", "kind": "ClusterIssuer", "name": "ours" },
                "usages": ["digital signature", "server auth"],
                "privateKey": { "algorithm": "ECDSA", "size": 256, "encoding": "PKCS8", "rotationPolicy": "Always" },
                "dnsNames": ["b1.example.com"],
                "ipAddresses": ["192.0.2.7"],
            })
        );
        assert_eq!(outside["metadata"]["ownerReferences"][0]["uid"], "u-1");
        let mounted = cluster.listeners.iter().map(|listener| listener.certificate.clone().unwrap());
        assert_eq!(
            mounted.collect::<Vec<_>>(),
            ["prod-listener-internal", "prod-listener-outside", "prod-listener-node"]
        );
    }

    /// An API server with cert-manager's definition, of which the spec is as in version 1.18.
    fn with_cert_manager() -> Server {
        let text = json!({ "type": "string" });
        let texts = json!({ "type": "array", "items": text, "x-kubernetes-list-type": "atomic" });
        let definition = json!({
            "metadata": { "name": "certificates.cert-manager.io" },
            "spec": {
                "group": "cert-manager.io", "scope": "Namespaced",
                "names": {
                    "kind": "Certificate", "listKind": "CertificateList", "plural": "certificates",
                    "singular": "certificate",
                },
                "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "properties": { "spec": {
                        "type": "object",
                        "required": ["issuerRef", "secretName"],
                        "properties": {
                            "secretName": text, "dnsNames": texts, "ipAddresses": texts, "usages": texts,
                            "issuerRef": {
                                "type": "object", "required": ["name"],
                                "properties": { "group": text, "kind": text, "name": text },
                            },
                            "privateKey": { "type": "object", "properties": {
                                "algorithm": { "type": "string", "enum": ["RSA", "ECDSA", "Ed25519"] },
                                "encoding": { "type": "string", "enum": ["PKCS1", "PKCS8"] },
                                "rotationPolicy": { "type": "string", "enum": ["Never", "Always"] },
                                "size": { "type": "integer" },
                            } },
                        },
                    } },
                } } }],
            },
        });
        Server::new(Store::Memory, vec![serde_json::from_value(definition).unwrap()]).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn certificates_are_applied_kept_and_removed() {
        let server = with_cert_manager();
        let client = server.client("default");
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &resource());
        let names = || async {
            let listed = api.list(&ListParams::default()).await.unwrap();
            listed.iter().map(|object| (object.name_any(), object.data["spec"]["issuerRef"]["name"].clone())).collect()
        };
        let both: Vec<(String, Value)> =
            ["internal", "outside"].map(|name| (format!("prod-listener-{name}"), json!("ours"))).into();
        let mut known = KnownCertificates::default();
        let (cluster, object) = issued();
        assert_eq!(apply(&client, &cluster, &object, &mut known).await.unwrap(), None);
        let there: Vec<(String, Value)> = names().await;
        assert_eq!(there, both);

        // Somebody names another issuer by hand: it stays for ten minutes.
        let by_hand = json!({ "spec": { "issuerRef": { "name": "theirs" } } });
        api.patch(&both[0].0, &PatchParams::default(), &Patch::Merge(&by_hand)).await.unwrap();
        apply(&client, &cluster, &object, &mut known).await.unwrap();
        let there: Vec<(String, Value)> = names().await;
        assert_eq!(there[0].1, "theirs");
        tokio::time::advance(AGAIN).await;
        apply(&client, &cluster, &object, &mut known).await.unwrap();
        let there: Vec<(String, Value)> = names().await;
        assert_eq!(there, both);

        // Another operator has taken over, and the listeners name no issuer any more.
        let (plain, object) = self::cluster(&json!({}));
        apply(&client, &plain, &object, &mut KnownCertificates::default()).await.unwrap();
        let there: Vec<(String, Value)> = names().await;
        assert_eq!(there, []);
    }

    #[tokio::test]
    async fn an_operator_that_starts_when_all_tls_was_removed_removes_the_certificates() {
        let server = with_cert_manager();
        let client = server.client("default");
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &resource());
        let (with_tls, object) = issued();
        apply(&client, &with_tls, &object, &mut KnownCertificates::default()).await.unwrap();
        assert_eq!(api.list(&ListParams::default()).await.unwrap().items.len(), 2);
        let (without, object) = self::cluster(&Value::Null);
        assert!(!without.has_authorities);
        let mut known = KnownCertificates::default();
        assert_eq!(apply(&client, &without, &object, &mut known).await.unwrap(), None);
        assert_eq!(api.list(&ListParams::default()).await.unwrap().items, []);
        assert!(known.looked, "it looks once");
    }

    #[tokio::test]
    async fn a_certificate_of_somebody_else_is_left_as_it_is() {
        let server = with_cert_manager();
        let client = server.client("default");
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &resource());
        let spec = json!({ "secretName": "theirs", "issuerRef": { "name": "theirs" } });
        let theirs = DynamicObject::new("prod-listener-internal", &resource()).data(json!({ "spec": spec }));
        api.create(&kube::api::PostParams::default(), &theirs).await.unwrap();
        let (cluster, object) = issued();
        let failed = apply(&client, &cluster, &object, &mut KnownCertificates::default()).await.unwrap_err();
        assert_eq!((failed.reason(), failed.kind()), ("ForeignObject", "Certificate"));
        assert_eq!(api.get("prod-listener-internal").await.unwrap().data["spec"], spec);
    }

    #[tokio::test]
    async fn without_cert_manager_the_condition_says_what_to_install() {
        let server = Server::new(Store::Memory, Vec::new()).unwrap();
        let client = server.client("default");
        let (cluster, object) = issued();
        let obstacle = apply(&client, &cluster, &object, &mut KnownCertificates::default()).await.unwrap().unwrap();
        assert_eq!(obstacle.reason, "NoCertManager");
        assert!(obstacle.message.contains("listener internal names the issuer ours"), "{}", obstacle.message);
        let (plain, object) = self::cluster(&json!({}));
        assert_eq!(apply(&client, &plain, &object, &mut KnownCertificates::default()).await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn rules_without_an_authority_are_said_to_let_nobody_in() {
        let server = Server::new(Store::Memory, Vec::new()).unwrap();
        let client = server.client("default");
        let (_, mut object) = cluster(&json!({ "secretRef": { "name": "theirs" } }));
        let rules = json!([{ "type": "tls", "principalMappingRules": "DEFAULT" }]);
        object.spec.listeners[1].authentication = serde_json::from_value(rules).unwrap();
        let cluster = ValidatedCluster::new(&object, "ottla:1").unwrap();
        let mut known = KnownCertificates::default();
        let mut lacking = async || without_authority(&client, &cluster, &object, &mut known).await.unwrap();
        assert_eq!(lacking().await, None, "pods wait for the Secret");
        let secrets: Api<Secret> = Api::namespaced(client.clone(), "default");
        let secret = Secret {
            metadata: kube::api::ObjectMeta { name: Some("theirs".to_owned()), ..Default::default() },
            ..Secret::default()
        };
        secrets.create(&kube::api::PostParams::default(), &secret).await.unwrap();
        let obstacle = lacking().await.unwrap();
        assert_eq!(obstacle.reason, "NoClientAuthority");
        assert!(obstacle.message.starts_with("the Secret theirs has no ca.crt, so"), "{}", obstacle.message);
        assert!(obstacle.message.contains("of the listener outside let nobody in"), "{}", obstacle.message);
        let patch = json!({ "data": { "ca.crt": "UEVN" } });
        secrets.patch("theirs", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        assert_eq!(lacking().await, Some(obstacle), "it is not read at each reconcile");
        tokio::time::advance(MISSING_FOR).await;
        assert_eq!(lacking().await, None);
        let patch = json!({ "data": { "ca.crt": "" } });
        secrets.patch("theirs", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        tokio::time::advance(MISSING_FOR).await;
        assert_eq!(lacking().await, None, "what has an authority is read more seldom");
        tokio::time::advance(AGAIN).await;
        assert_eq!(lacking().await.map(|obstacle| obstacle.reason), Some("NoClientAuthority"));
    }
}
