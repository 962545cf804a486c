//! Three real brokers under load, and what happens to them: killed, frozen, restarted, drained, robbed of their disks.
//!
//! Each story ends the same way: everything runs again, every record is read, and the history checker judges what
//! producers and consumers saw. `OTTLA_CHAOS_SEED` plays a story's choices again, `OTTLA_CHAOS_SECONDS` makes it
//! longer. Stories run one at a time.

mod bed;

use anyhow::{Context, Result, ensure};
use bed::{Chaos, LIMIT, PARTITIONS, TOPIC, alone, play, play_and_tell, play_with};
use ottla_e2e::librdkafka::{Record, Sender};
use ottla_e2e::need::{Need, met};
use ottla_e2e::raw::Connection;
use ottla_e2e::target::{Maker, needs, ottla_program};
use ottla_e2e::trio::{BROKERS, Setting, Trio};
use ottla_e2e::wait::until;
use ottla_wire::ErrorCode;
use ottla_wire::m01_fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla_wire::m03_metadata::MetadataResponsePartition;
use rustix::process::Signal;
use std::io::Write;
use std::time::{Duration, Instant};

/// How long a broker stands still: as long as a follower may lag (`replica.lag.time.max.ms`), by which it could have
/// lost everybody.
const FROZEN: Duration = Duration::from_secs(30);

#[test]
fn leaders_are_killed_again_and_again() -> Result<()> {
    play("kill -9", |chaos| {
        while chaos.goes_on() {
            let victim = chaos.leader()?;
            chaos.kill(victim)?;
            // Some come back before anybody leads in their stead, some after.
            let more = chaos.below(500);
            chaos.acknowledged_more(more)?;
            chaos.trio.start_broker(victim)?;
            chaos.trio.wait_until_whole(TOPIC)?;
        }
        Ok(())
    })
}

#[test]
fn all_brokers_are_killed_at_once() -> Result<()> {
    play("kill -9 of all", |chaos| {
        while chaos.goes_on() {
            (0..BROKERS).try_for_each(|id| chaos.kill(id))?;
            chaos.trio.heal()?;
            chaos.acknowledged_more(500)?;
        }
        Ok(())
    })
}

#[test]
fn a_leader_that_was_frozen_finds_itself_replaced() -> Result<()> {
    play("SIGSTOP", |chaos| {
        while chaos.goes_on() {
            let victim = chaos.leader()?;
            let frozen = Instant::now();
            chaos.trio.freeze(victim)?;
            chaos.count("SIGSTOP");
            chaos.wait_until_it_leads_nothing(victim)?;
            chaos.acknowledged_more(500)?;
            until(LIMIT, "half a minute to pass", || Ok((frozen.elapsed() > FROZEN).then_some(())))?;
            chaos.trio.thaw(victim)?;
            chaos.trio.wait_until_whole(TOPIC)?;
        }
        Ok(())
    })
}

