//! Objects that were deleted by mistake come back from the brokers' copies, by `ottla objects`.

use anyhow::{Result, ensure};
use ottla_e2e::target::ottla_program;
use ottla_e2e::wait::until;
use std::process::Command;

use crate::bed::{LIMIT, Laptop, can_run};
use crate::client::{create, produce, read, wait_for_leaders};

/// `ottla objects` with the data directories of these brokers.
fn objects(laptop: &Laptop, brokers: &[u16]) -> Result<Command> {
    let mut command = Command::new(ottla_program()?);
    command.arg("objects");
    for broker in brokers {
        command.arg("--data").arg(laptop.data().join(format!("broker-{broker}")));
    }
    Ok(command)
}

/// Produces so many more records to each partition and reads them all.
fn go_on(laptop: &Laptop, leaders: &[i32], records: usize) -> Result<()> {
    for (partition, &leader) in (0..).zip(leaders) {
        let mut connection = laptop.connect(u16::try_from(leader)?)?;
        for number in 0..records {
            produce(&mut connection, "orders", partition, format!("record {number}").as_bytes())?;
        }
    }
    Ok(())
}

fn ensure_read(laptop: &Laptop, leaders: &[i32], records: usize) -> Result<()> {
    for (partition, &leader) in (0..).zip(leaders) {
        let found = read(&mut laptop.connect(u16::try_from(leader)?)?, "orders", partition)?;
        ensure!(found.len() == records, "{} records of partition {partition} instead of {records}", found.len());
    }
    Ok(())
}

#[test]
fn objects_that_were_deleted_come_back_from_the_brokers_copies() -> Result<()> {
    if !can_run(&["kubectl"]) {
        return Ok(());
    }
    let mut laptop = Laptop::new(&["--brokers", "3"])?;
    laptop.start()?;
    let spec = "partitions: 3, replicationFactor: 3, config: {min.insync.replicas: \"2\"}";
    let file = laptop.topic_file("orders", spec)?;
    laptop.kubectl(&format!("create -f {file}"))?;
    let leaders = wait_for_leaders(&mut laptop.connect(0)?, "orders", 3)?;
    go_on(&laptop, &leaders, 10)?;
    let assigned = || laptop.kubectl("get oka -o jsonpath={.items[*].spec}");
    let id = || laptop.kubectl("get okt/orders -o jsonpath={.status.topicId}");
    let ready = |reason: &str| {
        let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}";
        laptop.kubectl(&format!("wait okt/orders --for={path}={reason} --timeout={}s", LIMIT.as_secs())).map(drop)
    };
    ready("Ready")?;
    let before = (assigned()?, id()?);
    let objects_before = until(LIMIT, "every broker's copy to know the topic", || {
        // It fails where one has not written its copy yet.
        let output = objects(&laptop, &[0, 1, 2])?.output()?;
        let printed = String::from_utf8(output.stdout)?;
        Ok((output.status.success() && printed.contains("KafkaTopic\"")).then_some(printed))
    })?;

    laptop.kubectl("delete oka --all --timeout=120s")?;
    laptop.kubectl("delete okt --all --timeout=120s")?;
    go_on(&laptop, &leaders, 10)?;
    // What applies objects from files does so by itself; without the assignments it must not be a new topic.
    laptop.kubectl(&format!("create -f {file}"))?;
    ready("AssignmentsMissing")?;
    ensure!(assigned()?.is_empty(), "the topic was placed again");

    let said = laptop.refuses_command(&objects(&laptop, &[0, 2])?)?;
    ensure!(said.starts_with("ottla: the copy of broker 1 is missing, and may be newer"), "{said}");
    let file = laptop.folder().join("objects.json");
    std::fs::write(&file, &objects(&laptop, &[0, 1, 2])?.output()?.stdout)?;
    ensure!(std::fs::read_to_string(&file)? == objects_before, "brokers know something else now");
    let exist = laptop.kubectl_refuses(&format!("create -f {}", file.display()))?;
    ensure!(exist.lines().count() == 2 && exist.lines().all(|line| line.contains("AlreadyExists")), "{exist}");

    ready("Ready")?;
    ensure!((assigned()?, id()?) == before, "it is not as it was: {} {}", assigned()?, id()?);
    go_on(&laptop, &leaders, 10)?;
    ensure_read(&laptop, &leaders, 30)?;
    create(&mut laptop.connect(1)?, "afterwards", 3)?;
    wait_for_leaders(&mut laptop.connect(2)?, "afterwards", 3)?;

    // While it runs, a broker writes its copy again with everything that it sees.
    laptop.terminate()?;
    let copy = laptop.data().join("broker-1/ottla.objects");
    std::fs::write(&copy, "0\n{}\n")?;
    let said = laptop.refuses_command(&objects(&laptop, &[0, 1, 2])?)?;
    ensure!(
        said.ends_with(&format!(
            "ottla: {} is missing or incomplete
",
            copy.display()
        )),
        "{said}"
    );
    Ok(())
}
