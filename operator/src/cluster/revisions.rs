//! The revisions that a reconcile is about: the one that is known to work, the one that is rolled out, and those that
//! the spec and this operator ask for; and which of them each pod has.
//!
//! `coordination` decides which revision brokers get (`plan/rollout`), and writes it into the status. This reads it
//! there, and keeps what it names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, ContainerStatus, Pod, PodSpec, PodTemplateSpec};
use kube::{Api, Client};
use ottla_crds::{RolloutStatus, names};
use ottla_rules::assignment::BrokerId;

use super::apply::{ApplyError, LiveObjects};
use super::build::Kind;
use super::build::pod::CONTAINER;
use super::nodes;
use super::pools::Pool;
use super::read::Read;
use super::revision::{self, Revision, read_by};
use super::validate::ValidatedCluster;
use crate::plan::platform::{Offer, PodRevision, Revisions, Stage};

/// The name of what pods of an earlier operator read.
const SHARED: &str = "shared";

/// Revisions that were read or built. They never change.
pub type KnownRevisions = BTreeMap<String, Arc<Revision>>;

/// The revisions of one reconcile.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The one that new pods get.
    pub pinned: Arc<Revision>,
    /// The one that is known to work.
    from: Arc<Revision>,
    /// How the status names it: another name if its ConfigMap is gone.
    from_name: String,
    /// What the status says is rolled out.
    to_name: Option<String>,
    to: Option<Arc<Revision>>,
    /// What the spec asks for, if its user has changed something since `from`: with the image that brokers have if it
    /// names none and, if only pools differ, with their template.
    by_user: Option<Arc<Revision>>,
    /// What this operator builds of the spec, with its own image if that names none.
    own: Arc<Revision>,
}

/// Chooses them. ConfigMaps that this process has not seen yet are read.
///
/// # Errors
/// When the API server refuses or can't be reached.
pub async fn choose(
    client: &Client,
    cluster: &ValidatedCluster,
    own_image: &str,
    read: &Read,
    known: &mut KnownRevisions,
) -> Result<Choice, ApplyError> {
    let asked_image = read.cluster.as_ref().and_then(|object| object.spec.brokers.image.as_deref());
    let built = |image: &str| {
        let image = asked_image.unwrap_or(image).to_owned();
        Arc::new(Revision::built(&ValidatedCluster { image, ..cluster.clone() }, asked_image))
    };
    let own = built(own_image);
    known.insert(own.hash.clone(), own.clone());
    let (from_name, from) = present(client, cluster, &own, read, known).await?;
    let kept_image = match from.as_ref().and_then(|from| from.image()) {
        Some(image) => built(image),
        None => own.clone(),
    };
    let (from, by_user) = since(from, &from_name, kept_image, &cluster.name);
    for revision in [&from].into_iter().chain(&by_user) {
        known.insert(revision.hash.clone(), revision.clone());
    }
    let status = rollout(read);
    let to_name = status.and_then(|status| status.to.clone());
    let to = match &to_name {
        Some(name) => find(client, cluster, name, known).await?,
        None => None,
    };
    let pinned_name = status.map_or(from_name.as_str(), RolloutStatus::pinned);
    let pinned = if pinned_name == from_name { Some(&from) } else { to.as_ref() };
    let pinned = pinned.unwrap_or(&from).clone();
    let choice = Choice { pinned, from, from_name, to_name, to, by_user, own };
    let in_use: BTreeSet<&str> = choice.all().map(|revision| &*revision.hash).collect();
    known.retain(|hash, _| in_use.contains(hash.as_str()));
    Ok(choice)
}

/// The revision that is known to work, and what the user has changed since. `kept_image`: what this operator builds of
/// the spec, with the image that brokers have if that names none.
fn since(
    from: Option<Arc<Revision>>,
    from_name: &str,
    kept_image: Arc<Revision>,
    cluster: &str,
) -> (Arc<Revision>, Option<Arc<Revision>>) {
    // The same pods, which the spec may ask for in other words by now.
    let from = if kept_image.hash == from_name { Some(kept_image.clone()) } else { from };
    let from = from.unwrap_or_else(|| {
        tracing::warn!(revision = from_name, "the ConfigMap of the brokers' revision is gone");
        kept_image.clone()
    });
    let with_pools = from.with_pools_of(&kept_image, cluster).map(Arc::new);
    match with_pools {
        // It is the same, and knows by now which pools have nothing of their own.
        Some(same) if same.hash == from.hash => {
            let changed = !same.changed(&kept_image).is_empty();
            (same, changed.then_some(kept_image))
        }
        Some(with_pools) if from.differs_in_pools_only(&kept_image) => (from, Some(with_pools)),
        Some(_) | None => {
            let changed = !from.changed(&kept_image).is_empty();
            (from, changed.then_some(kept_image))
        }
    }
}

