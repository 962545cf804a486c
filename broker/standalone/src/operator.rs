//! The operator on Kubernetes.

use ottla_operator::operator;

use crate::options::OperatorOptions;

/// Operates until `stopped`.
///
/// # Errors
/// Without a Kubernetes cluster around it, or as the operator says.
pub async fn run(options: OperatorOptions, stopped: impl Future<Output = ()>) -> anyhow::Result<()> {
    let client = crate::broker::client().await?;
    let OperatorOptions { http, pod_ip, namespace, watch_namespaces, broker_image } = options;
    let options = operator::Options { http, pod_ip, namespace, watch_namespaces, broker_image };
    Ok(operator::run(client, options, stopped).await?)
}
