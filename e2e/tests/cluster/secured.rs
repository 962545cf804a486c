//! A plain cluster under load is restarted broker by broker, so that it is secured, and gets new keys, while every
//! record arrives once and in order.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use ottla_e2e::cluster::LIMIT;
use ottla_e2e::cluster::bed::Bed;
use ottla_e2e::cluster::namespace::Namespace;
use ottla_e2e::login::{Credentials, kafka_python, user};
use ottla_e2e::need::{Need, met};
use ottla_e2e::wait::until;

use crate::chaos::Chaos;

/// The listeners of a cluster that is being secured, with more of the first one.
fn listeners(internal: &str) -> String {
    let by_password = r#""tls":{},"authentication":[{"type":"scram-sha-512"}]"#;
    let by_certificate = r#""tls":{},"authentication":[{"type":"tls"}]"#;
    let issuers = format!(r#"[{{"kubernetes":{{}},"audience":"{AUDIENCE}"}}]"#);
    let by_token = format!(r#""tls":{{}},"authentication":[{{"type":"oauthbearer","issuers":{issuers}}}]"#);
    format!(
        r#"[{{"name":"internal","port":9092{internal}}},
            {{"name":"external","port":9094,"type":"nodePort","insecure":true}},
            {{"name":"apps","port":9095,"type":"nodePort",{by_password}}},
            {{"name":"mtls","port":9096,"type":"nodePort",{by_certificate}}},
            {{"name":"tokens","port":9097,"type":"nodePort",{by_token}}}]"#
    )
}

/// For whom the tokens of ServiceAccounts are.
const AUDIENCE: &str = "kafka.test";

/// A cluster that was plain, and its users.
pub struct Secured<'a> {
    namespace: &'a Namespace<'a>,
    /// Where its users' credentials are written.
    folder: PathBuf,
    apps: String,
    mtls: String,
    tokens: String,
}