fn rollout(read: &Read) -> Option<&RolloutStatus> {
    read.cluster.as_ref()?.status.as_ref()?.rollout.as_ref()
}

/// The revision that is known to work, and its name: that of the status; before there is one, that of the StatefulSet.
/// `own` is what this operator builds. `None`: its ConfigMap is gone.
async fn present(
    client: &Client,
    cluster: &ValidatedCluster,
    own: &Arc<Revision>,
    read: &Read,
    known: &mut KnownRevisions,
) -> Result<(String, Option<Arc<Revision>>), ApplyError> {
    let template = read.default_set().and_then(|set| Some(&set.spec.as_ref()?.template));
    let in_template = template.and_then(|template| template_revision(&cluster.name, template));
    // No ConfigMap may keep it yet: a paused cluster gets none.
    let adopted = adopted(read, own).filter(|_| in_template.as_deref() == Some(SHARED));
    let name = match (rollout(read), &adopted, &in_template) {
        (Some(status), ..) => status.from.clone(),
        (None, Some(adopted), _) => adopted.hash.clone(),
        (None, None, Some(name)) => name.clone(),
        (None, None, None) => own.hash.clone(),
    };
    let mut found = find(client, cluster, &name, known).await?;
    if let (None, Some(before)) = (&found, &in_template) {
        // One that restarts nobody is written into the status before its ConfigMap.
        let before = find(client, cluster, before, known).await?;
        let same = before.and_then(|before| before.with_pools_of(own, &cluster.name));
        found = same.filter(|same| same.hash == name).map(Arc::new);
    }
    let adopted = adopted.filter(|adopted| adopted.hash == name);
    Ok((name, found.or_else(|| adopted.map(Arc::new))))
}

/// The revision of the StatefulSet's template, if an earlier operator made it; `own` is what this one builds.
fn adopted(read: &Read, own: &Revision) -> Option<Revision> {
    let set = read.default_set()?;
    let template = &set.spec.as_ref()?.template;
    let inputs = revision::adopted_inputs(read.cluster.as_ref()?, template, own);
    Some(Revision::adopted(template, inputs))
}

/// The revision of this name; `None`: its ConfigMap does not exist.
async fn find(
    client: &Client,
    cluster: &ValidatedCluster,
    hash: &str,
    known: &mut KnownRevisions,
) -> Result<Option<Arc<Revision>>, ApplyError> {
    if let Some(revision) = known.get(hash) {
        return Ok(Some(revision.clone()));
    }
    let (api, name): (Api<ConfigMap>, _) =
        (Api::namespaced(client.clone(), &cluster.namespace), names::revision(&cluster.name, hash));
    let map = api.get_opt(&name).await.map_err(|source| ApplyError::new("read", "ConfigMap", &name, source))?;
    let Some(revision) = map.and_then(|map| Revision::kept(hash, &map)) else { return Ok(None) };
    let revision = Arc::new(revision);
    known.insert(hash.to_owned(), revision.clone());
    Ok(Some(revision))
}

/// The name of the revision in a template; `None`: the template is none of ours.
fn template_revision(cluster: &str, template: &PodTemplateSpec) -> Option<String> {
    revision_name(cluster, read_by(template.spec.as_ref()?)?)
}

/// The name of the revision in the templates of all StatefulSets; `None`: they differ, or are none of ours.
fn template(cluster: &str, read: &Read) -> Option<String> {
    let sets = read.stateful_sets.values();
    let mut names = sets.map(|set| template_revision(cluster, &set.spec.as_ref()?.template));
    let first = names.next()??;
    names.all(|name| name.as_ref() == Some(&first)).then_some(first)
}

