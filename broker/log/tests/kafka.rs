//! Kafka's own files beside ours, and Kafka's own tool reading ours.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Fixture, NOW, batch_of, in_transaction, marker, produced};
use ottla_batch::{Batch, BatchBuilder, Batches, Codec, ControlRecordType, NewRecord, Stamped};
use ottla_log::checkpoints::{RECOVERY_POINTS, read_offsets};
use ottla_log::retention::Retired;
use ottla_log::{CompactionConfig, Log, LogConfig, RecoveryHint, SearchTarget};

/// See the README beside the files.
fn kafkas() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka-4.3.1")
}

fn as_kafka_was_configured() -> LogConfig {
    LogConfig { index_interval_bytes: 256, ..LogConfig::default() }
}

fn kafkas_batches() -> Vec<Stamped> {
    let bytes = fs::read(kafkas().join("flights-0/00000000000000000000.log")).unwrap();
    let stamped = |batch: Batch| batch.stamp(batch.header().base_offset, batch.header().partition_leader_epoch, None);
    Batches::new(bytes.into()).map(|batch| stamped(batch.unwrap())).collect()
}

#[test]
fn the_same_batches_make_the_same_files() {
    let mut fixture = Fixture::new(as_kafka_was_configured());
    let batches = kafkas_batches();
    for batch in &batches[..10] {
        fixture.append(batch);
    }
    fixture = fixture.restart();
    fixture.append(&batches[10]);
    fixture.log.close().unwrap();
    let kafkas = kafkas().join("flights-0");
    for entry in fs::read_dir(&kafkas).unwrap() {
        let name = entry.unwrap().file_name();
        if name == "partition.metadata" {
            continue; // written by the broker, which knows the topic id
        }
        let (ours, kafkas) = (fs::read(fixture.dir().join(&name)), fs::read(kafkas.join(&name)).unwrap());
        assert_eq!(ours.unwrap(), kafkas, "{}", name.display());
    }
    assert_eq!(fs::read_dir(fixture.dir()).unwrap().count() + 1, fs::read_dir(&kafkas).unwrap().count());
}

#[test]
fn kafkas_folder_opens_after_a_clean_stop_and_after_a_crash() {
    for clean in [true, false] {
        let mut fixture = Fixture::new(as_kafka_was_configured());
        for entry in fs::read_dir(kafkas().join("flights-0")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, fixture.dir().join(path.file_name().unwrap())).unwrap();
        }
        if !clean {
            // A running Kafka keeps room in its index files.
            for extension in ["index", "timeindex"] {
                let path = fixture.dir().join(format!("00000000000000000000.{extension}"));
                fs::OpenOptions::new().append(true).open(path).unwrap().write_all(&[0; 1200]).unwrap();
            }
        }
        let recovery_point = read_offsets(&kafkas().join(RECOVERY_POINTS)).unwrap()[&("flights".to_owned(), 0)];
        let opened = fixture.reopen(RecoveryHint { clean, recovery_point, ..RecoveryHint::default() });
        assert_eq!((opened.cut_bytes, opened.corrupt.len()), (0, 0));
        let log = &fixture.log;
        assert_eq!((log.log_start(), log.log_end()), (0, 20));
        assert_eq!(log.epochs().end_offset_for(0, 20), Some((0, 10)));
        assert_eq!(log.producers().get(1000).unwrap().batches[0].last_sequence, 9);
        // The tenth of ten records in a batch of lz4: found by record, not by batch.
        let found = log.search(SearchTarget::FirstAt(1_795_233_513_683)).run().unwrap().unwrap();
        assert_eq!((found.offset, found.leader_epoch), (19, 2));
    }
}

/// The folder with Kafka's jars: `OTTLA_KAFKA_LIBS`, or where `e2e/get` puts them. None skips the test, loudly, unless
/// `OTTLA_NO_SKIP` forbids it.
fn kafka_libs() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = || variable("OTTLA_CACHE").or_else(|| Some(variable("HOME")?.join(".cache/ottla")));
    let libs = variable("OTTLA_KAFKA_LIBS").or_else(|| Some(cache()?.join("kafka/4.3.1")));
    let found = libs.filter(|libs| libs.is_dir() && Command::new("java").arg("-version").output().is_ok());
    if found.is_none() {
        assert!(std::env::var_os("OTTLA_NO_SKIP").is_none(), "there is no Java or no Kafka to read our files");
        // Not eprintln: the test harness would swallow it.
        let _ = writeln!(std::io::stderr(), "SKIPPED kafkas_dump_log_reads_our_files: no Java, or no OTTLA_KAFKA_LIBS");
    }
    found
}

