//! One process's way to the API server, and what goes wrong on it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::Client;
use kube::client::Body;
use ottla_crds::KafkaAssignment;
use ottla_local_api::Server;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::NAMESPACE;
use super::referee::Referee;
use super::trace::{Trace, kind};
use crate::random::Random;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// A way to the API server.
pub(super) struct Door {
    /// Whose it is.
    name: String,
    state: Mutex<State>,
    /// Watches show something again.
    thawed: Arc<Notify>,
    trace: Arc<Mutex<Trace>>,
    referee: Arc<Mutex<Referee>>,
}

struct State {
    random: Random,
    trouble: Trouble,
    /// Watches show nothing.
    frozen: bool,
    /// So many writes until the process is killed, before it hears of the last.
    dies_after: Option<u32>,
    died: bool,
    /// Writes that were sent, by kind.
    writes: BTreeMap<String, u64>,
}

/// What is wrong; counts are thousandths of requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble {
    /// Nobody answers.
    pub away: Away,
    /// The longest that a request takes, in milliseconds.
    pub slow_ms: usize,
    /// 429.
    pub too_many: usize,
    /// 409, of writes.
    pub conflicts: usize,
    /// Done, and nobody hears of it.
    pub lost_answers: usize,
    /// Lists of assignments lack their first.
    pub lists_lack_one: bool,
}

/// How an API server is away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Away {
    /// It is there.
    #[default]
    No,
    /// Connections are refused.
    Refusing,
    /// Nothing comes back.
    Silent,
}

/// What becomes of a request.
enum Fate {
    Refused,
    Unanswered,
    Answered(u16, &'static str),
    Passed { answer_lost: bool, dies: bool, lacks_one: bool },
}

impl Door {
    pub(super) fn new(name: String, seed: u64, trace: Arc<Mutex<Trace>>, referee: Arc<Mutex<Referee>>) -> Arc<Door> {
        let state = State {
            random: Random::new(seed),
            trouble: Trouble::default(),
            frozen: false,
            dies_after: None,
            died: false,
            writes: BTreeMap::new(),
        };
        Arc::new(Door { name, state: Mutex::new(state), thawed: Arc::default(), trace, referee })
    }

    /// A client of the process that asks for it, as impatient as it is in a pod.
    pub(super) fn client(self: &Arc<Door>, server: &Server) -> Client {
        let (door, inner) = (self.clone(), server.client(NAMESPACE));
        let service = tower::service_fn(move |request: Request<Body>| {
            let (door, inner) = (door.clone(), inner.clone());
            async move { door.pass(inner, request).await }
        });
        ottla_kube::counted(Client::new(service, NAMESPACE), NAMESPACE, |_, _| ())
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Trouble)) {
        change(&mut self.state.lock().trouble);
    }

    pub(super) fn freeze_watches(&self, frozen: bool) {
        self.state.lock().frozen = frozen;
        self.thawed.notify_waiters();
    }

    /// Nothing is wrong any more, and the process need not die.
    pub(super) fn heal(&self) {
        let mut state = self.state.lock();
        (state.trouble, state.dies_after) = (Trouble::default(), None);
        drop(state);
        self.freeze_watches(false);
    }

    /// The process is to be killed with this write, counted from now on.
    pub(super) fn dies_after(&self, writes: u32) {
        self.state.lock().dies_after = Some(writes);
    }

    /// Whether it is time to kill it; reported once.
    pub(super) fn take_died(&self) -> bool {
        std::mem::take(&mut self.state.lock().died)
    }

    /// Writes since this was asked last, by kind.
    pub(super) fn take_writes(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.state.lock().writes)
    }

    async fn pass(self: Arc<Door>, inner: Client, request: Request<Body>) -> Result<Answer, BoxError> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let slow = {
            let mut state = self.state.lock();
            let slowest = state.trouble.slow_ms;
            if slowest == 0 { 0 } else { state.random.below(slowest) }
        };
        if slow > 0 {
            tokio::time::sleep(Duration::from_millis(slow as u64)).await;
        }
        match self.fate(&method, &path) {
            Fate::Refused => Err("connection refused: the API server is away".into()),
            Fate::Unanswered => std::future::pending().await,
            Fate::Answered(code, reason) => Ok(refusal(code, reason)),
            Fate::Passed { answer_lost, dies, lacks_one } => {
                let response = inner.send(request).await?;
                self.trace.lock().request(&self.name, &method, &path, response.status());
                if is_watch {
                    return Ok(response.map(|body| self.clone().watched(body)));
                }
                let (head, body) = response.into_parts();
                let mut body = body.collect().await?.to_bytes();
                if method != Method::GET && head.status.is_success() && kind(&path) == "kafkaassignments" {
                    // The answer to a deletion is no assignment.
                    serde_json::from_slice(&body)
                        .into_iter()
                        .for_each(|it: KafkaAssignment| self.referee.lock().written(it));
                }
                if dies {
                    self.state.lock().died = true;
                    std::future::pending::<()>().await;
                }
                if answer_lost {
                    return Err("the connection broke before the answer came".into());
                }
                if lacks_one {
                    body = without_the_first(&body)?;
                }
                Ok(Response::from_parts(head, whole(body)))
            }
        }
    }

    fn fate(&self, method: &Method, path: &str) -> Fate {
        let mut guard = self.state.lock();
        let State { random, trouble, dies_after, died, writes, .. } = &mut *guard;
        let is_write = *method != Method::GET;
        if is_write && trouble.away == Away::No {
            *writes.entry(kind(path).to_owned()).or_default() += 1;
        }
        match trouble.away {
            Away::No if *died => return Fate::Unanswered,
            Away::No => {}
            Away::Refusing => return Fate::Refused,
            Away::Silent => return Fate::Unanswered,
        }
        if random.happens(trouble.too_many) {
            return Fate::Answered(429, "TooManyRequests");
        }
        if is_write && random.happens(trouble.conflicts) {
            return Fate::Answered(409, "Conflict");
        }
        let dies = is_write && *dies_after == Some(0);
        *dies_after = dies_after.filter(|_| !dies).map(|left| left.saturating_sub(u32::from(is_write)));
        let lacks_one = trouble.lists_lack_one && !is_write && path.ends_with("/kafkaassignments");
        Fate::Passed { answer_lost: random.happens(trouble.lost_answers), dies, lacks_one }
    }

    /// Shows nothing while watches are frozen.
    fn watched(self: Arc<Door>, body: Body) -> UnsyncBoxBody<Bytes, BoxError> {
        let data = Box::pin(body.into_data_stream());
        let shown = stream::unfold((data, self), |(mut data, door)| async move {
            let chunk = data.next().await?;
            loop {
                let thawed = door.thawed.notified();
                if !door.state.lock().frozen {
                    break;
                }
                thawed.await;
            }
            Some((chunk.map(http_body::Frame::data).map_err(BoxError::from), (data, door)))
        });
        StreamBody::new(shown).boxed_unsync()
    }
}

fn whole(body: Bytes) -> UnsyncBoxBody<Bytes, BoxError> {
    Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

fn refusal(code: u16, reason: &str) -> Answer {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "injected", "reason": reason, "code": code,
    });
    let mut response = Response::new(whole(status.to_string().into()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
    response
}

fn without_the_first(list: &[u8]) -> Result<Bytes, BoxError> {
    let mut list: Value = serde_json::from_slice(list)?;
    if let Some(items) = list.get_mut("items").and_then(Value::as_array_mut).filter(|items| !items.is_empty()) {
        items.remove(0);
    }
    Ok(list.to_string().into())
}