fn revision_name(cluster: &str, config_map: &str) -> Option<String> {
    if config_map == names::brokers(cluster) {
        return Some(SHARED.to_owned());
    }
    Some(config_map.strip_prefix(&names::revision(cluster, ""))?.to_owned())
}

impl Choice {
    fn all(&self) -> impl Iterator<Item = &Revision> {
        let all = [&self.pinned, &self.from, &self.own].into_iter().chain(&self.to).chain(&self.by_user);
        all.map(|revision| &**revision)
    }

    /// The revision that is known to work, if new pods get another.
    pub fn other(&self) -> Option<&Revision> {
        Some(&*self.from).filter(|from| from.hash != self.pinned.hash)
    }

    /// The objects without the ConfigMaps that pods, or templates of kept revisions, read. Until the StatefulSet's
    /// controller has observed the newest template, it may make pods by an earlier one: no ConfigMap is unused.
    pub fn unused(&self, read: &Read) -> LiveObjects {
        let kept = [&*self.pinned].into_iter().chain(self.other());
        let templates = kept.filter_map(|revision| revision.template.spec.as_ref());
        let sets = read.stateful_sets.values().filter_map(|set| set.spec.as_ref()?.template.spec.as_ref());
        let pods = read.pods.values().filter_map(|pod| pod.spec.as_ref());
        let used: BTreeSet<&str> = templates.chain(sets).chain(pods).filter_map(read_by).collect();
        unused(&read.live, &used, read.is_observed())
    }

    /// What the plan of a roll needs to know of revisions.
    pub fn shown(&self, cluster: &ValidatedCluster, read: &Read) -> Revisions {
        let offer = |revision: &Revision, else_why: &str| {
            let why = match self.from.changed(&self.own) {
                words if words.is_empty() => vec![else_why.to_owned()],
                words => words,
            };
            let image = revision.image().unwrap_or_default().to_owned();
            Offer { revision: revision.hash.clone(), why, image, pools: revision.own_hashes() }
        };
        let differs = |revision: &&Arc<Revision>| revision.hash != self.from_name;
        let current = self.to.as_ref().filter(|to| to.changed(&self.own).is_empty());
        let template = template(&cluster.name, read).filter(|_| read.is_observed());
        Revisions {
            from: self.from_name.clone(),
            from_pools: self.from.own_hashes(),
            to: self.to_name.clone(),
            by_user: self.by_user.as_ref().filter(differs).map(|asked| offer(asked, "pools")),
            by_operator: Some(&self.own).filter(differs).map(|own| offer(own, "operator")),
            current: current.map(|to| offer(to, "operator")),
            template: template.map(|name| self.named(name)),
            lacks_nodes: read.nodes.values().any(|node| !nodes::takes_pods(node)),
            pods: read
                .pods
                .iter()
                .filter_map(|(name, pod)| {
                    let id = cluster.of_pod(name)?;
                    let seen = pod_revision(name, pod, self.of_pod(cluster, pod, cluster.pool(id)));
                    let lost_node = lost_node(id, pod, seen.unscheduled.is_some(), read);
                    let is_cut_off = lost_node.is_some() || is_on_unready(pod, read);
                    Some((id, PodRevision { is_cut_off, lost_node, ..seen }))
                })
                .collect(),
        }
    }

    /// The revision with which the pod of a pool was made, and all that ask for it as it is. One of which nothing is
    /// known any more asked for it when it was made.
    fn of_pod(&self, cluster: &ValidatedCluster, pod: &Pod, pool: &Pool) -> (String, BTreeSet<String>) {
        let revision = |pods: &PodSpec| read_by(pods).and_then(|map| revision_name(&cluster.name, map));
        let name = self.named(pod.spec.as_ref().and_then(revision).unwrap_or_default());
        let annotations = pod.metadata.annotations.as_ref();
        let own = annotations.and_then(|all| all.get(names::POOL_PODS_ANNOTATION)).map_or("", String::as_str);
        let mut asked_by: BTreeSet<String> =
            self.all().filter(|one| one.asks_for(pool, &name, own)).map(|one| one.hash.clone()).collect();
        if !self.all().any(|one| one.hash == name) {
            asked_by.insert(name.clone());
        }
        (name, asked_by)
    }

