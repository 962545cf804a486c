//! Fetch (KIP-74, KIP-98, KIP-227, KIP-320, KIP-516): records to consumers and to followers.
//!
//! Answers at once when there is enough to send or news that a follower or session needs; records beyond the client's
//! limits count, because waiting does not make them fit. Otherwise waits for the watermarks of the partitions asked
//! for. A follower gets a new high watermark at once (KIP-1166), so that all replicas serve what is committed, and a
//! new log start, for which DeleteRecords waits.
//!
//! - [`asked`]: what a request asks for, and of whom
//! - [`outcome`]: one read of all partitions: whether it is enough, and what to wait for if not
//! - [`allowance`]: what a follower may be sent of throttled partitions
//! - [`response`]: from an outcome to Kafka's answer

mod allowance;
mod asked;
mod outcome;
mod response;

use futures::future::select_all;
use ottla_wire::m01_fetch::{FetchRequest, FetchResponse};

use crate::env;
use crate::fetch_sessions::Ongoing;
use crate::handle::context::{Context, Deadline};
use crate::reply::Reply;

use asked::ResolvedFetch;
use outcome::FetchOutcome;

/// Answers a fetch.
pub(crate) fn handle(context: &Context, mut request: FetchRequest) -> Reply {
    let session = match context.handler.fetch_sessions.begin(&mut request, context.version, &context.peer.principal) {
        Ok(session) => session,
        Err(error_code) => return context.reply(&FetchResponse { error_code, ..Default::default() }),
    };
    let deadline = Deadline::after_ms(request.max_wait_ms).0;
    let mut asked = ResolvedFetch::of(context, request);
    let first = outcome::read(&asked, context.handler.replicas.leaders_throttle());
    if first.is_complete(&asked) || deadline <= env::now() {
        return context.reply(&answer(context, session, first, &asked));
    }
    let context_later = context.clone();
    asked.reader = asked.reader.again();
    context.later(async move {
        let mut outcome = first;
        while !outcome.is_complete(&asked) && env::now() < deadline {
            let moved = select_all(outcome.waits(&asked));
            let look_again = outcome.pause().map_or(deadline, |pause| deadline.min(env::now() + pause));
            tokio::select! {
                biased;
                _ = moved => {}
                () = env::sleep_until(look_again) => {}
            }
            drop(outcome); // releases its reservation before the next read
            outcome = outcome::read(&asked, context_later.handler.replicas.leaders_throttle());
        }
        answer(&context_later, session, outcome, &asked)
    })
}

/// The part of an answer that the client's session does not know yet; nothing, if the client has fetched too much.
fn answer(context: &Context, session: Ongoing, found: FetchOutcome, asked: &ResolvedFetch) -> FetchResponse {
    if let Some(meter) = &context.meter
        && !meter.may_fetch(found.answer_bytes())
    {
        return FetchResponse { session_id: session.without_answer(), ..Default::default() };
    }
    let mut response = response::response(context, asked, found);
    let slots = context.image.settings.max_incremental_fetch_session_cache_slots;
    session.finish(&context.handler.fetch_sessions, slots, &mut response);
    response
}
