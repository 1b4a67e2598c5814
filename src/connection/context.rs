//! What all connections share, the answers to requests, and how a session opens. Knows no socket.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::admission::{Admission, Phase};
use super::budget::Budget;
use super::site::{Pages, Site};
use crate::error::CloseReason;
use crate::feed::{Feeds, Owner, Wish};
use crate::hooks::{Allowed, Hooks, Panicked};
use crate::http::assets;
use crate::http::{
    self, After, Date, Exchange, Outcome, Refusal, Request, Role, Rules, Status, Subscribe,
    Upgrade, response,
};
use crate::memory::Memory;
use crate::message::Id;
use crate::metrics::{Metrics, Transport};
use crate::net::NoRoom;
use crate::session::http::Answer;
use crate::session::{
    EngineSessions, Http, LongPoll, Session, Shared, Sse, Timing, Topics, WebSocket, Zws,
};
use crate::topics::Filter;
use crate::wire::sse::Data;
use crate::wire::{Format, WireFormat, zws};

/// How much there may be of everything a client can cause.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) http: http::Limits,
    pub(crate) topics_max: usize,
    pub(crate) inbound_bytes_max: usize,
    pub(crate) write_timeout: Duration,
}

/// Shared by all connections of a gateway.
pub(crate) struct Context {
    pub(crate) feeds: Feeds,
    pub(crate) metrics: Metrics,
    /// Engine.IO's sessions.
    pub(crate) engine: EngineSessions,
    /// What feeds and files hold.
    pub(crate) memory: Memory,
    /// What unfinished requests hold: an account of its own, so that they take nothing from clients.
    pub(crate) request_memory: Memory,
    pub(crate) timing: Timing,
    pub(crate) limits: Limits,
    pub(crate) admission: Admission,
    pub(crate) site: Site,
    pub(crate) budget: Budget,
    /// How long messages wait for more before they are sent.
    pub(crate) coalesce: Duration,
    /// What `--format` says; without it every transport has a default of its own.
    pub(crate) format: Option<Format>,
    /// The time of day, to the second.
    pub(crate) date: Date,
    /// What the host program has a say in.
    pub(crate) hooks: Hooks,
}

/// The connection that a request comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) now: Instant,
    /// Its number.
    pub(super) connection: u64,
    pub(super) ip: Option<IpAddr>,
    pub(super) role: Role,
}

/// A request that may be met, and how its answer begins.
pub(super) struct Asking<'a> {
    pub(super) peer: &'a Peer,
    pub(super) request: &'a Request<'a>,
    pub(super) exchange: Exchange<'a>,
}

impl Context {
    /// Answers one request, or returns what else becomes of it.
    pub(super) fn serve(
        &mut self,
        peer: &Peer,
        request: &Request<'_>,
        answer: &mut Answer,
    ) -> Outcome {
        let rules = Rules {
            role: peer.role,
            prefix: &self.site.path_prefix,
            peer: peer.ip,
            origin: &self.site.origin,
            topics_max: self.limits.topics_max,
            payload_bytes_max: self.limits.inbound_bytes_max,
            deflates: self.feeds.deflates(),
            date: Some(self.date),
            keeps_alive: self.admission.phase == Phase::Serving,
        };
        let (exchange, outcome) = http::route(request, &rules);
        let outcome = match outcome {
            Ok(outcome) => self.authorize(peer, request, outcome),
            Err(refusal) => Err(refusal),
        };
        let outcome = match outcome {
            Ok(outcome) => self.answer(outcome, &Asking { peer, request, exchange }, answer),
            Err(refusal) => Err(refusal),
        };
        outcome
            .unwrap_or_else(|refusal| Outcome::Answered(refusal.write(&mut answer.head, exchange)))
    }

