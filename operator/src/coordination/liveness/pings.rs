//! One connection to each broker, and a ping on it every quarter of a second, and when somebody else holds its Lease: a
//! request of Kafka's ApiVersions, so no RPC of our own.
//!
//! Always: what is said is about the process that held the Lease when it last answered; one that was refused after its
//! connection broke stays gone until an answer comes from that address.

use std::collections::BTreeMap;
use std::io;
use std::pin::pin;
use std::sync::Arc;

use ottla_client::{Backoff, ClientError, Connection, Connector, Tls};
use ottla_rules::assignment::BrokerId;
use ottla_wire::{ApiVersionsRequest, Str};
use rustls::ClientConfig;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Duration, Instant, sleep, timeout};
use tracing::Instrument;

/// From an answer to the next ping.
const INTERVAL: Duration = Duration::from_millis(250);
/// How long a connection or an answer may take until the broker counts as silent.
const PATIENCE: Duration = Duration::from_millis(500);
/// A wait that took so much longer than it should says that this process stalled: an answer may lie unread.
const STALL: Duration = Duration::from_millis(250);
/// When to close a silent connection: its other end may be gone without having closed it.
const GIVE_UP: Duration = Duration::from_secs(10);
/// Between attempts to connect: short at first, for a process that is being killed takes connections until it is gone,
/// and breaks them.
const FIRST_RETRY: Duration = Duration::from_millis(10);
/// Twice as long each time, up to this.
const RETRY: Duration = Duration::from_millis(250);
/// No answer is longer: larger ones are not from a broker.
const LONGEST_ANSWER: usize = 1 << 20;

/// Whom to ask, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The host.
    pub host: String,
    /// The port of the listener between brokers.
    pub port: u16,
    /// The name in the broker's certificate; `None`: the listener is plain.
    pub tls_name: Option<String>,
    /// Who holds the broker's Lease; `None`: nobody.
    pub holder: Option<String>,
}

/// What was heard of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The last ping was answered.
    Answers,
    /// A ping or an attempt to connect is unanswered, or nobody listens.
    Silent,
    /// The connection to this holder of the Lease broke, and since then nobody listens.
    Gone(Option<String>),
}

/// The connections.
pub struct Pings {
    /// With what the operator connects to brokers with TLS; `None`: with nothing yet.
    identity: watch::Receiver<Option<Arc<ClientConfig>>>,
    /// [`INTERVAL`], but in tests.
    interval: Duration,
    tasks: BTreeMap<BrokerId, Task>,
    heard: watch::Sender<BTreeMap<BrokerId, Heard>>,
}

