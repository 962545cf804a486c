//! The public keys of issuers of tokens: read each minute, and shown to brokers in a ConfigMap.
//!
//! Brokers themselves call nobody, and no token can make anybody call. Keys that were read once stay good while the
//! issuer does not answer; the cluster's status says why it does not.
//!
//! - [`fetch`]: one issuer's keys, over HTTP or from the API server

pub mod fetch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use ottla_access::sasl::Keys;
use ottla_crds::{Issuer, IssuerKeys, IssuerStatus, KafkaCluster, names};
use ottla_kube::change::why;
use ottla_kube::versions::SetBacks;
use ottla_kube::watch::{named, watcher};
use ottla_kube::watches::Watches;
use serde_json::json;
use tokio::time::sleep;

use crate::acting::Acting;
use fetch::Fetcher;

/// How often keys are read.
const LOOK: Duration = Duration::from_mins(1);
/// How often while one can't be read.
const SOON: Duration = Duration::from_secs(5);

/// Keeps the keys of the issuers that a cluster's listeners name, for ever. Writes only while `acting`.
pub async fn run(client: Client, namespace: &str, cluster: &str, mut acting: Acting) {
    let set_backs = SetBacks::default();
    let mut watches = Watches::new(&set_backs);
    let clusters = watcher(Api::namespaced(client.clone(), namespace), named(cluster), &set_backs);
    let shown = watches.keep((), clusters, |_| ());
    let fetcher = Fetcher::new(client.clone());
    let mut pause = LOOK;
    let mut generation = None;
    loop {
        acting.begins().await;
        let object: Option<Arc<KafkaCluster>> = shown.state().into_iter().next();
        if let Some(object) = object {
            generation = object.metadata.generation;
            pause = match ensure(&client, &fetcher, &object).await {
                Ok(true) => LOOK,
                Ok(false) => SOON,
                Err(error) => {
                    tracing::warn!(error = why(&error), "failed to keep the keys of issuers: trying again");
                    SOON
                }
            };
        }
        let look = sleep(pause);
        tokio::pin!(look);
        loop {
            tokio::select! {
                told = watches.next() => if told.is_none() { return },
                () = &mut look => break,
            }
            let changed = shown.state().first().is_some_and(|object| object.metadata.generation != generation);
            if changed {
                break;
            }
        }
    }
}

/// Reads the keys and writes what has changed. Returns whether all could be read.
async fn ensure(client: &Client, fetcher: &Fetcher, cluster: &KafkaCluster) -> kube::Result<bool> {
    let issuers = named_issuers(cluster);
    let has_status = cluster.status.as_ref().is_some_and(|status| !status.issuers.is_empty());
    let is_ending = cluster.metadata.deletion_timestamp.is_some();
    if (issuers.is_empty() && !has_status) || cluster.spec.paused || is_ending {
        return Ok(true);
    }
    let namespace = cluster.namespace().unwrap_or_default();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let name = names::issuer_keys(&cluster.name_any());
    let map = maps.get_opt(&name).await?;
    let kept = map.as_ref().and_then(|map| map.data.clone()).unwrap_or_default();

    let read = join_all(issuers.values().map(|issuers| fetcher.fetch(issuers[0]))).await;
    let mut data = BTreeMap::new();
    let mut told = Vec::new();
    for ((entry, issuers), read) in issuers.iter().zip(read) {
        let before = kept.get(entry).and_then(|text| serde_json::from_str::<IssuerKeys>(text).ok());
        let (keys, problem) = match read {
            Ok(keys) => match refusal(issuers, &keys) {
                // A listener that takes such tokens already keeps doing so: the status asks for another audience.
                Some(problem) => (before, Some(problem)),
                None => (Some(keys), None),
            },
            Err(error) => (before, Some(error.to_string())),
        };
        let known = keys.as_ref().and_then(|keys| Keys::parse(&keys.jwks).ok()).map_or(0, |keys| keys.len());
        told.push(IssuerStatus {
            name: issuers[0].jwks_url.clone().unwrap_or_else(|| entry.clone()),
            keys: i64::try_from(known).unwrap_or(i64::MAX),
            problem,
        });
        if let Some(keys) = keys {
            data.insert(entry.clone(), json!(keys).to_string());
        }
    }
    if map.is_none() {
        maps.create(&PostParams::default(), &config_map(cluster, name, data)).await?;
    } else if data != kept {
        // Entries that are gone are removed by a null.
        let gone = kept.keys().filter(|entry| !data.contains_key(*entry)).map(|entry| (entry.clone(), None));
        let all: BTreeMap<String, Option<String>> =
            gone.chain(data.clone().into_iter().map(|(entry, text)| (entry, Some(text)))).collect();
        maps.patch(&name, &PatchParams::default(), &Patch::Merge(json!({ "data": all }))).await?;
    }
    let are_read = told.iter().all(|issuer| issuer.problem.is_none());
    tell(client, cluster, &told).await?;
    Ok(are_read)
}

