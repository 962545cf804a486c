//! A plain cluster under load is secured by a restart of each broker, and from then on without any: a password changes,
//! a user goes, the API server is away for a while, and everybody gets certificates of new keys, while every record
//! arrives once and in order: those of plain clients, who are there from the beginning, and those of clients under TLS
//! who log in by password and by certificate. It has the cluster alone, and so comes with the last.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use ottla_e2e::cluster::bed::Bed;
use ottla_e2e::cluster::namespace::Namespace;
use ottla_e2e::cluster::{LIMIT, judge};
use ottla_e2e::login::{Credentials, kafka_python, user};
use ottla_e2e::need::{Need, met};
use ottla_e2e::wait::until;
use ottla_e2e::witness::{Door, Witnesses};

use crate::chaos::{BROKERS, Chaos, TOPIC};

/// For whom the tokens of ServiceAccounts are.
const AUDIENCE: &str = "kafka.test";

/// The topic of the clients under TLS.
const UNDER_TLS: &str = "under-tls";
/// Between two records of such a client.
const PACE: Duration = Duration::from_millis(20);

/// Between two looks at the phases of rotations: shorter than the two seconds that the operator leaves between them.
const LOOK: Duration = Duration::from_millis(200);

/// Where a client logs in, and what it needs for that.
type Login<'a> = (&'a str, Vec<String>);

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

/// A cluster that was plain, and its users: `orders` and `till` with passwords, `billing`, `leaver` and `ledger` with
/// certificates, and a ServiceAccount.
struct Secured<'a> {
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
    fn begin(chaos: &'a Chaos<'_>) -> Result<Secured<'a>> {
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
        for (name, authentication) in
            [("orders", "scram"), ("till", "scram"), ("billing", "tls"), ("leaver", "tls"), ("ledger", "tls")]
        {
            namespace.apply(&user(name, "kafka", authentication))?;
        }
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

    /// Writes what Java's clients log in with as this user into a file: always the same.
    fn saved(&self, user: &str) -> Result<PathBuf> {
        let kubectl = |line: &str| self.namespace.kubectl(line);
        Credentials { user, folder: &self.folder, kubectl: &kubectl }.saved("client.properties")
    }

    /// What [`Secured::settings`] says, for a ServiceAccount: a new token for this audience, which outlives the story.
    fn by_token(&self, audience: &str) -> Result<Vec<String>> {
        let token = self.namespace.kubectl(&format!("create token shop --audience {audience} --duration 60m"))?;
        let mut settings = self.settings("orders")?;
        settings.truncate(2);
        settings.extend(["sasl_mechanism=OAUTHBEARER".to_owned(), format!("sasl_token={}", token.trim())]);
        Ok(settings)
    }

    /// What those need who may log in: by password, certificate and token.
    fn logins(&self) -> Result<[Login<'_>; 3]> {
        Ok([
            (&self.apps, self.settings("orders")?),
            (&self.mtls, self.settings("billing")?),
            (&self.tokens, self.by_token(AUDIENCE)?),
        ])
    }

    /// Changes a password and deletes a user; what lets nobody in from then on.
    fn revoke(&self) -> Result<[Login<'_>; 2]> {
        let former = [(&*self.apps, self.settings("orders")?), (&*self.mtls, self.settings("leaver")?)];
        serve(&former)?;
        // A Secret that is gone is made again, with another password.
        self.namespace.kubectl("delete secret orders")?;
        self.namespace.satisfies("get secrets", |all| all.contains("\norders "))?;
        self.namespace.kubectl("delete kafkauser leaver")?;
        for (bootstrap, settings) in &former {
            until(LIMIT, "a client to be refused", || {
                Ok((kafka_python(bootstrap, settings)? == "refused").then_some(()))
            })?;
        }
        Ok(former)
    }

    /// Asks for new keys of both authorities, and waits until everybody is to trust them.
    fn rotate(&self) -> Result<()> {
        let next = r#"{"keyGeneration":2}"#;
        patch(self.namespace, &format!(r#"{{"security":{{"clusterCa":{next},"clientsCa":{next}}}}}"#))?;
        let phases = "get okc kafka -o jsonpath={.status.authorities[*].phase}";
        self.namespace.satisfies(phases, |said| !said.contains("Steady")).context("the beginning of the rotations")
    }

    /// Does something, and looks meanwhile at the phases of both authorities: those that the status has shown, such as
    /// `cluster Renew`.
    fn phases_during<T>(&self, during: impl FnOnce() -> Result<T>) -> Result<(T, BTreeSet<String>)> {
        struct Ends<'a>(&'a AtomicBool);
        impl Drop for Ends<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let (namespace, is_over) = (self.namespace, AtomicBool::new(false));
        thread::scope(|scope| {
            let looking = scope.spawn(|| {
                let mut seen = BTreeSet::new();
                while !is_over.load(Ordering::Relaxed) {
                    // The API server may be away.
                    let phases = namespace.field("okc/kafka", ".status.authorities[*].phase").unwrap_or_default();
                    let named = ["cluster", "clients"].into_iter().zip(phases.split_whitespace());
                    seen.extend(named.map(|(authority, phase)| format!("{authority} {phase}")));
                    thread::sleep(LOOK);
                }
                seen
            });
            let ends = Ends(&is_over);
            let done = during();
            drop(ends);
            let seen = looking.join().map_err(|_| anyhow!("the look at the phases panicked"))?;
            Ok((done?, seen))
        })
    }

    /// Waits until nobody uses the former keys. In every phase the clients under TLS connect again.
    fn is_rotated(&self, clients: &UnderTls<'_>) -> Result<()> {
        let state = "get okc kafka -o jsonpath={.status.authorities[*].phase}/{.status.authorities[*].keyGeneration}";
        let mut last = String::new();
        until(LIMIT, "the end of the rotations", || {
            // The API server may have been away until now.
            let Ok(said) = self.namespace.kubectl(state) else { return Ok(None) };
            if said != last {
                clients.connect_again().with_context(|| format!("in the phases {said}"))?;
                last = said;
            }
            Ok((last == "Steady Steady/2 2").then_some(()))
        })
        .with_context(|| format!("the last phases were {last}"))
    }
}

