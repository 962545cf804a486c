//! SaslHandshake, SaslAuthenticate (KIP-43, KIP-152, KIP-368): how a client says who it is.
//!
//! `ottla_access` decides: [`Login`](ottla_access::Login) which request may come when, [`Exchange`] what the tokens
//! mean. Here are the answers, the worker for what takes long, and the delay of failures. A client whose authentication
//! failed learns that it failed, and no more.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use ottla_access::ListenerAccess;
use ottla_access::login::{self, Admission, Closing, Handshake};
use ottla_access::sasl::{Exchange, Identity, LoginInputs, Mechanism, Reason, SaslStep, oauthbearer};
use ottla_wire::{
    ApiKey, ErrorCode, Frame, Request, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
    SaslHandshakeResponse, Str,
};

use super::out_of_order;
use crate::env;
use crate::handle::authentication::Authentication;
use crate::handle::client::Client;
use crate::handle::context::Context;
use crate::handle::request::RAW_TOKEN;
use crate::loggers::AUDIT;
use crate::reply::{CloseReason, Reply};

/// The length of a request that a stranger gets an answer for, and of that answer, at most: about what its connection
/// may have for free (`server/buffers.rs`).
const MOST_KEPT: usize = 4 << 10;

/// The request, which came in `size` bytes, if it may be served, or handed to [`handshake`] and [`authenticate`].
///
/// # Errors
/// What is answered instead.
pub(crate) fn admit(context: &Context, client: &Client, request: Request, size: usize) -> Result<Request, Reply> {
    let admission = client.authentication.borrow_mut().login.admit(context.api, env::now().into_std());
    match admission {
        Admission::Serve | Admission::Handshake | Admission::Token => Ok(request),
        Admission::IllegalState => Err(illegal(context).map_or(Reply::Close(CloseReason::Malformed), Reply::Now)),
        Admission::IllegalStateAndClose => {
            client.authentication.borrow_mut().login.failed();
            let close = CloseReason::NotAuthenticated;
            // What a stranger asks is cheap. An answer names what its request names, each in a hundred times as much
            // memory, so a long request gets none. A long answer would be kept for as long as its client waits for it.
            let request = Some(request).filter(|_| size <= MOST_KEPT);
            let refusal = request.and_then(|request| out_of_order::refusal(context, request));
            let refusal = refusal.filter(|frame| frame.len() <= MOST_KEPT);
            Err(late(context, refusal.map_or(Reply::Close(close), |frame| Reply::Last(frame, close))))
        }
        Admission::Close(Closing::Expired) => Err(Reply::Close(CloseReason::SessionExpired)),
        Admission::Close(Closing::NotAllowedYet | Closing::OtherMechanism) => {
            tracing::info!(
                api = ?context.api, address = %context.peer.address, listener = %context.peer.listener,
                "closed the connection of a client that has not authenticated: set security.protocol to SASL_SSL or \
                SASL_PLAINTEXT"
            );
            Err(Reply::Close(CloseReason::NotAuthenticated))
        }
    }
}

/// The reply as late as that to every failure.
fn late(context: &Context, reply: Reply) -> Reply {
    let until = env::now() + context.image.settings.failed_authentication_delay;
    context.hold(async move {
        env::sleep_until(until).await;
        reply
    })
}

/// The answer to a client that has authenticated, or need not. `None`: any other API is served.
fn illegal(context: &Context) -> Option<Frame> {
    let error_code = ErrorCode::ILLEGAL_SASL_STATE;
    match context.api {
        ApiKey::SaslHandshake => context.encode(&SaslHandshakeResponse { error_code, ..Default::default() }).ok(),
        ApiKey::SaslAuthenticate => {
            let error_message =
                Some(Str::from_static("SaslAuthenticate request received after successful authentication"));
            context.encode(&SaslAuthenticateResponse { error_code, error_message, ..Default::default() }).ok()
        }
        _ => None,
    }
}

/// Begins an exchange with the mechanism that the client chose.
pub(crate) fn handshake(context: &Context, client: &Client, request: SaslHandshakeRequest) -> Reply {
    let offered = offered(context);
    let authentication = &mut *client.authentication.borrow_mut();
    let now = env::now().into_std();
    let mechanisms = offered.iter().map(|mechanism| Str::from_static(mechanism.name())).collect();
    let answer = |error_code| SaslHandshakeResponse { error_code, mechanisms };
    match authentication.login.handshake(&request.mechanism, context.version, &offered, now) {
        Handshake::Begin(mechanism) => {
            authentication.exchange = Some(Exchange::new(mechanism, env::random_bytes()));
            context.reply(&answer(ErrorCode::NONE))
        }
        Handshake::Pretend => context.reply(&answer(ErrorCode::NONE)),
        Handshake::Unsupported => {
            count(context, "unknown", "unsupported_mechanism");
            context.reply_last(&answer(ErrorCode::UNSUPPORTED_SASL_MECHANISM), CloseReason::AuthenticationFailed)
        }
    }
}

/// The mechanisms of the client's listener.
fn offered(context: &Context) -> Vec<Mechanism> {
    let listener = context.image.access.listeners.get(&context.peer.listener);
    listener.map(|listener| listener.mechanisms().to_vec()).unwrap_or_default()
}