    /// Writes the answer, or its head where more than an answer becomes of the request.
    fn answer(
        &mut self,
        outcome: Outcome,
        asking: &Asking<'_>,
        answer: &mut Answer,
    ) -> Result<Outcome, Refusal> {
        let &Asking { request, exchange, .. } = asking;
        let out = &mut answer.head;
        let after = match outcome {
            Outcome::WebSocket(upgrade) => {
                self.admit_client()?;
                let subprotocol = upgrade.zws.map(zws::Protocol::name);
                let Upgrade { accept, deflate, .. } = &upgrade;
                response::write_switching_protocols(out, accept, subprotocol, *deflate);
                return Ok(Outcome::WebSocket(upgrade));
            }
            Outcome::Events { framing, .. } if exchange.head_only => {
                response::write_event_stream(out, exchange, framing)
            }
            Outcome::Events { framing, .. } => {
                self.admit_client()?;
                let _ = response::write_event_stream(out, exchange, framing);
                return Ok(outcome);
            }
            Outcome::Poll { .. } if exchange.head_only => {
                response::write_poll_preview(out, exchange)
            }
            Outcome::Poll { .. } => return self.admit_client().map(|()| outcome),
            Outcome::Preflight(methods) => http::write_preflight(out, exchange, request, methods),
            Outcome::Page(path) => self.serve_page(&path, request, exchange, answer),
            Outcome::Health => response::write_text(out, exchange, TEXT, b"ok\n"),
            Outcome::Ready => match self.admission.phase {
                Phase::Draining => return Err(self.admission.unavailable("draining")),
                Phase::Serving if self.site.has_lost_source => {
                    return Err(self
                        .admission
                        .unavailable("an endpoint's ZeroMQ context has ended"));
                }
                Phase::Serving => response::write_text(out, exchange, TEXT, b"ready\n"),
            },
            Outcome::Status if matches!(self.site.pages, Pages::None) => {
                return Err(Refusal::new(Status::NotFound, "there is nothing at this path"));
            }
            Outcome::Status => {
                let text = self.status_text(asking.peer.now);
                response::write_text(out, exchange, JSON, text.as_bytes())
            }
            Outcome::Metrics => {
                let text = self.metrics_text();
                response::write_text(out, exchange, METRICS_TEXT, text.as_bytes())
            }
            outcome => return self.engine_step(outcome, asking, out),
        };
        Ok(Outcome::Answered(after))
    }

