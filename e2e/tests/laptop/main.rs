//! The `ottla` program as its user meets it: kubectl, restarts, crashes, mistakes, damage, metrics.
//!
//! - `authorized`: what users may do
//! - [`bed`]: the program on its own ports and folder
//! - `canaries`: where no secret may stand
//! - [`client`]: a small Kafka client
//! - `crowded`: a process that may open too few files
//! - `configs`: settings of single brokers, loggers, and who asks for what is not served
//! - `fill`: brokers that are added, and a KafkaRebalance
//! - `flood`: crowds of strangers
//! - [`lost`]: objects that were deleted by mistake
//! - `secure`: listeners with TLS, and stock clients with what their Secrets have
//! - `sessions`: stock clients that outlive their sessions, by each mechanism
//! - `users`: KafkaUsers, and clients that authenticate

mod authorized;
mod backup;
mod bed;
mod canaries;
mod client;
mod configs;
mod crowded;
mod fill;
mod flood;
mod issuer;
mod lost;
mod secure;
mod sessions;
mod users;

use anyhow::{Context, Result, bail, ensure};
use ottla_e2e::target::ottla_program;
use ottla_e2e::wait::until;
use ottla_wire::ErrorCode;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bed::{LIMIT, Laptop, can_run, skip};
use client::{
    commit, committed, create, find_coordinator, leaders, metadata, produce, read, try_produce, wait_for_leaders,
};

/// A table as words: how many blanks there are between columns is kubectl's affair.
fn rows(table: &str) -> Vec<Vec<&str>> {
    table.lines().map(|line| line.split_whitespace().collect()).collect()
}

/// The values of records, which hold their own numbers, are those of 0 to `count`, in order.
fn ensure_numbered(found: &[(i64, Vec<u8>)], count: i64) -> Result<()> {
    ensure!(found.len() as i64 == count, "{} records instead of {count}", found.len());
    for (number, (offset, value)) in (0..).zip(found) {
        let expected = format!("record {number}");
        ensure!(*offset == number && value == expected.as_bytes(), "at {offset}: {value:?} instead of {expected}");
    }
    Ok(())
}

fn produce_numbered(laptop: &Laptop, topic: &str, numbers: std::ops::Range<i64>) -> Result<()> {
    let mut connection = laptop.connect(0)?;
    for number in numbers {
        let offset = produce(&mut connection, topic, 0, format!("record {number}").as_bytes())?;
        ensure!(offset == number, "record {number} is at {offset}");
    }
    Ok(())
}

