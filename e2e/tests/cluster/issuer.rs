//! A listener whose certificate an issuer of cert-manager is to issue. cert-manager itself is not installed: the test
//! brings its kind, and fills the Secret in its place.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use ottla_e2e::cluster::LIMIT;
use ottla_e2e::cluster::bed::Bed;
use ottla_e2e::cluster::namespace::{Namespace, cluster};
use ottla_e2e::login::{self, kafka_python};
use ottla_e2e::need::{Need, met};
use ottla_e2e::wait::until;

/// The kind, with any content.
const KIND: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: certificates.cert-manager.io}
spec:
  group: cert-manager.io
  scope: Namespaced
  names: {kind: Certificate, listKind: CertificateList, plural: certificates, singular: certificate}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

/// The Certificate, and its Secret.
const CERTIFICATE: &str = "kafka-listener-apps";

#[test]
fn a_listener_gets_its_certificate_from_cert_manager() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    if !met(&[Need::Python, Need::Program("openssl")]) {
        return Ok(());
    }
    let namespace = Namespace::new(&bed, "issuer")?;
    let apps =
        "  - {name: apps, port: 9095, type: nodePort, insecure: true, tls: {issuerRef: {kind: Issuer, name: ours}}}";
    let with_issuer = cluster(1, "").replace("  rack:", &format!("{apps}\n  rack:"));
    namespace.apply(&with_issuer)?;
    let ready = ".status.conditions[?(@.type==\"Ready\")]";
    namespace
        .prints(&format!("get okc/kafka -o jsonpath={{{ready}.status}}/{{{ready}.reason}}"), "False/NoCertManager")?;

    namespace.apply(KIND)?;
    // The operator looks again after a minute, or when anything changes.
    namespace.kubectl("annotate okc/kafka cert-manager=installed")?;
    let addresses = format!("get certificate/{CERTIFICATE} -o jsonpath={{.spec.ipAddresses[*]}}");
    let is_address = |address: &str| address.parse::<IpAddr>().is_ok();
    namespace.satisfies(&addresses, |list| !list.is_empty() && list.split_whitespace().all(is_address))?;
    ensure!(namespace.field(&format!("certificate/{CERTIFICATE}"), ".spec.issuerRef.name")? == "ours", "the issuer");
    let names: Vec<String> =
        namespace.kubectl(&addresses)?.split_whitespace().map(|address| format!("IP:{address}")).collect();

    let folder = tempfile::tempdir()?;
    let more = ["-addext", &format!("subjectAltName={}", names.join(","))];
    login::certificate(folder.path(), "tls", "/CN=kafka", &more, None)?;
    let [certificate, key] = ["tls.crt", "tls.key"].map(|name| folder.path().join(name).display().to_string());
    namespace.kubectl(&format!("create secret tls {CERTIFICATE} --cert={certificate} --key={key}"))?;
    namespace.ready("okc/kafka", "Ready")?;
    let bootstrap = namespace.bootstrap("apps")?;
    let settings = ["security_protocol=SSL".to_owned(), format!("ssl_cafile={certificate}")];
    until(
        LIMIT,
        "a client to trust the listener",
        || Ok((kafka_python(&bootstrap, &settings)? == "ok").then_some(())),
    )?;

    // A listener that is gone needs no certificate.
    namespace.apply(&cluster(1, ""))?;
    namespace.satisfies("get certificates -o name", |names| names.trim().is_empty())?;
    namespace.kubectl("delete crd certificates.cert-manager.io").map(drop)
}