    /// What sessions share.
    pub(super) fn shared(&mut self) -> Shared<'_> {
        Shared { feeds: &mut self.feeds, engine: &mut self.engine }
    }

    /// Whether one more client may come in.
    pub(super) fn admit_client(&mut self) -> Result<(), Refusal> {
        self.admission.check_client(&mut self.metrics, &mut self.feeds)
    }

    /// 503, which is counted.
    pub(super) fn turn_down(&mut self, reason: &'static str) -> Refusal {
        self.admission.turn_down(&mut self.metrics, reason)
    }

    fn serve_page(
        &mut self,
        path: &str,
        request: &Request<'_>,
        exchange: Exchange,
        answer: &mut Answer,
    ) -> After {
        let asset = match self.site.find(path) {
            Ok(asset) => asset,
            Err(NoRoom) => {
                let refusal = self.turn_down("too many files are being downloaded");
                return refusal.write(&mut answer.head, exchange);
            }
        };
        let (after, content) = assets::write_page(&mut answer.head, request, exchange, asset);
        answer.content = content;
        after
    }

    /// The counters, those included that are found by looking at everything.
    pub(crate) fn metrics(&mut self) -> &Metrics {
        let counts = self.feeds.counts();
        self.metrics.gaps = counts.gaps;
        self.metrics.history_messages = counts.history_messages;
        self.metrics.history_bytes = counts.history_bytes;
        self.metrics.deflate_in_bytes = counts.deflated.bytes_in;
        self.metrics.deflate_out_bytes = counts.deflated.bytes_out;
        self.metrics.feeds = self.feeds.len();
        (self.metrics.lagging_clients, self.metrics.lag_bytes_max) = self.feeds.lag();
        self.metrics.feed_bytes = self.memory.used_bytes() + self.request_memory.used_bytes();
        &self.metrics
    }

    /// The figures that any client may see, as one JSON object.
    fn status_text(&mut self, now: Instant) -> String {
        let started = *self.site.started.get_or_insert(now);
        let upstream = &self.metrics.upstream;
        format!(
            concat!(
                r#"{{"version":"{}","uptime_seconds":{},"upstream_connections":{},"#,
                r#""messages_received":{},"clients":{}}}"#,
                "\n"
            ),
            env!("CARGO_PKG_VERSION"),
            now.saturating_duration_since(started).as_secs(),
            upstream.connections,
            upstream.received_messages + upstream.published_messages,
            self.metrics.subscribed_clients(),
        )
    }

    fn metrics_text(&mut self) -> String {
        let mut text = String::with_capacity(8 << 10);
        self.metrics().write_text(&mut text);
        text
    }

    /// A WebSocket that is closed at once, for `reason`.
    pub(super) fn open_refused(&mut self, now: Instant, reason: CloseReason) -> Session {
        let mut session = Session::WebSocket(WebSocket::new(Some(now), Vec::new(), None));
        session.close(reason);
        self.metrics.client_changed(Transport::Http, session.transport());
        session
    }

    /// Opens the session that a request of `peer` came to, on the connection that was `http`.
    pub(super) fn open_session(
        &mut self,
        peer: &Peer,
        outcome: Outcome,
        mut http: Http,
    ) -> Session {
        let Peer { now, connection, .. } = *peer;
        let owner = Owner(connection);
        let ping_at = now + first_ping_after(self.timing.ping_interval, owner);
        let head = http.take_head();
        let mut told = Ok(());
        let mut session = match outcome {
            Outcome::WebSocket(Upgrade { zws: Some(protocol), subscribe, .. }) => {
                told = self.announce(peer, Transport::Zws, None);
                self.open_zws(protocol, ping_at, head, owner, subscribe.allowed)
            }
            Outcome::WebSocket(Upgrade { subscribe, deflate, .. }) => {
                let format = subscribe.format.or(self.format).unwrap_or(Format::Raw);
                let wire = match deflate {
                    Some(_) => WireFormat::Deflated(format),
                    None => WireFormat::WebSocket(format),
                };
                let (wish, since) = wish(subscribe, wire);
                told = self.announce(peer, Transport::WebSocket, Some(&wish));
                let subscription = self.feeds.subscribe(wish, owner, since);
                let socket = WebSocket::new(Some(ping_at), head, Some(subscription));
                Session::WebSocket(socket.taking_deflated(wire.deflates()))
            }
            Outcome::Events { subscribe, framing } => {
                let data = match subscribe.format.or(self.format) {
                    Some(Format::Raw) => Data::Raw,
                    // An event cannot carry parts.
                    Some(Format::Json | Format::Parts) | None => Data::Json,
                };
                let (wish, since) = wish(subscribe, WireFormat::Sse(data, framing));
                told = self.announce(peer, Transport::Sse, Some(&wish));
                let subscription = self.feeds.subscribe(wish, owner, since);
                Session::Sse(Sse::new(ping_at, head, retry_millis(owner), framing, subscription))
            }
            Outcome::Poll { subscribe, timeout, request } => {
                let (wish, since) = wish(subscribe, WireFormat::Poll);
                told = self.announce(peer, Transport::Poll, Some(&wish));
                let subscription = self.feeds.subscribe(wish, owner, since);
                let poll = LongPoll::new(now + timeout, request, b"", subscription);
                Session::LongPoll(Box::new(poll))
            }
            outcome => self.open_carrier(now, owner, outcome, head),
        };
        let input = http.take_input();
        self.begin_session(now, &mut session, input);
        if told == Err(Panicked) {
            session.close(CloseReason::Hook);
        }
        session
    }

    fn open_zws(
        &self,
        protocol: zws::Protocol,
        ping_at: Instant,
        mut head: Vec<u8>,
        owner: Owner,
        allowed: Option<Allowed>,
    ) -> Session {
        protocol.write_greeting(&mut head);
        let charge = self.feeds.wish_charge();
        let topics = Topics::with_limit(self.limits.topics_max, charge, allowed);
        Session::Zws(Box::new(Zws::new(protocol, ping_at, head, owner, topics)))
    }

    /// Gives a session the `input` that came behind its request, and counts it.
    fn begin_session(&mut self, now: Instant, session: &mut Session, mut input: Vec<u8>) {
        let (timing, message_bytes_max) = (self.timing, self.limits.inbound_bytes_max);
        session.handle_input(now, &mut input, &timing, message_bytes_max, self.shared());
        self.metrics.client_changed(Transport::Http, session.counts_as());
        self.charge_input(session);
    }

    /// Ends a session that keeps too much of what its client sent.
    pub(super) fn charge_input(&self, session: &mut Session) {
        if session.charge_input(&self.request_memory) {
            session.close(CloseReason::Memory);
        }
    }
}

/// The feed that a client asks for, and the message after which it begins.
pub(super) fn wish(subscribe: Subscribe, wire: WireFormat) -> (Wish, Option<Id>) {
    let filter = Filter::new(subscribe.prefixes, subscribe.exact);
    (Wish { filter, wire }, subscribe.since)
}

/// Between half of the interval and all of it, so that clients who came together are not pinged together for ever.
fn first_ping_after(interval: Duration, owner: Owner) -> Duration {
    interval - interval / 512 * spread(owner)
}

/// Between one second and three, the time that browsers take themselves, so that clients whose streams ended together do
/// not come back together.
fn retry_millis(owner: Owner) -> u32 {
    1_000 + 2_000 * spread(owner) / 255
}

/// From 0 to 255, as different as can be from one owner to the next.
fn spread(Owner(number): Owner) -> u32 {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u32
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const METRICS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
