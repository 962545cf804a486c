//! More brokers.

use anyhow::{Result, ensure};
use ottla_e2e::cluster::bed::Bed;
use ottla_e2e::cluster::namespace::Namespace;
use ottla_e2e::cluster::{judge, say};
use ottla_e2e::witness::Load;
use std::time::Instant;

#[test]
fn three_brokers_become_five_under_load_and_new_topics_use_them() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "scale")?;
    namespace.brokers(3)?;
    let load = namespace.load("before", 6, Load::GENTLE)?;
    let starts = namespace.starts()?;

    let began = Instant::now();
    namespace.kubectl("scale okc/kafka --replicas=5")?;
    namespace.prints("get okc/kafka -o jsonpath={.status.brokers[?(@.state==\"Online\")].id}", "0 1 2 3 4")?;
    namespace.ready("okc/kafka", "Ready")?;
    say(&format!("from three to five brokers in {:.1} s", began.elapsed().as_secs_f64()));
    load.go_on()?;

    namespace.topic("after", 10)?;
    let leaders =
        namespace.kubectl("get oka -o jsonpath={.items[?(@.spec.topicName==\"after\")].spec.partitions[*].leader}")?;
    let leads = |broker: &str| leaders.split(' ').filter(|leader| *leader == broker).count();
    ensure!(["0", "1", "2", "3", "4"].map(leads) == [2; 5], "leaders of the new topic: {leaders}");
    let now = namespace.starts()?;
    ensure!(starts.iter().all(|start| now.contains(start)), "a broker was restarted: {starts:?} became {now:?}");
    judge("from three to five", load).map(drop)
}