#[test]
fn kafkas_dump_log_reads_our_files() {
    let Some(libs) = kafka_libs() else { return };
    // With holes, as compaction leaves them.
    let compaction = Some(CompactionConfig::default());
    let config = LogConfig { segment_bytes: 8_000, index_interval_bytes: 300, compaction, ..LogConfig::default() };
    let mut fixture = Fixture::new(config);
    fixture.append(&compressed(Codec::Lz4, 0));
    fixture.append(&compressed(Codec::Zstd { level: 3 }, 10));
    fixture.append(&produced(77, 0, 20));
    fixture.append(&produced(77, 1, 21));
    for i in 0..40i64 {
        fixture.append(&batch_of((i / 15) as i32, 22 + i * 4, 3, 500));
    }
    fixture.log.truncate_to(130, NOW).unwrap();
    let end = fixture.log.log_end();
    let recovery_point = fixture.log.recovery_point();
    fixture.reopen_after_crash(recovery_point);
    fixture.append(&batch_of(9, end, 5, 500));
    let fixture = fixture.restart();

    let mut files: Vec<PathBuf> = fs::read_dir(fixture.dir()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with("0000"));
    files.sort();
    assert!(files.len() > 10, "several segments, each with its files: {files:?}");
    let of = |extensions: &[&str]| -> Vec<PathBuf> {
        let wanted = |path: &&PathBuf| extensions.contains(&path.extension().unwrap().to_str().unwrap());
        files.iter().filter(wanted).cloned().collect()
    };
    let deep = dump(&libs, &of(&["log", "index", "timeindex", "snapshot"]), &["--deep-iteration"]);
    let batches = deep.lines().filter(|line| line.starts_with("baseOffset")).count();
    assert!(batches > 30 && batches == deep.matches("isvalid: true").count(), "{deep}");
    assert!(deep.contains("producerId: 77") && deep.contains("compresscodec: zstd"), "{deep}");
    assert_eq!(deep.lines().filter(|line| line.starts_with("| offset")).count() as i64, records_in(&fixture.log));
    let sane = dump(&libs, &of(&["index", "timeindex"]), &["--index-sanity-check"]);
    assert_eq!(sane.matches("passed sanity check").count(), of(&["index", "timeindex"]).len(), "{sane}");
}

#[test]
fn kafkas_dump_log_reads_a_compacted_log() {
    let Some(libs) = kafka_libs() else { return };
    let compaction = Some(CompactionConfig::default());
    let config = LogConfig { segment_bytes: 8_000, index_interval_bytes: 300, compaction, ..LogConfig::default() };
    let mut fixture = Fixture::new(config);
    for i in 0..60u8 {
        let codec = [Codec::None, Codec::Lz4, Codec::Zstd { level: 3 }][usize::from(i) % 3];
        let mut builder = BatchBuilder::new(codec).producer(77, 0, i32::from(i) * 3);
        for record in 0..3 {
            // The first key is always the same, the second comes back, and a tombstone ends the third.
            let key = [record, if record == 0 { 0 } else { i % 20 }];
            let value = (record < 2 || i < 20).then_some(&[7; 200][..]);
            builder.push(NewRecord { timestamp: NOW + i64::from(i), key: Some(&key), value, headers: &[] });
        }
        fixture.append(&builder.build().stamp(i64::from(i) * 3, 0, None));
    }
    fixture.log.roll(NOW).unwrap();
    let before = records_in(&fixture.log);
    let mut compaction = fixture.log.start_compaction(180).unwrap();
    assert!(compaction.dirty_ratio(NOW).unwrap().is_some());
    compaction
        .run(NOW, |cleaned| {
            let retired = fixture.log.swap_in(cleaned)?;
            Ok(retired.map(Retired::unlink).transpose()?.is_some())
        })
        .unwrap();
    // Of the first key one record, of 20 second and third keys one each.
    assert_eq!((before, records_in(&fixture.log)), (180, 41));
    let dir = fixture.dir();
    let of = |extensions: &[&str]| -> Vec<PathBuf> {
        let paths = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|e| extensions.contains(&e.to_str().unwrap()))).collect()
    };
    let deep = dump(&libs, &of(&["log", "index", "timeindex", "snapshot"]), &["--deep-iteration"]);
    let batches = deep.lines().filter(|line| line.starts_with("baseOffset")).count();
    assert!(batches >= 20 && batches == deep.matches("isvalid: true").count(), "{deep}");
    assert!(
        deep.contains(&format!("deleteHorizonMs: OptionalLong[{}]", NOW + 86_400_000))
            && deep.contains("compresscodec: zstd"),
        "{deep}"
    );
    assert_eq!(deep.lines().filter(|line| line.starts_with("| offset")).count(), 41, "{deep}");
    let sane = dump(&libs, &of(&["index", "timeindex"]), &["--index-sanity-check"]);
    let sane = sane.matches("passed sanity check").count() + sane.matches("is empty").count();
    assert_eq!(sane, of(&["index", "timeindex"]).len());
}

