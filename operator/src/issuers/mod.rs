//! The public keys of issuers of tokens: read each minute, and shown to brokers in a ConfigMap.
//!
//! Brokers themselves call nobody, and no token can make anybody call. Keys that were read once stay good while the
//! issuer does not answer; the cluster's status says why it does not, and which listeners take tokens that are for the
//! API server.
//!
//! - [`fetch`]: one issuer's keys, over HTTP or from the API server

pub mod fetch;

use std::collections::{BTreeMap, BTreeSet};
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
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::acting::Acting;
use crate::pruned::{Pruned, StatusWrite};
use fetch::{Fetched, Fetcher, IssuerKeysError};

/// How often keys are read.
const LOOK: Duration = Duration::from_mins(1);
/// How often while one can't be read.
const SOON: Duration = Duration::from_secs(5);

/// Keeps the keys of the issuers that a cluster's listeners name, for ever. Writes only while `acting`.
/// `definitions` counts the changes of the kinds' definitions; `None`: they never change.
pub async fn run(
    client: Client,
    namespace: &str,
    cluster: &str,
    mut acting: Acting,
    mut definitions: Option<watch::Receiver<u64>>,
) {
    let set_backs = SetBacks::default();
    let mut watches = Watches::new(&set_backs);
    let clusters = watcher(Api::namespaced(client.clone(), namespace), named(cluster), &set_backs);
    let shown = watches.keep((), clusters, |_| ());
    let fetcher = Fetcher::new(client.clone());
    let (mut pause, mut pruned) = (LOOK, Pruned::default());
    let mut generation = None;
    loop {
        acting.begins().await;
        let object: Option<Arc<KafkaCluster>> = shown.state().into_iter().next();
        if let Some(object) = object {
            generation = object.metadata.generation;
            pruned.forget_if_changed(&mut definitions);
            // A listener's audience that is the API server's is the spec's: asking sooner changes nothing.
            pause = match ensure(&client, &fetcher, &object, &mut pruned).await {
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

/// What became of an issuer's keys.
struct Looked {
    /// What brokers get; `None`: nothing.
    keys: Option<IssuerKeys>,
    /// Whether they could be read.
    is_read: bool,
    /// What is wrong: they can't be read, or a listener takes tokens that the API server takes, too.
    problem: Option<String>,
}

/// Reads the keys and writes what has changed. Returns whether all could be read. `pruned`: what the API server drops
/// of the status.
async fn ensure(client: &Client, fetcher: &Fetcher, cluster: &KafkaCluster, pruned: &mut Pruned) -> kube::Result<bool> {
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

    let read = join_all(issuers.values().map(|named| fetcher.fetch(named[0].1))).await;
    let mut data = BTreeMap::new();
    let mut told = Vec::new();
    for ((entry, named), read) in issuers.iter().zip(read) {
        let before = kept.get(entry).and_then(|text| serde_json::from_str::<IssuerKeys>(text).ok());
        let Looked { keys, is_read, problem } = judge(named, read, before);
        let known = keys.as_ref().and_then(|keys| Keys::parse(&keys.jwks).ok()).map_or(0, |keys| keys.len());
        let name = named[0].1.jwks_url.clone().unwrap_or_else(|| entry.clone());
        told.push((IssuerStatus { name, keys: i64::try_from(known).unwrap_or(i64::MAX), problem }, is_read));
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
    tell(client, cluster, &told, pruned).await?;
    Ok(told.iter().all(|(_, is_read)| *is_read))
}

/// Shows in the cluster's status what came of it, and with each issuer whether its keys could be read.
async fn tell(
    client: &Client,
    cluster: &KafkaCluster,
    told: &[(IssuerStatus, bool)],
    pruned: &mut Pruned,
) -> kube::Result<()> {
    let before = cluster.status.as_ref().map_or(&[][..], |status| &status.issuers);
    let statuses: Vec<&IssuerStatus> = told.iter().map(|(status, _)| status).collect();
    let asked = StatusWrite { kind: "KafkaCluster", read: of(before), next: of(&statuses) };
    if cluster.status.is_none() || before.iter().eq(statuses) || pruned.is_in_vain(asked.clone()) {
        return Ok(());
    }
    for (issuer, is_read) in told {
        let known = before.iter().find(|known| known.name == issuer.name).and_then(|known| known.problem.as_ref());
        let issuer_name = &issuer.name;
        match &issuer.problem {
            Some(problem) if known == Some(problem) => {}
            Some(problem) if *is_read => {
                tracing::warn!(issuer = issuer_name, problem, "a listener takes tokens that are for the API server");
            }
            Some(problem) => {
                tracing::warn!(
                    issuer = issuer_name,
                    problem,
                    "failed to read an issuer's keys: the last ones stay good"
                );
            }
            None if known.is_some() => tracing::info!(issuer = issuer_name, "the issuer has no problem any more"),
            None => {}
        }
    }
    let clusters: Api<KafkaCluster> = Api::namespaced(client.clone(), &cluster.namespace().unwrap_or_default());
    let patch = Patch::Merge(json!({ "status": asked.next }));
    let written = clusters.patch_status(&cluster.name_any(), &PatchParams::default(), &patch).await?;
    pruned.note(&asked, &of(&written.status.unwrap_or_default().issuers));
    Ok(())
}

/// The part of a cluster's status that shows its issuers.
fn of(issuers: &(impl Serialize + ?Sized)) -> Value {
    json!({ "issuers": issuers })
}

/// An issuer, and the listener that names it.
type Named<'a> = (&'a str, &'a Issuer);

/// The issuers that listeners name, by the entries of their keys: one or more of each.
fn named_issuers(cluster: &KafkaCluster) -> BTreeMap<String, Vec<Named<'_>>> {
    let mut named: BTreeMap<String, Vec<Named<'_>>> = BTreeMap::new();
    for listener in &cluster.spec.listeners {
        for issuer in listener.authentication.iter().flat_map(|authentication| &authentication.issuers) {
            named.entry(issuer.entry()).or_default().push((&listener.name, issuer));
        }
    }
    named
}

/// What brokers get: the keys as they are now, or, while they can't be read, those of `before`. Listeners share them,
/// so one with a wrong audience must not keep new keys from the others, and its own clients keep logging in. Only where
/// nobody has keys yet, and every audience is wrong, there are none.
fn judge(named: &[Named<'_>], read: Result<Fetched, IssuerKeysError>, before: Option<IssuerKeys>) -> Looked {
    let Fetched { keys, taken } = match read {
        Ok(fetched) => fetched,
        Err(error) => return Looked { keys: before, is_read: false, problem: Some(error.to_string()) },
    };
    // The definition of KafkaClusters refuses the audiences that API servers mostly have.
    let wrong: Vec<&Named<'_>> = named.iter().filter(|(_, issuer)| taken.contains(&issuer.audience)).collect();
    let problem = (!wrong.is_empty()).then(|| {
        let audiences = the("audience", wrong.iter().map(|(_, issuer)| &*issuer.audience).collect());
        let listeners = the("listener", wrong.iter().map(|(listener, _)| *listener).collect());
        format!(
            "the API server takes tokens for {audiences}, so brokers could use them there as the clients that sent them: \
             set another audience in {listeners}, and request tokens for that"
        )
    });
    let is_refused = before.is_none() && wrong.len() == named.len();
    Looked { keys: (!is_refused).then_some(keys), is_read: true, problem }
}

/// One thing, or several, with its noun.
fn the(noun: &str, names: BTreeSet<&str>) -> String {
    let plural = if names.len() == 1 { "" } else { "s" };
    format!("the {noun}{plural} {}", names.into_iter().collect::<Vec<_>>().join(", "))
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
    use ottla_local_api::{Server, Store};

    use super::*;

    const API_SERVER: &str = "https://container.example/clusters/1";

    fn keys(jwks: &str) -> IssuerKeys {
        IssuerKeys { issuer: Some(API_SERVER.to_owned()), jwks: jwks.to_owned() }
    }

    /// What an API server has answered that takes tokens for its name, and for `k3s`.
    fn fetched(keys: IssuerKeys) -> Fetched {
        Fetched { keys, taken: [API_SERVER, "k3s"].map(str::to_owned).into() }
    }

    fn issuer(audience: &str) -> Issuer {
        Issuer { audience: audience.to_owned(), ..Issuer::default() }
    }

    #[test]
    fn a_listener_with_a_wrong_audience_keeps_new_keys_from_no_other() {
        let (ours, theirs) = (issuer("kafka.shop"), issuer(API_SERVER));
        let (good, bad) = (("good", &ours), ("bad", &theirs));
        let (first, rotated) = (keys("first"), keys("rotated"));
        for (named, before, published, is_problem) in [
            (&[good][..], None, true, false),
            // Beside a good one, in a new cluster and when the API server has rotated its key.
            (&[good, bad], None, true, true),
            (&[good, bad], Some(&first), true, true),
            // One that has worked keeps working; a new one does not begin to.
            (&[bad], Some(&first), true, true),
            (&[bad], None, false, true),
        ] {
            let looked = judge(named, Ok(fetched(rotated.clone())), before.cloned());
            assert_eq!(looked.keys.as_ref(), published.then_some(&rotated), "{named:?} after {before:?}");
            assert!(looked.is_read, "it is not asked again at once");
            assert_eq!(looked.problem.is_some(), is_problem, "{named:?} after {before:?}");
            if let Some(said) = looked.problem {
                assert!(
                    said.starts_with(&format!("the API server takes tokens for the audience {API_SERVER},")),
                    "{said}"
                );
                assert!(said.contains("another audience in the listener bad,"), "{said}");
            }
        }
    }

    #[test]
    fn every_audience_of_the_api_servers_is_named_with_its_listeners() {
        let (ours, name, k3s) = (issuer("kafka.shop"), issuer(API_SERVER), issuer("k3s"));
        let named = [("apps", &k3s), ("batch", &name), ("good", &ours), ("more", &k3s)];
        let looked = judge(&named, Ok(fetched(keys("now"))), None);
        assert_eq!(
            looked.problem.as_deref(),
            Some(
                "the API server takes tokens for the audiences https://container.example/clusters/1, k3s, so brokers \
                 could use them there as the clients that sent them: set another audience in the listeners apps, batch, \
                 more, and request tokens for that"
            )
        );
    }

    #[test]
    fn another_issuers_name_is_no_audience_of_the_api_servers() {
        let theirs = issuer(API_SERVER);
        let of_another = IssuerKeys { issuer: None, jwks: "now".to_owned() };
        let fetched = Fetched { keys: of_another.clone(), taken: BTreeSet::new() };
        let looked = judge(&[("apps", &theirs)], Ok(fetched), None);
        assert_eq!((looked.keys, looked.problem), (Some(of_another), None));
    }

    #[test]
    fn keys_that_were_read_stay_while_the_issuer_does_not_answer() {
        let ours = issuer("kafka.shop");
        let looked = judge(&[("apps", &ours)], Err(IssuerKeysError::Slow("/keys".to_owned())), Some(keys("first")));
        assert_eq!(looked.keys, Some(keys("first")));
        assert!(!looked.is_read && looked.problem.is_some());
    }

    #[tokio::test]
    async fn a_status_is_not_written_again_for_what_an_older_definition_drops() {
        let older = |definition: CustomResourceDefinition| {
            let json = serde_json::to_string(&definition).unwrap();
            serde_json::from_str(&json.replace(r#""problem":{"#, r#""trouble":{"#)).unwrap()
        };
        let server = Server::new(Store::Memory, ottla_crds::all().into_iter().map(older).collect()).unwrap();
        let writes = Arc::new(AtomicUsize::new(0));
        let count = {
            let writes = writes.clone();
            move |_: &str, _: &str| _ = writes.fetch_add(1, Ordering::Relaxed)
        };
        let client = ottla_kube::counted(server.client("default"), "default", count);
        let clusters: Api<KafkaCluster> = Api::namespaced(server.client("default"), "default");
        let cluster = KafkaCluster::new("prod", serde_json::from_value(json!({})).unwrap());
        clusters.create(&PostParams::default(), &cluster).await.unwrap();
        let first = Patch::Merge(json!({ "status": { "issuers": [] } }));
        clusters.patch_status("prod", &PatchParams::default(), &first).await.unwrap();

        let status = |keys| IssuerStatus { name: "kubernetes".into(), keys, problem: Some("it is away".into()) };
        let mut pruned = Pruned::default();
        for (keys, expected) in [(1, 1), (1, 1), (2, 2), (2, 2)] {
            let cluster = clusters.get("prod").await.unwrap();
            tell(&client, &cluster, &[(status(keys), false)], &mut pruned).await.unwrap();
            assert_eq!(writes.load(Ordering::Relaxed), expected, "{keys} keys");
        }
        let kept = clusters.get("prod").await.unwrap().status.unwrap_or_default().issuers;
        assert_eq!(kept, [IssuerStatus { problem: None, ..status(2) }], "dropped, and kept");
    }
}