/// A client that has heard of nothing else asks a leader that was frozen for the records that others have written
/// meanwhile, with an offset of its group's. With OFFSET_OUT_OF_RANGE it would begin again at the start or at the end
/// of the log.
#[test]
fn a_leader_that_was_frozen_does_not_call_the_offsets_of_its_successor_out_of_range() -> Result<()> {
    const BEFORE: i64 = 100;
    const AFTER: i64 = 200;
    let topic = "outgrown";
    if !met(&needs()) {
        return Ok(());
    }
    let _alone = alone();
    let mut trio = Trio::start(Maker::under_test(), &ottla_program()?)?;
    trio.create_topic(topic, 1, &[])?;
    let bootstrap = trio.bootstrap();
    let produce = |numbers: std::ops::Range<i64>| -> Result<()> {
        let sender = Sender::new(&bootstrap, &[("enable.idempotence", "true")])?;
        for number in numbers.clone() {
            let value = number.to_string().into_bytes();
            sender.send(topic, Some(0), &Record { key: None, value, timestamp: 1, headers: Vec::new() })?;
        }
        ensure!(sender.finish()? == numbers.count(), "every record is acknowledged");
        Ok(())
    };
    produce(0..BEFORE)?;
    let leader = trio.leader(topic, 0)?.context("the partition has a leader")?;
    let current_leader_epoch = trio.partitions(topic)?.first().context("there is a partition")?.leader_epoch;
    let mut client = Connection::open(trio.address(leader))?;
    trio.freeze(leader)?;
    trio.wait_until_without(leader, topic)?;
    produce(BEFORE..AFTER)?;
    let partition = FetchPartition {
        current_leader_epoch,
        fetch_offset: AFTER,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let topics = vec![FetchTopic { topic: topic.into(), partitions: vec![partition], ..FetchTopic::default() }];
    let request = FetchRequest { session_epoch: -1, topics, ..FetchRequest::default() };
    client.send(12, &request)?;
    trio.thaw(leader)?;
    let answer = client.receive::<FetchRequest>(12)?.context("an answer")?;
    let code = answer.responses.first().and_then(|topic| topic.partitions.first()).context("a partition")?.error_code;
    let may_ask_again =
        [ErrorCode::NOT_LEADER_OR_FOLLOWER, ErrorCode::FENCED_LEADER_EPOCH, ErrorCode::OFFSET_NOT_AVAILABLE];
    ensure!(may_ask_again.contains(&code), "{code}");
    Ok(())
}

#[test]
fn leader_and_operator_restart_in_a_loop() -> Result<()> {
    if Maker::under_test() == Maker::Kafka {
        return Ok(());
    }
    play("restart loops", |chaos| {
        while chaos.goes_on() {
            let leader = chaos.leader()?;
            match chaos.below(3) {
                0 => chaos.restart_control()?,
                1 => {
                    chaos.kill(leader)?;
                    chaos.trio.start_broker(leader)?;
                }
                _ => {
                    chaos.kill(leader)?;
                    chaos.restart_control()?;
                    chaos.trio.start_broker(leader)?;
                }
            }
            let more = chaos.below(300);
            chaos.acknowledged_more(more)?;
        }
        Ok(())
    })
}

#[test]
fn a_rolling_restart_is_no_error_to_any_client() -> Result<()> {
    let told = play_and_tell("rolling restart", |chaos| {
        for id in 0..BROKERS {
            chaos.trio.end_broker(id, Signal::TERM)?;
            chaos.count("SIGTERM");
            chaos.trio.start_broker(id)?;
            chaos.trio.wait_until_whole(TOPIC)?;
            chaos.acknowledged_more(100)?;
        }
        Ok(())
    })?;
    let given_up = told.map(|told| told.given_up).unwrap_or_default();
    ensure!(given_up.is_empty(), "records failed: {given_up:?}");
    Ok(())
}

#[test]
fn a_broker_that_lost_its_volume_gets_everything_again() -> Result<()> {
    play("volume lost", |chaos| {
        while chaos.goes_on() {
            let victim = chaos.any_broker();
            chaos.kill(victim)?;
            // Until then the ISR has two replicas to lose at most, and this is one of them.
            chaos.trio.wait_until_without(victim, TOPIC)?;
            chaos.trio.replace_disk(victim, None)?;
            chaos.count("volume lost");
            chaos.trio.start_broker(victim)?;
            chaos.trio.wait_until_whole(TOPIC)?;
        }
        Ok(())
    })
}

#[test]
fn the_command_in_the_condition_recovers_partitions_that_wait_for_lost_volumes() -> Result<()> {
    if Maker::under_test() == Maker::Kafka || !met(&[Need::Program("kubectl")]) {
        return Ok(());
    }
    play("recovery by order", |chaos| {
        // Killed last, so it has all that was acknowledged.
        let left = chaos.any_broker();
        let lost: Vec<u16> = (0..BROKERS).filter(|id| *id != left).collect();
        lost.iter().chain([&left]).try_for_each(|id| chaos.kill(*id))?;
        for id in lost {
            chaos.trio.replace_disk(id, None)?;
            chaos.count("volume lost");
        }
        // As after a power cut: nobody can say that it still has what it had.
        std::fs::remove_file(chaos.trio.data(left).join("ottla.identity"))?;
        chaos.count("incarnation lost");
        chaos.trio.start_broker(left)?;

        until(LIMIT, "the condition to show a way out for every partition", || {
            let topics = chaos.trio.objects("kafkatopics")?;
            let shown = topics.iter().find(|topic| topic["metadata"]["name"] == TOPIC).and_then(way_out);
            Ok(shown.filter(|command| command.matches("leaderEpoch").count() == PARTITIONS as usize))
        })?;
        until(LIMIT, "the broker to show that nobody leads, as nobody has given anything up", || {
            let answers = chaos.trio.partitions(TOPIC).unwrap_or_default();
            let nobody = |one: &MetadataResponsePartition| one.leader_id == -1;
            Ok((!answers.is_empty() && answers.iter().all(nobody)).then_some(()))
        })?;
        // Of the groups' topic too.
        until(LIMIT, "every partition to continue", || {
            for command in chaos.trio.objects("kafkatopics")?.iter().filter_map(way_out) {
                chaos.trio.run(&command)?;
            }
            let answers = chaos.trio.all_partitions().unwrap_or_default();
            let led = |one: &MetadataResponsePartition| one.leader_id == i32::from(left);
            Ok((!answers.is_empty() && answers.iter().all(led)).then_some(()))
        })
    })
}

/// The command that a topic's condition shows.
fn way_out(topic: &serde_json::Value) -> Option<String> {
    let conditions = topic["status"]["conditions"].as_array()?;
    let healthy = conditions.iter().find(|condition| condition["type"] == "ReplicasHealthy")?;
    let message = healthy["message"].as_str()?;
    Some(message[message.find("kubectl patch")?..].to_owned())
}

#[test]
fn without_api_and_operator_the_brokers_serve_on_and_nobody_is_elected() -> Result<()> {
    if Maker::under_test() == Maker::Kafka {
        return Ok(());
    }
    play("API and operator away", |chaos| {
        while chaos.goes_on() {
            chaos.trio.kill_control()?;
            chaos.count("API and operator killed");
            let begin = Instant::now();
            let long_enough = chaos.seconds();
            chaos.acknowledged_more(1000)?;
            // Long enough for every Lease to have expired, were there anybody to see it.
            until(LIMIT, "a while to pass", || Ok((begin.elapsed() > long_enough).then_some(())))?;
            chaos.acknowledged_more(500)?;

            let victim = chaos.leader()?;
            let led = chaos.led_by(victim)?;
            chaos.kill(victim)?;
            let answers = chaos.trio.partitions(TOPIC)?;
            ensure!(led.iter().all(|&partition| answers[partition].leader_id == i32::from(victim)), "{answers:?}");
            // A container that restarts in its pod serves what it led, API or not.
            chaos.trio.start_broker(victim)?;
            chaos.acknowledged_more(500)?;

            let victim = chaos.leader()?;
            chaos.kill(victim)?;
            chaos.trio.start_control()?;
            chaos.wait_until_it_leads_nothing(victim)?;
            chaos.acknowledged_more(500)?;
            chaos.trio.start_broker(victim)?;
            chaos.trio.wait_until_whole(TOPIC)?;
        }
        Ok(())
    })
}

#[test]
fn a_leader_that_is_cut_off_from_the_api_finds_itself_replaced() -> Result<()> {
    if Maker::under_test() == Maker::Kafka {
        return Ok(());
    }
    // A leader that nobody follows any more gives way after that time.
    play_with(&[("replica.lag.time.max.ms", "5000")], "cut off from the API", |chaos| {
        let victim = chaos.any_broker();
        chaos.trio.end_broker(victim, Signal::TERM)?;
        chaos.trio.lay_cable(victim)?;
        chaos.trio.start_broker(victim)?;
        chaos.trio.wait_until_whole(TOPIC)?;
        while chaos.goes_on() {
            until(LIMIT, "the broker to lead", || {
                let leader = chaos.leader()?;
                if leader == victim {
                    return Ok(Some(()));
                }
                chaos.trio.end_broker(leader, Signal::TERM)?;
                chaos.trio.start_broker(leader)?;
                chaos.trio.wait_until_whole(TOPIC)?;
                Ok(None)
            })?;
            chaos.trio.cut_off(victim)?;
            chaos.count("cut off from the API");
            // It runs, and clients and followers reach it.
            chaos.wait_until_it_leads_nothing(victim)?;
            chaos.acknowledged_more(500)?;
            chaos.trio.reconnect(victim)?;
            chaos.trio.wait_until_whole(TOPIC)?;
        }
        Ok(())
    })
}

#[test]
fn a_full_disk_stops_its_broker_from_writing_and_nothing_else() -> Result<()> {
    if Maker::under_test() == Maker::Kafka {
        return Ok(());
    }
    // A follower that can't write leaves the ISR after that time.
    play_with(&[("replica.lag.time.max.ms", "5000")], "full disk", |chaos| {
        let victim = chaos.any_broker();
        chaos.kill(victim)?;
        chaos.trio.wait_until_without(victim, TOPIC)?;
        chaos.trio.replace_disk(victim, Some("64m"))?;
        chaos.trio.start_broker(victim)?;
        chaos.trio.wait_until_whole(TOPIC)?;
        let path = chaos.trio.data_inside(victim)?.join("filler");
        while chaos.goes_on() {
            let mut filler = std::fs::File::create(&path)?;
            while filler.write_all(&[0; 4096]).is_ok() {}
            chaos.count("disk full");
            until(LIMIT, "the full broker to fall behind", || {
                let partitions = chaos.trio.partitions(TOPIC).unwrap_or_default();
                Ok(partitions.iter().any(|one| !one.isr_nodes.contains(&i32::from(victim))).then_some(()))
            })?;
            drop(filler);
            std::fs::remove_file(&path)?;
            chaos.trio.wait_until_whole(TOPIC)?;
            chaos.acknowledged_more(200)?;
        }
        Ok(())
    })
}

#[test]
fn a_leader_whose_disk_fails_ends_and_others_lead() -> Result<()> {
    if Maker::under_test() == Maker::Kafka {
        return Ok(());
    }
    play("disk failed", |chaos| {
        while chaos.goes_on() {
            let victim = chaos.leader()?;
            for partition in chaos.led_by(victim)? {
                // The next segment can't be created; in a folder that is only being emptied it still could.
                let folder = chaos.trio.data(victim).join(format!("{TOPIC}-{partition}"));
                let gone = folder.with_extension("gone");
                std::fs::rename(&folder, &gone)?;
                std::fs::remove_dir_all(gone)?;
            }
            chaos.count("disk failed");
            chaos.trio.wait_until_it_ends(victim)?;
            chaos.wait_until_it_leads_nothing(victim)?;
            chaos.acknowledged_more(500)?;
            chaos.trio.start_broker(victim)?;
            chaos.trio.wait_until_whole(TOPIC)?;
        }
        Ok(())
    })
}

#[test]
fn a_power_cut_takes_what_was_not_synced_and_no_acknowledged_record() -> Result<()> {
    play_on_a_lossy_disk(&[], "power cut", |chaos, victim| {
        // In the middle of flushes, rolls and checkpoints, wherever they are.
        let more = chaos.below(1500);
        chaos.acknowledged_more(more)?;
        chaos.trio.cut_power(victim)?;
        chaos.count("power cut");
        let more = chaos.below(500);
        chaos.acknowledged_more(more)?;
        chaos.trio.start_broker(victim)?;
        chaos.trio.wait_until_whole(TOPIC)
    })
}

#[test]
fn a_disk_that_fails_a_sync_while_its_broker_stops_is_not_believed_afterwards() -> Result<()> {
    play_on_a_lossy_disk(&[], "sync failed at a stop", |chaos, victim| {
        chaos.acknowledged_more(500)?;
        // Its bytes are lost, and every later sync of them succeeds: as Linux has it.
        let failed = chaos.trio.lossy(victim)?.failed_syncs()?;
        chaos.trio.lossy(victim)?.fail_next_sync()?;
        chaos.trio.end_broker(victim, Signal::TERM)?;
        ensure!(chaos.trio.lossy(victim)?.failed_syncs()? > failed, "it has synced nothing since");
        chaos.trio.lossy(victim)?.cut_power()?;
        chaos.count("sync failed");
        // A broker that believed it now would lead without what was lost.
        chaos.trio.start_broker(victim)?;
        chaos.trio.wait_until_whole(TOPIC)?;
        for other in (0..BROKERS).filter(|id| *id != victim) {
            chaos.trio.end_broker(other, Signal::TERM)?;
            chaos.trio.start_broker(other)?;
            chaos.trio.wait_until_whole(TOPIC)?;
        }
        Ok(())
    })
}

/// What hangs on this disk is read and written by threads that serve connections, too: with as few of them as this
/// machine has cores, followers and operator get no answer, and others lead before the broker reports its disk. With
/// more of them the report is first: `broker/tests/hanging_disk.rs`.
#[test]
fn others_lead_while_a_disk_hangs_and_its_broker_takes_part_again_when_it_has_answered_for_a_while() -> Result<()> {
    // Else leaders return to it after five minutes.
    let at_once = [("leader.imbalance.check.interval.seconds", "1")];
    play_on_a_lossy_disk(&at_once, "disk hangs", |chaos, victim| {
        chaos.wait_until_it_leads_what_it_is_preferred_for(victim)?;
        chaos.trio.hang_disk(victim)?;
        chaos.count("disk hung");
        chaos.wait_until_it_leads_nothing(victim)?;
        chaos.acknowledged_more(500)?;
        until(LIMIT, "the broker to report its disk", || Ok(chaos.trio.reports_a_hanging_disk(victim)?.then_some(())))?;
        chaos.trio.release_disk(victim)?;
        until(LIMIT, "the broker to report that its disk is well", || {
            // In this order: it leads nothing until it has reported that.
            let led = chaos.led_by(victim)?;
            let hangs = chaos.trio.reports_a_hanging_disk(victim)?;
            ensure!(!hangs || led.is_empty(), "it leads {led:?}, and reports that its disk hangs");
            Ok((!hangs).then_some(()))
        })?;
        chaos.trio.wait_until_whole(TOPIC)?;
        chaos.wait_until_it_leads_what_it_is_preferred_for(victim)?;
        chaos.acknowledged_more(200)
    })
}

/// Plays rounds with a broker whose disk loses what was not synced, once all that it had is there again.
fn play_on_a_lossy_disk(settings: &[Setting], name: &str, round: impl Fn(&mut Chaos, u16) -> Result<()>) -> Result<()> {
    if Maker::under_test() == Maker::Kafka || !met(&[Need::LossyDisk]) {
        return Ok(());
    }
    play_with(settings, name, |chaos| {
        let victim = chaos.any_broker();
        chaos.kill(victim)?;
        chaos.trio.wait_until_without(victim, TOPIC)?;
        chaos.trio.make_lossy(victim)?;
        chaos.trio.start_broker(victim)?;
        chaos.trio.wait_until_whole(TOPIC)?;
        while chaos.goes_on() {
            round(chaos, victim)?;
        }
        Ok(())
    })
}

#[test]
fn rot_in_a_sealed_segment_is_found_and_healed_from_a_replica() -> Result<()> {
    play("bit rot", |chaos| {
        let first = chaos.below(PARTITIONS.into()) as usize;
        // In the end it is to lead again.
        let (partition, victim) = until(LIMIT, "a partition that its preferred replica leads", || {
            let partitions = chaos.trio.partitions(TOPIC).unwrap_or_default();
            let by_preferred = |one: &&MetadataResponsePartition| one.replica_nodes.first() == Some(&one.leader_id);
            let found = partitions.iter().cycle().skip(first).take(partitions.len()).find(by_preferred);
            Ok(found.map(|one| (one.partition_index, one.leader_id)))
        })?;
        let victim = u16::try_from(victim)?;
        let folder = chaos.trio.data(victim).join(format!("{TOPIC}-{partition}"));
        let sealed = until(LIMIT, "a sealed segment", || {
            let files = std::fs::read_dir(&folder)?.filter_map(|entry| Some(entry.ok()?.path()));
            let mut logs: Vec<_> = files.filter(|path| path.extension().is_some_and(|it| it == "log")).collect();
            logs.sort();
            // Its readers have passed it long since: a reader of the damaged part before it is found gets it.
            Ok((logs.len() > 6).then(|| logs.swap_remove(1)))
        })?;
        chaos.kill(victim)?;
        let whole = std::fs::read(&sealed)?;
        // Of a record's value, so that only the checksum shows it.
        let of_a_value = b"hijklmno";
        let middle = whole.len() / 2;
        let found = whole[middle..].windows(of_a_value.len()).position(|bytes| bytes == of_a_value);
        let place = middle + found.context("a record behind the middle")?;
        let mut rotten = whole.clone();
        rotten[place..place + of_a_value.len()].fill(0xAA);
        std::fs::write(&sealed, rotten)?;
        chaos.count("bytes flipped");
        chaos.trio.start_broker(victim)?;
        until(LIMIT, "the bytes to be mended", || Ok((std::fs::read(&sealed)? == whole).then_some(())))?;
        chaos.trio.wait_until_whole(TOPIC)?;
        // The broker that is read must be the one with the rot: the first choice of a leader that stops.
        until(LIMIT, "the broker with the rot to lead", || {
            let leader = chaos.trio.leader(TOPIC, usize::try_from(partition)?)?;
            let Some(other) = leader.filter(|leader| *leader != victim) else { return Ok(leader.map(drop)) };
            chaos.trio.end_broker(other, Signal::TERM)?;
            chaos.trio.start_broker(other)?;
            chaos.trio.wait_until_whole(TOPIC)?;
            Ok(None)
        })
    })
}
