//! librdkafka produces, consumes, compresses with each codec, commits and rebalances.

#[cfg(not(feature = "librdkafka"))]
#[test]
fn librdkafka_works() {
    use ottla_e2e::need::{Need, met};
    met(&[Need::Feature("librdkafka")]);
}

#[cfg(feature = "librdkafka")]
mod librdkafka {
    use anyhow::{Context, Result, ensure};
    use ottla_e2e::librdkafka::{
        LIMIT, Member, Record, Sender, config, create_topic, leave_all, read_together, settle,
    };
    use ottla_e2e::need::met;
    use ottla_e2e::target::{Target, needs};
    use ottla_e2e::wait::until;
    use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
    use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

    fn record(number: usize) -> Record {
        let text = |text: &str| Some(text.as_bytes().to_vec());
        Record {
            key: (!number.is_multiple_of(5)).then(|| format!("key {}", number % 7).into_bytes()),
            value: format!("value {number} ").repeat(number % 40).into_bytes(),
            timestamp: 1_600_000_000_000 + number as i64,
            headers: vec![
                ("n".to_owned(), text(&number.to_string())),
                ("n".to_owned(), text("again")),
                ("null".to_owned(), None),
            ],
        }
    }

    /// Sends numbered records round robin, reads them in a group of one, and compares.
    fn round_trip(topic: &str, count: usize, settings: &[(&str, &str)]) -> Result<()> {
        if !met(&needs()) {
            return Ok(());
        }
        let bootstrap = Target::shared().bootstrap();
        create_topic(&bootstrap, topic, 3, &[])?;
        let sender = Sender::new(&bootstrap, settings)?;
        for number in 0..count {
            sender.send(topic, Some((number % 3) as i32), &record(number))?;
        }
        ensure!(sender.finish()? == count);
        let reader = [Member::join(&bootstrap, topic, topic, &[])?];
        read_together(&reader, count)?;
        let found = leave_all(reader.into())?;
        ensure!(found.len() == count, "{} records instead of {count}", found.len());
        for found in found {
            let number = found.offset as usize * 3 + found.partition as usize;
            ensure!(found.record == record(number), "record {number} came back as {found:?}");
        }
        Ok(())
    }

    #[test]
    fn records_come_back_as_they_were_sent() -> Result<()> {
        round_trip("plain", 3000, &[("compression.type", "none"), ("acks", "1")])
    }

    #[test]
    fn records_in_gzip_come_back() -> Result<()> {
        round_trip("gzip", 3000, &[("compression.type", "gzip")])
    }

    #[test]
    fn records_in_snappy_come_back() -> Result<()> {
        round_trip("snappy", 3000, &[("compression.type", "snappy")])
    }

    #[test]
    fn records_in_lz4_come_back() -> Result<()> {
        round_trip("lz4", 3000, &[("compression.type", "lz4")])
    }

    #[test]
    fn records_in_zstd_come_back() -> Result<()> {
        round_trip("zstd", 3000, &[("compression.type", "zstd")])
    }

    #[test]
    fn an_idempotent_producer_is_served() -> Result<()> {
        round_trip("idempotent", 30_000, &[("enable.idempotence", "true"), ("linger.ms", "1")])
    }

    #[test]
    fn members_share_the_partitions_as_they_come_and_go() -> Result<()> {
        rebalance("eager", &[("partition.assignment.strategy", "range")])
    }

    #[test]
    fn members_share_the_partitions_step_by_step_with_cooperative_sticky() -> Result<()> {
        rebalance("cooperative", &[("partition.assignment.strategy", "cooperative-sticky")])
    }

    #[test]
    fn members_share_the_partitions_as_the_coordinator_says_with_the_consumer_protocol() -> Result<()> {
        rebalance("coordinated", &[("group.protocol", "consumer")])
    }