/// Takes the client's next token.
pub(crate) fn authenticate(context: &Context, client: &Client, request: SaslAuthenticateRequest) -> Reply {
    let step = {
        let authentication = &mut *client.authentication.borrow_mut();
        match &mut authentication.exchange {
            Some(exchange) => {
                let access = &context.image.access;
                let issuers = access.listeners.get(&context.peer.listener).map(ListenerAccess::issuers);
                let known = LoginInputs {
                    credentials: &access.credentials,
                    issuers: &issuers.unwrap_or_default(),
                    now_ms: env::wall_clock_ms(),
                };
                exchange.step(&request.auth_bytes, known)
            }
            None => SaslStep::Failed(Reason::Over),
        }
    };
    match step {
        SaslStep::Challenge(answer) => token(context, answer.into(), None),
        SaslStep::Done(answer, identity) => settle(context, &client.authentication, Ok((answer.into(), identity))),
        SaslStep::Failed(reason) => settle(context, &client.authentication, Err(reason)),
        SaslStep::Check(check) => {
            let (context, authentication) = (context.clone(), client.authentication.clone());
            context.clone().hold(async move {
                let (handler, network) = (&context.handler, context.peer.network());
                let checked = handler.passwords.check(&handler.workers, network, *check).await;
                settle(&context, &authentication, checked.map(|identity| (Bytes::new(), identity)))
            })
        }
    }
}

/// The end of an exchange: lets the client in, or ends the connection after a while.
fn settle(
    context: &Context,
    authentication: &Rc<RefCell<Authentication>>,
    outcome: Result<(Bytes, Identity), Reason>,
) -> Reply {
    let mut authentication = authentication.borrow_mut();
    let mechanism = authentication.login.mechanism();
    authentication.exchange = None;
    // In the image of now: the user or its password may have changed since the exchange began, and a connection asks
    // again only after a later change. This comes before the connection knows its user: once it does, and the user is
    // gone, it ends without an answer.
    let still_holds = |identity: &Identity| context.handler.images.borrow().access.credentials.still_holds(identity);
    let outcome = outcome.and_then(|(answer, identity)| match still_holds(&identity) {
        true => Ok((answer, identity)),
        false => Err(Reason::Credentials),
    });
    let reason = match outcome {
        Ok((answer, Identity { principal, uid, expires_ms, proof: _ })) => {
            let now_ms = env::wall_clock_ms();
            let left = |at: i64| Duration::from_millis(u64::try_from(at - now_ms).unwrap_or(0));
            let lifetime = login::lifetime(expires_ms.map(left), context.image.settings.connections_max_reauth);
            authentication.user = uid.map(|uid| (principal.name().clone(), uid));
            if authentication.login.succeeded(principal, lifetime, env::now().into_std()) {
                count(context, mechanism.map_or("unknown", Mechanism::name), "success");
                return token(context, answer, lifetime);
            }
            Reason::OtherIdentity
        }
        Err(reason) => reason,
    };
    authentication.login.failed();
    let name = mechanism.map_or("unknown", Mechanism::name);
    count(context, name, reason.label());
    let (address, listener) = (context.peer.address, &context.peer.listener);
    match reason {
        Reason::Busy => tracing::debug!(%address, %listener, "too many passwords wait to be checked"),
        _ => tracing::info!(
            target: AUDIT,
            %address, %listener, mechanism = name, reason = reason.label(), "authentication failed"
        ),
    }
    refuse(context, name, reason)
}

/// The answer to a failure, late, and the end of the connection. Its text is Kafka's: the same for every password, and
/// the same for every token.
fn refuse(context: &Context, mechanism: &str, reason: Reason) -> Reply {
    let close = CloseReason::AuthenticationFailed;
    let message = match reason {
        Reason::Token(_) => Str::from_static(oauthbearer::INVALID_TOKEN),
        _ => Str::from(format!(
            "Authentication failed during authentication due to invalid credentials with SASL mechanism {mechanism}"
        )),
    };
    let response = SaslAuthenticateResponse {
        error_code: ErrorCode::SASL_AUTHENTICATION_FAILED,
        error_message: Some(message),
        ..Default::default()
    };
    // A token without a header has no error either: the connection ends. So it does when nobody has looked at the
    // password: after the end of a connection clients try again, after a failure they don't.
    let is_silent = context.version == RAW_TOKEN || reason == Reason::Busy;
    late(context, if is_silent { Reply::Close(close) } else { context.reply_last(&response, close) })
}

/// An answer without an error.
fn token(context: &Context, auth_bytes: Bytes, lifetime: Option<Duration>) -> Reply {
    if context.version == RAW_TOKEN {
        return Frame::token(auth_bytes).map_or(Reply::Close(CloseReason::TooLarge), Reply::Now);
    }
    let session_lifetime_ms = lifetime.map_or(0, |lifetime| i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX));
    context.reply(&SaslAuthenticateResponse { auth_bytes, session_lifetime_ms, ..Default::default() })
}

/// Counts the end of an exchange.
fn count(context: &Context, mechanism: &str, result: &str) {
    let labels = [&*context.peer.listener, mechanism, result];
    context.handler.metrics.clients.authentications.with_label_values(&labels).inc();
}
