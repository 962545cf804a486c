//! What is served: one [`Kind`] per custom resource definition, and the few of Kubernetes' own that Ottla needs.
//!
//! A kind knows its names, its rules and its columns, never its objects.

use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, CustomResourceSubresourceScale,
};
use serde_json::Value;

use crate::events;
use crate::schema::Schema;

/// A served kind in one version.
#[derive(Debug)]
pub(crate) struct Kind {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub singular: String,
    pub kind: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub namespaced: bool,
    /// Whether `/status` is an endpoint of its own, which alone may write `.status`.
    pub status: bool,
    /// The fields that `/scale` reads and writes; `None`: there is no such endpoint.
    pub scale: Option<CustomResourceSubresourceScale>,
    /// Absent for Kubernetes' own kinds, whose objects are taken as they come.
    pub schema: Option<Schema>,
    pub columns: Vec<CustomResourceColumnDefinition>,
    /// Fields besides name and namespace that a field selector may ask for, as dotted paths.
    pub selectable: Vec<String>,
    /// Whether a write need not say which version it is based on.
    pub unconditional: bool,
    /// Given by the server, not to be written.
    pub read_only: bool,
    pub form: Form,
}

/// How a kind's objects relate to what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As stored.
    Own,
    /// An `events.k8s.io/v1` Event, stored as a `v1` Event: both APIs show the same objects.
    NewEvent,
}

impl Kind {
    /// `kafkatopics.ottla.io`, or only the plural in the core group.
    pub(crate) fn resource(&self) -> String {
        qualified(&self.plural, &self.group)
    }

    /// `KafkaTopic.ottla.io`, or only the kind in the core group.
    pub(crate) fn kind_and_group(&self) -> String {
        qualified(&self.kind, &self.group)
    }

    /// `ottla.io/v1alpha1`, or only the version in the core group.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Whether this kind keeps its `generation`; Kubernetes' own kinds here do not.
    pub(crate) fn custom(&self) -> bool {
        self.schema.is_some()
    }

    /// An object of this kind in the form in which it is stored.
    pub(crate) fn to_stored(&self, object: Value) -> Value {
        match self.form {
            Form::Own => object,
            Form::NewEvent => events::to_stored(object),
        }
    }

    /// A stored object as this kind.
    pub(crate) fn to_shown(&self, stored: &Value) -> Value {
        match self.form {
            Form::Own => stored.clone(),
            Form::NewEvent => events::to_new(stored),
        }
    }

    /// Under which name objects of this kind are stored.
    pub(crate) fn stored_resource(&self) -> String {
        match self.form {
            Form::Own => self.resource(),
            Form::NewEvent => "events".to_owned(),
        }
    }

    /// Whether this is one of the two kinds of events.
    pub(crate) fn is_event(&self) -> bool {
        self.stored_resource() == "events"
    }

    /// Whether this is the kind that secrets are.
    pub(crate) fn is_secret(&self) -> bool {
        self.group.is_empty() && self.plural == "secrets"
    }

    /// Whether this is the kind that namespaces are.
    pub(crate) fn is_namespace(&self) -> bool {
        self.group.is_empty() && self.plural == "namespaces"
    }
}

