//! The laptop's keys and certificates: files of what the operator keeps in Secrets, as pods have them mounted.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use ottla_crds::{KafkaCluster, names};
use tokio::time::sleep;

/// How often the Secrets are looked at: the kubelet takes longer.
const LOOK: Duration = Duration::from_secs(5);

/// Keeps the files as the Secrets are, for ever.
pub async fn follow(client: Client, namespace: &str, cluster: &str, folder: PathBuf) {
    loop {
        sleep(LOOK).await;
        if let Err(error) = write(&client, namespace, cluster, &folder).await {
            tracing::warn!(error = format!("{error:#}"), "failed to write the keys of the brokers: trying again");
        }
    }
}

/// Writes the files once. Without Secrets it writes none.
///
/// # Errors
/// When a Secret can't be read or a file can't be written.
pub async fn write(client: &Client, namespace: &str, cluster: &str, folder: &Path) -> anyhow::Result<()> {
    let clusters: Api<KafkaCluster> = Api::namespaced(client.clone(), namespace);
    let Some(object) = clusters.get_opt(cluster).await? else { return Ok(()) };
    let own = [
        ("brokers".to_owned(), names::broker_certificates(cluster)),
        ("cluster-ca".to_owned(), names::cluster_ca_cert(cluster)),
        ("clients-ca".to_owned(), names::clients_ca_cert(cluster)),
    ];
    let of_listeners = object.spec.listeners.iter().filter_map(|listener| {
        let secret = listener.tls.as_ref()?.secret_ref.as_ref()?;
        Some((format!("listeners/{}", listener.name), secret.name.clone()))
    });
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let wanted: BTreeMap<String, String> = own.into_iter().chain(of_listeners).collect();
    for (name, secret) in wanted {
        let Some(secret) = secrets.get_opt(&secret).await? else { continue };
        let folder = folder.join(name);
        for (file, content) in secret.data.unwrap_or_default() {
            replace(&folder, &file, &content.0)?;
        }
    }
    Ok(())
}

/// Replaces a file as a whole, if its content differs. Only this user can read it.
fn replace(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let path = folder.join(name);
    if std::fs::read(&path).is_ok_and(|present| present == content) {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let new = folder.join(format!(".{name}.new"));
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_nobody_else_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("brokers");
        for content in ["one", "another", "another"] {
            replace(&keys, "0.key", content.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(keys.join("0.key")).unwrap(), content);
        }
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&keys), mode(&keys.join("0.key"))), (0o700, 0o600));
        assert_eq!(std::fs::read_dir(&keys).unwrap().count(), 1, "no file is left over");
    }
}
