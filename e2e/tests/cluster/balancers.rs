//! A listener with a load balancer for each broker. Nothing on the test's cluster makes load balancers: the story gives
//! the Services their addresses in its place.

use anyhow::{Result, ensure};
use ottla_e2e::cluster::bed::Bed;
use ottla_e2e::cluster::namespace::{Namespace, cluster};
use serde_json::json;

#[test]
fn a_listener_has_the_addresses_that_load_balancers_get() -> Result<()> {
    let Some(bed) = Bed::get()? else { return Ok(()) };
    let namespace = Namespace::new(&bed, "balanced")?;
    let listener = "  - {name: balanced, port: 9095, type: loadBalancer, insecure: true}";
    let yaml = cluster(2, "").replace("  rack:", &format!("{listener}\n  rack:"));
    ensure!(yaml.contains(listener), "the case edits this");
    namespace.apply(&yaml)?;
    let service = "get service/kafka-broker-1-balanced -o jsonpath={.spec.type}/{.spec.ports[0].port}";
    namespace.prints(service, "LoadBalancer/9095")?;
    namespace.ready("okc/kafka", "Ready")?;
    let servers = "get okc/kafka -o jsonpath={.status.listeners[?(@.name==\"balanced\")].bootstrapServers}";
    namespace.prints(servers, "")?;

    for (broker, address) in [(0, "192.0.2.10"), (1, "192.0.2.11")] {
        let status = json!({ "status": { "loadBalancer": { "ingress": [{ "ip": address }] } } });
        let patch = format!("--subresource=status --type=merge --patch={status}");
        namespace.kubectl(&format!("patch service/kafka-broker-{broker}-balanced {patch}"))?;
    }
    namespace.prints(servers, "192.0.2.10:9095,192.0.2.11:9095")
}
