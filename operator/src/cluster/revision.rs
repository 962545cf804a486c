//! A revision: what a pod needs a restart for, under one name. Pure.
//!
//! An immutable ConfigMap keeps each revision that is in use, so that a lost pod returns with what is known to work,
//! also after an upgrade of the operator.
//!
//! What a pool's pods have of their own is part of it, under a second half of the name: two revisions whose names begin
//! alike differ in pools only, and a broker of a pool that is the same in both needs no restart. A revision that does
//! not know a pool, because it is older than the pool or an earlier operator kept it, asks for nothing of its pods.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ConfigMap, Container, PodSpec, PodTemplateSpec};
use ottla_crds::broker_file::FILE_NAME;
use ottla_crds::{KafkaCluster, PoolPods, names};
use serde_json::{Value, json};

use super::build::config_map;
use super::build::label::metadata;
use super::build::pod::{self, CONFIG_VOLUME, CONTAINER};
use super::pools::Pool;
use super::validate::ValidatedCluster;

/// The key of the pods' template in the ConfigMap.
const TEMPLATE: &str = "pod.json";
/// The key of what pools' pods have of their own.
const POOLS: &str = "pools.json";
/// The annotation of the ConfigMap with the names of the pools that have nothing of their own. They change no revision,
/// so they can't be in its data.
const PLAIN_POOLS: &str = "ottla.io/plain-pools";
/// The annotation of the ConfigMap with what the user asked for. Users may ask for the same pods in other words, such
/// as by naming the image that brokers have, and the data of an immutable ConfigMap can't change.
const INPUTS: &str = "ottla.io/inputs";
/// The word of `status.rollout.why` for what pools have of their own.
const POOLS_WORD: &str = "pools";

/// A revision of the brokers' pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// Its name: a hash of the template and the file and, if there are pools, one of what they have of their own.
    pub hash: String,
    /// The template of its pods.
    pub template: PodTemplateSpec,
    /// The file that its brokers read. `None`: they read the ConfigMap that all pods of an earlier operator share.
    pub broker_file: Option<String>,
    /// What the pods of each pool that it knows have of their own, be it nothing. `None`: an earlier operator kept it,
    /// whose pods had what the spec said of their pool when they were made.
    pub pools: Option<BTreeMap<String, PoolPods>>,
    /// What the user asked for when it was built beside pools, by the words of `status.rollout.why`.
    pub inputs: BTreeMap<String, Value>,
}

impl Revision {
    /// What this operator builds of a cluster. `asked_image`: the image that the spec names.
    pub fn built(cluster: &ValidatedCluster, asked_image: Option<&str>) -> Revision {
        let broker_file = config_map::broker_file(cluster).to_yaml();
        let nameless = pod::pod_template(cluster, "");
        let pools = pools(cluster);
        let hash = named(&names::short_digest(&format!("{}\n{broker_file}", json!(nameless))), &pools);
        let template = pod::pod_template(cluster, &names::revision(&cluster.name, &hash));
        let inputs = inputs(cluster, asked_image);
        Revision { hash, template, broker_file: Some(broker_file), pools: Some(pools), inputs }
    }

    /// The revision of pods of an earlier operator, by the template in their StatefulSet.
    pub fn adopted(template: &PodTemplateSpec, inputs: BTreeMap<String, Value>) -> Revision {
        let hash = names::short_digest(&json!(template).to_string());
        Revision { hash, template: template.clone(), broker_file: None, pools: None, inputs }
    }

    /// The same template and file with the pools of `asked`, what this operator builds of the spec: so a change of
    /// pools takes nothing else along. `None`: an earlier operator made the revision, and a pool has something of its
    /// own now.
    pub fn with_pools_of(&self, asked: &Revision, cluster: &str) -> Option<Revision> {
        let pools = asked.pools.clone()?;
        let hash = named(names::template_half(&self.hash), &pools);
        let is_of_earlier = self.pools.is_none() || self.broker_file.is_none();
        if is_of_earlier && hash != self.hash {
            return None;
        }
        let mut same = Revision { hash, pools: Some(pools), ..self.clone() };
        let volumes = same.template.spec.as_mut().and_then(|pods| pods.volumes.as_mut());
        let config = volumes.and_then(|all| all.iter_mut().find(|volume| volume.name == CONFIG_VOLUME));
        if let (Some(config), true) = (config.and_then(|volume| volume.config_map.as_mut()), !is_of_earlier) {
            config.name = names::revision(cluster, &same.hash);
        }
        Some(same)
    }

