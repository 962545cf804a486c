//! A broker's pod: one container with the least rights. Meets Pod Security *restricted*.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource,
    HTTPGetAction, KeyToPath, LocalObjectReference, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec,
    Probe, ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext, TopologySpreadConstraint, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;
use ottla_crds::broker_file::{FILE_NAME, FOLDER as CONFIG_FOLDER, TLS_FOLDER};
use ottla_crds::names::HTTP_PORT;
use ottla_crds::{Amounts, PoolPods, Resources, TopologySpread, Unsatisfiable, names};
use serde_json::json;

use super::label::{labels, selector};
use crate::cluster::pools::Pool;
use crate::cluster::validate::ValidatedCluster;

/// Where a broker's volume is mounted.
pub const DATA_FOLDER: &str = "/var/lib/ottla";

/// A broker's container; others may be put beside it.
pub const CONTAINER: &str = "broker";
/// The volume with the broker's file.
pub const CONFIG_VOLUME: &str = "config";
const TEMPORARY_VOLUME: &str = "tmp";
const HTTP: &str = "http";
/// What a broker requests by default: a pod without requests is the first to be killed when its node runs out of
/// memory. `e2e/bench/README.md`: a tenth of a processor writes 100 MB/s of large batches. Resident are 24 MB with 300
/// replicas, 99 MB with 10,000, 158 MB with 10,000 clients under TLS, and up to 188 MB on each of ten brokers
/// with 12,000 partitions in all; the rest of the memory is page cache for what was just written.
const REQUESTS: [(&str, &str); 2] = [("cpu", "100m"), ("memory", "256Mi")];
/// A node's own label.
const HOST_KEY: &str = "kubernetes.io/hostname";

/// The template of all brokers' pods, which read this ConfigMap.
pub fn pod_template(cluster: &ValidatedCluster, config_map: &str) -> PodTemplateSpec {
    let mut all_labels = cluster.pods.labels.clone();
    all_labels.extend(labels(&cluster.name));
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(all_labels),
            annotations: non_empty(&cluster.pods.annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(pod_spec(cluster, config_map)),
    }
}

/// The template of a pool's pods: that of the default pool, with what the pool has of its own; `None`: with what the
/// spec says now.
pub fn of_pool(default: &PodTemplateSpec, pool: &Pool, own: Option<&PoolPods>) -> PodTemplateSpec {
    let mut template = default.clone();
    let Some(entry) = &pool.entry else { return template };
    let own = own.unwrap_or(&entry.pods);
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(names::POOL_LABEL.to_owned(), entry.name.clone());
    let (hash, metadata) = (own_hash(own), template.metadata.get_or_insert_default());
    if !hash.is_empty() {
        metadata.annotations.get_or_insert_default().insert(names::POOL_PODS_ANNOTATION.to_owned(), hash);
    } else if let Some(annotations) = &mut metadata.annotations {
        // One of the user's pod template would say that they have something.
        annotations.remove(names::POOL_PODS_ANNOTATION);
    }
    let Some(pods) = &mut template.spec else { return template };
    if let (Some(own), Some(broker)) =
        (&own.resources, pods.containers.iter_mut().find(|container| container.name == CONTAINER))
    {
        broker.resources = resources(own);
    }
    if !own.node_selector.is_empty() {
        pods.node_selector.get_or_insert_default().extend(own.node_selector.clone());
    }
    if !own.tolerations.is_empty() {
        pods.tolerations = Some(own.tolerations.clone());
    }
    if let Some(affinity) = &own.affinity {
        pods.affinity = Some(affinity.clone());
    }
    template
}

/// The short name of what a pool's pods have of their own, as in their annotation; empty: nothing.
pub fn own_hash(own: &PoolPods) -> String {
    if *own == PoolPods::default() { String::new() } else { names::short_digest(&json!(own).to_string()) }
}

fn pod_spec(cluster: &ValidatedCluster, config_map: &str) -> PodSpec {
    let secret = |secret: &ottla_crds::SecretName| LocalObjectReference { name: secret.name.clone() };
    PodSpec {
        service_account_name: Some(names::brokers(&cluster.name)),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: cluster.user,
            run_as_group: cluster.user,
            fs_group: cluster.user,
            // Walking through all files of a large volume would delay every start.
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        termination_grace_period_seconds: Some(cluster.grace_seconds().into()),
        // Otherwise Kubernetes sets an environment variable for each Service and port.
        enable_service_links: Some(false),
        node_selector: non_empty(&cluster.pods.node_selector),
        tolerations: Some(cluster.pods.tolerations.clone()).filter(|list| !list.is_empty()),
        affinity: cluster.pods.affinity.clone(),
        topology_spread_constraints: Some(spread(cluster)),
        image_pull_secrets: Some(cluster.pods.image_pull_secrets.iter().map(secret).collect())
            .filter(|list: &Vec<_>| !list.is_empty()),
        priority_class_name: cluster.pods.priority_class_name.clone(),
        containers: vec![container(cluster)],
        volumes: Some(volumes(cluster, config_map)),
        ..PodSpec::default()
    }
}

