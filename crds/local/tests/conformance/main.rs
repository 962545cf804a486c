//! One client program, the same answers: from this server in the process and over HTTP, and from a real cluster.
//!
//! `golden.txt` is what a real server of Kubernetes 1.34 answers, as far as it was measured while this server was
//! designed. With `--ignored` the program runs against the cluster that KUBECONFIG names; `UPDATE=1` then records its
//! answers again.

mod steps;

use anyhow::{Context, Result};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use ottla_local_api::{Server, Store};

const GOLDEN: &str = include_str!("golden.txt");

fn gadget() -> CustomResourceDefinition {
    serde_yaml::from_str(include_str!("../gadget.yaml")).expect("the definition is well-formed")
}

#[tokio::test]
async fn in_process_the_answers_are_those_of_a_real_server() -> Result<()> {
    let server = Server::new(Store::Memory, vec![gadget()])?;
    compare(&steps::run(server.client("default")).await?);
    Ok(())
}

#[tokio::test]
async fn over_http_the_answers_are_those_of_a_real_server() -> Result<()> {
    let server = Server::new(Store::Memory, vec![gadget()])?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let uri = format!("http://{}", listener.local_addr()?).parse()?;
    let serving = tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
    let client = Client::try_from(kube::Config::new(uri))?;
    compare(&steps::run(client).await?);
    serving.abort();
    Ok(())
}

#[tokio::test]
#[ignore = "asks the cluster that KUBECONFIG names"]
async fn a_real_server_still_answers_so() -> Result<()> {
    let client = Client::try_default().await.context("failed to reach the cluster that KUBECONFIG names")?;
    steps::install(&client, gadget()).await?;
    let transcript = steps::run(client).await?;
    if std::env::var_os("UPDATE").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/golden.txt");
        return Ok(std::fs::write(path, transcript)?);
    }
    compare(&transcript);
    Ok(())
}

/// Line by line, so that a difference names its step.
fn compare(transcript: &str) {
    let differences: Vec<String> = GOLDEN
        .lines()
        .zip(transcript.lines())
        .filter(|(expected, found)| expected != found)
        .map(|(expected, found)| format!("  expected {expected}\n  found    {found}"))
        .collect();
    assert!(differences.is_empty(), "answers differ from a real server's:\n{}", differences.join("\n"));
    assert_eq!(GOLDEN.lines().count(), transcript.lines().count(), "steps are missing:\n{transcript}");
}
