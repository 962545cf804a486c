//! Every command of every README: each has a row that says how it is proved, and a command without a row fails.
//!
//! What the machine allows is run as written, but for ports and folders. What takes a cluster, Docker or an hour is
//! typed by another test or by `.ci/run`, which the row names, and here it is seen to name only packages, programs,
//! features, tests and scripts that exist.

use anyhow::{Context, Result, ensure};
use ottla_e2e::need::{Need, met, program};
use ottla_e2e::readme::{broken_rows, commands};
use ottla_e2e::target::{Target, ottla_program};
use ottla_e2e::tools::Tools;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use How::{ByHand, Cargo, Run, TypedBy};

/// How a command is proved.
enum How {
    /// Run by this function.
    Run(fn(&str) -> Result<()>),
    /// Cargo's: its package, features, tests and programs exist, and the files know the words behind `--`.
    Cargo(&'static str),
    /// A file that types it, in these words.
    TypedBy(&'static str, &'static str),
    /// Needs a machine that no test has. Its scripts are there and are scripts.
    ByHand,
}

const CLUSTER: &str = "e2e/tests/cluster/main.rs";
const INSTALL: &str = "e2e/tests/cluster/install.rs";
const GUARDS: &str = "e2e/tests/cluster/guards.rs";
const ROLLS: &str = "e2e/tests/cluster/rolls.rs";
const SCALE: &str = "e2e/tests/cluster/scale.rs";
const EXAMPLE: &str = "e2e/tests/cluster/example.rs";
const X_CHAOS: &str = "e2e/tests/cluster/x_chaos.rs";
const CHARTS: &str = "e2e/tests/charts.rs";
const OPTIONS: &str = "ottla/src/options.rs";
/// That file types every command under this heading.
const SECURED: &str = "### A secured cluster";

/// README, the beginning of its command, and how that is proved.
const ROWS: &[(&str, &str, How)] = &[
    ("README.md", "cargo run -p ottla ", Cargo("")),
    ("README.md", "cargo test --workspace", Cargo("")),
    ("README.md", "kafka-topics.sh --bootstrap-server localhost:9092", Run(kafkas_tool)),
    ("README.md", "kubectl --server http://127.0.0.1:9080 get kafkatopics", Run(kubectl)),
    ("README.md", "kind create cluster", ByHand),
    ("README.md", "docker build -t ottla:0.1.0 . && kind load docker-image ottla:0.1.0", Run(image_is_this_version)),
    ("README.md", "helm install ottla-crds charts/ottla-crds --namespace", Run(helm)),
    ("README.md", "helm install ottla charts/ottla --namespace", Run(helm)),
    ("README.md", "kubectl create namespace kafka && kubectl config set-context", ByHand),
    ("README.md", "kubectl apply -f charts/ottla/examples/kind.yaml &&", Run(dry_run)),
    ("README.md", "kubectl get ottla ", TypedBy("charts/ottla/templates/NOTES.txt", "kubectl get ottla")),
    ("README.md", "kubectl exec quick-broker-0 -- ottla check --bootstrap quick-bootstrap:9092", Run(check)),
    (
        "README.md",
        "servers=$(kubectl get kafkacluster quick",
        TypedBy(INSTALL, "{.status.listeners[1].bootstrapServers}"),
    ),
    ("README.md", "echo 'BOS:delayed' | kcat", Run(kcat)),
    ("README.md", "kcat -b $servers -t hello -K: -C -e -q", Run(kcat)),
    ("README.md", "kubectl get kafkacluster quick -o jsonpath=", TypedBy(GUARDS, ".status.conditions[?(@.type==")),
    ("README.md", "helm upgrade ottla-crds charts/ottla-crds", Run(helm)),
    ("README.md", "kubectl apply -f charts/ottla/examples/secured.yaml &&", Run(dry_run)),
    ("README.md", "kubectl patch kafkacluster quick --type merge", Run(patch)),
    ("README.md", "kubectl delete kafkatopics,kafkaclusters --all", ByHand),
    ("README.md", "helm uninstall ottla ", TypedBy(X_CHAOS, "uninstall ottla-crds")),
    ("operator/README.md", "helm install ottla-crds charts/ottla-crds --namespace", Run(helm)),
    ("operator/README.md", "helm install ottla charts/ottla --namespace", Run(helm)),
    ("operator/README.md", "helm test ottla --namespace", TypedBy(INSTALL, "test ottla --namespace")),
    ("operator/README.md", "kubectl apply -f charts/ottla/examples/quick-start.yaml", Run(dry_run)),
    ("operator/README.md", "kubectl apply -f charts/ottla/examples/secured.yaml", Run(dry_run)),
    ("operator/README.md", "kubectl create serviceaccount billing", TypedBy(EXAMPLE, SECURED)),
    ("operator/README.md", "kubectl wait kafkacluster/shop", TypedBy(EXAMPLE, SECURED)),
    ("operator/README.md", "kubectl apply -f charts/ottla/examples/secured-clients.yaml", TypedBy(EXAMPLE, SECURED)),
    ("operator/README.md", "kubectl wait pod/admin", TypedBy(EXAMPLE, SECURED)),
    ("operator/README.md", "echo 'a book' | kubectl exec -i checkout", TypedBy(EXAMPLE, SECURED)),
    ("operator/README.md", "kubectl exec checkout", TypedBy(EXAMPLE, SECURED)),
    ("operator/README.md", "kubectl exec admin", TypedBy(EXAMPLE, SECURED)),
    ("operator/README.md", "kubectl exec billing", TypedBy(EXAMPLE, SECURED)),
    ("operator/README.md", "helm upgrade ottla-crds charts/ottla-crds", Run(helm)),
    ("operator/README.md", "helm upgrade ottla charts/ottla", Run(helm)),
    (
        "operator/README.md",
        r#"kubectl patch kafkacluster prod --type merge -p '{"spec":{"brokers":{"overrides":[{"broker":1,"state":"Fresh""#,
        TypedBy("e2e/tests/cluster/removal.rs", r#""state": "Fresh", "volume": old"#),
    ),
    (
        "operator/README.md",
        r#"kubectl patch kafkacluster prod --type merge -p '{"spec":{"pools""#,
        TypedBy("e2e/tests/cluster/pools.rs", r#"json!({ "pools": [fast("200Mi")] })"#),
    ),
    ("operator/README.md", "kubectl patch kafkacluster prod --type merge", Run(patch)),
    (
        "operator/README.md",
        "kubectl get kafkacluster prod -o jsonpath='{.status.rollout}'",
        TypedBy(ROLLS, "jsonpath={.status.rollout}"),
    ),
    ("operator/README.md", "kubectl delete kafkatopics,kafkaclusters --all", ByHand),
    ("operator/README.md", "helm uninstall ottla ", ByHand),
    ("operator/README.md", "helm uninstall ottla-crds", TypedBy(X_CHAOS, "uninstall ottla-crds")),
    ("operator/README.md", "kubectl delete crd kafka{clusters,", ByHand),
    (
        "operator/README.md",
        "kubectl scale kafkacluster prod --replicas=5",
        TypedBy(SCALE, "scale okc/kafka --replicas=5"),
    ),
    (
        "operator/README.md",
        "kubectl scale kafkacluster prod --replicas=0",
        TypedBy("e2e/tests/cluster/pools.rs", r#""brokers": { "replicas": 0"#),
    ),
    ("operator/README.md", "kubectl apply -f charts/ottla/examples/rebalance.yaml", Run(dry_run)),
    (
        "operator/README.md",
        "kubectl apply -f charts/ottla/examples/backup.yaml",
        TypedBy(CHARTS, "examples/backup.yaml"),
    ),
    ("operator/README.md", "kubectl create job now --from=cronjob/prod-backup", ByHand),
    ("operator/README.md", "kubectl get kafkarebalances", ByHand),
    ("operator/README.md", "kubectl patch kafkarebalance even", ByHand),
    ("operator/README.md", "kubectl get kafkacluster prod -o jsonpath='{.status.brokers", ByHand),
    (
        "operator/README.md",
        "for pod in $(kubectl get pod",
        TypedBy(OPTIONS, "do kubectl exec $pod -- ottla objects; done > copies"),
    ),
    (
        "operator/README.md",
        "kubectl exec -i prod-broker-0 -- ottla objects - < copies | kubectl create -f -",
        TypedBy(OPTIONS, "kubectl exec -i prod-broker-0 -- ottla objects - < copies | kubectl create -f -"),
    ),
    ("e2e/README.md", "e2e/get", TypedBy(".ci/run", "e2e/get")),
    ("e2e/README.md", "cargo test -p ottla-e2e --features librdkafka", Cargo("")),
    ("e2e/README.md", "OTTLA_E2E=kafka cargo test", Cargo("")),
    ("e2e/README.md", "UPDATE=1 OTTLA_E2E=kafka cargo test", Cargo("")),
    ("e2e/README.md", "OTTLA_CHAOS_SECONDS=300 cargo test", Cargo("e2e/tests/chaos/main.rs")),
    ("e2e/README.md", "OTTLA_CHAOS_SEED=1795248721360943360 cargo test", Cargo("e2e/tests/chaos/main.rs")),
    (
        "e2e/README.md",
        "OTTLA_CHAIN_RECORDS=100000 OTTLA_CHAIN_STAGES=5 OTTLA_CHAIN_MEMBERS=3 cargo test",
        Cargo("e2e/tests/chains.rs"),
    ),
    ("e2e/README.md", "e2e/cluster/build", TypedBy(".ci/run", "e2e/cluster/build")),
    ("e2e/README.md", "cargo test -p ottla-e2e --features cluster --test cluster", Cargo(CLUSTER)),
    ("e2e/README.md", "e2e/cluster/image target/release/ottla ottla.tar", Run(image)),
    ("e2e/README.md", "e2e/cluster/clients-image clients.tar", TypedBy("e2e/cluster/build", "clients-image")),
    ("e2e/README.md", "python3 e2e/disk/lossy.py FOLDER STATE &", ByHand),
    ("e2e/README.md", "kind ", ByHand),
    ("e2e/README.md", "KUBECONFIG=~/.kube/config cargo test", Cargo(CLUSTER)),
    ("e2e/README.md", "e2e/cluster/kind/dockerd && e2e/cluster/kind/build", ByHand),
    ("e2e/README.md", "cd ~/.cache/ottla/kind; export DOCKER_HOST=", ByHand),
    ("e2e/README.md", "nsenter -t $(cat dockerd.pid) -n", ByHand),
    ("e2e/README.md", "kill -KILL $(cat dockerd.pid)", ByHand),
    ("sim/README.md", "cargo test -p ottla-sim", Cargo("")),
    ("sim/README.md", "cargo run -p ottla-sim --", Cargo("sim/src/main.rs sim/src/lib.rs")),
    ("e2e/bench/README.md", "e2e/get", TypedBy(".ci/run", "e2e/get")),
    ("e2e/bench/README.md", "e2e/cluster/build", TypedBy(".ci/run", "e2e/cluster/build")),
    (
        "e2e/bench/README.md",
        "cargo run --profile dist -p ottla-e2e --features librdkafka --bin bench",
        Cargo("e2e/bench/main.rs"),
    ),
    (
        "e2e/bench/README.md",
        "cargo run --profile dist -p ottla-e2e --features cluster --bin bench",
        Cargo("e2e/bench/main.rs"),
    ),
];

const READMES: [&str; 5] = ["README.md", "operator/README.md", "e2e/README.md", "sim/README.md", "e2e/bench/README.md"];

#[test]
fn every_command_of_every_readme_does_what_it_says() -> Result<()> {
    let mut used = BTreeSet::new();
    for readme in READMES {
        let text = std::fs::read_to_string(root().join(readme))?;
        for command in commands(&text) {
            let row =
                ROWS.iter().position(|(of, begins, _)| *of == readme && format!("{command} ").starts_with(begins));
            let row = row.with_context(|| {
                format!("{readme}: no row of e2e/tests/readmes.rs says how this is proved: {command}")
            })?;
            used.insert(row);
            prove(&ROWS[row].2, &command).with_context(|| format!("{readme}: {command}"))?;
        }
    }
    let unused: Vec<&str> = (0..ROWS.len()).filter(|row| !used.contains(row)).map(|row| ROWS[row].1).collect();
    ensure!(unused.is_empty(), "no README has these commands any more: {unused:?}");
    Ok(())
}

#[test]
fn every_row_of_every_table_has_as_many_cells_as_its_head() -> Result<()> {
    let (mut folders, mut pages) = (vec![root()], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let (path, is_folder) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?.is_dir())))?;
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if is_folder && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(".md") {
                let text = std::fs::read_to_string(&path)?;
                let broken = broken_rows(&text);
                ensure!(broken.is_empty(), "{}: {broken:#?}", path.display());
                pages += 1;
            }
        }
    }
    ensure!(pages >= READMES.len(), "{pages} pages");
    Ok(())
}

