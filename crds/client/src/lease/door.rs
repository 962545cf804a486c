//! A holder's door: where it answers, and whether it does. Evidence beside its lease, as pings are for brokers.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// The annotation with the address.
const ANSWERS_AT: &str = "ottla.io/answers-at";
/// How long an answer may take. A wrong guess costs a change of holder, and no write depends on who holds.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);
/// Any answer is one.
const QUESTION: &[u8] = b"GET /livez HTTP/1.0\r\n\r\n";

/// The annotation of a holder that answers HTTP at this address.
pub fn at(address: SocketAddr) -> BTreeMap<String, String> {
    BTreeMap::from([(ANSWERS_AT.to_owned(), address.to_string())])
}

/// Whether the holder says where it answers and does not: nobody listens there, or nobody says anything.
pub(super) async fn is_unanswered(lease: &Lease) -> bool {
    let said = lease.metadata.annotations.as_ref().and_then(|said| said.get(ANSWERS_AT));
    let Some(address) = said.and_then(|address| address.parse::<SocketAddr>().ok()) else { return false };
    let answer = async {
        let mut door = TcpStream::connect(address).await?;
        door.write_all(QUESTION).await?;
        door.read_u8().await
    };
    !matches!(timeout(PATIENCE, answer).await, Ok(Ok(_)))
}