    /// Pods of an earlier operator have the revision that was adopted, also those that it had not restarted after a
    /// change: the upgrade of an operator restarts nobody, and the next roll restarts all of them.
    fn named(&self, name: String) -> String {
        if name == SHARED && self.from.broker_file.is_none() { self.from.hash.clone() } else { name }
    }
}

fn pod_revision(name: &str, pod: &Pod, (revision, asked_by): (String, BTreeSet<String>)) -> PodRevision {
    let status = pod.status.as_ref();
    let condition = |type_: &str| {
        status.and_then(|status| status.conditions.as_ref()?.iter().find(|condition| condition.type_ == type_))
    };
    let container = status
        .and_then(|status| status.container_statuses.as_ref()?.iter().find(|container| container.name == CONTAINER));
    let runs = container.is_some_and(|container| container.state.as_ref().is_some_and(|state| state.running.is_some()));
    let started = container.is_some_and(|container| container.started == Some(true));
    let ready = condition("Ready").is_some_and(|ready| ready.status == "True");
    let stage = match (pod.metadata.deletion_timestamp.is_some(), ready, started, runs) {
        (true, ..) => Stage::Ending,
        (false, true, ..) => Stage::Ready,
        (false, false, true, _) => Stage::Started,
        (false, false, false, true) => Stage::Starting,
        (false, false, false, false) => Stage::Pending,
    };
    let unscheduled = condition("PodScheduled").filter(|scheduled| scheduled.status == "False");
    PodRevision {
        name: name.to_owned(),
        revision,
        asked_by,
        uid: pod.metadata.uid.clone(),
        version: pod.metadata.resource_version.clone(),
        stage,
        crashed: container.and_then(|container| crashed(name, container)),
        stuck: container.and_then(|container| stuck(name, container)),
        unscheduled: unscheduled.and_then(|unscheduled| {
            let why = unscheduled.message.as_deref().unwrap_or("no node was found");
            Some((unscheduled.last_transition_time.clone()?, format!("pod {name} can not be scheduled: {why}")))
        }),
        is_cut_off: false,
        lost_node: None,
    }
}

/// The pod's node, if it is gone. A node that is deleted takes its pods with it; the pods in their place wait, because
/// their volumes were there, or because there is no room elsewhere: the status knows where their brokers were. Where no
/// node can be read, none is gone.
fn lost_node(id: BrokerId, pod: &Pod, is_unscheduled: bool, read: &Read) -> Option<String> {
    let status = read.cluster.as_ref().and_then(|cluster| cluster.status.as_ref());
    let last = || status?.brokers.iter().find(|broker| broker.id == id)?.node.as_ref();
    let bound = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
    let node = bound.or_else(|| last().filter(|_| is_unscheduled))?;
    (!read.nodes.is_empty() && !read.nodes.contains_key(node)).then(|| node.clone())
}

/// Whether the pod's node is there and not ready.
fn is_on_unready(pod: &Pod, read: &Read) -> bool {
    let node = pod.spec.as_ref().and_then(|spec| read.nodes.get(spec.node_name.as_ref()?));
    node.is_some_and(|node| !nodes::is_ready(node))
}

/// That a container of the pod has failed.
fn crashed(name: &str, container: &ContainerStatus) -> Option<String> {
    let states = [container.state.as_ref(), container.last_state.as_ref()];
    let ended = states.into_iter().flatten().find_map(|state| state.terminated.as_ref())?;
    let why = ended.message.as_deref().filter(|why| !why.trim().is_empty()).unwrap_or("see its log");
    Some(format!("pod {name} ended with exit code {}: {}", ended.exit_code, why.trim()))
}

/// Why the kubelet does not start the container until somebody changes something.
fn stuck(name: &str, container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let why = waiting.message.as_deref().unwrap_or("no reason was given");
    match waiting.reason.as_deref()? {
        "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
            Some(format!("pod {name} can not get its image {}: {why}", container.image))
        }
        "CrashLoopBackOff" => crashed(name, container),
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Some(format!("pod {name} does not start: {why}"))
        }
        _ => None,
    }
}

