//! A revision: what a pod needs a restart for, under one name. Pure.
//!
//! An immutable ConfigMap keeps each revision that is in use, so that a lost pod returns with what is known to work,
//! also after an upgrade of the operator.
//!
//! What a pool's pods have of their own is part of it, under a second half of the name: two revisions whose names begin
//! alike differ in pools only, and a broker of a pool that is the same in both needs no restart.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Container, PodSpec, PodTemplateSpec};
use ottla_crds::broker_file::FILE_NAME;
use ottla_crds::{KafkaCluster, PoolPods, names};
use serde_json::{Value, json};

use super::build::pod::{self, CONFIG_VOLUME, CONTAINER};
use super::build::{config_map, metadata};
use super::pools::Pool;
use super::validate::ValidatedCluster;

/// The key of the pods' template in the ConfigMap.
const TEMPLATE: &str = "pod.json";
/// The key of what pools' pods have of their own.
const POOLS: &str = "pools.json";
/// The annotation of the ConfigMap with what the user asked for. Users may ask for the same pods in other words, such
/// as by naming the image that brokers have, and the data of an immutable ConfigMap can't change.
const INPUTS: &str = "ottla.io/inputs";

/// A revision of the brokers' pods.
#[derive(Clone, Debug, PartialEq)]
pub struct Revision {
    /// Its name: a hash of the template and the file and, if there are pools, one of what they have of their own.
    pub hash: String,
    /// The template of its pods.
    pub template: PodTemplateSpec,
    /// The file that its brokers read. `None`: they read the ConfigMap that all pods of an earlier operator share.
    pub broker_file: Option<String>,
    /// What the pods of each pool have of their own, if they have something.
    pub pools: BTreeMap<String, PoolPods>,
    /// What the user asked for when it was built, by the words of `status.rollout.why`.
    pub inputs: BTreeMap<String, Value>,
}

impl Revision {
    /// What this operator builds of a cluster. `asked_image`: the image that the spec names.
    pub fn built(cluster: &ValidatedCluster, asked_image: Option<&str>) -> Revision {
        let broker_file = config_map::broker_file(cluster).to_yaml();
        let nameless = pod::pod_template(cluster, "");
        let pools = pools(cluster);
        let mut hash = names::short_digest(&format!("{}\n{broker_file}", json!(nameless)));
        if !pools.is_empty() {
            hash = format!("{hash}-{}", names::short_digest(&json!(pools).to_string()));
        }
        let template = pod::pod_template(cluster, &names::revision(&cluster.name, &hash));
        let inputs = inputs(cluster, asked_image);
        Revision { hash, template, broker_file: Some(broker_file), pools, inputs }
    }

    /// The revision of pods of an earlier operator, by the template in their StatefulSet.
    pub fn adopted(template: &PodTemplateSpec, inputs: BTreeMap<String, Value>) -> Revision {
        let hash = names::short_digest(&json!(template).to_string());
        Revision { hash, template: template.clone(), broker_file: None, pools: BTreeMap::new(), inputs }
    }

    /// The revision that a ConfigMap keeps; `None`: it keeps none.
    pub fn kept(hash: &str, kept: &ConfigMap) -> Option<Revision> {
        let (data, annotations) = (kept.data.as_ref()?, kept.metadata.annotations.as_ref()?);
        Some(Revision {
            hash: hash.to_owned(),
            template: serde_json::from_str(data.get(TEMPLATE)?).ok()?,
            broker_file: data.get(FILE_NAME).cloned(),
            pools: data.get(POOLS).map_or_else(|| Some(BTreeMap::new()), |kept| serde_json::from_str(kept).ok())?,
            inputs: serde_json::from_str(annotations.get(INPUTS)?).ok()?,
        })
    }

    /// The ConfigMap that keeps it. Pods read nothing of it but the broker's file.
    pub fn config_map(&self, cluster: &ValidatedCluster) -> ConfigMap {
        let file = self.broker_file.iter().map(|file| (FILE_NAME.to_owned(), file.clone()));
        let template = (TEMPLATE.to_owned(), json!(self.template).to_string());
        let pools = (!self.pools.is_empty()).then(|| (POOLS.to_owned(), json!(self.pools).to_string()));
        let mut metadata = metadata(cluster, names::revision(&cluster.name, &self.hash));
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.insert(INPUTS.to_owned(), json!(self.inputs).to_string());
        ConfigMap {
            metadata,
            data: Some(file.chain([template]).chain(pools).collect()),
            immutable: Some(true),
            ..ConfigMap::default()
        }
    }

    /// The template of a pool's pods. A revision in which a pool has nothing of its own may be older than the pool: new
    /// pods have what the spec says.
    pub fn template_of(&self, pool: &Pool) -> PodTemplateSpec {
        let own = pool.name.as_ref().and_then(|name| self.pools.get(name));
        pod::of_pool(&self.template, pool, own)
    }

