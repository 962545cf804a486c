//! A log, a share partition, its persister and some members, driven by commands in plain words.

mod persister;
pub mod sessions;

use std::collections::VecDeque;
use std::fmt::Display;
use std::time::Duration;

use ottla_share::*;
use ottla_wire::ErrorCode;

use persister::Persister;

/// Commands. A member is a name: `A`, `B`. Offsets are `3` or `0-9`. The log has ten batches of ten records, from 0 on.
///
/// - `limit 3`, `locks 20`, `renewals off`: settings of the group; a lock lasts 30 s
/// - `the log is 0-9 aborted:10-19 30-39`: its batches; `the log starts at 12`
/// - `stored 5: 5-9 acknowledged 1, 15-19 available 2`: what the persister has read; loaded at once
/// - `A fetches [25] [limited] [size 10] [reading 2]`: at most so many records, or as many as there are; in the mode
///   `record_limit`; batches in flight of so many records; so many batches of the log, instead of all
/// - `A accepts 0-9 20-29`, `A releases 3`, `A rejects 3`, `A renews 3`, `A has no 3`; `A answers 0-2
///   accept,gap,renew`; `A sends 0-2 1,2,5`: acknowledge types as they are on the wire; `… as renewal` with the
///   request's flag, which `renews` sets by itself
/// - `A leaves`; `30s pass`
/// - `the persister waits` (its answers do, until a later command), `the persister answers`; `the persister fails with
///   15`: the oldest write that waits, or the next one
/// - `restart`: another leader reads what is persisted
/// - `capacity`: whether a fetch may acquire anything
pub struct World {
    config: Config,
    log: Vec<LogBatch>,
    partition: SharePartition,
    persister: Persister,
    waits: bool,
    failure: Option<ErrorCode>,
    writes: VecDeque<(String, StateWrite)>,
    now: Duration,
    shown: String,
    said: Vec<String>,
}

impl Default for World {
    fn default() -> Self {
        let persister = Persister::default();
        let partition = SharePartition::load(&persister.read()).expect("nothing is wrong with nothing");
        World {
            config: Config::default(),
            log: (0..10).map(|n| LogBatch { first: n * 10, last: n * 10 + 9, aborted: false }).collect(),
            shown: show(&partition),
            partition,
            persister,
            waits: false,
            failure: None,
            writes: VecDeque::new(),
            now: Duration::ZERO,
            said: Vec::new(),
        }
    }
}

impl ottla_stories::World for World {
    fn command(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["limit", limit] => self.config.delivery_count_limit = number(limit) as i16,
            ["locks", locks] => self.config.partition_max_record_locks = number(locks) as i32,
            ["renewals", "off"] => self.config.renew_acknowledge_enable = false,
            ["the", "log", "is", ref batches @ ..] => self.log = batches.iter().map(|text| log_batch(text)).collect(),
            ["the", "log", "starts", "at", offset] => self.partition.move_log_start(number(offset)),
            ["stored", ..] => self.load(line),
            [member, "fetches", ref options @ ..] => self.fetch(member, options),
            [member, "leaves"] => {
                let write = self.partition.release(&self.config, &MemberId::from(member));
                self.send("release", write);
            }
            [duration, "pass" | "passes"] => {
                self.now += Duration::from_secs(number(duration.trim_end_matches('s')) as u64);
                let due = self.partition.next_deadline().is_some_and(|deadline| deadline <= self.now);
                let write = self.partition.expire(&self.config, self.now);
                assert_eq!(due, write.is_some(), "a deadline is a moment at which something happens");
                self.send("time-out", write);
            }
            ["the", "persister", "waits"] => self.waits = true,
            ["the", "persister", "answers"] => {
                self.waits = false;
                self.answer();
            }
            ["the", "persister", "fails", "with", code] => {
                self.failure = Some(ErrorCode(number(code) as i16));
                self.answer();
            }
            ["restart"] => {
                self.writes.clear();
                self.partition = SharePartition::load(&self.persister.read()).expect("what was persisted");
            }
            ["capacity"] => {
                let next = self.partition.next_fetch_offset();
                let can =
                    if self.partition.can_acquire(&self.config) { "a fetch reads" } else { "a fetch waits; next" };
                self.said.push(format!("{can} from {next}"));
            }
            [member, ref answer @ ..] => self.acknowledge(member, answer),
            [] => {}
        }
        self.show();
        std::mem::take(&mut self.said)
    }
}

impl World {
    fn fetch(&mut self, member: &str, options: &[&str]) {
        let option = |name: &str| {
            let index = options.iter().position(|word| *word == name)?;
            Some(number(options[index + 1]))
        };
        let most = options.first().and_then(|word| word.parse().ok()).unwrap_or(10_000);
        let fetch_offset = self.partition.next_fetch_offset();
        let read = self.log.iter().filter(|batch| batch.last >= fetch_offset);
        let read: Vec<LogBatch> = read.take(option("reading").unwrap_or(1000) as usize).copied().collect();
        let member_id = MemberId::from(member);
        let limited = options.contains(&"limited");
        let request = Acquire {
            member: &member_id,
            mode: if limited { AcquireMode::RecordLimit } else { AcquireMode::BatchOptimized },
            batch_size: option("size").unwrap_or(10) as i32,
            max_records: most,
            fetch_offset,
            read: &read,
        };
        let acquired = self.partition.acquire(&self.config, self.now, &request);
        let acquired = acquired.iter().map(|part| format!("{} {}", span(part.first, part.last), part.delivery_count));
        let acquired = list(acquired);
        self.said.push(format!("{member}: {}", if acquired.is_empty() { "nothing" } else { &acquired }));
    }

