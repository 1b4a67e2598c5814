//! The whole front door as a fuzzer sees it: requests in, answers out, the same in any
//! segmentation. For tests only.

use super::response::{write_event_stream, write_switching_protocols, write_text};
use super::{
    After, BodySkipper, Exchange, HeadScanner, Limits, Outcome, Refusal, Request, Role, Rules,
    assets, parse_head, route,
};
use crate::access::OriginPolicy;
use crate::wire::zws;

/// Runs scanner, parser, router and body skipper over `input`, in one piece and in pieces whose
/// sizes `input` decides.
///
/// # Panics
///
/// When the answers differ, and when anything below panics: both are what a fuzzer looks for.
pub(crate) fn fuzz_requests(input: &[u8]) {
    let whole = answers(input, &[input.len()]);
    let sizes: Vec<usize> = input.iter().map(|&byte| usize::from(byte % 17) + 1).collect();
    for sizes in [&[1][..], &sizes] {
        let is_same = whole == answers(input, sizes);
        assert!(is_same, "answers depend on the segmentation: {}", input.escape_ascii());
    }
}

/// The answers to `input`, cut into pieces of `sizes`, over and over.
fn answers(input: &[u8], sizes: &[usize]) -> Ended {
    let built_in = assets::BuiltIn::page();
    let mut server = Server::new(&built_in);
    let mut sizes = sizes.iter().copied().cycle();
    let mut rest = input;
    while !rest.is_empty() {
        let size = sizes.next().unwrap_or(1).clamp(1, rest.len());
        let (piece, tail) = rest.split_at(size);
        server.handle_input(piece);
        rest = tail;
    }
    server.into_ended()
}

/// All that a client can see of a server, and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    sent: Vec<u8>,
    end: End,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    /// It waits for more.
    Open,
    /// It closed.
    Closed,
    /// It speaks WebSocket or is an event stream; this is what arrived behind the request.
    Upgraded(Vec<u8>),
}

/// A connection without its socket.
struct Server<'a> {
    built_in: &'a assets::BuiltIn,
    limits: Limits,
    origin: OriginPolicy,
    buffered: Vec<u8>,
    state: State,
    sent: Vec<u8>,
}

enum State {
    Head(HeadScanner),
    /// The answer waits for the end of the body.
    Body(BodySkipper, Exchange<'static>, Vec<u8>, After),
    Upgraded,
    Closed,
}

impl<'a> Server<'a> {
    fn new(built_in: &'a assets::BuiltIn) -> Self {
        Self {
            built_in,
            limits: Limits::default(),
            origin: OriginPolicy::SameHost,
            buffered: Vec::new(),
            state: State::Head(HeadScanner::default()),
            sent: Vec::new(),
        }
    }

    fn into_ended(self) -> Ended {
        let end = match self.state {
            State::Head(_) | State::Body(..) => End::Open,
            State::Upgraded => End::Upgraded(self.buffered),
            State::Closed => End::Closed,
        };
        Ended { sent: self.sent, end }
    }

    fn handle_input(&mut self, piece: &[u8]) {
        if matches!(self.state, State::Closed) {
            return;
        }
        self.buffered.extend_from_slice(piece);
        let mut buffered = std::mem::take(&mut self.buffered);
        let mut taken = 0;
        while let Some(count) = self.advance(&buffered[taken..]) {
            taken += count;
        }
        buffered.drain(..taken);
        self.buffered = buffered;
    }

    /// Takes one head, or what of a body is there; `None` when it needs more, or nothing any more.
    fn advance(&mut self, input: &[u8]) -> Option<usize> {
        match &mut self.state {
            State::Upgraded | State::Closed => None,
            State::Head(scanner) => match scanner.scan(input, &self.limits) {
                Ok(None) => None,
                Ok(Some(length)) => {
                    self.handle_head(&input[..length]);
                    Some(length)
                }
                Err(refusal) => {
                    self.close(refusal, Exchange::refused(input, None));
                    None
                }
            },
            State::Body(skipper, exchange, answer, after) => match skipper.skip(input) {
                Ok(skipped) if skipped.is_done => {
                    self.sent.append(answer);
                    self.state = match after {
                        After::NextRequest => State::Head(HeadScanner::default()),
                        After::Close => State::Closed,
                    };
                    Some(skipped.consumed)
                }
                Ok(skipped) => (skipped.consumed > 0).then_some(skipped.consumed),
                Err(refusal) => {
                    let exchange = *exchange;
                    self.close(refusal, exchange);
                    None
                }
            },
        }
    }

    fn close(&mut self, refusal: Refusal, exchange: Exchange<'_>) {
        let after = refusal.write(&mut self.sent, exchange);
        assert_eq!(after, After::Close, "whoever cannot tell where the next request starts closes");
        self.state = State::Closed;
    }