    fn rebalance(topic: &str, settings: &[(&str, &str)]) -> Result<()> {
        if !met(&needs()) {
            return Ok(());
        }
        let bootstrap = Target::shared().bootstrap();
        create_topic(&bootstrap, topic, 6, &[])?;
        let join = || Member::join(&bootstrap, topic, topic, settings);
        let mut members = vec![join()?, join()?];
        settle(&members, &[3, 3])?;
        members.push(join()?);
        settle(&members, &[2, 2, 2])?;
        let sender = Sender::new(&bootstrap, &[])?;
        for number in 0..600 {
            sender.send(topic, Some(number % 6), &record(number as usize))?;
        }
        sender.finish()?;
        read_together(&members, 600)?;
        let gone = members.pop().context("there are three")?.leave()?;
        settle(&members, &[3, 3])?;
        let mut seen: Vec<_> =
            gone.into_iter().chain(leave_all(members)?).map(|found| (found.partition, found.offset)).collect();
        let total = seen.len();
        seen.sort_unstable();
        seen.dedup();
        ensure!((seen.len(), total) == (600, 600), "{} records were seen {total} times", seen.len());
        Ok(())
    }

    /// As applications are upgraded: one member after the other restarts with the other protocol, and back.
    #[test]
    fn a_group_changes_its_protocol_member_by_member_and_reads_every_record_once() -> Result<()> {
        if !met(&needs()) {
            return Ok(());
        }
        let (bootstrap, topic) = (Target::shared().bootstrap(), "changing");
        create_topic(&bootstrap, topic, 6, &[])?;
        let join = |protocol| Member::join(&bootstrap, topic, topic, &[("group.protocol", protocol)]);
        let mut members = vec![join("classic")?, join("classic")?];
        settle(&members, &[3, 3])?;
        let (mut sent, mut found) = (0, Vec::new());
        for protocol in ["consumer", "consumer", "classic", "classic"] {
            members.push(join(protocol)?);
            settle(&members, &[2, 2, 2])?;
            let sender = Sender::new(&bootstrap, &[])?;
            for number in 0..600 {
                sender.send(topic, Some(number % 6), &record(number as usize))?;
            }
            sent += sender.finish()?;
            until(LIMIT, "the members to read every record", || {
                Ok((found.len() + members.iter().map(Member::read).sum::<usize>() >= sent).then_some(()))
            })?;
            found.extend(members.remove(0).leave()?);
            settle(&members, &[3, 3])?;
        }
        found.extend(leave_all(members)?);
        let mut places: Vec<_> = found.iter().map(|found| (found.partition, found.offset)).collect();
        places.sort_unstable();
        places.dedup();
        ensure!(
            (places.len(), found.len()) == (sent, sent),
            "{} records were seen {} times",
            places.len(),
            found.len()
        );
        Ok(())
    }

    #[test]
    fn committed_offsets_are_read_back_with_their_metadata() -> Result<()> {
        if !met(&needs()) {
            return Ok(());
        }
        let bootstrap = Target::shared().bootstrap();
        let topic = "committed";
        create_topic(&bootstrap, topic, 2, &[])?;
        let consumer =
            || config(&bootstrap, &[("group.id", topic), ("enable.auto.commit", "false")]).create::<BaseConsumer>();
        let mut offsets = TopicPartitionList::new();
        let mut entry = offsets.add_partition(topic, 0);
        entry.set_offset(Offset::Offset(41))?;
        entry.set_metadata("as far as I got");
        // librdkafka fails at once when the group's coordinator is still coming up.
        let first = consumer()?;
        until(LIMIT, "the commit", || Ok(first.commit(&offsets, CommitMode::Sync).ok()))?;

        let mut asked = TopicPartitionList::new();
        asked.add_partition(topic, 0);
        asked.add_partition(topic, 1);
        let committed = consumer()?.committed_offsets(asked, LIMIT)?;
        let first = committed.find_partition(topic, 0).context("partition 0")?;
        ensure!((first.offset(), first.metadata()) == (Offset::Offset(41), "as far as I got"));
        ensure!(committed.find_partition(topic, 1).context("partition 1")?.offset() == Offset::Invalid);
        Ok(())
    }
}
