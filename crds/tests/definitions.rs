//! The YAML files beside this crate are what the types say, and small enough to be applied.

#![allow(clippy::unwrap_used)] // helpers of tests are tests too

use std::{fs, path::Path};

use expect_test::expect_file;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use serde_json::Value;

#[test]
fn the_committed_yaml_is_what_the_types_say() {
    for crd in ottla_crds::all() {
        is_committed(&format!("{}.yaml", crd.spec.names.plural), &crd);
    }
}

/// The chart's are the same, but outlive the release: with a definition go all objects of its kind.
#[test]
fn the_charts_yaml_is_what_the_types_say() {
    for mut crd in ottla_crds::all() {
        crd.annotations_mut().insert("helm.sh/resource-policy".to_owned(), "keep".to_owned());
        is_committed(&format!("../charts/ottla-crds/templates/{}.yaml", crd.spec.names.plural), &crd);
    }
}

fn is_committed(file: &str, crd: &CustomResourceDefinition) {
    let yaml = serde_yaml::to_string(crd).unwrap();
    let generated = format!("# Generated from crds/src; UPDATE_EXPECT=1 cargo test -p ottla-crds rewrites it.\n{yaml}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    expect_file![&path].assert_eq(&generated);
}

/// An operator compares the number of its contract with that of the definitions: what the API server would drop must
/// have another number.
#[test]
fn another_field_or_word_is_another_contract() {
    let mut fields = Vec::new();
    for crd in ottla_crds::all() {
        assert_eq!(crd.labels()["ottla.io/contract"], ottla_crds::CONTRACT.to_string());
        fields_of(&crd.spec.names.kind, &serde_json::to_value(&crd.spec.versions[0].schema).unwrap(), &mut fields);
    }
    fields.sort();
    let digest = ottla_crds::names::digest(&fields.join("\n"));
    let now = format!("{} {digest}\n", ottla_crds::CONTRACT);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("contract.txt");
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let number = committed.split(' ').next().and_then(|number| number.parse::<u32>().ok());
    let is_raised = number.is_none_or(|number| ottla_crds::CONTRACT > number);
    if committed != now && is_raised && std::env::var_os("UPDATE").is_some() {
        return fs::write(&path, &now).unwrap();
    }
    assert!(
        committed == now,
        "fields or words of the definitions have changed: raise CONTRACT in crds/src/definitions.rs by 1, then \
         UPDATE=1 cargo test -p ottla-crds notes it in {}",
        path.display()
    );
}

fn fields_of(path: &str, schema: &Value, fields: &mut Vec<String>) {
    let Value::Object(schema) = schema else { return };
    let words = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    fields.extend(words.map(|word| format!("{path}={word}")));
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        fields.push(format!("{path}.{name}"));
        fields_of(&format!("{path}.{name}"), property, fields);
    }
    for under in ["openAPIV3Schema", "items", "additionalProperties"] {
        if let Some(under) = schema.get(under) {
            fields_of(path, under, fields);
        }
    }
}

/// Helm reads what stands in braces.
#[test]
fn no_description_is_a_template() {
    for crd in ottla_crds::all() {
        assert!(!serde_yaml::to_string(&crd).unwrap().contains("{{"), "{}", crd.spec.names.kind);
    }
}

/// `kubectl apply` copies the object into an annotation, of which Kubernetes takes 256 KiB.
#[test]
fn a_definition_fits_into_the_annotation_of_kubectl_apply() {
    for crd in ottla_crds::all() {
        let size = serde_json::to_vec(&crd).unwrap().len();
        assert!(size < 200 * 1024, "{} has {size} bytes", crd.spec.names.kind);
    }
}

/// Strimzi's kinds have the category `strimzi` and short names such as `k` and `kt`, and people type `kubectl delete
/// CATEGORY --all`: what they delete must not be another project's, nor the assignments, which are Ottla's memory of
/// where records are.
#[test]
fn every_kind_has_names_that_no_other_project_has_and_no_category_deletes_an_assignment() {
    for crd in ottla_crds::all() {
        let names = &crd.spec.names;
        let (short, category) = match names.kind.as_str() {
            "KafkaCluster" => ("okc", Some("ottla")),
            "KafkaTopic" => ("okt", Some("ottla")),
            "KafkaUser" => ("oku", Some("ottla")),
            "KafkaRebalance" => ("okr", Some("ottla")),
            "KafkaAssignment" => ("oka", None),
            kind => panic!("the names of {kind} are not decided"),
        };
        assert_eq!(names.short_names.as_deref(), Some(&[short.to_owned()][..]), "{}", names.kind);
        assert_eq!(names.categories, category.map(|category| vec![category.to_owned()]), "{}", names.kind);
        let columns = crd.spec.versions[0].additional_printer_columns.as_deref().unwrap_or_default();
        assert_eq!(columns.last().map(|column| column.name.as_str()), Some("Age"), "{}", names.kind);
    }
}