/// The objects but for ConfigMaps that are used, or that may be; `is_observed`: no pod is made by an earlier template.
fn unused(live: &LiveObjects, used: &BTreeSet<&str>, is_observed: bool) -> LiveObjects {
    let mut unused = live.clone();
    unused.retain(|(kind, name), _| *kind != Kind::ConfigMap || is_observed && !used.contains(name.as_str()));
    unused
}

#[cfg(test)]
mod tests {
    use ottla_crds::KafkaCluster;
    use serde_json::json;

    use super::super::read::Live;
    use super::super::revision::tests::pooled;
    use super::*;

    #[test]
    fn a_config_map_is_unused_only_once_no_pod_is_made_by_an_earlier_template() {
        let object = |kind, name: &str| ((kind, name.to_owned()), Live { uid: None, version: None });
        let live: LiveObjects = [
            object(Kind::ConfigMap, "prod-broker-before"),
            object(Kind::ConfigMap, "prod-broker-now"),
            object(Kind::Service, "prod-old-listener"),
        ]
        .into();
        let used = BTreeSet::from(["prod-broker-now"]);
        let names = |is_observed| -> BTreeSet<String> {
            unused(&live, &used, is_observed).into_keys().map(|(_, name)| name).collect()
        };
        assert_eq!(names(false), ["prod-old-listener".to_owned()].into());
        assert_eq!(names(true), ["prod-broker-before", "prod-old-listener"].map(str::to_owned).into());
    }

    #[test]
    fn a_change_of_pools_takes_no_upgrade_of_the_operator_along() {
        let built = |image: &str, pools: &[(&str, Option<&str>)]| {
            Arc::new(Revision::built(&ValidatedCluster { image: image.to_owned(), ..pooled(pools) }, None))
        };
        // What the earlier operator built, and what this one builds.
        let had = |pools: &[(&str, Option<&str>)]| built("ottla:1", pools);
        let has = |pools: &[(&str, Option<&str>)]| built("ottla:2", pools);
        let (one, other) = (("fast", Some("arm64")), ("fast", Some("amd64")));
        let mut labelled = pooled(&[other]);
        (labelled.image, labelled.pods.labels) = ("ottla:2".to_owned(), [("a".to_owned(), "b".to_owned())].into());
        let label = Arc::new(Revision::built(&labelled, None));
        for (story, from, asked, by_user) in [
            ("nothing", had(&[]), has(&[]), None),
            ("a pool without anything of its own", had(&[]), has(&[("fast", None)]), None),
            ("a pool with something", had(&[]), has(&[one]), Some(had(&[one]))),
            ("it gets something", had(&[("fast", None)]), has(&[one]), Some(had(&[one]))),
            ("it gets more", had(&[one]), has(&[other]), Some(had(&[other]))),
            ("it is gone", had(&[one]), has(&[]), Some(had(&[]))),
            ("a label, too", had(&[one]), label.clone(), Some(label.clone())),
        ] {
            let (known, asks) = since(Some(from.clone()), &from.hash, asked.clone(), "prod");
            assert_eq!((&known.hash, &asks), (&from.hash, &by_user), "{story}");
        }
        let (known, _) = since(Some(had(&[])), &had(&[]).hash, has(&[("fast", None)]), "prod");
        assert_eq!(*known, *had(&[("fast", None)]), "it knows by now that the pool has nothing of its own");
        // An earlier operator kept it, and the user has changed nothing.
        let earlier = Arc::new(Revision { pools: None, ..(*had(&[("fast", None)])).clone() });
        let (known, asks) = since(Some(earlier.clone()), &earlier.hash, has(&[one]), "prod");
        assert_eq!((known, asks), (earlier, None));
    }