fn prove(how: &How, command: &str) -> Result<()> {
    for script in scripts(command) {
        let file = root().join(&script);
        ensure!(file.exists(), "there is no {script}");
        succeed(Command::new("bash").arg("-n").arg(&file))?;
    }
    match how {
        Run(run) => run(command),
        Cargo(knows) => cargo(command, knows),
        TypedBy(file, words) => {
            let text = std::fs::read_to_string(root().join(file))?;
            ensure!(text.contains(words), "{file} does not type {words}");
            Ok(())
        }
        ByHand => Ok(()),
    }
}

/// The scripts of this repository that a command runs.
fn scripts(command: &str) -> Vec<String> {
    let words = command.split_whitespace();
    words.filter(|word| word.starts_with("e2e/") && !word.contains('.')).map(str::to_owned).collect()
}

fn cargo(command: &str, knows: &str) -> Result<()> {
    let described =
        succeed(Command::new(env!("CARGO")).args(["metadata", "--no-deps", "--offline", "--format-version", "1"]))?;
    let (ours, theirs) = command.split_once(" -- ").unwrap_or((command, ""));
    let words: Vec<&str> = ours.split_whitespace().collect();
    for pair in words.windows(2) {
        let wanted = match pair {
            ["-p" | "--test" | "--bin", name] => format!("\"name\":\"{name}\""),
            ["--features", features] => format!("\"{features}\":["),
            _ => continue,
        };
        ensure!(described.contains(&wanted), "nothing has {wanted}");
    }
    // An option of clap's is a field or a variant.
    let plain = |text: &str| text.to_lowercase().replace(['-', '_'], "");
    let knows = knows.split_whitespace().map(|file| std::fs::read_to_string(root().join(file)));
    let knows = plain(&knows.collect::<Result<String, _>>()?);
    for word in theirs.split_whitespace().filter(|word| word.parse::<u64>().is_err()) {
        ensure!(knows.contains(&plain(word)), "nothing knows {word}");
    }
    Ok(())
}