    fn handle_head(&mut self, head: &[u8]) {
        let request = match parse_head(head, &self.limits) {
            Ok(request) => request,
            Err(refusal) => return self.close(refusal, Exchange::refused(head, None)),
        };
        let rules = Rules {
            prefix: b"",
            role: Role::All,
            peer: Some([127, 0, 0, 1].into()),
            origin: &self.origin,
            topics_max: 8,
            payload_bytes_max: 4096,
            deflates: true,
            date: None,
            keeps_alive: true,
        };
        let mut answer = Vec::new();
        let after = match route(&request, &rules).1 {
            Ok(Outcome::WebSocket(upgrade)) => {
                let name = upgrade.zws.map(zws::Protocol::name);
                write_switching_protocols(&mut self.sent, &upgrade.accept, name, upgrade.deflate);
                self.state = State::Upgraded;
                return;
            }
            Ok(Outcome::Events { framing, .. }) if !request.exchange().head_only => {
                let _ = write_event_stream(&mut self.sent, request.exchange(), framing);
                self.state = State::Upgraded;
                return;
            }
            Ok(outcome) => self.write_answer(&mut answer, &request, &outcome),
            Err(refusal) => refusal.write(&mut answer, request.exchange()),
        };
        let skipper = BodySkipper::new(request.body_to_skip(), self.limits.body_bytes_max);
        self.state = State::Body(skipper, request.exchange(), answer, after);
    }

    fn write_answer(&self, out: &mut Vec<u8>, request: &Request<'_>, outcome: &Outcome) -> After {
        match outcome {
            Outcome::Page(path) => {
                let asset = self.built_in.find(path);
                let (after, content) = assets::write_page(out, request, request.exchange(), asset);
                out.extend_from_slice(content.as_ref().map_or(b"", |asset| asset.bytes()));
                after
            }
            _ => write_text(out, request.exchange(), "text/plain; charset=utf-8", b"ok\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_random::Random;

    fn pick<'a, T: ?Sized>(random: &mut Random, of: &[&'a T]) -> &'a T {
        of[random.below(of.len())]
    }

    /// The seeds to try: `ZMQ2WS_SEED`, or `count` of them.
    fn seeds(count: u64) -> Vec<u64> {
        match std::env::var("ZMQ2WS_SEED") {
            Ok(seed) => vec![seed.parse().expect("ZMQ2WS_SEED is a number")],
            Err(_) => (1..=count).collect(),
        }
    }

    const REQUESTS: [&str; 19] = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD /app.js HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"a\", *\r\n\r\n",
        "GET /healthz HTTP/1.1\nHost: a\n\n",
        "\r\n\nGET /readyz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "GET /metrics?x HTTP/1.1\r\nHost: [::1]:8080\r\nVia: 1.1 b\r\n\r\n",
        "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n",
        "PUT /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /%2e%2e/x HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/style.css?%zz HTTP/1.1\r\nHost: b\r\n\r\n",
        "BREW / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
        "GET /ws HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET /ws?topic=a%20b&format=json&since=k3x9-42 HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\n\
         Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\u{1}\u{2}",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\n",
        "HEAD /sse?topic=a HTTP/1.1\r\nHost: a\r\nLast-Event-ID: \r\n\r\n",
        "OPTIONS /sse HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\n\
         Access-Control-Request-Headers: x-a\r\n\r\n",
        "GET /sse?format=raw HTTP/1.1\r\nHost: a\r\nLast-Event-ID: k3x9-42\r\n\r\n",
    ];

    /// The statuses sent for `input`, and how it ended.
    fn statuses(input: &str) -> (Vec<String>, End) {
        fuzz_requests(input.as_bytes());
        let Ended { sent, end } = answers(input.as_bytes(), &[input.len()]);
        let text = String::from_utf8_lossy(&sent);
        let lines = text.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 "));
        (lines.map(|line| line[..3].to_owned()).collect(), end)
    }

    #[test]
    fn every_split_of_a_pipeline_gives_the_same_answers() {
        let input = REQUESTS.concat();
        let input = input.as_bytes();
        let whole = answers(input, &[input.len()]);
        for first in 1..input.len() {
            assert!(answers(input, &[first, input.len()]) == whole, "split at {first}");
        }
    }

    #[test]
    fn random_pipelines_in_random_pieces_give_the_same_answers() {
        for seed in seeds(300) {
            let mut random = Random::new(seed);
            let count = random.below(8) + 1;
            let input: String = (0..count).map(|_| pick(&mut random, &REQUESTS)).collect();
            let input = input.as_bytes();
            let longest = random.below(100) + 1;
            let sizes: Vec<_> = (0..50).map(|_| random.below(longest) + 1).collect();
            let is_same = answers(input, &sizes) == answers(input, &[input.len()]);
            assert!(is_same, "{}", input.escape_ascii());
        }
    }