/// Shows in the cluster's status what came of it.
async fn tell(client: &Client, cluster: &KafkaCluster, told: &[IssuerStatus]) -> kube::Result<()> {
    let before = cluster.status.as_ref().map_or(&[][..], |status| &status.issuers);
    if cluster.status.is_none() || before == told {
        return Ok(());
    }
    for issuer in told {
        let known = before.iter().find(|known| known.name == issuer.name).and_then(|known| known.problem.as_ref());
        match &issuer.problem {
            Some(problem) if known != Some(problem) => {
                tracing::warn!(
                    issuer = issuer.name,
                    problem,
                    "failed to read an issuer's keys: the last ones stay good"
                );
            }
            None if known.is_some() => tracing::info!(issuer = issuer.name, "the issuer's keys can be read again"),
            Some(_) | None => {}
        }
    }
    let clusters: Api<KafkaCluster> = Api::namespaced(client.clone(), &cluster.namespace().unwrap_or_default());
    let patch = json!({ "status": { "issuers": told } });
    clusters.patch_status(&cluster.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// The issuers that listeners name, by the entries of their keys: one or more of each.
fn named_issuers(cluster: &KafkaCluster) -> BTreeMap<String, Vec<&Issuer>> {
    let authentications = cluster.spec.listeners.iter().flat_map(|listener| &listener.authentication);
    let mut named: BTreeMap<String, Vec<&Issuer>> = BTreeMap::new();
    for issuer in authentications.flat_map(|authentication| &authentication.issuers) {
        named.entry(issuer.entry()).or_default().push(issuer);
    }
    named
}

/// Why tokens of ServiceAccounts are not taken; `None`: they are. The definition of KafkaClusters refuses the audiences
/// that API servers mostly have; this one's, unless it has a list of its own, is the name under which it issues tokens.
fn refusal(issuers: &[&Issuer], keys: &IssuerKeys) -> Option<String> {
    let own = keys.issuer.as_deref()?;
    issuers.iter().any(|issuer| issuer.audience == own).then(|| {
        format!(
            "the API server takes tokens for the audience {own}, so brokers could use them there as the clients that sent \
             them: set another audience, and request tokens for that"
        )
    })
}

fn config_map(cluster: &KafkaCluster, name: String, data: BTreeMap<String, String>) -> ConfigMap {
    let labels = BTreeMap::from([(names::CLUSTER_LABEL.to_owned(), cluster.name_any())]);
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name),
            labels: Some(labels),
            owner_references: cluster.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..ConfigMap::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_the_api_server_takes_are_not_for_brokers() {
        let keys = |issuer: Option<&str>| IssuerKeys { issuer: issuer.map(str::to_owned), jwks: String::new() };
        let issuer = |audience: &str| Issuer { audience: audience.to_owned(), ..Issuer::default() };
        let (ours, theirs) = (issuer("kafka.shop"), issuer("https://container.example/clusters/1"));
        let of_kubernetes = keys(Some("https://container.example/clusters/1"));
        assert_eq!(refusal(&[&ours], &of_kubernetes), None);
        for issuers in [vec![&theirs], vec![&ours, &theirs]] {
            let said = refusal(&issuers, &of_kubernetes).unwrap();
            assert!(
                said.starts_with("the API server takes tokens for the audience https://container.example"),
                "{said}"
            );
        }
        // Another issuer's name is no audience of the API server's.
        assert_eq!(refusal(&[&theirs], &keys(None)), None);
    }
}