fn container(cluster: &ValidatedCluster) -> Container {
    let port = |(name, port): (&str, u16)| ContainerPort {
        name: Some(name.to_owned()),
        container_port: port.into(),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    let own_mounts = [
        mount(names::DATA_VOLUME, DATA_FOLDER, false),
        mount(CONFIG_VOLUME, CONFIG_FOLDER, true),
        mount(TEMPORARY_VOLUME, "/tmp", false),
    ];
    let of_secrets = tls_secrets(cluster).map(|(volume, folder, _)| mount(&volume, &folder, true));
    Container {
        name: CONTAINER.to_owned(),
        image: Some(cluster.image.clone()),
        args: Some(vec!["broker".to_owned(), "--config".to_owned(), format!("{CONFIG_FOLDER}/{FILE_NAME}")]),
        env: Some(vec![from_field("POD_NAME", "metadata.name"), from_field("POD_UID", "metadata.uid")]),
        ports: Some(cluster.ports().chain([(HTTP, HTTP_PORT)]).map(port).collect()),
        resources: resources(&cluster.resources),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        // A broker that recovers its logs after a crash may take an hour before it is alive.
        startup_probe: Some(probe("/livez", 2, 1800)),
        liveness_probe: Some(probe("/livez", 10, 6)),
        readiness_probe: Some(probe("/readyz", 2, 2)),
        volume_mounts: Some(own_mounts.into_iter().chain(of_secrets).collect()),
        ..Container::default()
    }
}

/// The data volume comes from the StatefulSet's claims.
fn volumes(cluster: &ValidatedCluster, config_map: &str) -> Vec<Volume> {
    let file = KeyToPath { key: FILE_NAME.to_owned(), path: FILE_NAME.to_owned(), mode: None };
    let config = ConfigMapVolumeSource {
        name: config_map.to_owned(),
        items: Some(vec![file]),
        ..ConfigMapVolumeSource::default()
    };
    let temporary =
        EmptyDirVolumeSource { size_limit: Some(Quantity("64Mi".to_owned())), ..EmptyDirVolumeSource::default() };
    let own = [
        Volume { name: CONFIG_VOLUME.to_owned(), config_map: Some(config), ..Volume::default() },
        Volume { name: TEMPORARY_VOLUME.to_owned(), empty_dir: Some(temporary), ..Volume::default() },
    ];
    let of_secrets = tls_secrets(cluster).map(|(volume, _, secret)| {
        let secret = SecretVolumeSource { secret_name: Some(secret), ..SecretVolumeSource::default() };
        Volume { name: volume, secret: Some(secret), ..Volume::default() }
    });
    own.into_iter().chain(of_secrets).collect()
}

fn mount(volume: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

/// The volumes with keys and certificates, the folders where they are mounted, and their Secrets. A pod starts when all
/// of them exist.
fn tls_secrets(cluster: &ValidatedCluster) -> impl Iterator<Item = (String, String, String)> {
    let own = cluster.has_authorities.then(|| {
        [
            ("brokers", names::broker_certificates(&cluster.name)),
            ("cluster-ca", names::cluster_ca_cert(&cluster.name)),
            ("clients-ca", names::clients_ca_cert(&cluster.name)),
        ]
        .map(|(folder, secret)| (format!("tls-{folder}"), format!("{TLS_FOLDER}/{folder}"), secret))
    });
    let of_listeners = cluster.listeners.iter().filter_map(|listener| {
        let (name, secret) = (&listener.name, listener.certificate.clone()?);
        Some((format!("tls-listener-{name}"), format!("{TLS_FOLDER}/listeners/{name}"), secret))
    });
    own.into_iter().flatten().chain(of_listeners)
}

/// The spread in the spec, or else: over racks and over nodes.
fn spread(cluster: &ValidatedCluster) -> Vec<TopologySpreadConstraint> {
    let over = |key: &str| TopologySpread {
        topology_key: key.to_owned(),
        max_skew: 1,
        when_unsatisfiable: Unsatisfiable::ScheduleAnyway,
    };
    let asked_for = &cluster.pods.topology_spread;
    let rules = if asked_for.is_empty() {
        cluster.rack_key.as_deref().into_iter().chain([HOST_KEY]).map(over).collect()
    } else {
        asked_for.clone()
    };
    let constraint = |rule: TopologySpread| TopologySpreadConstraint {
        topology_key: rule.topology_key,
        max_skew: rule.max_skew,
        when_unsatisfiable: match rule.when_unsatisfiable {
            Unsatisfiable::ScheduleAnyway | Unsatisfiable::Unknown => "ScheduleAnyway".to_owned(),
            Unsatisfiable::DoNotSchedule => "DoNotSchedule".to_owned(),
        },
        label_selector: Some(selector(cluster)),
        ..TopologySpreadConstraint::default()
    };
    rules.into_iter().map(constraint).collect()
}

fn resources(resources: &Resources) -> Option<ResourceRequirements> {
    let amounts = |amounts: &Option<Amounts>| -> BTreeMap<String, Quantity> {
        let Some(amounts) = amounts else { return BTreeMap::new() };
        let named = [("cpu", &amounts.cpu), ("memory", &amounts.memory)];
        named.into_iter().filter_map(|(name, amount)| Some((name.to_owned(), Quantity(amount.clone()?)))).collect()
    };
    let (mut requests, limits) = (amounts(&resources.requests), amounts(&resources.limits));
    for (name, amount) in REQUESTS {
        // A limit without a request becomes the request, too.
        if !limits.contains_key(name) {
            requests.entry(name.to_owned()).or_insert_with(|| Quantity(amount.to_owned()));
        }
    }
    let some = |amounts: BTreeMap<String, Quantity>| (!amounts.is_empty()).then_some(amounts);
    Some(ResourceRequirements { requests: some(requests), limits: some(limits), claims: None })
}

fn probe(path: &str, period_seconds: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(HTTP.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn from_field(variable: &str, field: &str) -> EnvVar {
    let field = ObjectFieldSelector { field_path: field.to_owned(), api_version: Some("v1".to_owned()) };
    EnvVar {
        name: variable.to_owned(),
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
        ..EnvVar::default()
    }
}

fn non_empty(map: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!map.is_empty()).then(|| map.clone())
}
