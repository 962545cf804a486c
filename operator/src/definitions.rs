//! Whether the definitions of the kinds are as new as this operator.
//!
//! The API server drops fields that a definition does not have, without a word: after an upgrade of the operator alone,
//! statuses are incomplete and new settings have no effect. Helm upgrades no definition by itself, so somebody forgets
//! it sooner or later. The operator works on, and says so in its log and a metric.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, ResourceExt};
use ottla_crds::{CONTRACT, names};
use ottla_kube::change::why;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::metrics::Metrics;

/// How often the definitions are read...
const EVERY: Duration = Duration::from_secs(300);
/// ... and how often while one is older: somebody may be upgrading them.
const SOON: Duration = Duration::from_secs(30);

/// The number of the contract of each definition: 0 if it has none; `None`: the definition does not exist.
type Numbers = BTreeMap<String, Option<u32>>;

/// Compares the definitions with this operator, for ever. Raises `changes` when they are others than before.
pub(crate) async fn follow(client: Client, metrics: Arc<Metrics>, changes: watch::Sender<u64>) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client);
    let ours: Vec<String> = ottla_crds::all().iter().map(ResourceExt::name_any).collect();
    let mut known: Option<Numbers> = None;
    let mut has_failed = false;
    loop {
        match read(&definitions, &ours).await {
            Ok(numbers) => {
                has_failed = false;
                if known.as_ref() != Some(&numbers) {
                    tell(known.as_ref(), &numbers);
                    metrics.definitions_behind(behind(&numbers).len());
                    if known.replace(numbers).is_some() {
                        changes.send_modify(|changes| *changes = changes.wrapping_add(1));
                    }
                }
            }
            Err(error) if !std::mem::replace(&mut has_failed, true) => {
                tracing::warn!(
                    error = why(&error),
                    "failed to read the definitions: they may be older than this operator"
                );
            }
            Err(error) => tracing::debug!(error = why(&error), "failed to read the definitions"),
        }
        let is_well = known.as_ref().is_some_and(|numbers| behind(numbers).is_empty()) && !has_failed;
        sleep(if is_well { EVERY } else { SOON }).await;
    }
}

async fn read(definitions: &Api<CustomResourceDefinition>, ours: &[String]) -> Result<Numbers, kube::Error> {
    let mut numbers = Numbers::new();
    for name in ours {
        let number = definitions.get_metadata_opt(name).await?.map(|definition| {
            let label = definition.labels().get(names::CONTRACT_LABEL);
            label.and_then(|number| number.parse().ok()).unwrap_or_default()
        });
        numbers.insert(name.clone(), number);
    }
    Ok(numbers)
}

/// The definitions that are missing, or older than this operator. Newer ones have every field that it writes.
fn behind(numbers: &Numbers) -> Vec<&str> {
    let is_behind = |number: &Option<u32>| number.is_none_or(|number| number < CONTRACT);
    numbers.iter().filter(|(_, number)| is_behind(number)).map(|(name, _)| name.as_str()).collect()
}

fn tell(before: Option<&Numbers>, now: &Numbers) {
    let behind = behind(now);
    if !behind.is_empty() {
        tracing::warn!(
            definitions = behind.join(","),
            contract = CONTRACT,
            "definitions are missing or older than this operator: the API server drops fields that they do not have, so \
             statuses are incomplete and new settings have no effect. Clients are served. Upgrade the definitions: helm upgrade \
             ottla-crds charts/ottla-crds, in the namespace where that release was installed"
        );
    } else if before.is_some() {
        tracing::info!(contract = CONTRACT, "the definitions are as new as this operator");
    }
}

#[cfg(test)]
mod tests {
    use ottla_local_api::{Server, Store};
    use tokio::time::timeout;

    use super::*;

    #[test]
    fn missing_and_older_definitions_are_behind_and_newer_ones_are_not() {
        let numbers =
            [("none", None), ("old", Some(CONTRACT - 1)), ("same", Some(CONTRACT)), ("new", Some(CONTRACT + 1))];
        let numbers: Numbers = numbers.map(|(name, number)| (name.to_owned(), number)).into();
        assert_eq!(behind(&numbers), ["none", "old"]);
    }

    #[tokio::test(start_paused = true)]
    async fn definitions_that_are_older_or_missing_are_counted() {
        let unnumbered = || {
            let mut all = ottla_crds::all();
            all[1].metadata.labels = None;
            all
        };
        for (story, there, expected) in [
            ("all are as new", ottla_crds::all(), 0),
            ("one is from before there were numbers", unnumbered(), 1),
            ("one is missing", ottla_crds::all().split_off(1), 1),
        ] {
            let server = Server::new(Store::Memory, there).unwrap();
            let metrics = Arc::new(Metrics::new());
            let (changes, changed) = watch::channel(0);
            let following = follow(server.client("default"), metrics.clone(), changes);
            assert!(timeout(2 * EVERY, following).await.is_err());
            let text = String::from_utf8(metrics.scrape()).unwrap();
            assert!(text.contains(&format!("\nottla_operator_definitions_behind {expected}\n")), "{story}: {text}");
            assert_eq!(*changed.borrow(), 0, "{story}: they are what they were at the start");
        }
    }
}
