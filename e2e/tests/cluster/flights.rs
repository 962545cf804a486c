//! Real input through stock clients: 336,776 departures from New York in 2013, from inside the cluster and from
//! outside.

use anyhow::{Context, Result, bail, ensure};
use ottla_e2e::cluster::bed::Bed;
use ottla_e2e::cluster::clients::{Client, Place};
use ottla_e2e::cluster::namespace::Namespace;
use ottla_e2e::cluster::say;
use ottla_e2e::need::{Need, cache, met};
use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

const FLIGHTS: usize = 336_776;

#[test]
fn flights_go_in_and_out_inside_the_cluster() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "inside")?;
    namespace.brokers(3)?;
    let place = Place::inside(&namespace)?;
    through(&namespace, &place, &namespace.bootstrap("internal")?)
}

#[test]
fn flights_go_in_and_out_through_a_node_port() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    if !met(&[Need::Java, Need::Python, Need::Program("kcat")]) {
        return Ok(());
    }
    let namespace = Namespace::new(&bed, "outside")?;
    namespace.brokers(3)?;
    through(&namespace, &Place::Outside, &namespace.bootstrap("external")?)
}

/// What one client has sent, the next one reads.
fn through(namespace: &Namespace<'_>, place: &Place<'_>, bootstrap: &str) -> Result<()> {
    if !met(&[Need::Flights]) {
        return Ok(());
    }
    let flights = load()?;
    let clients = [Client::Java, Client::Python, Client::Kcat];
    for (sender, reader) in clients.into_iter().zip(clients.into_iter().cycle().skip(1)) {
        let topic = format!("flights-{sender:?}").to_lowercase();
        namespace.topic(&topic, 12)?;
        let began = Instant::now();
        place.produce(sender, bootstrap, &topic, &flights)?;
        let sent = began.elapsed().as_secs_f64();
        let found = place.consume(reader, bootstrap, &topic, FLIGHTS)?;
        let read = began.elapsed().as_secs_f64() - sent;
        if let Some(what) = difference(&by_key(&flights)?, &by_key(&found)?) {
            bail!("{reader:?} read {} lines, not what {sender:?} has sent: {what}", found.lines().count());
        }
        say(&format!("336,776 flights: {sender:?} sent them in {sent:.1} s, {reader:?} read them in {read:.1} s"));
    }
    Ok(())
}

/// The first key whose values differ, and where. Every sender is idempotent: nothing excuses a repetition.
fn difference(sent: &HashMap<&str, Vec<&str>>, found: &HashMap<&str, Vec<&str>>) -> Option<String> {
    let keys: BTreeSet<&str> = sent.keys().chain(found.keys()).copied().collect();
    let differing: Vec<&str> = keys.into_iter().filter(|key| sent.get(key) != found.get(key)).collect();
    let (key, none) = (*differing.first()?, Vec::new());
    let [sent, found] = [sent, found].map(|lines| lines.get(key).unwrap_or(&none));
    let at = sent.iter().zip(found).take_while(|(sent, found)| sent == found).count();
    Some(format!(
        "{} keys differ; {} values of {key} were sent and {} read, equal up to {at}: sent {:?}, read {:?}",
        differing.len(),
        sent.len(),
        found.len(),
        sent.get(at..sent.len().min(at + 3)),
        found.get(at..found.len().min(at + 3)),
    ))
}

/// The values of each key in order: partitions keep no order among them.
fn by_key(lines: &str) -> Result<HashMap<&str, Vec<&str>>> {
    let mut values: HashMap<&str, Vec<&str>> = HashMap::new();
    for line in lines.lines() {
        let (key, value) = line.split_once('\t').context("a line has a key and a value")?;
        values.entry(key).or_default().push(value);
    }
    Ok(values)
}

/// A line per flight: carrier and number, a tab, the line of the file.
fn load() -> Result<String> {
    let text = std::fs::read_to_string(cache().join("flights.csv"))?;
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().context("the first line has the names")?.split(',').collect();
    let column =
        |name: &str| names.iter().position(|other| *other == name).with_context(|| format!("no column {name}"));
    let (carrier, number) = (column("carrier")?, column("flight")?);
    let mut flights = String::new();
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        flights.push_str(&format!("{}{}\t{line}\n", fields[carrier], fields[number]));
    }
    ensure!(flights.lines().count() == FLIGHTS, "{} flights in the file", flights.lines().count());
    Ok(flights)
}
