//! The YAML files beside this crate are what the types say, and small enough to be applied.

#![allow(clippy::unwrap_used)] // helpers of tests are tests too

use std::{fs, path::Path};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

fn file_of(crd: &CustomResourceDefinition) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{}.yaml", crd.spec.names.plural))
}

#[test]
fn the_committed_yaml_is_what_the_types_say() {
    for crd in ottla_crds::all() {
        let generated = format!(
            "# Generated from crds/src; UPDATE=1 cargo test -p ottla-crds rewrites it.\n{}",
            serde_yaml::to_string(&crd).unwrap()
        );
        let file = file_of(&crd);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&file, &generated).unwrap();
        }
        let committed = fs::read_to_string(&file).unwrap_or_default();
        assert!(committed == generated, "{} is stale: UPDATE=1 cargo test -p ottla-crds rewrites it", file.display());
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

#[test]
fn every_kind_can_be_found_the_way_users_know() {
    for crd in ottla_crds::all() {
        let names = &crd.spec.names;
        assert_eq!(names.categories.as_deref(), Some(&["kafka".to_owned()][..]));
        assert_eq!(names.short_names.as_ref().map(Vec::len), Some(1));
        let columns = crd.spec.versions[0].additional_printer_columns.as_deref().unwrap_or_default();
        assert_eq!(columns.last().map(|column| column.name.as_str()), Some("Age"), "{}", names.kind);
    }
}
