//! How objects are shown: whole, as metadata only, or as rows of a table, as the client's Accept header asks.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::kind::{Form, Kind};
use crate::object::Object;
use crate::table;

/// Shows objects of one kind to one client.
#[derive(Debug)]
pub(crate) struct Presenter {
    kind: Arc<Kind>,
    shape: Shape,
    /// A watch's table names its columns only once.
    columns_shown: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    Whole,
    Metadata,
    Table(table::Include),
}

impl Presenter {
    /// `accept` is the Accept header, `include` the query's `includeObject`.
    pub(crate) fn new(kind: &Arc<Kind>, accept: &str, include: &str) -> Self {
        let shape = accept.split(',').find_map(|range| {
            let asked = range.split(';').find_map(|parameter| parameter.trim().strip_prefix("as="));
            match asked {
                Some("Table") => Some(Shape::Table(table::Include::parse(include))),
                Some("PartialObjectMetadata" | "PartialObjectMetadataList") => Some(Shape::Metadata),
                Some(_) => None,
                None => Some(Shape::Whole),
            }
        });
        Self { kind: Arc::clone(kind), shape: shape.unwrap_or(Shape::Whole), columns_shown: false }
    }

    /// The answer to a get or a write.
    pub(crate) fn one(&self, object: &Object) -> Bytes {
        match self.shape {
            Shape::Table(include) => {
                table::table(&self.kind, &[&object.value], include, object.version, true).to_string().into()
            }
            Shape::Metadata => metadata_only(&object.value).to_string().into(),
            Shape::Whole => self.whole(object),
        }
    }

    pub(crate) fn list(&self, version: u64, objects: &[Arc<Object>]) -> Bytes {
        match self.shape {
            Shape::Table(include) => {
                let rows: Vec<&Value> = objects.iter().map(|object| &object.value).collect();
                table::table(&self.kind, &rows, include, version, true).to_string().into()
            }
            Shape::Metadata => {
                let items: Vec<Bytes> =
                    objects.iter().map(|object| metadata_only(&object.value).to_string().into()).collect();
                list("meta.k8s.io/v1", "PartialObjectMetadata", version, &items)
            }
            Shape::Whole => {
                let items: Vec<Bytes> = objects.iter().map(|object| self.whole(object)).collect();
                list(&self.kind.api_version(), &self.kind.kind, version, &items)
            }
        }
    }

    /// The object of a watch event.
    pub(crate) fn watched(&mut self, object: &Object) -> Bytes {
        match self.shape {
            Shape::Table(include) => {
                let with_columns = !std::mem::replace(&mut self.columns_shown, true);
                table::table(&self.kind, &[&object.value], include, object.version, with_columns).to_string().into()
            }
            Shape::Metadata | Shape::Whole => self.one(object),
        }
    }

    /// The object of a bookmark: nothing but a version.
    pub(crate) fn bookmark(&self, version: u64, annotations: Value) -> Bytes {
        let metadata = json!({"resourceVersion": version.to_string(), "annotations": annotations});
        let object = match self.shape {
            Shape::Table(_) => {
                json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "rows": []})
            }
            Shape::Metadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            Shape::Whole => {
                json!({"kind": self.kind.kind, "apiVersion": self.kind.api_version(), "metadata": metadata})
            }
        };
        object.to_string().into()
    }

    fn whole(&self, object: &Object) -> Bytes {
        match self.kind.form {
            Form::Own => object.json().clone(),
            Form::NewEvent => self.kind.to_shown(&object.value).to_string().into(),
        }
    }
}

fn metadata_only(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.get("metadata")})
}

fn list(api_version: &str, kind: &str, version: u64, items: &[Bytes]) -> Bytes {
    let head = json!({"apiVersion": api_version, "kind": format!("{kind}List")}).to_string();
    let head = head.trim_end_matches('}');
    let mut list = Vec::with_capacity(head.len() + items.iter().map(|item| item.len() + 1).sum::<usize>() + 64);
    list.extend_from_slice(head.as_bytes());
    list.extend_from_slice(format!(",\"metadata\":{{\"resourceVersion\":\"{version}\"}},\"items\":[").as_bytes());
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            list.push(b',');
        }
        list.extend_from_slice(item);
    }
    list.extend_from_slice(b"]}");
    list.into()
}