/// On a port of this test's.
fn kafkas_tool(command: &str) -> Result<()> {
    if !met(&[Need::Java]) {
        return Ok(());
    }
    let bootstrap = Target::shared().bootstrap();
    let mut words = command.split_whitespace();
    let tool =
        words.next().and_then(|tool| tool.strip_prefix("kafka-")?.strip_suffix(".sh")).context("a tool of Kafka's")?;
    let arguments: Vec<&str> =
        words.map(|word| if word == "localhost:9092" { bootstrap.as_str() } else { word }).collect();
    let said = Tools::start()?.expect(tool, &arguments, "")?;
    ensure!(said.contains("Created topic flights."), "{said}");
    Ok(())
}

/// Against an API of this test's.
fn kubectl(command: &str) -> Result<()> {
    if !met(&[Need::Program("kubectl")]) {
        return Ok(());
    }
    let laptop = Laptop::start()?;
    let command = command.replace("http://127.0.0.1:9080", &laptop.api);
    let mut words = command.split_whitespace().skip(1);
    succeed(kubectl_program()?.args(&mut words)).map(drop)
}

/// The manifests that it names, to an API of this test's, which writes nothing.
fn dry_run(command: &str) -> Result<()> {
    if !met(&[Need::Program("kubectl")]) {
        return Ok(());
    }
    let manifest = command.split_whitespace().skip_while(|word| *word != "-f").nth(1).context("a manifest")?;
    let laptop = Laptop::start()?;
    let server = ["--server", &laptop.api, "create", "--dry-run=server", "--validate=false", "-f"];
    let said = succeed(kubectl_program()?.args(server).arg(root().join(manifest)))?;
    let waited_for = command.split_whitespace().find_map(|word| word.strip_prefix("kafkacluster/"));
    let made = waited_for.map_or("ottla.io/".to_owned(), |cluster| format!("kafkacluster.ottla.io/{cluster}"));
    ensure!(said.contains(&made), "{manifest} makes no {made}: {said}");
    Ok(())
}