fn qualified(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

/// A definition that this server cannot serve.
#[derive(Debug, thiserror::Error)]
#[error("custom resource definition {name}: {why}")]
pub struct BadDefinition {
    name: String,
    why: String,
}

/// Every served kind, in the order in which discovery shows them.
#[derive(Debug)]
pub(crate) struct Kinds(Vec<Arc<Kind>>);

impl Kinds {
    pub(crate) fn new(crds: Vec<CustomResourceDefinition>) -> Result<Self, BadDefinition> {
        let mut kinds = builtin();
        for crd in crds {
            kinds.push(custom(crd)?);
        }
        Ok(Self(kinds.into_iter().map(Arc::new).collect()))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.0.iter()
    }

    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Kind>> {
        self.0.iter().find(|kind| kind.group == group && kind.version == version && kind.plural == plural)
    }

    /// Whether objects of this kind can be found here.
    pub(crate) fn serves(&self, api_version: &str, kind: &str) -> bool {
        self.0.iter().any(|served| served.kind == kind && served.api_version() == api_version)
    }

    /// The groups, each once, with its version.
    pub(crate) fn groups(&self) -> Vec<(&str, &str)> {
        let mut groups: Vec<(&str, &str)> = Vec::new();
        for kind in &self.0 {
            let group = (kind.group.as_str(), kind.version.as_str());
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        groups
    }

    /// The kinds of one group and version.
    pub(crate) fn of(&self, group: &str, version: &str) -> Vec<&Arc<Kind>> {
        self.0.iter().filter(|kind| kind.group == group && kind.version == version).collect()
    }
}

fn custom(crd: CustomResourceDefinition) -> Result<Kind, BadDefinition> {
    let name = crd.metadata.name.clone().unwrap_or_default();
    let bad = |why: &str| BadDefinition { name: name.clone(), why: why.to_owned() };
    let mut served = crd.spec.versions.into_iter().filter(|version| version.served);
    let (Some(version), None) = (served.next(), served.next()) else {
        return Err(bad("exactly one version must be served"));
    };
    let schema = version.schema.and_then(|schema| schema.open_api_v3_schema).ok_or_else(|| bad("it has no schema"))?;
    let schema = serde_json::to_value(schema).map_err(|error| bad(&error.to_string()))?;
    let subresources = version.subresources.unwrap_or_default();
    let names = crd.spec.names;
    let selectable = version.selectable_fields.unwrap_or_default();
    Ok(Kind {
        group: crd.spec.group,
        version: version.name,
        singular: names.singular.unwrap_or_else(|| names.kind.to_lowercase()),
        plural: names.plural,
        kind: names.kind,
        short_names: names.short_names.unwrap_or_default(),
        categories: names.categories.unwrap_or_default(),
        namespaced: crd.spec.scope == "Namespaced",
        status: subresources.status.is_some(),
        scale: subresources.scale,
        schema: Some(Schema::new(schema)),
        columns: version.additional_printer_columns.unwrap_or_else(|| vec![column("Age", "date", CREATED, 0)]),
        selectable: selectable.into_iter().map(|field| field.json_path.trim_start_matches('.').to_owned()).collect(),
        unconditional: false,
        read_only: false,
        form: Form::Own,
    })
}

const CREATED: &str = ".metadata.creationTimestamp";

fn column(name: &str, type_: &str, json_path: &str, priority: i32) -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition {
        name: name.to_owned(),
        type_: type_.to_owned(),
        json_path: json_path.to_owned(),
        priority: Some(priority),
        ..Default::default()
    }
}

fn builtin() -> Vec<Kind> {
    let plain = |group: &str, kind: &str, short_names: &[&str], columns| Kind {
        group: group.to_owned(),
        version: "v1".to_owned(),
        plural: format!("{}s", kind.to_lowercase()),
        singular: kind.to_lowercase(),
        kind: kind.to_owned(),
        short_names: short_names.iter().map(|name| (*name).to_owned()).collect(),
        categories: Vec::new(),
        namespaced: true,
        status: false,
        scale: None,
        schema: None,
        columns,
        selectable: Vec::new(),
        unconditional: true,
        read_only: false,
        form: Form::Own,
    };
    let event_columns = || {
        vec![
            column("Last Seen", "date", ".lastSeen", 0),
            column("Type", "string", ".type", 0),
            column("Reason", "string", ".reason", 0),
            column("Object", "string", ".object", 0),
            column("Source", "string", ".reportingComponent", 1),
            column("Message", "string", ".message", 0),
        ]
    };
    let event_fields = [
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ];
    let event_fields = || event_fields.iter().map(|field| (*field).to_owned()).collect();
    vec![
        Kind {
            namespaced: false,
            status: true,
            selectable: vec!["status.phase".to_owned()],
            ..plain(
                "",
                "Namespace",
                &["ns"],
                vec![column("Status", "string", ".status.phase", 0), column("Age", "date", CREATED, 0)],
            )
        },
        Kind { selectable: event_fields(), ..plain("", "Event", &["ev"], event_columns()) },
        Kind {
            form: Form::NewEvent,
            selectable: event_fields(),
            ..plain("events.k8s.io", "Event", &["ev"], event_columns())
        },
        Kind {
            unconditional: false,
            ..plain(
                "coordination.k8s.io",
                "Lease",
                &[],
                vec![column("Holder", "string", ".spec.holderIdentity", 0), column("Age", "date", CREATED, 0)],
            )
        },
        plain("", "Secret", &[], vec![column("Type", "string", ".type", 0), column("Age", "date", CREATED, 0)]),
        plain("", "ConfigMap", &["cm"], vec![column("Age", "date", CREATED, 0)]),
        Kind {
            namespaced: false,
            read_only: true,
            ..plain(
                "apiextensions.k8s.io",
                "CustomResourceDefinition",
                &["crd", "crds"],
                vec![column("Created At", "string", CREATED, 0)],
            )
        },
    ]
}
