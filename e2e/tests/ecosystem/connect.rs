//! Kafka Connect, unchanged: two distributed workers, of which one is killed, an exactly-once source and a sink.

use anyhow::{Context, Result, ensure};
use ottla_e2e::java::jvm;
use ottla_e2e::leash::{Folder, Leash};
use ottla_e2e::need::{Need, met};
use ottla_e2e::target::{Target, free_port};
use ottla_e2e::tools::Tools;
use ottla_e2e::wait::until;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(100);

/// A worker process with its REST port.
struct Worker {
    port: u16,
    process: Leash,
}

#[test]
fn a_file_passes_through_connect_each_line_once_though_a_worker_is_killed() -> Result<()> {
    if !met(&[Need::Java]) {
        return Ok(());
    }
    let target = Target::start()?;
    let folder = Folder::new()?;
    let (from, to) = (folder.path().join("in.txt"), folder.path().join("out.txt"));
    append(&from, 0..1000)?;
    let mut workers = vec![worker(&target, folder.path())?, worker(&target, folder.path())?];
    for worker in &workers {
        until(LIMIT, "a worker to serve", || {
            Ok(ask(worker.port, "GET", "/connectors", "").ok().filter(|it| it.contains("[]")))
        })?;
    }
    let source = format!(
        r#"{{"connector.class":"FileStreamSource","file":"{}","topic":"lines","tasks.max":"1","exactly.once.support":"required"}}"#,
        from.display()
    );
    let sink = format!(
        r#"{{"connector.class":"FileStreamSink","file":"{}","topics":"lines","tasks.max":"1","consumer.override.isolation.level":"read_committed"}}"#,
        to.display()
    );
    for (name, config) in [("source", source), ("sink", sink)] {
        let path = format!("/connectors/{name}/config");
        // A worker that rebalances answers 409.
        until(LIMIT, "a connector", || {
            Ok(ask(workers[0].port, "PUT", &path, &config).ok().filter(|it| it.contains(" 201 ")))
        })?;
    }
    let lines = |count: usize| until(LIMIT, "lines in the sink", || Ok((seen(&to).len() >= count).then_some(())));
    lines(1000)?;
    let status = ask(workers[0].port, "GET", "/connectors/source/tasks/0/status", "")?;
    let runs = |worker: &Worker| status.contains(&format!("127.0.0.1:{}", worker.port));
    let index = workers.iter().position(runs).with_context(|| format!("no worker has the source: {status}"))?;
    workers.remove(index).process.end(Signal::KILL)?;
    append(&from, 1000..2000)?;
    lines(2000)?;
    let arguments = ["--bootstrap-server", &target.bootstrap(), "--topic", "lines", "--from-beginning"];
    let committed = ["--command-property", "isolation.level=read_committed", "--timeout-ms", "5000"];
    let said = Tools::start()?.expect("console-consumer", &[&arguments[..], &committed[..]].concat(), "")?;
    let mut found: Vec<&str> = said.lines().filter(|line| line.contains("line ")).collect();
    ensure!(found.len() == 2000, "{} records for 2000 lines", found.len());
    found.sort_unstable();
    found.dedup();
    ensure!(found.len() == 2000, "only {} of 2000 lines", found.len());
    Ok(())
}

fn worker(target: &Target, folder: &Path) -> Result<Worker> {
    let port = free_port()?;
    let mut settings = format!("bootstrap.servers={}\nlisteners=http://127.0.0.1:{port}\n", target.bootstrap());
    settings += "group.id=connect\nexactly.once.source.support=enabled\noffset.storage.partitions=5\n";
    settings += "session.timeout.ms=6000\nheartbeat.interval.ms=1000\nscheduled.rebalance.max.delay.ms=0\n";
    for converter in ["key", "value"] {
        writeln!(settings, "{converter}.converter=org.apache.kafka.connect.storage.StringConverter")?;
    }
    for topic in ["offset", "config", "status"] {
        writeln!(settings, "{topic}.storage.topic=connect-{topic}\n{topic}.storage.replication.factor=1")?;
    }
    let file = folder.join(format!("{port}.properties"));
    std::fs::write(&file, settings)?;
    let mut command = jvm("256m");
    command.arg("org.apache.kafka.connect.cli.ConnectDistributed").arg(&file);
    Ok(Worker { port, process: Leash::start(&command, &folder.join(format!("{port}.log")))? })
}

/// The answer to a request, from its status line on.
fn ask(port: u16, method: &str, path: &str, body: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    write!(stream, "{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn append(file: &Path, numbers: std::ops::Range<u32>) -> Result<()> {
    let text: String = numbers.map(|number| format!("line {number}\n")).collect();
    Ok(std::fs::File::options().create(true).append(true).open(file)?.write_all(text.as_bytes())?)
}

/// The different lines in the file.
fn seen(file: &Path) -> BTreeSet<String> {
    std::fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}