/// Clients in Java under TLS whom the history checker judges: `till` logs in by its password, `ledger` by its
/// certificate. Nobody revokes what they have, so nothing that happens may be an error to them.
struct UnderTls<'a> {
    secured: &'a Secured<'a>,
    load: Witnesses,
}

impl<'a> UnderTls<'a> {
    fn begin(secured: &'a Secured<'_>, plain: &str) -> Result<UnderTls<'a>> {
        const PARTITIONS: u32 = 6;
        secured.namespace.topic(UNDER_TLS, PARTITIONS)?;
        let doors = [("till", &secured.apps), ("ledger", &secured.mtls)];
        let doors =
            doors.map(|(user, bootstrap)| Ok(Door { bootstrap: bootstrap.clone(), login: secured.saved(user)? }));
        let doors = doors.into_iter().collect::<Result<Vec<_>>>()?;
        let load = Witnesses::begin_at(plain, UNDER_TLS, PARTITIONS, PACE, &doors)?;
        Ok(UnderTls { secured, load })
    }

    /// All connect again, with what their Secrets have now.
    fn connect_again(&self) -> Result<()> {
        for user in ["till", "ledger"] {
            self.secured.saved(user)?;
        }
        self.load.connect_again()
    }
}

fn patch(namespace: &Namespace<'_>, spec: &str) -> Result<()> {
    let patch = format!(r#"{{"spec":{spec}}}"#).split_whitespace().collect::<String>();
    namespace.kubectl(&format!("patch okc kafka --type merge -p {patch}")).map(drop)
}

/// Waits until clients are served with each of these.
fn serve(logins: &[Login<'_>]) -> Result<()> {
    for (bootstrap, settings) in logins {
        until(LIMIT, "the client to be served", || Ok((kafka_python(bootstrap, settings)? == "ok").then_some(())))?;
    }
    Ok(())
}

fn are_refused(logins: &[Login<'_>], what: &str) -> Result<()> {
    for (bootstrap, settings) in logins {
        ensure!(kafka_python(bootstrap, settings)? == "refused", "{what}");
    }
    Ok(())
}

/// How long the API server stays away: `OTTLA_OUTAGE_SECONDS`, or a minute, which is several times what a Lease lasts.
fn outage() -> Result<Duration> {
    let seconds = std::env::var("OTTLA_OUTAGE_SECONDS").unwrap_or_else(|_| "60".into());
    Ok(Duration::from_secs(seconds.parse().context("OTTLA_OUTAGE_SECONDS")?))
}

/// Takes the API server away for a while, and kills a broker in the middle: its container starts again in its pod, with
/// what it knew, and serves what it led, for nobody is elected. All clients log in there again; none is replaced, for a
/// broker that has just started has no ids for new producers before it asks the API server. The pod's uid.
fn without_api_server(
    chaos: &Chaos<'_>,
    clients: &UnderTls<'_>,
    outage: Duration,
    check: impl Fn() -> Result<()>,
) -> Result<String> {
    let namespace = &chaos.namespace;
    let uid = namespace.pod_uid(namespace.busiest(TOPIC, BROKERS)?)?;
    namespace.tool(&["api", "stop"])?;
    let began = Instant::now();
    let pass = |until: Duration| -> Result<()> {
        while began.elapsed() < until {
            chaos.load.go_on()?;
            clients.load.go_on()?;
        }
        Ok(())
    };
    let passed = pass(outage / 2).and_then(|()| {
        namespace.signal("KILL", &uid)?;
        check()?;
        pass(outage)
    });
    namespace.tool(&["api", "start"])?;
    passed.map(|()| uid)
}

#[test]
fn a_plain_cluster_is_secured_and_keys_rotate_around_an_outage_of_the_api_server() -> Result<()> {
    let Some(bed) = Bed::alone()? else { return Ok(()) };
    if !met(&[Need::Python, Need::Java]) {
        return Ok(());
    }
    let outage = if bed.is_built_in() { Some(outage()?) } else { None };
    let mut chaos = Chaos::begin(&bed, "secured")?;
    let began = Instant::now();
    let secured = Secured::begin(&chaos)?;
    let (starts, restarted) = (chaos.namespace.starts()?, began.elapsed());
    let clients = UnderTls::begin(&secured, &chaos.namespace.bootstrap("external")?)?;
    let revoked = secured.revoke()?;
    clients.connect_again()?;
    let logins = secured.logins()?;
    serve(&logins)?;
    are_refused(&[(&secured.tokens, secured.by_token("another")?)], "a token for somebody else")?;

    let began = Instant::now();
    // On somebody else's cluster the API server stays.
    let check = || {
        serve(&logins)?;
        are_refused(&revoked, "a password or a user of before, after a restart without API server")
    };
    let (killed, phases) = secured.phases_during(|| {
        secured.rotate()?;
        let killed = outage.map(|outage| without_api_server(&chaos, &clients, outage, check)).transpose()?;
        secured.is_rotated(&clients)?;
        Ok(killed)
    })?;
    for phase in ["cluster TrustBoth", "cluster Renew", "clients TrustBoth", "clients Renew"] {
        ensure!(
            phases.contains(phase),
            "{phase} was not seen: both keys are to be trusted before one goes: {phases:?}"
        );
    }
    let rotated = began.elapsed();
    serve(&secured.logins()?)?;
    are_refused(&logins[1..2], "a certificate of the former key")?;
    are_refused(&revoked, "a password or a user of before")?;
    clients.connect_again().context("when the former keys are gone")?;
    let under_tls = clients.load;
    drop(secured);

    // The cluster is as it was, and as willing as before.
    chaos.namespace.ready("okc/kafka", "Ready")?;
    chaos.namespace.topic("afterwards", 3)?;
    chaos.load.go_on()?;
    under_tls.go_on()?;
    chaos.namespace.wait_until_whole()?;
    // The kubelet reports some seconds later than the operator needs to create a topic.
    let restarts = until(LIMIT, "the API to show which container was killed", || {
        let now = chaos.namespace.starts()?;
        let restarts: Vec<String> = now.into_iter().filter(|start| !starts.contains(start)).collect();
        let is_shown = |uid: &String| restarts.iter().any(|start| start.contains(uid));
        Ok(killed.as_ref().is_none_or(is_shown).then_some(restarts))
    })?;
    ensure!(restarts.len() == usize::from(killed.is_some()), "brokers were restarted: {restarts:?}");
    judge("under TLS, by password and by certificate", under_tls)?;
    let away = outage.unwrap_or_default();
    chaos.tell(format!(
        "secured by restarts in {restarted:.0?}, both keys rotated in {rotated:.0?}, {away:.0?} of it without API server"
    ));
    chaos.judge().map(drop)
}
