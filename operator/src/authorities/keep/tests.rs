//! Authorities and certificates in Secrets of a local API.

use ottla_local_api::{Server, Store};
use serde_json::Value;

use super::*;

const NAMESPACE: &str = "kafka";

struct Bench {
    client: Client,
    clusters: Api<KafkaCluster>,
    secrets: Api<Secret>,
    leases: Api<Lease>,
    _server: Server,
}

impl Bench {
    async fn new() -> Bench {
        let server = Server::new(Store::Memory, ottla_crds::all()).unwrap();
        let client = server.client(NAMESPACE);
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
        let namespace = serde_json::from_value(json!({ "metadata": { "name": NAMESPACE } })).unwrap();
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        let bench = Bench {
            clusters: Api::namespaced(client.clone(), NAMESPACE),
            secrets: Api::namespaced(client.clone(), NAMESPACE),
            leases: Api::namespaced(client.clone(), NAMESPACE),
            client,
            _server: server,
        };
        let spec = json!({ "brokers": { "replicas": 2 } });
        let cluster = KafkaCluster::new("prod", serde_json::from_value(spec).unwrap());
        bench.clusters.create(&PostParams::default(), &cluster).await.unwrap();
        bench
    }

    async fn patch(&self, spec: Value) {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.clusters.patch("prod", &PatchParams::default(), &patch).await.unwrap();
    }

    async fn ensure(&self) -> Result<bool, CertificateError> {
        ensure(&self.client, &self.clusters.get("prod").await.unwrap(), &mut Pruned::default()).await
    }

    /// The versions of all Secrets.
    async fn secrets(&self) -> BTreeMap<String, String> {
        let secrets = self.secrets.list(&ListParams::default()).await.unwrap().items;
        secrets.into_iter().map(|s| (s.name_any(), s.resource_version().unwrap())).collect()
    }

    async fn text(&self, secret: &str, key: &str) -> String {
        text(&self.secrets.get(secret).await.unwrap(), key).unwrap()
    }

    /// A broker writes on its Lease what it has loaded.
    async fn loads(&self, id: i32) {
        let name = names::broker("prod", BrokerId(id));
        let mut said = Vec::new();
        for (secret, key) in [
            (names::cluster_ca_cert("prod"), names::CA_CERTIFICATE.to_owned()),
            (names::clients_ca_cert("prod"), names::CA_CERTIFICATE.to_owned()),
            (names::broker_certificates("prod"), format!("{id}.crt")),
        ] {
            said.push(names::digest(&self.text(&secret, &key).await));
        }
        let labels = json!({ names::CLUSTER_LABEL: "prod" });
        let annotations = json!({ names::TLS_ANNOTATION: said.join(" ") });
        let metadata = json!({ "name": name, "labels": labels, "annotations": annotations });
        let lease = serde_json::from_value(json!({ "metadata": metadata })).unwrap();
        if self.leases.get_opt(&name).await.unwrap().is_some() {
            self.leases.delete(&name, &Default::default()).await.unwrap();
        }
        self.leases.create(&PostParams::default(), &lease).await.unwrap();
    }
}

#[tokio::test]
async fn a_cluster_gets_authorities_when_it_needs_them_and_keeps_them() {
    let bench = Bench::new().await;
    assert!(bench.ensure().await.unwrap());
    assert!(bench.secrets().await.is_empty(), "a plain cluster has none");
    bench.patch(json!({ "security": {} })).await;
    bench.ensure().await.unwrap();
    let made = bench.secrets().await;
    let expected =
        ["prod-brokers", "prod-clients-ca", "prod-clients-ca-cert", "prod-cluster-ca", "prod-cluster-ca-cert"];
    assert_eq!(made.keys().collect::<Vec<_>>(), expected);
    bench.ensure().await.unwrap();
    assert_eq!(bench.secrets().await, made, "nothing is written again");

    bench.patch(json!({ "brokers": { "replicas": 3 } })).await;
    let first = bench.text("prod-brokers", "0.crt").await;
    bench.ensure().await.unwrap();
    assert!(!bench.text("prod-brokers", "2.crt").await.is_empty(), "of a broker that is to come");
    assert_eq!(bench.text("prod-brokers", "0.crt").await, first, "the others keep theirs");
}