/// On the cluster of this test's API, which admits the patch and writes nothing.
fn patch(command: &str) -> Result<()> {
    if !met(&[Need::Program("kubectl")]) {
        return Ok(());
    }
    let laptop = Laptop::start()?;
    let command = command.replace("kafkacluster quick", "kafkacluster laptop");
    let command = command.replace("kafkacluster prod", "kafkacluster laptop");
    let (_, arguments) = command.split_once("kubectl ").context("kubectl's arguments")?;
    let kubectl = program("kubectl").context("kubectl is here")?;
    let line = format!("'{}' --server {} {arguments} --dry-run=server", kubectl.display(), laptop.api);
    let said = succeed(Command::new("bash").args(["-c", &line]))?;
    ensure!(said.contains("patched"), "{said}");
    Ok(())
}

/// With a broker of this test's: what one command produces, another consumes.
fn kcat(command: &str) -> Result<()> {
    if !met(&[Need::Program("kcat")]) {
        return Ok(());
    }
    let bootstrap = Target::shared().bootstrap();
    let said = succeed(Command::new("bash").args(["-c", command]).env("servers", bootstrap))?;
    let expected = if command.contains(" -C ") { "BOS:delayed\n" } else { "" };
    ensure!(said == expected, "{said}");
    Ok(())
}