    /// The revision that a ConfigMap keeps; `None`: it keeps none.
    pub fn kept(hash: &str, kept: &ConfigMap) -> Option<Revision> {
        let (data, annotations) = (kept.data.as_ref()?, kept.metadata.annotations.as_ref()?);
        let own: Option<BTreeMap<String, PoolPods>> =
            data.get(POOLS).map(|kept| serde_json::from_str(kept)).transpose().ok()?;
        let plain = annotations.get(PLAIN_POOLS).map(|names| {
            let names = names.split(',').filter(|name| !name.is_empty());
            names.map(|name| (name.to_owned(), PoolPods::default())).collect()
        });
        let mut inputs: BTreeMap<String, Value> = serde_json::from_str(annotations.get(INPUTS)?).ok()?;
        // Of an operator that kept them twice.
        inputs.remove(POOLS_WORD);
        Some(Revision {
            hash: hash.to_owned(),
            template: serde_json::from_str(data.get(TEMPLATE)?).ok()?,
            broker_file: data.get(FILE_NAME).cloned(),
            pools: own.into_iter().chain(plain).reduce(|own, plain| own.into_iter().chain(plain).collect()),
            inputs,
        })
    }

    /// The ConfigMap that keeps it. Pods read nothing of it but the broker's file.
    pub fn config_map(&self, cluster: &ValidatedCluster) -> ConfigMap {
        let file = self.broker_file.iter().map(|file| (FILE_NAME.to_owned(), file.clone()));
        let template = (TEMPLATE.to_owned(), json!(self.template).to_string());
        let own = self.pools.as_ref().map(own).filter(|own| !own.is_empty());
        let pools = own.map(|own| (POOLS.to_owned(), json!(own).to_string()));
        let mut metadata = metadata(cluster, names::revision(&cluster.name, &self.hash));
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.insert(INPUTS.to_owned(), json!(self.inputs).to_string());
        if let Some(pools) = &self.pools {
            let plain = pools.iter().filter(|(_, own)| **own == PoolPods::default());
            let plain = plain.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(",");
            annotations.insert(PLAIN_POOLS.to_owned(), plain);
        }
        ConfigMap {
            metadata,
            data: Some(file.chain([template]).chain(pools).collect()),
            immutable: Some(true),
            ..ConfigMap::default()
        }
    }

    /// The template of a pool's pods. If the revision does not know the pool, they have what the spec says.
    pub fn template_of(&self, pool: &Pool) -> PodTemplateSpec {
        pod::of_pool(&self.template, pool, self.own(pool))
    }

    /// What it asks for of the pods of this pool alone; `None`: it does not know the pool, or it is the default one.
    fn own(&self, pool: &Pool) -> Option<&PoolPods> {
        self.pools.as_ref()?.get(pool.name.as_ref()?)
    }

    /// What it asks for of the pods of each pool that it knows alone, by the pool's name, as in the pods' annotation.
    pub fn own_hashes(&self) -> BTreeMap<String, String> {
        let pools = self.pools.iter().flatten();
        pools.map(|(name, own)| (name.clone(), pod::own_hash(own))).collect()
    }

    /// The image of its brokers.
    pub fn image(&self) -> Option<&str> {
        container(&self.template)?.image.as_deref()
    }

    /// Whether it asks for the pod of a pool that was made with `revision`, a name, and `own`, as in its annotation.
    pub fn asks_for(&self, pool: &Pool, revision: &str, own: &str) -> bool {
        names::template_half(&self.hash) == names::template_half(revision)
            && self.own(pool).is_none_or(|asked| own == pod::own_hash(asked))
    }

    /// What a user who asks for `asked` now has changed since this revision, by the words of `status.rollout.why`;
    /// empty: nothing. A pool that is new or gone changes no other's pods.
    pub fn changed(&self, asked: &Revision) -> Vec<String> {
        let words: BTreeSet<&String> = self.inputs.keys().chain(asked.inputs.keys()).collect();
        let words = words.into_iter().filter(|word| self.inputs.get(*word) != asked.inputs.get(*word)).cloned();
        let differ = self.pools.as_ref().zip(asked.pools.as_ref()).is_some_and(|(had, asked)| {
            had.iter().any(|(name, own)| asked.get(name).is_some_and(|asked| asked != own))
        });
        words.chain(differ.then(|| POOLS_WORD.to_owned())).collect()
    }

    /// Whether a user who asks for `asked` has changed nothing since this revision, unless it be pools.
    pub fn differs_in_pools_only(&self, asked: &Revision) -> bool {
        self.changed(asked).iter().all(|word| word == POOLS_WORD)
    }
}