impl Drop for Secured<'_> {
    fn drop(&mut self) {
        // What is left is in the system's folder for such files.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl<'a> Secured<'a> {
    /// Waits while the operator restarts the brokers, so that they get certificates, and adds users who authenticate.
    /// Brokers replicate meanwhile.
    pub fn begin(chaos: &'a Chaos<'_>) -> Result<Secured<'a>> {
        let namespace = &chaos.namespace;
        let authority = r#"{"overlapDays":0}"#;
        let security = format!(r#"{{"clusterCa":{authority},"clientsCa":{authority}}}"#);
        patch(namespace, &format!(r#"{{"security":{security},"listeners":{}}}"#, listeners("")))?;
        namespace.satisfies("get statefulset kafka-broker -o yaml", |set| set.contains("tls-cluster-ca"))?;
        chaos.load.go_on()?;
        let progressing = "{.status.conditions[?(@.type==\"Progressing\")].reason}";
        namespace.prints(&format!("get okc/kafka -o jsonpath={progressing}"), "Settled")?;
        namespace.wait_until_whole()?;
        // The status shows the last one's address a moment after it is back.
        let ports = "{.status.brokers[*].endpoints[?(@.listener==\"replication\")].port}";
        namespace.prints(&format!("get okc/kafka -o jsonpath={ports}"), "9091 9091 9091")?;
        namespace.ready("okc/kafka", "Ready")?;

        // From now on nothing needs a restart: neither TLS on the listener that brokers used before, nor users.
        let internal = r#","tls":{},"authentication":[{"type":"tls"}]"#;
        patch(namespace, &format!(r#"{{"listeners":{}}}"#, listeners(internal)))?;
        chaos.load.go_on()?;
        namespace.apply(&user("orders", "kafka", "scram"))?;
        namespace.apply(&user("billing", "kafka", "tls"))?;
        namespace.kubectl("create serviceaccount shop")?;
        namespace.ready("kafkauser --all", "Ready")?;
        let folder = std::env::temp_dir().join(namespace.name());
        std::fs::create_dir_all(&folder)?;
        Ok(Secured {
            namespace,
            folder,
            apps: namespace.bootstrap("apps")?,
            mtls: namespace.bootstrap("mtls")?,
            tokens: namespace.bootstrap("tokens")?,
        })
    }

    /// What the Secret of a user has now, as settings of kafka-python, which stay as they are.
    fn settings(&self, name: &str) -> Result<Vec<String>> {
        let kubectl = |line: &str| self.namespace.kubectl(line);
        let folder = tempfile::tempdir_in(&self.folder)?.keep();
        let credentials = Credentials { user: name, folder: &folder, kubectl: &kubectl };
        if name == "orders" { credentials.by_password("SCRAM-SHA-512") } else { credentials.by_certificate() }
    }

    /// The same for a ServiceAccount: a new token for this audience.
    fn by_token(&self, audience: &str) -> Result<Vec<String>> {
        let token = self.namespace.kubectl(&format!("create token shop --audience {audience} --duration 20m"))?;
        let mut settings = self.settings("orders")?;
        settings.truncate(2);
        settings.extend(["sasl_mechanism=OAUTHBEARER".to_owned(), format!("sasl_token={}", token.trim())]);
        Ok(settings)
    }

    /// What clients of each kind need to log in, with where they do.
    pub fn logins(&self) -> Result<[(&str, Vec<String>); 3]> {
        Ok([
            (&self.apps, self.settings("orders")?),
            (&self.mtls, self.settings("billing")?),
            (&self.tokens, self.by_token(AUDIENCE)?),
        ])
    }

    /// Asks for new keys of both authorities.
    pub fn rotate(&self) -> Result<()> {
        let next = r#"{"keyGeneration":2}"#;
        patch(self.namespace, &format!(r#"{{"security":{{"clusterCa":{next},"clientsCa":{next}}}}}"#))
    }

    /// Waits until everybody is to trust them.
    pub fn rotates(&self) -> Result<()> {
        let phases = "get okc kafka -o jsonpath={.status.authorities[*].phase}";
        self.namespace.satisfies(phases, |said| !said.contains("Steady")).context("the beginning of the rotations")
    }

    /// Waits until nobody uses the former ones.
    pub fn is_rotated(&self) -> Result<()> {
        let state = "get okc kafka -o jsonpath={.status.authorities[*].phase}/{.status.authorities[*].keyGeneration}";
        self.namespace.satisfies(state, |said| said == "Steady Steady/2 2").context("the end of the rotations")
    }
}

fn patch(namespace: &Namespace<'_>, spec: &str) -> Result<()> {
    let patch = format!(r#"{{"spec":{spec}}}"#).split_whitespace().collect::<String>();
    namespace.kubectl(&format!("patch okc kafka --type merge -p {patch}")).map(drop)
}

/// Waits until clients are served with each of these.
pub fn serve(logins: &[(&str, Vec<String>)]) -> Result<()> {
    for (bootstrap, settings) in logins {
        until(LIMIT, "the client to be served", || Ok((kafka_python(bootstrap, settings)? == "ok").then_some(())))?;
    }
    Ok(())
}

#[test]
fn a_plain_cluster_is_secured_and_its_keys_are_rotated_under_load() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    if !met(&[Need::Python]) {
        return Ok(());
    }
    let mut chaos = Chaos::begin(&bed, "secured")?;
    let began = Instant::now();
    let secured = Secured::begin(&chaos)?;
    let (starts, restarted) = (chaos.namespace.starts()?, began.elapsed());
    let former = secured.logins()?;
    serve(&former)?;
    ensure!(kafka_python(&secured.tokens, &secured.by_token("another")?)? == "refused", "a token for somebody else");

    let began = Instant::now();
    secured.rotate()?;
    secured.is_rotated()?;
    let rotated = began.elapsed();
    serve(&secured.logins()?)?;
    let [(_, password), (_, certificate), _] = &former;
    ensure!(kafka_python(&secured.mtls, certificate)? == "refused", "a certificate of the former key");

    // A Secret that is gone is made again, with another password.
    chaos.namespace.kubectl("delete secret orders")?;
    chaos.namespace.satisfies("get secrets", |all| all.contains("\norders "))?;
    serve(&secured.logins()?[..1])?;
    let mut former = secured.settings("orders")?;
    former.pop();
    former.extend(password.last().cloned());
    ensure!(kafka_python(&secured.apps, &former)? == "refused", "the former password");
    let certificate = secured.settings("billing")?;
    chaos.namespace.kubectl("delete kafkauser billing")?;
    until(LIMIT, "a user that is gone to be refused", || {
        Ok((kafka_python(&secured.mtls, &certificate)? == "refused").then_some(()))
    })?;
    ensure!(chaos.namespace.starts()? == starts, "a broker was restarted");
    drop(secured);
    chaos.tell(format!("secured by restarts in {restarted:.0?}, both keys rotated without any in {rotated:.0?}"));
    chaos.judge().map(drop)
}