#[tokio::test]
async fn a_secret_of_another_is_not_changed() {
    let bench = Bench::new().await;
    let metadata = json!({ "name": "prod-cluster-ca" });
    let foreign = serde_json::from_value(json!({ "metadata": metadata, "data": {} })).unwrap();
    bench.secrets.create(&PostParams::default(), &foreign).await.unwrap();
    bench.patch(json!({ "security": {} })).await;
    assert!(matches!(bench.ensure().await, Err(CertificateError::Foreign(name)) if name == "prod-cluster-ca"));
}

#[test]
fn a_rotation_says_what_it_waits_for_in_a_word_and_in_words() {
    let pair = || Pair { certificate: String::new(), key: String::new().into() };
    let other = Some(Other { generation: 1, since: 0, pair: pair() });
    let held = StoredAuthority { generation: 2, issuing: pair(), other };
    let (one, both) = ([BrokerId(1)], [BrokerId(0), BrokerId(2)]);
    for (phase, behind, stale, expected) in [
        (Phase::Steady, &one[..], &one[..], None),
        (Phase::TrustBoth, &both, &one, Some(("WaitingForTrust", "brokers that do not trust both keys yet: 0, 2"))),
        (Phase::Renew, &one, &[], Some(("WaitingForTrust", "brokers that do not trust both keys yet: 1"))),
        (Phase::Renew, &[], &one, Some(("WaitingForCertificates", "brokers that use an old certificate: 1"))),
        (Phase::Renew, &[], &[], Some(("WaitingForClients", "clients, until 1970-01-02T00:00:00Z"))),
    ] {
        let said = waiting_for(phase, &held, DAY, behind, stale);
        assert_eq!(said.as_ref().map(|(reason, text)| (*reason, &**text)), expected, "{phase:?}");
    }
}

/// The subject of an authority.
fn issued_as(certificate: &str) -> String {
    let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.as_bytes()).unwrap();
    pem.parse_x509().unwrap().subject().to_string()
}

#[tokio::test]
async fn a_new_key_is_trusted_first_used_next_and_alone_last() {
    let bench = Bench::new().await;
    bench.patch(json!({ "security": { "clusterCa": { "overlapDays": 0 }, "clientsCa": { "overlapDays": 0 } } })).await;
    bench.ensure().await.unwrap();
    let former = bench.text("prod-cluster-ca-cert", "ca.crt").await;
    let certificate = bench.text("prod-brokers", "0.crt").await;
    bench.patch(json!({ "security": { "clusterCa": { "keyGeneration": 2 } } })).await;
    assert!(!bench.ensure().await.unwrap(), "it has begun");
    bench.ensure().await.unwrap();
    let both = bench.text("prod-cluster-ca-cert", "ca.crt").await;
    assert!(both.starts_with(&former) && both.len() > former.len(), "both are trusted");
    assert_eq!(bench.text("prod-brokers", "0.crt").await, certificate, "and nobody uses the new one yet");

    bench.loads(0).await;
    bench.ensure().await.unwrap();
    assert_eq!(bench.text("prod-brokers", "0.crt").await, certificate, "a broker is behind");
    bench.loads(1).await;
    for _ in 0..2 {
        assert!(!bench.ensure().await.unwrap());
    }
    assert_ne!(bench.text("prod-brokers", "0.crt").await, certificate, "all trust the new one: it is used");
    assert!(bench.text("prod-cluster-ca-cert", "ca.crt").await.contains(former.trim()), "the old one is trusted still");

    bench.loads(0).await;
    bench.loads(1).await;
    for _ in 0..2 {
        bench.ensure().await.unwrap();
    }
    assert!(bench.ensure().await.unwrap(), "the end");
    let last = bench.text("prod-cluster-ca-cert", "ca.crt").await;
    assert!(!last.contains(former.trim()) && both.contains(last.trim()), "the new one alone");

    // Years later it is renewed: under the name of the second key, by which those who trust it find it.
    let (cluster, before) = (bench.clusters.get("prod").await.unwrap(), issued_as(&last));
    let keeper = Keeper {
        secrets: bench.secrets.clone(),
        leases: bench.leases.clone(),
        now: clock::now().0.as_second() + AUTHORITY.length - 1000,
        cluster: &cluster,
    };
    keeper.keep().await.unwrap();
    let renewed = bench.text("prod-cluster-ca-cert", "ca.crt").await;
    assert_ne!(renewed, last);
    assert_eq!(issued_as(&renewed), before);
    assert!(before.contains("prod cluster 2"), "{before}");
}
