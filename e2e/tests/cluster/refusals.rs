//! What `kubectl apply` refuses, on a cluster and on a laptop with the same sentence.

#[expect(dead_code, reason = "a part of the laptop's bed")]
#[path = "../laptop/bed.rs"]
mod laptop;

use anyhow::{Context, Result, ensure};
use laptop::Laptop;
use ottla_e2e::cluster::bed::Bed;
use ottla_e2e::cluster::namespace::{Namespace, cluster, topic};
use ottla_e2e::leash::Folder;

/// What is there, what is applied over it, and what a person has to understand.
fn refused() -> Vec<(String, String, &'static str)> {
    let one = cluster(1, "");
    let listeners = "listeners:\n  - {name: internal, port: 9092}\n  - {name: external, port: 9094, type: nodePort, insecure: true}";
    let with = |listeners: &str| one.replace("listeners:\n  - {name: internal, port: 9092}", listeners);
    assert!(one.contains(listeners), "the cases edit this");
    vec![
        (
            topic("moved", "partitions: 1"),
            topic("moved", "partitions: 1").replace("name: kafka}", "name: other}"),
            "clusterRef is immutable",
        ),
        (
            topic("twice", "partitions: 1"),
            topic("twice", "partitions: 1, placement: [{partition: 0, replicas: [0, 0]}]"),
            "Duplicate value: 0",
        ),
        (one.clone(), one.replace("size: 1Gi", "size: 500Mi"), "brokers.storage.size can not be reduced"),
        (one.clone(), with("listeners:\n  - {name: internal, port: 9094}"), "listeners must have different ports"),
        (one.clone(), with("listeners:\n  - {name: internal, port: 0}"), "should be greater than or equal to 1"),
        (one.clone(), with("listeners:\n  - {name: No_DNS, port: 9092}"), "should match"),
        (
            one.clone(),
            with("listeners:\n  - {name: internal, port: 9092, type: public}"),
            "Unsupported value: \"public\"",
        ),
    ]
}

#[test]
fn a_cluster_refuses_with_a_sentence_and_a_laptop_with_the_same() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "refusals")?;
    let mut laptop = Laptop::new(&[])?;
    laptop.start()?;
    let folder = Folder::new()?;
    for (number, (before, after, sentence)) in refused().into_iter().enumerate() {
        namespace.apply(&before)?;
        let on_cluster = reason(&namespace.refuses(&after)?);
        ensure!(on_cluster.contains(sentence), "{sentence} was expected, not {on_cluster}");

        let file = |yaml: &str, name: &str| -> Result<String> {
            let path = folder.path().join(format!("{name}-{number}.yaml"));
            std::fs::write(&path, yaml)?;
            Ok(path.to_str().context("a path of ours")?.to_owned())
        };
        let first = format!("apply -f {}", file(&before, "before")?);
        laptop.kubectl(&first)?;
        let on_laptop = reason(&laptop.kubectl_refuses(&format!("apply -f {}", file(&after, "after")?))?);
        ensure!(on_laptop == on_cluster, "the laptop says {on_laptop}\nthe cluster says {on_cluster}");
    }
    Ok(())
}

/// Without the patch and the path that kubectl puts before it.
fn reason(said: &str) -> String {
    said.split_once(" is invalid: ").map_or(said, |(_, reason)| reason).to_owned()
}
