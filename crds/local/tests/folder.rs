//! The folder store: what a restart finds, what a crash leaves, and what stops a start.

use std::path::Path;

use anyhow::{Context, Result};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt};
use ottla_crds::names;
use ottla_local_api::{Server, StartError, Store};
use serde_json::{Value, json};

fn start(folder: &Path) -> Result<Server, StartError> {
    let crd = serde_yaml::from_str(include_str!("gadget.yaml")).expect("the definition is well-formed");
    Server::new(Store::Folder(folder.to_owned()), vec![crd])
}

fn resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("test.ottla.io", "v1", "Gadget"), "gadgets")
}

fn gadgets(client: &Client) -> Api<DynamicObject> {
    Api::default_namespaced_with(client.clone(), &resource())
}

fn gadget(name: &str, spec: Value) -> DynamicObject {
    DynamicObject::new(name, &resource()).data(json!({ "spec": spec }))
}

fn file(folder: &Path, path: &str) -> Result<Value> {
    let text = std::fs::read(folder.join(path)).with_context(|| format!("failed to read {path}"))?;
    Ok(serde_yaml::from_slice(&text)?)
}

fn put(folder: &Path, path: &str, text: &str) -> Result<()> {
    let path = folder.join(path);
    std::fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
    Ok(std::fs::write(path, text)?)
}

#[tokio::test]
async fn a_restart_finds_every_object_as_it_was() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = start(folder.path())?;
    let api = gadgets(&server.client("default"));
    api.create(&PostParams::default(), &gadget("a", json!({"partitions": 3}))).await?;
    api.create(&PostParams::default(), &gadget("gone", json!({"partitions": 1}))).await?;
    api.delete("gone", &DeleteParams::default()).await?;
    let status = Patch::Merge(json!({"status": {"replicas": 2}}));
    let before = api.patch_status("a", &PatchParams::default(), &status).await?;
    let written = file(folder.path(), "gadgets/default/a.yaml")?;
    assert_eq!(written["spec"]["partitions"], 3);
    assert!(written["metadata"]["managedFields"].is_string(), "people need not read who owns which field");
    drop((server, api));

    let server = restart(folder.path()).await?;
    let api = gadgets(&server.client("default"));
    let mut after = api.get("a").await?;
    assert!(version(&after)? > version(&before)?, "a version of the last run must not come back");
    after.metadata.resource_version.clone_from(&before.metadata.resource_version);
    assert_eq!(after, before);
    assert_eq!(api.list(&ListParams::default()).await?.items.len(), 1);
    Ok(())
}

/// The lock goes with the last task of the old server, which the runtime drops in its own time.
async fn restart(folder: &Path) -> Result<Server> {
    let mut interval = tokio::time::interval(std::time::Duration::from_millis(2));
    let trying = async {
        loop {
            interval.tick().await;
            match start(folder) {
                Err(StartError::Folder(ottla_local_api::FolderError::InUse(_))) => {}
                other => return other,
            }
        }
    };
    Ok(tokio::time::timeout(std::time::Duration::from_secs(120), trying).await??)
}

fn version(object: &DynamicObject) -> Result<u64> {
    Ok(object.resource_version().context("it has a version")?.parse()?)
}

#[tokio::test]
async fn a_second_process_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let _first = start(folder.path())?;
    let refused = start(folder.path()).expect_err("the folder is locked");
    assert_eq!(refused.to_string(), format!("the folder {} is in use by another process", folder.path().display()));
    Ok(())
}

/// The Lease of a broker whose n-th renewal this is.
fn renewal(n: u32) -> Value {
    let annotations = json!({
        "ottla.io/incarnation": "7",
        names::SEEN_ANNOTATION: format!("{}", 100 + n),
        names::TICKS_ANNOTATION: format!("1/{n}"),
    });
    json!({
        "metadata": {"name": "broker-0", "annotations": annotations},
        "spec": {"holderIdentity": "0", "renewTime": format!("2026-01-01T00:00:0{n}.000000Z")},
    })
}

#[tokio::test]
async fn a_renewal_of_a_lease_stays_in_memory_until_anything_else_of_it_changes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = start(folder.path())?;
    let api: Api<Lease> = Api::default_namespaced(server.client("default"));
    api.create(&PostParams::default(), &serde_json::from_value(renewal(0))?).await?;
    let on_disk = || -> Result<Value> {
        let Value::Object(mut lease) = file(folder.path(), "leases/default/broker-0.yaml")? else {
            anyhow::bail!("no object")
        };
        Ok(json!({"annotations": lease["metadata"]["annotations"].take(), "spec": lease["spec"].take()}))
    };
    let as_of = |n: u32| json!({"annotations": renewal(n)["metadata"]["annotations"], "spec": renewal(n)["spec"]});
    let renewed = api.patch("broker-0", &PatchParams::default(), &Patch::Merge(renewal(2))).await?;
    let shown = renewed.spec.and_then(|spec| spec.renew_time).context("it was renewed")?;
    assert_eq!(shown.0.to_string(), "2026-01-01T00:00:02Z");
    assert_eq!(renewed.metadata.annotations.context("it has annotations")?[names::TICKS_ANNOTATION], "1/2");
    assert_eq!(on_disk()?, as_of(0));
    let restart = json!({"metadata": {"annotations": {"ottla.io/incarnation": "8"}}});
    api.patch("broker-0", &PatchParams::default(), &Patch::Merge(restart)).await?;
    let mut restarted = as_of(2);
    restarted["annotations"]["ottla.io/incarnation"] = "8".into();
    assert_eq!(on_disk()?, restarted, "what was renewed in memory goes along");
    Ok(())
}