#[test]
fn a_topic_lives_its_life_under_kubectl_and_on_the_wire() -> Result<()> {
    if !can_run(&["kubectl"]) {
        return Ok(());
    }
    let mut laptop = Laptop::new(&[])?;
    laptop.start()?;
    let mut connection = laptop.connect(0)?;

    let file = laptop.topic_file("hello", "partitions: 3")?;
    assert_eq!(laptop.kubectl(&format!("apply -f {file}"))?, "kafkatopic.ottla.io/hello created\n");
    laptop.kubectl("wait okt/hello okc/laptop --for=condition=Ready --timeout=120s")?;
    let table = laptop.kubectl("get okt")?;
    assert_eq!(rows(&table)[0], ["NAME", "CLUSTER", "PARTITIONS", "REPLICAS", "READY", "AGE"]);
    assert_eq!(rows(&table)[1][..5], ["hello", "laptop", "3", "1", "True"]);
    assert_eq!(wait_for_leaders(&mut connection, "hello", 3)?, [0, 0, 0]);
    produce(&mut connection, "hello", 2, b"record 0")?;
    ensure_numbered(&read(&mut connection, "hello", 2)?, 1)?;
    let all = laptop.kubectl("get ottla -o name")?;
    assert_eq!(all, "kafkacluster.ottla.io/laptop\nkafkatopic.ottla.io/hello\n", "assignments are no user's to delete");
    let clusters = laptop.kubectl("get okc")?;
    assert_eq!(rows(&clusters)[0], ["NAME", "BROKERS", "READY", "STATE", "AGE"]);
    assert_eq!(rows(&clusters)[1][..3], ["laptop", "1", "True"]);

    until(LIMIT, "the topic's status", || {
        let described = laptop.kubectl("describe okt hello")?;
        Ok((described.contains("Topic Id:") && described.contains("InSync")).then_some(()))
    })?;
    let described = laptop.kubectl("describe okc laptop")?;
    assert!(described.contains(&format!("Bootstrap Servers:  127.0.0.1:{}", laptop.kafka_port())), "{described}");
    let explained = laptop.kubectl("explain okt.spec.partitions")?;
    assert!(explained.contains("that the topic has at least"), "{explained}");
    assert!(laptop.kubectl("explain okc.spec")?.contains("Settings of all brokers, by Kafka's names."));

    laptop.kubectl(r#"patch okt hello --type=merge -p {"spec":{"partitions":5}}"#)?;
    wait_for_leaders(&mut connection, "hello", 5)?;
    let mut edit = laptop.kubectl_command("edit okt hello");
    edit.env("EDITOR", "sed -i s/partitions:.5/partitions:\\ 6/");
    let edited = edit.output()?;
    assert_eq!(String::from_utf8_lossy(&edited.stdout), "kafkatopic.ottla.io/hello edited\n");
    wait_for_leaders(&mut connection, "hello", 6)?;

    create(&mut connection, "from.the_Wire", 2)?;
    laptop.kubectl("wait okt --all --for=condition=Ready --timeout=120s")?; // it is answered before the status is written
    let table = laptop.kubectl("get okt -o wide")?;
    let row = rows(&table).into_iter().find(|row| row.contains(&"from.the_Wire")).context(table.clone())?;
    assert_eq!(row[1..4], ["laptop", "2", "1"]);
    assert!(table.contains("from.the_Wire"), "{table}");

    let deleted = laptop.kubectl("delete okt hello --timeout=120s")?; // newer ones say from which namespace
    assert!(deleted.starts_with("kafkatopic.ottla.io \"hello\" deleted"), "{deleted}");
    until(LIMIT, "the topic to vanish from metadata and disk", || {
        let answer = metadata(&mut connection, "hello")?;
        let unknown = answer.topics.iter().all(|topic| topic.error_code == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        let folders = std::fs::read_dir(laptop.data().join("broker-0"))?;
        let left = folders.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("hello-"));
        Ok((unknown && !left).then_some(()))
    })?;
    assert_eq!(
        laptop.kubectl_refuses("get okt hello")?,
        "Error from server (NotFound): kafkatopics.ottla.io \"hello\" not found"
    );
    Ok(())
}

#[test]
fn a_watch_by_kubectl_shows_a_topic_come_and_go() -> Result<()> {
    if !can_run(&["kubectl"]) {
        return Ok(());
    }
    let mut laptop = Laptop::new(&[])?;
    laptop.start()?;
    create(&mut laptop.connect(0)?, "before", 1)?;
    let mut watching = laptop.kubectl_command("get okt -w --output-watch-events --no-headers --request-timeout=300s");
    let mut watching = watching.stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(watching.stdout.take().context("stdout is piped")?).lines();
    let watched = (|| {
        // From then on it misses nothing.
        let first = lines.next().context("the watch ended")??;
        ensure!(first.contains("before"), "{first}");
        create(&mut laptop.connect(0)?, "seen", 1)?;
        laptop.kubectl("wait okt/seen --for=condition=Ready --timeout=120s")?;
        laptop.kubectl("delete okt seen --timeout=120s")?;
        let mut events = Vec::new();
        for line in lines {
            let line = line?;
            if line.contains("seen") {
                events.push(line);
            }
            if events.last().is_some_and(|event| event.starts_with("DELETED")) {
                return Ok(events);
            }
        }
        bail!("the watch ended after {events:?}")
    })();
    watching.kill()?;
    watching.wait()?;
    let events = watched?;
    assert!(events[0].starts_with("ADDED"), "{events:?}");
    assert!(events.iter().any(|event| event.starts_with("MODIFIED") && event.contains("True")), "{events:?}");
    Ok(())
}

#[test]
fn refusals_of_kubectl_read_as_sentences() -> Result<()> {
    if !can_run(&["kubectl"]) {
        return Ok(());
    }
    let mut laptop = Laptop::new(&[])?;
    laptop.start()?;
    let file = laptop.topic_file("hello", "partitions: 3")?;
    laptop.kubectl(&format!("apply -f {file}"))?;
    let refused = [
        (r#"{"spec":{"clusterRef":{"name":"other"}}}"#, "clusterRef is immutable"),
        (r#"{"spec":{"topicName":"other"}}"#, "topicName is immutable"),
    ];
    for (patch, reason) in refused {
        assert_eq!(
            laptop.kubectl_refuses(&format!("patch okt hello --type=merge -p {patch}"))?,
            format!("The KafkaTopic \"hello\" is invalid: spec: Invalid value: \"object\": {reason}")
        );
    }
    let file = laptop.topic_file("slash", "topicName: a/b")?;
    assert_eq!(
        laptop.kubectl_refuses(&format!("apply -f {file}"))?,
        "The KafkaTopic \"slash\" is invalid: spec.topicName: Invalid value: \"a/b\": spec.topicName in body should \
         match '^[a-zA-Z0-9._-]+$'"
    );
    let file = laptop.topic_file("Upper", "partitions: 1")?;
    let said = laptop.kubectl_refuses(&format!("apply -f {file}"))?;
    assert!(said.contains("metadata.name: Invalid value: \"Upper\": a lowercase RFC 1123 subdomain"), "{said}");
    // What only the brokers' settings know comes as a condition, not as a refusal.
    let file = laptop.topic_file("odd", "config: {retention.mss: '1'}")?;
    laptop.kubectl(&format!("apply -f {file}"))?;
    until(LIMIT, "the condition", || {
        let said = laptop.kubectl(r#"get okt odd -o jsonpath={.status.conditions[?(@.type=="Ready")].message}"#)?;
        Ok((said == "Unknown topic config name: retention.mss").then_some(()))
    })
}

#[test]
fn a_restart_finds_topics_records_and_offsets_whether_it_was_stopped_or_killed() -> Result<()> {
    if !can_run(&[]) {
        return Ok(());
    }
    let mut laptop = Laptop::new(&[])?;
    let first = laptop.start()?;
    let mut connection = laptop.connect(0)?;
    create(&mut connection, "kept", 2)?;
    wait_for_leaders(&mut connection, "kept", 2)?;
    find_coordinator(&mut connection, "readers")?;
    let marker = laptop.data().join("broker-0/.kafka_cleanshutdown");
    let mut starts = vec![first];
    for round in 0..4 {
        let numbers = round * 100..(round + 1) * 100;
        produce_numbered(&laptop, "kept", numbers.clone())?;
        commit(&mut laptop.connect(0)?, "readers", "kept", numbers.end)?;
        assert!(!marker.exists(), "while it runs");
        if round % 2 == 0 {
            // What is still being opened is not closed cleanly.
            until(LIMIT, "every log to be open", || {
                let logs = leaders(&mut laptop.connect(0)?, "__consumer_offsets")?.len() + 2;
                let all_led = format!("ottla_leaders {logs}");
                Ok(laptop.metrics()?.lines().any(|line| line == all_led).then_some(()))
            })?;
            laptop.terminate()?;
            assert!(marker.exists(), "after SIGTERM");
        } else {
            laptop.kill()?;
            assert!(!marker.exists(), "after a kill");
        }
        starts.push(laptop.start()?);
        let mut connection = laptop.connect(0)?;
        wait_for_leaders(&mut connection, "kept", 2)?;
        ensure_numbered(&read(&mut connection, "kept", 0)?, numbers.end)?;
        assert_eq!(committed(&mut connection, "readers", "kept")?, numbers.end);
    }
    // Not asserted: the machine may be busy with other tests.
    let _ = writeln!(std::io::stderr(), "from spawn to \"serves\": {starts:?}");
    Ok(())
}

#[test]
fn sigterm_and_ctrl_c_end_it_with_success() -> Result<()> {
    if !can_run(&[]) {
        return Ok(());
    }
    let laptop = Laptop::new(&[])?;
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let mut child = laptop.command(&[])?.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().context("stdout is piped")?).read_line(&mut line)?;
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal)?;
        let status = child.wait()?;
        assert_eq!(status.code(), Some(0), "{signal:?}: {status}; it said {line}");
        assert!(line.contains("serves Kafka"), "{line}");
    }
    Ok(())
}

#[test]
fn a_mistake_at_the_start_is_one_clear_line_and_loses_nothing() -> Result<()> {
    if !can_run(&[]) {
        return Ok(());
    }
    let mut laptop = Laptop::new(&[])?;
    laptop.start()?;
    create(&mut laptop.connect(0)?, "safe", 1)?;
    produce_numbered(&laptop, "safe", 0..10)?;

    let one_line = |said: &str, expected: &str| {
        let lines: Vec<&str> = said.lines().collect();
        ensure!(lines.len() == 1 && lines[0].starts_with("ottla: ") && said.contains(expected), "{expected:?}: {said}");
        Ok(())
    };
    // While it runs: the folder, and each of its ports.
    one_line(&laptop.refuses(&[])?, "is in use by another process")?;
    let other = laptop.folder().join("other").display().to_string();
    let anywhere = "127.0.0.1:0";
    let taken = [("--kafka", laptop.kafka_port()), ("--api", laptop.api_port()), ("--metrics", laptop.metrics_port())];
    for (option, port) in taken {
        let mut options = vec!["--data", &other];
        let address = format!("127.0.0.1:{port}");
        for (name, _) in taken {
            options.extend([name, if name == option { address.as_str() } else { anywhere }]);
        }
        one_line(&laptop.refuses(&options)?, &format!("failed to listen on {address}"))?;
    }
    laptop.terminate()?;

    // While it does not: options …
    one_line(&laptop.refuses(&["--api", "0.0.0.0:0"])?, "listens on loopback only")?;
    let said = laptop.refuses(&["--set", "log.retention.hours=soon"])?;
    let first = said.lines().next().unwrap_or_default();
    assert!(first.contains("'--set <NAME=VALUE>': Invalid value soon for configuration log.retention.hours"), "{said}");
    let said = laptop.refuses(&["--set", "log.retention.ours=1"])?;
    assert!(said.contains("Unknown broker config name: log.retention.ours"), "{said}");
    let file = laptop.folder().join("a-file");
    std::fs::write(&file, "")?;
    one_line(&laptop.refuses(&["--data", &file.display().to_string()])?, &file.display().to_string())?;

    // … and files that are not what they should be.
    let spoil = |path: &str, from: &str, to: &str, expected: &str| {
        let path = laptop.data().join(path);
        let before = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let after = before.replacen(from, to, 1);
        ensure!(after != before, "{from:?} is not in {before}");
        std::fs::write(&path, after)?;
        let refused = laptop.refuses(&[]);
        std::fs::write(&path, before)?;
        let said = refused?;
        one_line(&said, expected)
    };
    let meta = "broker-0/meta.properties";
    spoil(meta, "cluster.id=", "cluster.id=x", "belongs to cluster x")?;
    spoil(meta, "node.id=0", "node.id=7", "belongs to broker 7, not to broker 0")?;
    spoil(meta, "version=1", "version=9", "version 9 is unknown")?;
    let topic = "kubernetes/kafkatopics/default/safe.yaml";
    spoil(topic, "partitions: 1", "partitions: many", "spec.partitions")?;
    spoil(topic, "partitions: 1", "partition: 1", "spec.partition: unknown field")?;
    spoil(topic, "spec:", "spec: {", "safe.yaml")?;

    laptop.start()?;
    ensure_numbered(&read(&mut laptop.connect(0)?, "safe", 0)?, 10)?;
    produce_numbered(&laptop, "safe", 10..11)
}

#[test]
fn a_torn_tail_is_cut_with_a_log_line_and_what_was_acknowledged_is_there() -> Result<()> {
    if !can_run(&[]) {
        return Ok(());
    }
    let mut laptop = Laptop::new(&[])?;
    laptop.start()?;
    create(&mut laptop.connect(0)?, "torn", 1)?;
    let segment = laptop.data().join("broker-0/torn-0/00000000000000000000.log");
    let mut count = 0;
    // Garbage; a batch whose end never reached the disk; a whole batch with a byte that flipped.
    for damage in ["garbage", "half", "flipped"] {
        produce_numbered(&laptop, "torn", count..count + 20)?;
        count += 20;
        laptop.kill()?;
        let bytes = std::fs::read(&segment)?;
        let mut tail = match damage {
            "garbage" => vec![0xa5; 1000],
            // The next batch is what the last was, one offset on: a header is 61 bytes, its offset the first eight.
            _ => next_batch(&bytes, count)?,
        };
        match damage {
            "half" => tail.truncate(tail.len() / 2),
            "flipped" => *tail.last_mut().context("a batch has bytes")? ^= 1,
            _ => {}
        }
        std::fs::File::options().append(true).open(&segment)?.write_all(&tail)?;
        laptop.start()?;
        ensure_numbered(&read(&mut laptop.connect(0)?, "torn", 0)?, count).context(damage)?;
        let said = laptop.said()?;
        assert!(said.contains("truncated an incomplete batch at the end of a log"), "{damage}: {said}");
        assert_eq!(std::fs::read(&segment)?.len(), bytes.len(), "{damage}");
    }
    produce_numbered(&laptop, "torn", count..count + 1)
}

/// A copy of the last batch of a segment, at this offset.
fn next_batch(segment: &[u8], offset: i64) -> Result<Vec<u8>> {
    let batches = ottla_batch::Batches::new(bytes::Bytes::copy_from_slice(segment));
    let last = batches.last().context("the segment has batches")??;
    let mut next = last.bytes().to_vec();
    next[..8].copy_from_slice(&offset.to_be_bytes());
    Ok(next)
}

#[test]
fn a_full_disk_refuses_records_and_nothing_else_until_there_is_room() -> Result<()> {
    if !can_run(&[]) {
        return Ok(());
    }
    let mounted = r#"mkdir -p "$1" && mount -t tmpfs -o size=48m none "$1""#;
    let mut laptop = Laptop::new(&[])?;
    let data = laptop.data().display().to_string();
    // In a mount namespace of its own: the file system goes when the process goes.
    let mut probe = Command::new("unshare");
    probe.args(["--mount", "--map-root-user", "sh", "-c", mounted, "sh", &data]).stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        skip("a tmpfs can't be mounted");
        return Ok(());
    }
    let ottla = laptop.command(&[])?;
    let mut command = Command::new("unshare");
    let script = format!("{mounted} && shift && exec \"$@\"");
    command.args(["--mount", "--map-root-user", "sh", "-c", &script, "sh", &data]);
    command.arg(ottla.get_program()).args(ottla.get_args());
    laptop.start_with(&command)?;

    let mut connection = laptop.connect(0)?;
    create(&mut connection, "full", 1)?;
    produce_numbered(&laptop, "full", 0..10)?;
    let inside = format!("/proc/{}/root{data}/filler", laptop.pid()?);
    let mut filler = std::fs::File::create(&inside)?;
    while filler.write_all(&[0; 4096]).is_ok() {}
    drop(filler);
    // What the file system has left of its last page may still take a few.
    let mut count = 10;
    let refused = loop {
        match try_produce(&mut connection, "full", 0, format!("record {count}").as_bytes())? {
            Ok(_) => count += 1,
            Err(code) => break code,
        }
        ensure!(count < 10_000, "a full disk takes records");
    };
    assert_eq!(refused, ErrorCode::KAFKA_STORAGE_ERROR, "{}", laptop.said()?);
    ensure_numbered(&read(&mut connection, "full", 0)?, count)?;
    assert_eq!(leaders(&mut connection, "full")?, [0]);
    let lines = laptop.said()?.matches("there is no room").count();
    assert_eq!(lines, 1, "it says so once for a partition:\n{}", laptop.said()?);

    std::fs::remove_file(&inside)?;
    until(LIMIT, "produce to work again", || {
        let taken = try_produce(&mut connection, "full", 0, format!("record {count}").as_bytes())?;
        Ok(taken.is_ok().then_some(()))
    })?;
    ensure!(laptop.said()?.contains("there is room again"), "{}", laptop.said()?);
    ensure_numbered(&read(&mut connection, "full", 0)?, count + 1)
}