    #[test]
    fn no_pod_of_an_earlier_operator_is_restarted_because_it_was_not_before() {
        let spec = json!({ "brokers": { "storage": { "size": "1Gi" } } });
        let object = KafkaCluster::new("prod", serde_json::from_value(spec).unwrap());
        let cluster = ValidatedCluster::new(&object, "ottla:1").unwrap();
        let config = json!([{ "name": "config", "configMap": { "name": names::brokers("prod") } }]);
        let pods =
            json!({ "containers": [{ "name": CONTAINER, "image": "ottla:1" }], "volumes": config, "nodeName": "n" });
        let made = |name: &str, hash: &str| {
            let metadata = json!({ "name": name, "labels": { "controller-revision-hash": hash } });
            (name.to_owned(), Arc::new(serde_json::from_value(json!({ "metadata": metadata, "spec": pods })).unwrap()))
        };
        for observed in [1, 2] {
            let set = json!({
                "metadata": { "generation": 2 },
                "spec": { "selector": {}, "template": { "spec": pods } },
                "status": { "replicas": 2, "updateRevision": "new", "observedGeneration": observed },
            });
            let read = Read {
                cluster: Some(Arc::new(object.clone())),
                stateful_sets: [("prod-broker".to_owned(), Arc::new(serde_json::from_value(set).unwrap()))].into(),
                pods: [made("prod-broker-0", "new"), made("prod-broker-1", "old")].into(),
                ..Read::default()
            };
            let own = Arc::new(Revision::built(&cluster, None));
            let from = Arc::new(adopted(&read, &own).unwrap());
            let choice = Choice {
                pinned: from.clone(),
                from_name: from.hash.clone(),
                from: from.clone(),
                to_name: None,
                to: None,
                by_user: None,
                own,
            };
            let shown = choice.shown(&cluster, &read);
            let named = |id| if shown.pods[&id].revision == from.hash { "adopted" } else { &shown.pods[&id].revision };
            assert_eq!([0, 1].map(|id| named(BrokerId(id))), ["adopted"; 2], "{observed}");
            assert!(!shown.pods.values().any(|pod| pod.is_cut_off), "no node can be read");
        }
    }

    #[test]
    fn a_pod_whose_node_is_gone_or_not_ready_is_cut_off() {
        let spec = json!({ "brokers": { "storage": { "size": "1Gi" } } });
        let mut object = KafkaCluster::new("prod", serde_json::from_value(spec).unwrap());
        let broker = json!({ "id": 0, "state": "Offline", "wanted": "Serve", "node": "a" });
        object.status = Some(serde_json::from_value(json!({ "brokers": [broker] })).unwrap());
        let pod = |node: Option<&str>, scheduled: &str| -> Pod {
            let scheduled =
                json!({ "type": "PodScheduled", "status": scheduled, "lastTransitionTime": "2026-11-25T12:00:00Z" });
            let status = json!({ "conditions": [scheduled] });
            let metadata = json!({ "name": "prod-broker-0" });
            let spec = json!({ "containers": [], "nodeName": node });
            serde_json::from_value(json!({ "metadata": metadata, "spec": spec, "status": status })).unwrap()
        };
        let node = |name: &str, ready: &str| {
            let status = json!({ "conditions": [{ "type": "Ready", "status": ready }] });
            (name.to_owned(), Arc::new(serde_json::from_value(json!({ "metadata": {}, "status": status })).unwrap()))
        };
        let (there, waits) = (pod(Some("a"), "True"), pod(None, "False"));
        for (story, pod, nodes, lost, cut_off) in [
            ("no node can be read", &there, vec![], None, false),
            ("it is ready", &there, vec![node("a", "True"), node("b", "False")], None, false),
            ("it is not", &there, vec![node("a", "Unknown")], None, true),
            ("it is gone", &there, vec![node("b", "True")], Some("a"), true),
            ("its broker was on one that is gone", &waits, vec![node("b", "True")], Some("a"), true),
            ("its broker's is there, and has no room", &waits, vec![node("a", "True")], None, false),
            ("nobody has looked for a node yet", &pod(None, "True"), vec![node("b", "True")], None, false),
        ] {
            let read = Read {
                cluster: Some(Arc::new(object.clone())),
                nodes: nodes.into_iter().collect(),
                pods: [("prod-broker-0".to_owned(), Arc::new(pod.clone()))].into(),
                ..Read::default()
            };
            let cluster = ValidatedCluster::new(&object, "ottla:1").unwrap();
            let own = Arc::new(Revision::built(&cluster, None));
            let choice = Choice {
                pinned: own.clone(),
                from_name: own.hash.clone(),
                from: own.clone(),
                to_name: None,
                to: None,
                by_user: None,
                own,
            };
            let seen = choice.shown(&cluster, &read).pods[&BrokerId(0)].clone();
            assert_eq!((seen.lost_node.as_deref(), seen.is_cut_off), (lost, cut_off), "{story}");
        }
    }
}