/// What a user asks for of the pods beside what is of single pools.
pub fn inputs(cluster: &ValidatedCluster, asked_image: Option<&str>) -> BTreeMap<String, Value> {
    let listeners: Vec<Value> = cluster
        .listeners
        .iter()
        .map(|listener| json!({ "name": listener.name, "port": listener.port, "certificate": listener.certificate }))
        .collect();
    let inputs = [
        ("image", json!(asked_image)),
        ("listeners", json!(listeners)),
        ("podTemplate", json!(cluster.pods)),
        ("rack", json!(cluster.rack_key)),
        ("resources", json!(cluster.resources)),
        ("security", json!(cluster.has_authorities)),
    ];
    inputs.into_iter().map(|(word, value)| (word.to_owned(), value)).collect()
}

/// What the pods of each pool have of their own, by its name.
fn pools(cluster: &ValidatedCluster) -> BTreeMap<String, PoolPods> {
    let named = cluster.pools.iter().filter_map(|pool| pool.entry.as_ref());
    named.map(|pool| (pool.name.clone(), pool.pods.clone())).collect()
}

/// The same of those that have something.
fn own(pools: &BTreeMap<String, PoolPods>) -> BTreeMap<&String, &PoolPods> {
    pools.iter().filter(|(_, own)| **own != PoolPods::default()).collect()
}

/// The name of a revision, of which `of_template` is the first half. Pools that have nothing of their own change none.
fn named(of_template: &str, pools: &BTreeMap<String, PoolPods>) -> String {
    let own = own(pools);
    if own.is_empty() {
        of_template.to_owned()
    } else {
        format!("{of_template}-{}", names::short_digest(&json!(own).to_string()))
    }
}

/// What a user had asked for of pods that an earlier operator made with this template, when this operator builds `own`
/// of the spec: what the spec asks for now, but for the image and, if the spec has changed since that operator handled
/// it, the resources. The template does not say the rest in the spec's words.
pub fn adopted_inputs(object: &KafkaCluster, template: &PodTemplateSpec, own: &Revision) -> BTreeMap<String, Value> {
    let mut inputs = own.inputs.clone();
    let had = container(template);
    if object.spec.brokers.image.is_some() {
        inputs.insert("image".to_owned(), json!(had.and_then(|had| had.image.as_ref())));
    }
    let handled = object.status.as_ref().and_then(|status| status.observed_generation);
    let resources = had.map(|had| had.resources.clone());
    if handled != object.metadata.generation && resources != container(&own.template).map(|has| has.resources.clone()) {
        inputs.insert("resources".to_owned(), json!(resources));
    }
    inputs
}

fn container(template: &PodTemplateSpec) -> Option<&Container> {
    template.spec.as_ref()?.containers.iter().find(|container| container.name == CONTAINER)
}