#[test]
fn three_brokers_in_one_process_share_a_topic() -> Result<()> {
    if !can_run(&[]) {
        return Ok(());
    }
    let mut laptop = Laptop::new(&["--brokers", "3"])?;
    laptop.start()?;
    let mut connections = [laptop.connect(0)?, laptop.connect(1)?, laptop.connect(2)?];
    create(&mut connections[1], "spread", 12)?;
    let leaders = wait_for_leaders(&mut connections[2], "spread", 12)?;
    for broker in 0..3 {
        assert_eq!(leaders.iter().filter(|&&leader| leader == broker).count(), 4, "{leaders:?}");
    }
    for connection in &mut connections {
        assert_eq!(wait_for_leaders(connection, "spread", 12)?, leaders);
        let mut brokers: Vec<_> = metadata(connection, "spread")?.brokers.iter().map(|b| (b.node_id, b.port)).collect();
        brokers.sort_unstable();
        let first = i32::from(laptop.kafka_port());
        assert_eq!(brokers, [(0, first), (1, first + 1), (2, first + 2)]);
    }
    for (partition, &leader) in (0..).zip(&leaders) {
        let connection = &mut connections[usize::try_from(leader)?];
        produce(connection, "spread", partition, b"record 0")?;
        ensure_numbered(&read(connection, "spread", partition)?, 1)?;
    }
    // A cluster keeps its brokers, whatever the next command line says.
    laptop.terminate()?;
    let fewer = laptop.command(&["--brokers", "1"])?;
    laptop.start_with(&fewer)?;
    for (partition, &leader) in (0..).zip(&leaders) {
        let mut connection = laptop.connect(u16::try_from(leader)?)?;
        ensure_numbered(&read(&mut connection, "spread", partition)?, 1)?;
    }
    Ok(())
}