/// The words behind `--`, against a broker of this test's: silent but for what it did.
fn check(command: &str) -> Result<()> {
    let laptop = Laptop::start()?;
    let (_, inside) = command.split_once(" -- ottla ").context("ottla's words")?;
    let inside = inside.replace("quick-bootstrap:9092", &laptop.kafka);
    let output = Command::new(ottla_program()?).args(inside.split_whitespace()).env_remove("RUST_LOG").output()?;
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success() && said.contains("consumed it"), "{said}{complained}");
    ensure!(complained.is_empty(), "it complains on its normal way: {complained}");
    Ok(())
}

fn helm(command: &str) -> Result<()> {
    if !met(&[Need::Program("helm")]) {
        return Ok(());
    }
    for chart in command.split_whitespace().filter(|word| word.starts_with("charts/")) {
        let helm = program("helm").context("helm is here")?;
        succeed(Command::new(helm).args(["lint", "--strict"]).arg(root().join(chart)))?;
    }
    Ok(())
}

fn image_is_this_version(command: &str) -> Result<()> {
    let tag = concat!("ottla:", env!("CARGO_PKG_VERSION"));
    ensure!(command.split_whitespace().filter(|word| *word == tag).count() == 2, "the chart runs {tag}");
    ensure!(root().join("Dockerfile").exists(), "there is no Dockerfile");
    Ok(())
}

/// In a folder that has the program where the command looks for it: both paths are relative.
fn image(command: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut words = command.split_whitespace();
    let script = root().join(words.next().context("a script")?);
    let [program, out] = words.collect::<Vec<_>>()[..] else { anyhow::bail!("a program and an image") };
    let program = folder.path().join(program);
    std::fs::create_dir_all(program.parent().context("it is in a folder")?)?;
    std::fs::copy(ottla_program()?, &program)?;
    succeed(Command::new(script).args(command.split_whitespace().skip(1)).current_dir(folder.path()))?;
    ensure!(std::fs::metadata(folder.path().join(out))?.len() > 1_000_000, "{out} is no image");
    Ok(())
}

/// An `ottla` of this test's, with its API.
struct Laptop {
    process: Child,
    _folder: tempfile::TempDir,
    /// Kept open: the program still writes.
    _out: BufReader<ChildStdout>,
    kafka: String,
    api: String,
}

impl Laptop {
    fn start() -> Result<Laptop> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(ottla_program()?);
        command.arg("--data").arg(folder.path().join("data"));
        for port in ["--kafka", "--api", "--metrics"] {
            command.args([port, "127.0.0.1:0"]);
        }
        let mut process = command.stdout(Stdio::piped()).spawn()?;
        let out = process.stdout.take().context("its output is read here")?;
        let (mut kafka, mut api) = (None, None);
        let mut out = BufReader::new(out);
        while kafka.is_none() || api.is_none() {
            let mut line = String::new();
            ensure!(out.read_line(&mut line)? > 0, "ottla ended");
            kafka = kafka.or(line.strip_prefix("kafka ").map(|rest| rest.trim().to_owned()));
            api = api.or(line.strip_prefix("api ").map(|rest| rest.trim().to_owned()));
        }
        let (kafka, api) = kafka.zip(api).context("ottla says where it listens")?;
        Ok(Laptop { process, _folder: folder, _out: out, kafka, api })
    }
}

impl Drop for Laptop {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn kubectl_program() -> Result<Command> {
    Ok(Command::new(program("kubectl").context("kubectl is here")?))
}

fn succeed(command: &mut Command) -> Result<String> {
    if command.get_current_dir().is_none() {
        // Where a README's commands are typed.
        command.current_dir(root());
    }
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(said)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