    fn acknowledge(&mut self, member: &str, answer: &[&str]) {
        let may_renew = answer.contains(&"renews") || answer.ends_with(&["as", "renewal"]);
        let answer = answer.strip_suffix(&["as", "renewal"]).unwrap_or(answer);
        let all = |kind: i8, spans: &[&str]| -> Vec<AcknowledgementBatch> {
            spans
                .iter()
                .map(|text| {
                    let (first, last) = offsets(text);
                    AcknowledgementBatch { first, last, types: vec![kind] }
                })
                .collect()
        };
        let batches = match answer {
            ["accepts", spans @ ..] => all(1, spans),
            ["releases", spans @ ..] => all(2, spans),
            ["rejects", spans @ ..] => all(3, spans),
            ["renews", spans @ ..] => all(4, spans),
            ["has", "no", spans @ ..] => all(0, spans),
            ["answers" | "sends", span, types] => {
                let (first, last) = offsets(span);
                let types = types.split(',').map(|kind| match kind {
                    "gap" => 0,
                    "accept" => 1,
                    "release" => 2,
                    "reject" => 3,
                    "renew" => 4,
                    other => number(other) as i8,
                });
                vec![AcknowledgementBatch { first, last, types: types.collect() }]
            }
            other => panic!("{other:?} is no command"),
        };
        let member_id = MemberId::from(member);
        let request = Acknowledge { member: &member_id, batches: &batches, may_renew };
        match self.partition.acknowledge(&self.config, self.now, &request) {
            Ok(None) => self.said.push(format!("{member}: ok")),
            Ok(write) => self.send(member, write),
            Err(error) => self.said.push(format!("{member}: {error:?}")),
        }
    }

    fn load(&mut self, line: &str) {
        let (start, batches) = line.trim_start_matches("stored ").split_once(':').expect("a start");
        let batches = batches.split(',').filter(|text| !text.trim().is_empty()).map(|text| {
            let words: Vec<&str> = text.split_whitespace().collect();
            let [span, state, count] = words[..] else { panic!("{text} is no batch") };
            let (first, last) = offsets(span);
            let state = match state {
                "available" => DeliveryState::Available,
                "acknowledged" => DeliveryState::Acknowledged,
                "archived" => DeliveryState::Archived,
                other => panic!("{other} is no state"),
            };
            StateBatch { first, last, state, delivery_count: number(count) as i16 }
        });
        let stored = Stored { state_epoch: 0, start: number(start), batches: batches.collect() };
        match SharePartition::load(&stored) {
            Ok(partition) => self.partition = partition,
            Err(error) => self.said.push(error.to_string()),
        }
    }

    fn send(&mut self, of: &str, write: Option<StateWrite>) {
        let Some(write) = write else { return };
        let batches = write.batches.iter().map(|batch| {
            let state = format!("{:?}", batch.state).to_lowercase();
            format!("{} {state} {}", span(batch.first, batch.last), batch.delivery_count)
        });
        let (start, complete) = (write.start, write.delivery_complete_count);
        self.said.push(format!("write: start {start}, complete {complete}: {}", list(batches)));
        self.writes.push_back((of.to_string(), write));
        self.show();
        if !self.waits {
            self.answer();
        }
    }

    fn answer(&mut self) {
        while let Some((of, write)) = self.writes.pop_front() {
            let answer = match self.failure.take() {
                Some(code) => Err(PersisterError::from(code)),
                None => {
                    self.persister.store(&write);
                    Ok(())
                }
            };
            self.partition.settle(&write, answer);
            self.said.push(match answer {
                Ok(()) => format!("{of}: ok"),
                Err(error) => {
                    let drops = if error.drops_share_partition() { ", drops the share partition" } else { "" };
                    format!("{of}: {error:?}{drops}")
                }
            });
            self.show();
            if self.waits {
                break;
            }
        }
    }

    fn show(&mut self) {
        let shown = show(&self.partition);
        if shown != self.shown {
            self.said.push(shown.clone());
            self.shown = shown;
        }
    }
}

fn show(partition: &SharePartition) -> String {
    let records = partition.in_flight().map(|run| {
        let state = match run.state {
            RecordState::Available => "available".to_string(),
            RecordState::Acquired { member, becomes: None } => member.to_string(),
            RecordState::Acquired { member, becomes: Some(state) } => format!("{member}→{state:?}").to_lowercase(),
            RecordState::Acknowledged => "acknowledged".to_string(),
            RecordState::Archived => "archived".to_string(),
        };
        format!("{} {state} {}", span(run.first, run.last), run.delivery_count)
    });
    let records = list(records);
    let colon = if records.is_empty() { "" } else { ": " };
    format!("[{} to {}]{colon}{records}", partition.start(), partition.end())
}

fn list(items: impl Iterator<Item = impl Display>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn span(first: Offset, last: Offset) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

fn offsets(text: &str) -> (Offset, Offset) {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    (number(first), number(last))
}

fn log_batch(text: &str) -> LogBatch {
    let (first, last) = offsets(text.trim_start_matches("aborted:"));
    LogBatch { first, last, aborted: text.starts_with("aborted:") }
}

fn number(text: &str) -> i64 {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}