#[tokio::test]
async fn a_file_written_by_hand_is_completed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    put(
        folder.path(),
        "gadgets/team/hand.yaml",
        "apiVersion: test.ottla.io/v1\nkind: Gadget\nmetadata: {name: hand}\nspec: {partitions: 2}\n",
    )?;
    let server = start(folder.path())?;
    let api: Api<DynamicObject> = Api::namespaced_with(server.client("default"), "team", &resource());
    let found = api.get("hand").await?;
    assert_eq!(found.data["spec"]["cluster"], "main");
    assert!(found.uid().is_some() && found.namespace().as_deref() == Some("team"));
    api.create(&PostParams::default(), &gadget("beside", json!({"partitions": 1}))).await?;
    Ok(())
}

#[tokio::test]
async fn a_wrong_file_stops_the_start_and_names_the_field() -> Result<()> {
    let head = "apiVersion: test.ottla.io/v1\nkind: Gadget\nmetadata: {name: a}\n";
    let cases = [
        (format!("{head}spec: {{partitions: 0}}\n"), "spec.partitions: Invalid value: 0"),
        (format!("{head}spec: {{partitions: 1, size: 200}}\n"), "spec.size: Forbidden: size too big"),
        (format!("{head}spec: {{partitions: 1, bogus: 2}}\n"), "spec.bogus: unknown field"),
        (format!("{head}spec: ["), "at line 5 column 1"),
        (head.replace("name: a", "name: b"), "metadata.name: \"b\" does not match the file's place, \"a\""),
        (head.replace("Gadget", "Gizmo") + "spec: {partitions: 1}\n", "kind: Invalid value: \"Gizmo\": must be Gadget"),
        ("- 1\n".to_owned(), "not a JSON object"),
    ];
    for (text, expected) in cases {
        let folder = tempfile::tempdir()?;
        put(folder.path(), "gadgets/default/a.yaml", &text)?;
        let refused = start(folder.path()).expect_err(&text).to_string();
        let file = folder.path().join("gadgets/default/a.yaml").display().to_string();
        assert!(refused.starts_with(&file) && refused.contains(expected), "{refused}");
    }
    Ok(())
}

#[tokio::test]
async fn a_disk_that_refuses_a_write_refuses_the_request_and_changes_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = start(folder.path())?;
    let api = gadgets(&server.client("default"));
    // A file where the folder for the kind should be.
    put(folder.path(), "gadgets", "in the way")?;
    let refused = api.create(&PostParams::default(), &gadget("a", json!({"partitions": 1}))).await;
    assert!(matches!(&refused, Err(kube::Error::Api(status)) if status.code == 500), "{refused:?}");
    assert!(api.get_opt("a").await?.is_none());
    std::fs::remove_file(folder.path().join("gadgets"))?;
    api.create(&PostParams::default(), &gadget("a", json!({"partitions": 1}))).await?;
    Ok(())
}

#[cfg(unix)]
#[tokio::test]
async fn a_lease_is_renewed_while_the_disk_stands_still() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = start(folder.path())?;
    let client = server.client("default");
    let leases: Api<Lease> = Api::default_namespaced(client.clone());
    leases.create(&PostParams::default(), &serde_json::from_value(renewal(0))?).await?;

    // Who opens a pipe for writing waits until somebody reads from it.
    let pipe = folder.path().join(".unfinished-0");
    anyhow::ensure!(std::process::Command::new("mkfifo").arg(&pipe).status()?.success());
    let slow = tokio::spawn({
        let api = gadgets(&client);
        async move { api.create(&PostParams::default(), &gadget("slow", json!({"partitions": 1}))).await }
    });
    // All that comes before the disk happens on this thread, without waiting for anything.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    let (params, renewal) = (PatchParams::default(), Patch::Merge(renewal(2)));
    let renewed = leases.patch("broker-0", &params, &renewal);
    tokio::time::timeout(std::time::Duration::from_secs(60), renewed)
        .await
        .context("the renewal waits for the disk")??;
    assert!(gadgets(&client).get_opt("slow").await?.is_none(), "nobody sees what a crash could take back");

    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read(pipe)
    });
    assert!(slow.await?.is_err(), "a pipe cannot be synced");
    assert!(reader.join().is_ok());
    std::fs::remove_file(pipe)?;
    gadgets(&client).create(&PostParams::default(), &gadget("slow", json!({"partitions": 1}))).await?;
    Ok(())
}