/// The ConfigMap that pods of this spec read; `None`: they read none.
pub fn read_by(pods: &PodSpec) -> Option<&str> {
    let volume = pods.volumes.as_ref()?.iter().find(|volume| volume.name == CONFIG_VOLUME)?;
    Some(volume.config_map.as_ref()?.name.as_str())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn cluster(brokers: Value, image: &str) -> ValidatedCluster {
        let mut spec = json!({ "brokers": { "storage": { "size": "1Gi" } } });
        for (key, value) in brokers.as_object().unwrap() {
            spec["brokers"][key] = value.clone();
        }
        let spec = serde_json::from_value(spec).unwrap();
        ValidatedCluster::new(&KafkaCluster::new("prod", spec), image).unwrap()
    }

    #[test]
    fn only_what_needs_a_restart_makes_another_revision() {
        let first = Revision::built(&cluster(json!({}), "ottla:1"), None);
        for (story, other, image, why) in [
            ("more brokers", json!({ "replicas": 5 }), "ottla:1", None),
            ("a larger volume", json!({ "storage": { "size": "2Gi" } }), "ottla:1", None),
            ("the operator has another image", json!({}), "ottla:2", Some(vec![])),
            ("labels", json!({ "podTemplate": { "labels": { "a": "b" } } }), "ottla:1", Some(vec!["podTemplate"])),
            ("resources", json!({ "resources": { "limits": { "cpu": "1" } } }), "ottla:1", Some(vec!["resources"])),
        ] {
            let other = Revision::built(&cluster(other, image), None);
            assert_eq!(other.hash != first.hash, why.is_some(), "{story}");
            assert_eq!(first.changed(&other), why.unwrap_or_default(), "{story}");
        }
    }

    /// A cluster with these pools, each with the architecture of its nodes if it has something of its own.
    pub(in super::super) fn pooled(pools: &[(&str, Option<&str>)]) -> ValidatedCluster {
        let pool = |(at, (name, arch)): (usize, &(&str, Option<&str>))| {
            let mut pool = json!({ "name": name, "firstBroker": 10 * (at + 1), "replicas": 1 });
            pool["storage"] = json!({ "size": "1Gi" });
            if let Some(arch) = arch {
                pool["nodeSelector"] = json!({ "kubernetes.io/arch": arch });
            }
            pool
        };
        let pools: Vec<Value> = pools.iter().enumerate().map(pool).collect();
        let spec = json!({ "brokers": { "storage": { "size": "1Gi" } }, "pools": pools });
        let object = KafkaCluster::new("prod", serde_json::from_value(spec).unwrap());
        ValidatedCluster::new(&object, "ottla:1").unwrap()
    }

    fn of(cluster: &ValidatedCluster) -> Revision {
        Revision::built(cluster, None)
    }

    /// The hash in the annotation of the pods that a revision makes of a pool.
    fn own_of(revision: &Revision, pool: &Pool) -> String {
        let annotations = revision.template_of(pool).metadata.and_then(|metadata| metadata.annotations);
        annotations.and_then(|all| all.get(names::POOL_PODS_ANNOTATION).cloned()).unwrap_or_default()
    }

    #[test]
    fn what_a_pool_has_of_its_own_makes_a_revision_that_only_its_pods_lack() {
        let [without, plain, arm, amd] = [
            &[][..],
            &[("fast", None), ("more", None)],
            &[("fast", Some("arm64")), ("more", None)],
            &[("fast", Some("amd64")), ("more", None)],
        ]
        .map(pooled);
        // The spec asks for ARM.
        let [default, fast, more] = &arm.pools[..] else { panic!("{:?}", arm.pools) };
        let [without, plain, arm, amd] = [&without, &plain, &arm, &amd].map(of);
        assert_eq!(plain.hash, without.hash, "they have nothing of their own");
        assert!(arm.hash.starts_with(&format!("{}-", without.hash)) && arm.hash != amd.hash, "{}", arm.hash);
        assert_eq!(without.changed(&arm), [""; 0], "a pool that is new restarts nobody");
        assert_eq!(arm.changed(&without), [""; 0], "nor does one that is gone");
        assert_eq!(plain.changed(&arm), ["pools"]);
        assert_eq!(arm.changed(&amd), ["pools"]);

        let [made_amd, made_arm] = [&amd, &arm].map(|revision| own_of(revision, fast));
        assert_eq!(own_of(&plain, fast), "", "a pod that returns with it, as after a roll to the other has failed");
        assert_eq!(own_of(&without, fast), made_arm, "older than the pool: as the spec says");
        for (story, pool, own, expected) in [
            ("of the default pool", default, "", [true, true, true, true]),
            ("of a pool that has nothing of its own", more, "", [true, true, true, true]),
            ("made before the pool had something", fast, "", [true, true, false, false]),
            ("made since", fast, made_arm.as_str(), [true, false, true, false]),
            ("made with what the spec said before", fast, made_amd.as_str(), [true, false, false, true]),
        ] {
            let asks = [&without, &plain, &arm, &amd].map(|revision| revision.asks_for(pool, &arm.hash, own));
            assert_eq!(asks, expected, "{story}");
        }
        let elsewhere = Revision { hash: "0-0".to_owned(), ..arm };
        assert!(!elsewhere.asks_for(default, &amd.hash, ""), "another template");
    }

    #[test]
    fn the_pod_template_of_a_user_does_not_say_what_a_pool_has() {
        let mut cluster = pooled(&[("fast", None)]);
        cluster.pods.annotations.insert(names::POOL_PODS_ANNOTATION.to_owned(), "x".to_owned());
        let revision = of(&cluster);
        assert_eq!(own_of(&revision, &cluster.pools[1]), "");
        let [of_default, of_fast] = [0, 1].map(|at| own_of(&revision, &cluster.pools[at]));
        let asks = [&of_default, &of_fast].map(|own| revision.asks_for(&cluster.pools[0], &revision.hash, own));
        assert_eq!((of_fast.as_str(), asks), ("", [true, true]));
    }

    #[test]
    fn pools_can_change_without_the_rest() {
        let [without, plain, arm] = [&[][..], &[("fast", None)], &[("fast", Some("arm64"))]].map(pooled);
        let newer = of(&ValidatedCluster { image: "ottla:2".to_owned(), ..arm.clone() });
        // What this operator would build beside pools stays out of it.
        let same = of(&plain).with_pools_of(&newer, "prod").unwrap();
        assert_eq!((&same, same.image()), (&of(&arm), Some("ottla:1")));
        assert_eq!(read_by(same.template.spec.as_ref().unwrap()), Some(&*names::revision("prod", &of(&arm).hash)));
        // A revision comes to know pools that have nothing: its name is the same.
        assert_eq!(of(&without).with_pools_of(&of(&plain), "prod"), Some(of(&plain)));
        // What an earlier operator kept says nothing of what pools had.
        let mut earlier = Revision { pools: None, ..of(&plain) };
        assert_eq!(earlier.with_pools_of(&newer, "prod"), None);
        assert_eq!(earlier.changed(&of(&arm)), [""; 0], "an upgrade of the operator is no change of the user's");
        assert!(
            earlier.asks_for(&arm.pools[1], &earlier.hash, "") && earlier.asks_for(&arm.pools[1], &earlier.hash, "x")
        );
        assert_eq!(earlier.with_pools_of(&of(&plain), "prod"), Some(of(&plain)));
        earlier.broker_file = None;
        assert_eq!(earlier.with_pools_of(&of(&without), "prod").map(|same| same.template), Some(earlier.template));
    }

    #[test]
    fn pools_are_kept_so_that_an_earlier_operator_sees_no_change_of_the_users() {
        let cluster = pooled(&[("fast", Some("arm64")), ("more", None), ("most", None)]);
        let revision = of(&cluster);
        let mut map = revision.config_map(&cluster);
        assert_eq!(Revision::kept(&revision.hash, &map), Some(revision.clone()));
        let annotations = map.metadata.annotations.as_mut().unwrap();
        assert!(!annotations[INPUTS].contains("pools"), "{annotations:?}");
        assert_eq!(annotations.remove(PLAIN_POOLS).as_deref(), Some("more,most"));
        let known = |map: &ConfigMap| {
            let pools = Revision::kept("0", map).unwrap().pools;
            pools.map(|pools| pools.into_keys().collect::<Vec<_>>().join(","))
        };
        assert_eq!(known(&map).as_deref(), Some("fast"));
        map.data.as_mut().unwrap().remove(POOLS);
        assert_eq!(known(&map), None, "of an earlier operator");
        let without = pooled(&[]);
        assert_eq!(known(&of(&without).config_map(&without)).as_deref(), Some(""));
    }

    #[test]
    fn a_revision_is_read_as_it_was_kept() {
        let cluster = cluster(json!({ "image": "ottla:1" }), "");
        let built = Revision::built(&cluster, Some("ottla:1"));
        let map = built.config_map(&cluster);
        assert_eq!(map.metadata.name.as_deref(), Some(format!("prod-broker-{}", built.hash).as_str()));
        assert_eq!(Revision::kept(&built.hash, &map), Some(built.clone()));
        assert_eq!(built.image(), Some("ottla:1"));
        let pods = built.template.spec.as_ref().unwrap();
        assert_eq!(read_by(pods).map(str::to_owned), map.metadata.name);
        assert_eq!(Revision::kept("0", &ConfigMap::default()), None);

        let adopted = Revision::adopted(&built.template, inputs(&cluster, None));
        assert_eq!(Revision::kept(&adopted.hash, &adopted.config_map(&cluster)), Some(adopted.clone()));
    }

    #[test]
    fn what_users_changed_before_the_adoption_is_theirs() {
        let before = Revision::built(&cluster(json!({}), "ottla:1"), None);
        let resources = json!({ "limits": { "cpu": "1" } });
        for (story, brokers, handled, expected) in [
            ("nothing", json!({}), 1, vec![]),
            ("the image that they have", json!({ "image": "ottla:1" }), 1, vec![]),
            ("another image", json!({ "image": "ottla:2" }), 1, vec!["image"]),
            ("resources, unhandled", json!({ "resources": resources }), 1, vec!["resources"]),
            ("resources that the operator before has handled", json!({ "resources": resources }), 2, vec![]),
        ] {
            let image = brokers["image"].as_str().map(str::to_owned);
            let own = Revision::built(&cluster(brokers.clone(), "ottla:3"), image.as_deref());
            let mut object = json!({ "apiVersion": "ottla.io/v1alpha1", "kind": "KafkaCluster" });
            object["metadata"] = json!({ "name": "prod", "generation": 2 });
            object["spec"] = json!({ "brokers": brokers });
            object["status"] = json!({ "observedGeneration": handled });
            let object: KafkaCluster = serde_json::from_value(object).unwrap();
            let inputs = adopted_inputs(&object, &before.template, &own);
            assert_eq!(Revision::adopted(&before.template, inputs).changed(&own), expected, "{story}");
        }
    }
}