#[test]
fn three_brokers_that_start_again_lead_what_they_led_and_change_no_assignment() -> Result<()> {
    if !can_run(&[]) {
        return Ok(());
    }
    let mut laptop = Laptop::new(&["--brokers", "3"])?;
    laptop.start()?;
    for topic in ["one", "two", "three"] {
        create(&mut laptop.connect(0)?, topic, 12)?;
    }
    let leaders = |laptop: &Laptop| -> Result<Vec<i32>> {
        let mut all = Vec::new();
        for topic in ["one", "two", "three"] {
            all.extend(wait_for_leaders(&mut laptop.connect(0)?, topic, 12)?);
        }
        Ok(all)
    };
    let before = leaders(&laptop)?;
    for killed in [false, true, false] {
        // A file that is written again is another file.
        let files = assignment_files(&laptop)?;
        ensure!(files.len() >= 3, "{files:?}");
        if killed {
            laptop.kill()?
        } else {
            laptop.terminate()?
        }
        laptop.start()?;
        ensure!(leaders(&laptop)? == before, "other brokers lead after a start; killed: {killed}");
        let after = assignment_files(&laptop)?;
        ensure!(after == files, "a start wrote assignments; killed: {killed}: {files:?}, {after:?}");
    }
    Ok(())
}

/// The files that hold the KafkaAssignments, each with its inode.
fn assignment_files(laptop: &Laptop) -> Result<BTreeMap<PathBuf, u64>> {
    let folder = laptop.data().join("kubernetes/kafkaassignments/default");
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        files.insert(entry.path(), entry.metadata()?.ino());
    }
    Ok(files)
}