    /// The image of its brokers.
    pub fn image(&self) -> Option<&str> {
        container(&self.template)?.image.as_deref()
    }

    /// Whether it asks for the pod of a pool that was made with `revision`, a name, and `own`, as in its annotation: as
    /// [`Revision::template_of`] makes it now, or made it before the spec said something of the pool.
    pub fn asks_for(&self, pool: &Pool, revision: &str, own: &str) -> bool {
        let has_own = match pool.name.as_ref().and_then(|name| self.pools.get(name)) {
            Some(asked) => own == pod::own_hash(asked),
            None => own.is_empty() || pool.entry.as_ref().is_some_and(|entry| own == pod::own_hash(&entry.pods)),
        };
        has_own && of_template(&self.hash) == of_template(revision)
    }

    /// What a user has changed since this revision, by the words of `status.rollout.why`; empty: nothing.
    pub fn changed(&self, inputs: &BTreeMap<String, Value>) -> Vec<String> {
        let words = self.inputs.keys().chain(inputs.keys()).collect::<std::collections::BTreeSet<_>>();
        words.into_iter().filter(|word| self.inputs.get(*word) != inputs.get(*word)).cloned().collect()
    }
}

/// What a user asks for of the pods.
pub fn inputs(cluster: &ValidatedCluster, asked_image: Option<&str>) -> BTreeMap<String, Value> {
    let listeners: Vec<Value> = cluster
        .listeners
        .iter()
        .map(|listener| json!({ "name": listener.name, "port": listener.port, "certificate": listener.certificate }))
        .collect();
    let pools = pools(cluster);
    let inputs = [
        ("image", json!(asked_image)),
        ("listeners", json!(listeners)),
        ("podTemplate", json!(cluster.pods)),
        ("rack", json!(cluster.rack_key)),
        ("resources", json!(cluster.resources)),
        ("security", json!(cluster.has_authorities)),
    ];
    let of_pools = (!pools.is_empty()).then(|| ("pools", json!(pools)));
    inputs.into_iter().chain(of_pools).map(|(word, value)| (word.to_owned(), value)).collect()
}

/// What the pods of each pool have of their own, by its name. Pools that have nothing change no revision.
fn pools(cluster: &ValidatedCluster) -> BTreeMap<String, PoolPods> {
    let named = cluster.pools.iter().filter_map(|pool| pool.entry.as_ref());
    let own = named.filter(|pool| pool.pods != PoolPods::default());
    own.map(|pool| (pool.name.clone(), pool.pods.clone())).collect()
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

/// The half of a revision's name that stands for its template and its file.
fn of_template(name: &str) -> &str {
    name.split_once('-').map_or(name, |(of_template, _)| of_template)
}

#[cfg(test)]
mod tests {
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
            assert_eq!(first.changed(&other.inputs), why.unwrap_or_default(), "{story}");
        }
    }

    #[test]
    fn what_a_pool_has_of_its_own_makes_a_revision_that_only_its_pods_lack() {
        let built = |pools: &[(&str, Option<&str>)]| {
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
            let cluster = ValidatedCluster::new(&object, "ottla:1").unwrap();
            (Revision::built(&cluster, None), cluster)
        };
        let (without, _) = built(&[]);
        assert_eq!(built(&[("fast", None)]).0.hash, without.hash, "it has nothing of its own");
        let [(arm, cluster), (other, _)] =
            ["arm64", "amd64"].map(|arch| built(&[("fast", Some(arch)), ("more", None)]));
        assert!(arm.hash.starts_with(&format!("{}-", without.hash)) && arm.hash != other.hash, "{}", arm.hash);
        assert_eq!(without.changed(&arm.inputs), ["pools"]);
        assert_eq!(arm.changed(&other.inputs), ["pools"]);

        // The spec asks for `arm`.
        let [default, fast, more] = &cluster.pools[..] else { panic!("{:?}", cluster.pools) };
        let [had, has] = [&other, &arm].map(|revision| pod::own_hash(&revision.pools["fast"]));
        for (story, pool, own, expected) in [
            ("of the default pool", default, "", [true, true, true]),
            ("of a pool that has nothing of its own", more, "", [true, true, true]),
            ("made before the pool had something", fast, "", [true, false, false]),
            ("made since, also with a revision from before", fast, has.as_str(), [true, true, false]),
            ("made with what the spec said before", fast, had.as_str(), [false, false, true]),
        ] {
            let asks = [&without, &arm, &other].map(|revision| revision.asks_for(pool, &arm.hash, own));
            assert_eq!(asks, expected, "{story}");
        }
        let elsewhere = Revision { hash: "0-0".to_owned(), ..arm.clone() };
        assert!(!elsewhere.asks_for(default, &arm.hash, ""), "another template");

        assert_eq!(Revision::kept(&arm.hash, &arm.config_map(&cluster)), Some(arm));
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
            assert_eq!(Revision::adopted(&before.template, inputs).changed(&own.inputs), expected, "{story}");
        }
    }
}