struct Task {
    target: watch::Sender<Target>,
    task: AbortHandle,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pings {
    /// No connections yet. To brokers with TLS they are made with `identity`.
    pub fn new(identity: watch::Receiver<Option<Arc<ClientConfig>>>) -> Pings {
        Pings { identity, interval: INTERVAL, tasks: BTreeMap::new(), heard: watch::Sender::default() }
    }

    /// Keeps connections to these brokers and no others.
    pub fn follow(&mut self, targets: BTreeMap<BrokerId, Target>) {
        let strangers = |id: &BrokerId| !targets.contains_key(id);
        self.tasks.retain(|id, _| !strangers(id));
        if self.heard.borrow().keys().any(strangers) {
            self.heard.send_modify(|heard| heard.retain(|id, _| !strangers(id)));
        }
        for (id, target) in targets {
            if let Some(task) = self.tasks.get(&id) {
                task.target.send_if_modified(|known| {
                    let changed = *known != target;
                    *known = target;
                    changed
                });
                continue;
            }
            let (target, receiver) = watch::channel(target);
            let (identity, interval, heard) = (self.identity.clone(), self.interval, self.heard.clone());
            let listener = Listener { id, identity, interval, target: receiver, heard, answered: None };
            self.tasks.insert(id, Task { target, task: tokio::spawn(listener.run().in_current_span()).abort_handle() });
        }
    }

    /// What was heard of each; nothing of those that were not asked yet.
    pub fn heard(&self) -> watch::Receiver<BTreeMap<BrokerId, Heard>> {
        self.heard.subscribe()
    }
}

/// One broker's connection.
struct Listener {
    id: BrokerId,
    identity: watch::Receiver<Option<Arc<ClientConfig>>>,
    interval: Duration,
    target: watch::Receiver<Target>,
    heard: watch::Sender<BTreeMap<BrokerId, Heard>>,
    /// Who held the Lease when an answer came last, of those that have not been refused since.
    answered: Option<Option<String>>,
}

impl Listener {
    async fn run(mut self) {
        let mut connector = Connector {
            client_id: Str::from_static("ottla-operator"),
            connect_timeout: PATIENCE,
            request_timeout: GIVE_UP,
            max_response: LONGEST_ANSWER,
            tls: None,
        };
        let mut retry = Backoff::new(FIRST_RETRY, RETRY);
        loop {
            let Target { host, port, tls_name, holder: _ } = self.target.borrow().clone();
            connector.tls = match tls_name {
                None => None,
                Some(name) => {
                    // The sender lives as long as this: an error can't come.
                    let Ok(config) = self.identity.wait_for(Option::is_some).await.map(|config| config.clone()) else {
                        return;
                    };
                    config.map(|config| Tls { config, name: Some(name) })
                }
            };
            let asked = Instant::now();
            match connector.connect(&host, port, None).await {
                Ok(connection) => {
                    let (answers, ended) = self.converse(connection).await;
                    tracing::debug!(broker = %self.id, answers, error = %ended, "the connection to a broker ended");
                    if answers > 0 {
                        // At once: if nothing listens there now, the process is gone.
                        retry.succeeded();
                        continue;
                    }
                }
                Err(ClientError::Io(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    match self.answered.take() {
                        Some(holder) => self.say(Heard::Gone(holder)),
                        None => self.say_silent(),
                    }
                }
                Err(ClientError::ConnectTimeout(_)) if asked.elapsed() > PATIENCE + STALL => {}
                Err(_) => self.say_silent(),
            }
            sleep(retry.failed()).await;
        }
    }

    /// Pings until the connection ends, and counts the answers. An address that has changed ends it too.
    async fn converse(&mut self, mut connection: Connection) -> (usize, ClientError) {
        let connected_to = self.address();
        let mut answers = 0;
        loop {
            if let Err(error) = self.ping(&mut connection).await {
                return (answers, error);
            }
            answers += 1;
            self.answered = Some(self.target.borrow().holder.clone());
            self.say(Heard::Answers);
            tokio::select! {
                biased;
                () = sleep(self.interval) => {}
                ended = connection.ended() => return (answers, ended),
                // A new holder of the Lease has not answered yet. The sender lives as long as this: no error can come.
                _ = self.target.changed() => {}
            }
            if self.address() != connected_to {
                self.answered = None;
                return (answers, io::Error::other("the broker has another address now").into());
            }
        }
    }

    fn address(&self) -> (String, u16, Option<String>) {
        let target = self.target.borrow();
        (target.host.clone(), target.port, target.tls_name.clone())
    }

    async fn ping(&self, connection: &mut Connection) -> Result<(), ClientError> {
        let request = ApiVersionsRequest::default();
        let mut answer = pin!(connection.call(0, &request));
        loop {
            let asked = Instant::now();
            match timeout(PATIENCE, &mut answer).await {
                Ok(answered) => return answered.map(drop),
                Err(_) if asked.elapsed() > PATIENCE + STALL => {}
                Err(_) => self.say_silent(),
            }
        }
    }

    /// Silent, unless it is known to be gone.
    fn say_silent(&self) {
        let gone = matches!(self.heard.borrow().get(&self.id), Some(Heard::Gone(_)));
        if !gone {
            self.say(Heard::Silent);
        }
    }

    fn say(&self, what: Heard) {
        self.heard.send_if_modified(|heard| {
            let changed = heard.get(&self.id) != Some(&what);
            if changed {
                tracing::debug!(broker = %self.id, ?what, "heard of a broker");
                heard.insert(self.id, what);
            }
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// Takes one connection, and answers so many pings on it.
    async fn broker(listener: &TcpListener, answers: usize) -> TcpStream {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..answers {
            answer(&mut stream).await;
        }
        stream
    }

    async fn answer(stream: &mut TcpStream) {
        let length = stream.read_u32().await.unwrap();
        let mut request = vec![0; length as usize];
        stream.read_exact(&mut request).await.unwrap();
        assert_eq!(request[..4], [0, 18, 0, 0], "ApiVersions, version 0");
        // The request's correlation id, no error, and no API.
        let response = [&[0, 0, 0, 10], &request[4..8], &[0; 6]].concat();
        stream.write_all(&response).await.unwrap();
    }

    async fn hears(pings: &Pings, expected: Option<Heard>) {
        let mut heard = pings.heard();
        let told = heard.wait_for(|heard| heard.get(&BrokerId(0)) == expected.as_ref());
        let told = timeout(Duration::from_secs(60), told).await.map(drop);
        assert!(told.is_ok(), "never heard {expected:?}, but {:?}", pings.heard().borrow());
    }

    fn target<'a>(port: u16, holder: impl Into<Option<&'a str>>) -> BTreeMap<BrokerId, Target> {
        let holder = holder.into().map(str::to_owned);
        let target = Target { host: "127.0.0.1".to_owned(), port, tls_name: None, holder };
        BTreeMap::from([(BrokerId(0), target)])
    }

    #[tokio::test]
    async fn a_broken_connection_and_a_closed_port_are_a_death_until_somebody_answers_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut pings = Pings::new(watch::channel(None).1);
        pings.follow(target(port, "first"));
        let connection = broker(&listener, 1).await;
        hears(&pings, Some(Heard::Answers)).await;

        drop((listener, connection));
        hears(&pings, Some(Heard::Gone(Some("first".to_owned())))).await;

        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        pings.follow(target(port, "second"));
        let _connection = broker(&listener, 1).await;
        hears(&pings, Some(Heard::Answers)).await;
        pings.follow(BTreeMap::new());
        hears(&pings, None).await;
    }

    #[tokio::test]
    async fn who_has_just_got_the_lease_is_pinged_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut pings = Pings::new(watch::channel(None).1);
        pings.interval = Duration::from_secs(3600);
        pings.follow(target(port, None));
        let mut connection = broker(&listener, 1).await;
        hears(&pings, Some(Heard::Answers)).await;
        pings.follow(target(port, "first"));
        timeout(Duration::from_secs(60), answer(&mut connection)).await.unwrap();
        drop((listener, connection));
        hears(&pings, Some(Heard::Gone(Some("first".to_owned())))).await;
    }

    #[tokio::test]
    async fn a_process_that_takes_one_more_connection_while_it_dies_is_gone_all_the_same() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut pings = Pings::new(watch::channel(None).1);
        pings.follow(target(listener.local_addr().unwrap().port(), "killed"));
        drop(broker(&listener, 1).await);
        drop(broker(&listener, 0).await);
        drop(listener);
        hears(&pings, Some(Heard::Gone(Some("killed".to_owned())))).await;
    }

    #[tokio::test]
    async fn who_does_not_answer_or_never_listened_is_silent_and_not_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut pings = Pings::new(watch::channel(None).1);
        pings.follow(target(port, "frozen"));
        let mut connection = broker(&listener, 1).await;
        hears(&pings, Some(Heard::Answers)).await;
        hears(&pings, Some(Heard::Silent)).await;
        // It thaws, and answers the ping that waited.
        answer(&mut connection).await;
        hears(&pings, Some(Heard::Answers)).await;

        let mut others = Pings::new(watch::channel(None).1);
        let bound = tokio::net::TcpSocket::new_v4().unwrap();
        bound.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        others.follow(target(bound.local_addr().unwrap().port(), "unseen"));
        hears(&others, Some(Heard::Silent)).await;
    }
}
