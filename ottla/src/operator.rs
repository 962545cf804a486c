//! The operator on Kubernetes.

use ottla_operator::operator;

use crate::everywhere::everywhere;
use crate::options::{OperatorOptions, User};

/// Operates until `stopped`.
///
/// # Errors
/// When it does not run in a Kubernetes cluster, or as [`ottla_operator::operator::run`].
pub async fn run(options: OperatorOptions, stopped: impl Future<Output = ()>) -> anyhow::Result<()> {
    let client = crate::broker::client().await?;
    let OperatorOptions { http, pod_ip, namespace, watch_namespaces, broker_image, broker_user } = options;
    let (http, User(broker_user)) = (everywhere(http), broker_user);
    let options = operator::Options { http, pod_ip, namespace, watch_namespaces, broker_image, broker_user };
    Ok(operator::run(client, options, stopped).await?)
}
