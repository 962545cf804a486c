//! The objects of a cluster as the API server shows them, into a file of a folder in which the last ones stay.

use std::fmt::Debug;
use std::fs::File;
use std::io::{BufWriter, Write, stdout};
use std::path::Path;

use anyhow::Context;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client, Resource};
use ottla_broker::coord::restore::again;
use ottla_crds::KafkaCluster;
use serde::de::DeserializeOwned;

use super::print_all;

/// Prints the objects, or writes a new file into the folder, of which the last `keep` stay.
///
/// # Errors
/// One sentence: the API server refuses, or the folder can't be written.
pub async fn run(cluster: &str, into: Option<&Path>, keep: usize) -> anyhow::Result<()> {
    let client = crate::broker::client().await?;
    let clusters: Api<KafkaCluster> = Api::default_namespaced(client.clone());
    let object = clusters.get(cluster).await.with_context(|| format!("failed to read the KafkaCluster {cluster}"))?;
    let (topics, users) = (list(&client).await?, list(&client).await?);
    // Last: a topic whose assignments were left out would be another one when it is created.
    let objects = again(&object, &topics, &users, &list(&client).await?);
    let Some(folder) = into else { return print_all(&mut stdout().lock(), &objects) };
    let file = folder.join(format!("{cluster}-{}.json", Timestamp::now().strftime("%Y%m%dT%H%M%SZ")));
    // Half a file under a whole one's name would be taken for a backup.
    let part = file.with_extension("part");
    let mut out = BufWriter::new(File::create(&part).with_context(|| format!("failed to write {}", part.display()))?);
    print_all(&mut out, &objects)?;
    out.into_inner()?.sync_all()?;
    std::fs::rename(&part, &file).with_context(|| format!("failed to write {}", file.display()))?;
    writeln!(stdout(), "{}", file.display())?;
    remove_old(folder, cluster, keep)
}

async fn list<K>(client: &Client) -> anyhow::Result<Vec<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::default_namespaced(client.clone());
    let listed = api.list(&ListParams::default()).await;
    Ok(listed.with_context(|| format!("failed to list {}", K::plural(&())))?.items)
}

/// Removes all files of this cluster but the last `keep`: their names sort by time.
fn remove_old(folder: &Path, cluster: &str, keep: usize) -> anyhow::Result<()> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let time = name.strip_prefix(cluster).and_then(|rest| rest.strip_prefix('-')?.strip_suffix(".json"));
        // Other clusters' names may begin like this one.
        if time.is_some_and(|time| time.len() == "20261125T030000Z".len() && !time.contains('-')) {
            files.push(path);
        }
    }
    files.sort();
    for old in files.iter().rev().skip(keep) {
        std::fs::remove_file(old).with_context(|| format!("failed to delete {}", old.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_files_of_this_cluster_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mut all = vec!["notes.txt", "prod-eu-20200101T030000Z.json", "prod-20200101T030000Z.part"];
        all.extend(["prod-20261123T030000Z.json", "prod-20261124T030000Z.json", "prod-20261125T030000Z.json"]);
        all.iter().for_each(|name| std::fs::write(folder.path().join(name), "").unwrap());
        remove_old(folder.path(), "prod", 2).unwrap();
        let left = |name: &&&str| folder.path().join(name).exists();
        let gone: Vec<&&str> = all.iter().filter(|name| !left(name)).collect();
        assert_eq!(gone, [&"prod-20261123T030000Z.json"]);
    }
}
