//! Ottla's own kinds on this server.

use anyhow::Result;
use kube::api::{Api, Patch, PatchParams, PostParams};
use ottla_crds::KafkaTopic;
use ottla_local_api::{Server, Store};
use serde_json::json;

#[test]
fn every_rule_and_pattern_is_understood() -> Result<()> {
    assert_eq!(Server::unsupported(ottla_crds::all())?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_topic_stays_with_its_cluster() -> Result<()> {
    let begin = std::time::Instant::now();
    let server = Server::new(Store::Memory, ottla_crds::all())?;
    let started = begin.elapsed();
    let topics: Api<KafkaTopic> = Api::default_namespaced(server.client("default"));
    let topic = serde_json::from_value(json!({
        "metadata": {"name": "a"}, "spec": {"clusterRef": {"name": "c"}, "partitions": 3},
    }))?;
    topics.create(&PostParams::default(), &topic).await?;
    eprintln!("started in {started:?}; first topic, its rules compiled, after {:?}", begin.elapsed());
    let other = Patch::Merge(json!({"spec": {"clusterRef": {"name": "other"}}}));
    let refused = topics.patch("a", &PatchParams::default(), &other).await;
    assert!(matches!(&refused, Err(kube::Error::Api(status)) if status.code == 422), "{refused:?}");
    Ok(())
}
