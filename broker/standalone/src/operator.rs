//! The operator on Kubernetes.

use ottla_operator::operator;

use crate::options::OperatorOptions;

/// Operates until `stopped`.
///
/// # Errors
/// Without a Kubernetes cluster around it, or as the operator says.
pub async fn run(options: OperatorOptions, stopped: impl Future<Output = ()>) -> anyhow::Result<()> {
    let client = crate::broker::client().await?;
    let OperatorOptions { http, namespace, watch_namespaces, broker_image } = options;
    Ok(operator::run(client, operator::Options { http, namespace, watch_namespaces, broker_image }, stopped).await?)
}