    #[test]
    fn mutated_requests_never_panic_and_never_depend_on_segmentation() {
        let tokens: [&[u8]; 18] = [
            b"\r\n",
            b"\n",
            b"\r",
            b"\0",
            b" ",
            b"\t",
            b":",
            b",",
            b"%",
            b"\xff",
            b"\r\n\r\n",
            b"Content-Length: 5\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Host: b\r\n",
            b"0\r\n\r\n",
            b"ffffffffffffffff\r\n",
            b"HTTP/2.0",
            b"Expect: 100-continue\r\n",
        ];
        for seed in seeds(3000) {
            let mut random = Random::new(seed);
            let mut input = Vec::new();
            for _ in 0..=random.below(4) {
                input.extend_from_slice(pick(&mut random, &REQUESTS).as_bytes());
            }
            for _ in 0..=random.below(6) {
                let at = random.below(input.len().max(1));
                let to = (at + random.below(8)).min(input.len());
                match random.below(4) {
                    0 => input[at] = random.next() as u8,
                    1 => drop(input.drain(at..to)),
                    2 => drop(input.splice(at..to, pick(&mut random, &tokens).iter().copied())),
                    _ => drop(input.splice(at..at, pick(&mut random, &tokens).iter().copied())),
                }
                input.push(b'\n');
            }
            fuzz_requests(&input);
        }
    }

    #[test]
    fn a_refusal_that_closes_is_the_last_answer() {
        let next = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
        for (line, rest, status) in [
            ("POST / HTTP/1.1", "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd", "400"),
            ("POST / HTTP/1.1", "Content-Length: 4, 4\r\n\r\nabcd", "400"),
            ("GET / HTTP/1.1", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", "400"),
            ("GET / HTTP/1.1", "Transfer-Encoding: chunked\r\n\r\n5\r\nabc\r\n0\r\n\r\n", "400"),
            ("GET / HTTP/1.1", "Transfer-Encoding: chunked\r\n\r\n 0\r\n\r\n", "400"),
            ("GET / HTTP/1.1", "Transfer-Encoding: chunked\r\n\r\n0;\n\r\n", "400"),
            ("GET / HTTP/1.1", "Transfer-Encoding: chunked\r\n\r\n10001\r\n", "413"),
            ("GET / HTTP/1.1", "Transfer-Encoding: chunked, x\r\n\r\n", "501"),
            ("GET / HTTP/1.0", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
            ("GET / HTTP/1.1", "A: b\r\n c\r\n\r\n", "400"),
            ("GET / HTTP/1.1", "Content-Length : 4\r\n\r\nabcd", "400"),
            ("GET / HTTP/1.1", "Host: b\r\n\r\n", "400"),
            ("POST / HTTP/1.1", "Content-Length: 99999\r\n\r\n", "413"),
            ("PRI * HTTP/2.0", "\r\nSM\r\n\r\n", "505"),
            ("POST / HTTP/1.1", "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n", "405"),
            ("POST /x HTTP/1.1", "Connection: close\r\n\r\n", "404"),
        ] {
            let input = format!("{line}\r\nHost: a\r\n{rest}{next}{next}");
            let (statuses, end) = statuses(&input);
            assert_eq!((statuses, end), (vec![status.to_owned()], End::Closed), "{input:?}");
        }
    }

    #[test]
    fn a_refusal_at_the_first_byte_does_not_look_at_what_follows() {
        for before in [" ", "\t", "\r", "\r\n\r", "\n\n ", &"\n".repeat(17), &"\r\n".repeat(9)] {
            let (statuses, end) = statuses(&format!("{before}HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!((statuses, end), (vec!["400".into()], End::Closed), "{before:?}");
        }
    }

    #[test]
    fn a_body_is_never_taken_for_a_request() {
        let smuggled = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
        let length = smuggled.len();
        let next = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
        for request in [
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{smuggled}"),
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                 {length:x}\r\n{smuggled}\r\n0\r\n\r\n"
            ),
            format!("POST / HTTP/1.1\nHost: a\nContent-Length: {length}\n\n{smuggled}"),
        ] {
            let (statuses, end) = statuses(&format!("{request}{next}"));
            assert_eq!((statuses, end), (vec!["405".into(), "200".into()], End::Open));
        }
    }

    #[test]
    fn what_follows_an_upgrade_is_left_alone() {
        let (statuses, end) = statuses(REQUESTS[14]);
        assert_eq!((statuses, end), (vec!["101".into()], End::Upgraded(vec![1, 2])));
    }

    #[test]
    fn long_pipelines_in_single_bytes() {
        let cookie = format!("Cookie: {}\r\n\r\n", "x".repeat(8000));
        let request = REQUESTS[0].replace("\r\n\r\n", &format!("\r\n{cookie}"));
        let input = [&REQUESTS[..12].concat(), request.as_str()].concat().repeat(50);
        let whole = answers(input.as_bytes(), &[input.len()]);
        assert!(answers(input.as_bytes(), &[1]) == whole);
        assert_eq!(whole.end, End::Open);
    }
}