#[test]
fn kafkas_dump_log_reads_transactions() {
    let Some(libs) = kafka_libs() else { return };
    let mut fixture = Fixture::new(LogConfig::default());
    fixture.append(&in_transaction(77, 3, 0, 0));
    fixture.append(&in_transaction(78, 0, 0, 1));
    fixture.append(&marker(77, 4, ControlRecordType::Abort, 2));
    fixture.append(&marker(78, 0, ControlRecordType::Commit, 3));
    fixture.append(&in_transaction(77, 4, 0, 4));
    let fixture = fixture.restart();
    let dumped = |offset: i64, extension: &str, arguments: &[&str]| {
        dump(&libs, &[fixture.dir().join(format!("{offset:020}.{extension}"))], arguments)
    };
    let log = dumped(0, "log", &["--deep-iteration"]);
    assert!(log.contains("endTxnMarker: ABORT coordinatorEpoch: 0"), "{log}");
    assert!(log.contains("endTxnMarker: COMMIT coordinatorEpoch: 0"), "{log}");
    let index = dumped(0, "txnindex", &[]);
    let entry = "version: 0 producerId: 77 firstOffset: 0 lastOffset: 2 lastStableOffset: 1";
    assert!(index.contains(entry), "{index}");
    let snapshot = dumped(5, "snapshot", &[]);
    let open = "producerId: 77 producerEpoch: 4 coordinatorEpoch: 0 currentTxnFirstOffset: OptionalLong[4]";
    assert!(snapshot.contains(open), "{snapshot}");
}

fn compressed(codec: Codec, base_offset: i64) -> Stamped {
    let mut builder = BatchBuilder::new(codec);
    for i in 0..10 {
        let timestamp = NOW + base_offset + i;
        builder.push(NewRecord { timestamp, key: Some(b"key"), value: Some(&[7; 100]), ..NewRecord::default() });
    }
    builder.build().stamp(base_offset, 0, None)
}

fn records_in(log: &Log) -> i64 {
    let headers = common::headers(common::read_all(log, 0));
    headers.iter().map(|header| i64::from(header.records_count)).sum()
}

/// Run DumpLogSegments and see that it has nothing to complain about.
fn dump(libs: &Path, files: &[PathBuf], arguments: &[&str]) -> String {
    let files: Vec<&str> = files.iter().map(|path| path.to_str().unwrap()).collect();
    let output = Command::new("java")
        .args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", &format!("{}/*", libs.display())])
        .arg("org.apache.kafka.tools.DumpLogSegments")
        .args(arguments)
        .args(["--files", &files.join(",")])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for complaint in
        ["ismatch", "out of order", "non-consecutive", "not found", "not valid", "not indexed", "Exception"]
    {
        assert!(!text.contains(complaint), "{complaint}: {text}");
    }
    text
}
