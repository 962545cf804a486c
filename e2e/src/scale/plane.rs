//! A real control plane of Kubernetes on loopback: etcd and kube-apiserver, and nothing else. There are no nodes, no
//! scheduler and no controllers, so it needs no rights and starts within seconds.
//!
//! Everybody may do everything. etcd does not wait for the disk: what is counted here are requests and bytes.

use anyhow::{Context, Result, ensure};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::eventually;
use crate::leash::{Folder, Leash, last_lines};
use crate::need::program;
use crate::target::free_port;
use crate::writes::Writes;

/// Who asks: each has a token and a kubeconfig. All but the first have the priority of ServiceAccounts.
const USERS: [(&str, &str); 3] =
    [(ADMIN, "system:masters"), (OPERATOR, "system:serviceaccounts"), (BROKER, "system:serviceaccounts")];
/// Who sets the scene.
pub const ADMIN: &str = "admin";
/// The operators.
pub const OPERATOR: &str = "operator";
/// The brokers, and those who only count.
pub const BROKER: &str = "broker";

/// Of a process that failed.
pub const LINES: usize = 12;
const STARTS_WITHIN: Duration = Duration::from_secs(120);

/// etcd and the API server. They end with this.
pub struct Plane {
    etcd: Leash,
    api: Option<Leash>,
    program: PathBuf,
    ports: Ports,
    folder: Folder,
}

struct Ports {
    api: u16,
    etcd: u16,
    etcd_peers: u16,
}

/// What the API server says of itself.
#[derive(Clone, Debug)]
pub struct Told {
    /// Who has written what.
    pub writes: Writes,
    /// The size of etcd's file in bytes.
    pub etcd: u64,
}

impl Plane {
    /// Starts both, and waits until the API server is ready.
    pub async fn start() -> Result<Plane> {
        let program = program("kube").context("there is no kube: e2e/cluster/build makes it")?;
        let folder = Folder::new()?;
        let ports = Ports { api: free_port()?, etcd: free_port()?, etcd_peers: free_port()? };
        let path = folder.path();
        let tokens = USERS.map(|(name, group)| format!("{name}-token,{name},{name},{group}\n"));
        std::fs::write(path.join("tokens"), tokens.concat())?;
        for (name, _) in USERS {
            std::fs::write(kubeconfig_in(path, name), kubeconfig(ports.api, name))?;
        }
        let mut key = Command::new("openssl");
        let made = key.args(["genrsa", "-out"]).arg(path.join("sa.key")).arg("2048").output()?;
        ensure!(made.status.success(), "openssl: {}", String::from_utf8_lossy(&made.stderr));

        let (clients, peers) = (at(ports.etcd), at(ports.etcd_peers));
        let mut etcd = Command::new(&program);
        etcd.args(["etcd", "--unsafe-no-fsync", "--log-level", "error", "--quota-backend-bytes", "8000000000"]);
        etcd.arg("--data-dir").arg(path.join("etcd"));
        etcd.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        etcd.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        etcd.args(["--initial-cluster", &format!("default={peers}")]);
        let etcd = Leash::start(&etcd, &path.join("etcd.log"))?;
        let mut plane = Plane { etcd, api: None, program, ports, folder };
        plane.start_api().await?;
        Ok(plane)
    }

    /// Starts the API server, and waits until it is ready.
    pub async fn start_api(&mut self) -> Result<()> {
        let path = self.folder.path();
        let mut api = Command::new(&self.program);
        api.args(["kube-apiserver", "--etcd-servers", &at(self.ports.etcd)]);
        api.args([
            "--bind-address",
            "127.0.0.1",
            "--advertise-address",
            "127.0.0.1",
            "--endpoint-reconciler-type",
            "none",
        ]);
        api.args(["--secure-port", &self.ports.api.to_string(), "--service-cluster-ip-range", "10.96.0.0/16"]);
        api.arg("--cert-dir").arg(path.join("certificates")).arg("--token-auth-file").arg(path.join("tokens"));
        api.args(["--authorization-mode", "AlwaysAllow", "--disable-admission-plugins", "ServiceAccount"]);
        api.args(["--service-account-issuer", "https://kubernetes.default.svc"]);
        for flag in ["--service-account-key-file", "--service-account-signing-key-file"] {
            api.arg(flag).arg(path.join("sa.key"));
        }
        let api = self.api.insert(Leash::start(&api, &path.join("api.log"))?);
        let client = client(&kubeconfig_in(path, ADMIN)).await?;
        let ready = async || {
            ensure!(api.runs(), "the API server ended: {}", last_lines(&path.join("api.log"), LINES));
            Ok(client.request_text(http::Request::get("/readyz").body(Vec::new())?).await.ok())
        };
        eventually(STARTS_WITHIN, "the API server to be ready", ready).await.map(drop)
    }

    /// Ends the API server as a crash would.
    pub fn kill_api(&mut self) -> Result<()> {
        self.api.take().context("it runs")?.end(Signal::KILL)
    }

    /// A client that asks as this user.
    pub async fn client(&self, user: &str) -> Result<Client> {
        client(&self.kubeconfig(user)).await
    }

    /// The kubeconfig of this user.
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        kubeconfig_in(self.folder.path(), user)
    }

    /// The folder of everything that runs here.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The processes of the API server and of etcd.
    pub fn processes(&self) -> Result<[(&'static str, i32); 2]> {
        let api = self.api.as_ref().context("it runs")?;
        Ok([("API server", api.pid()), ("etcd", self.etcd.pid())])
    }
}

impl Told {
    /// What the API server says of itself now.
    pub async fn now(client: &Client) -> Result<Told> {
        let metrics = client.request_text(http::Request::get("/metrics").body(Vec::new())?).await?;
        let size = metrics.lines().find(|line| line.starts_with("apiserver_storage_size_bytes"));
        let size = size.and_then(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        Ok(Told { writes: Writes::parse(&metrics)?, etcd: size.unwrap_or_default() as u64 })
    }
}

async fn client(kubeconfig: &Path) -> Result<Client> {
    let config = Kubeconfig::read_from(kubeconfig)?;
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

fn kubeconfig_in(folder: &Path, user: &str) -> PathBuf {
    folder.join(format!("{user}.kubeconfig"))
}

/// The certificate is the server's own, so nobody checks it.
fn kubeconfig(port: u16, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
         clusters: [{{ name: here, cluster: {{ server: 'https://127.0.0.1:{port}', insecure-skip-tls-verify: true }} }}]\n\
         contexts: [{{ name: here, context: {{ cluster: here, user: {user}, namespace: {} }} }}]\n\
         users: [{{ name: {user}, user: {{ token: {user}-token }} }}]\n",
        super::NAMESPACE
    )
}

fn at(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