/// What `helm test` runs.
#[test]
fn ottla_check_produces_and_consumes_or_says_what_it_waited_for() -> Result<()> {
    if !can_run(&[]) {
        return Ok(());
    }
    let mut laptop = Laptop::new(&[])?;
    let bootstrap = format!("127.0.0.1:{}", laptop.kafka_port());
    let check = |seconds: &str| {
        let mut check = Command::new(ottla_program()?);
        Ok::<_, anyhow::Error>(check.args(["check", "--bootstrap", &bootstrap, "--timeout-seconds", seconds]).output()?)
    };
    let nobody = check("1")?;
    let said = String::from_utf8_lossy(&nobody.stderr);
    ensure!(!nobody.status.success() && said.contains(&format!("failed to connect to {bootstrap}")), "{said}");
    ensure!(said.contains("ottla: no record came back within 1 s"), "{said}");

    laptop.start()?;
    let checked = check("60")?;
    let said = String::from_utf8(checked.stdout)?;
    ensure!(checked.status.success(), "{said}{}", String::from_utf8_lossy(&checked.stderr));
    let steps: Vec<&str> = said.lines().filter_map(|line| line.split_whitespace().next()).collect();
    ensure!(steps == ["created", "produced", "consumed", "deleted"], "{said}");

    // As with `| head -1`: nobody reads what it prints.
    let mut unread = Command::new(ottla_program()?);
    unread.args(["check", "--bootstrap", &bootstrap]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = unread.spawn()?;
    drop(child.stdout.take());
    let ended = child.wait_with_output()?;
    ensure!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    Ok(())
}

#[test]
fn metrics_pass_promtool_and_cover_what_people_watch() -> Result<()> {
    if !can_run(&["promtool"]) {
        return Ok(());
    }
    let mut laptop = Laptop::new(&[])?;
    laptop.start()?;
    let mut connection = laptop.connect(0)?;
    create(&mut connection, "busy", 2)?;
    produce_numbered(&laptop, "busy", 0..10)?;
    ensure_numbered(&read(&mut connection, "busy", 0)?, 10)?;
    find_coordinator(&mut connection, "readers")?;
    commit(&mut connection, "readers", "busy", 4)?;
    // A browser, say: its first four bytes are a length that no request has.
    let mut stranger = std::net::TcpStream::connect(("127.0.0.1", laptop.kafka_port()))?;
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
    let told = stranger.read(&mut [0]);
    // Of what it sent some may not have been read.
    let hung_up = matches!(&told, Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset);
    ensure!(hung_up || told? == 0, "it gets an answer");
    let lines = [
        "ottla_connections_refused_total{reason=\"frame_length\"} 1",
        "ottla_topic_in_messages_total{topic=\"busy\"} 10",
        "ottla_log_end_offset{partition=\"0\",topic=\"busy\"} 10",
        "ottla_group_lag_records{group=\"readers\",partition=\"0\",topic=\"busy\"} 6",
        "ottla_under_replicated_partitions 0",
        "ottla_under_min_isr_partitions 0",
        "ottla_offline_partitions 0",
        "ottla_brokers_down 0",
    ];
    let with_values = [
        "ottla_topic_in_bytes_total",
        "ottla_topic_out_bytes_total",
        "ottla_requests_total",
        "ottla_request_duration_seconds_bucket",
        "ottla_connections",
        "ottla_log_size_bytes",
        "ottla_leaders",
        "ottla_data_dir_size_bytes",
        "ottla_data_dir_free_bytes",
        "ottla_lease_age_seconds",
        "ottla_control_plane_staleness_seconds",
        "ottla_kubernetes_writes_total",
    ];
    let missing = |metrics: &str| -> Vec<&str> {
        let has = |line: &&str| metrics.lines().any(|found| found == *line);
        let with_value = |name: &&str| metrics.lines().any(|line| line.starts_with(*name) && !line.ends_with(" 0"));
        lines
            .into_iter()
            .filter(|line| !has(line))
            .chain(with_values.into_iter().filter(|name| !with_value(name)))
            .collect()
    };
    let mut metrics = String::new();
    until(LIMIT, "the numbers", || {
        metrics = laptop.metrics()?;
        Ok(missing(&metrics).is_empty().then_some(()))
    })
    .with_context(|| format!("{:?} are missing in\n{metrics}", missing(&metrics)))?;
    let mut promtool =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    promtool.stdin.take().context("stdin is piped")?.write_all(metrics.as_bytes())?;
    let linted = promtool.wait_with_output()?;
    assert!(linted.status.success(), "{}", String::from_utf8_lossy(&linted.stderr));

    // What the chart's alerts and dashboard rest on; the operator's own are to be had on a cluster only, and those of
    // certificates where there is TLS (`secure`). Clients that log in are counted in `broker/tests/sasl.rs`.
    let of_secured = [secure::CERTIFICATES, secure::UNUSABLE_FILES, "ottla_authentications_total"];
    let elsewhere = |name: &str| name.starts_with("ottla_operator_") || of_secured.contains(&name);
    let names = regex::Regex::new(r"\bottla_[a-z_]+[a-z]")?;
    for file in ["rules.yaml", "dashboard.json"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/ottla/monitoring").join(file);
        let text = std::fs::read_to_string(file)?;
        for name in names.find_iter(&text).map(|found| found.as_str()) {
            let known = metrics.lines().any(|line| line.starts_with(name));
            assert!(known || elsewhere(name), "{name} is not in\n{metrics}");
        }
    }
    Ok(())
}
