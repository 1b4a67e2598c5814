//! A simulated page with a Socket.IO client: one session over several connections, polling, a WebSocket or from one to
//! the other, with races between them, aborts and nonsense.

mod account;
mod life;
mod line;

use super::account::Seen;
use super::client::{Published, Run, frame, number_of, random_topic};
use super::events;
use super::pipe::SharedPipe;
use crate::message::Id;
use crate::test_random::Random;
use account::Account;
use line::{Answer, Frame, Line};

/// How it may talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ways {
    Polling,
    WebSocket,
    Both,
}

/// How far its WebSocket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The request for it was sent.
    Asked,
    /// The probe was sent.
    Probed,
    /// The gateway answered the probe: as soon as no request is under way the client changes over.
    Confirmed,
    /// The client sends and listens there only.
    Taken,
}

/// How far the session is.
#[derive(Debug)]
enum State {
    /// None yet; the handshake may be under way.
    Closed {
        opening: Option<Line>,
    },
    Open {
        sid: String,
    },
}

/// What the accounts are held against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) has_values: bool,
    pub(super) tells_in_place: bool,
    /// Whether nobody is ever closed who does nothing wrong.
    pub(super) is_lenient: bool,
}

#[derive(Debug)]
pub(super) struct Page {
    run: Run,
    terms: Terms,
    ways: Ways,
    is_json: bool,
    prefixes: Vec<&'static str>,
    /// It changes over without waiting for the answer to its probe.
    is_hasty: bool,
    /// It has a new connection for each request.
    is_node: bool,
    appetite: usize,
    state: State,
    get: Option<Line>,
    post: Option<Line>,
    /// Connections without a request.
    idle: Vec<Line>,
    socket: Option<(Line, Stage)>,
    /// How often it tries to change over.
    tries: usize,
    outbox: Vec<String>,
    /// How many messages there were when it asked to be let in, and when it knew that it is.
    joined: Option<(usize, Option<usize>)>,
    seen: Vec<Seen>,
    /// It did something, or had something done to it, for which the gateway may end the session.
    may_end: bool,
    /// The gateway stops: nothing new is asked for.
    is_stopping: bool,
    was_said_goodbye: bool,
}

/// What the world gives a page in a turn.
pub(super) struct Surroundings<'a> {
    pub(super) published: &'a [Published],
    pub(super) accept: &'a mut dyn FnMut(&mut Random) -> SharedPipe,
}

const BAD_REQUEST: &str = "{\"code\":3,\"message\":\"Bad request\"}";
const UNKNOWN: &str = "{\"code\":1,\"message\":\"Session ID unknown\"}";

impl Page {
    pub(super) fn open(random: &mut Random, run: Run, terms: Terms) -> Option<Self> {
        Some(Self::new(random, run, terms))
    }

    fn new(random: &mut Random, run: Run, terms: Terms) -> Self {
        Self {
            run,
            terms,
            ways: [Ways::Polling, Ways::WebSocket, Ways::Both, Ways::Both][random.below(4)],
            is_json: random.chance(2),
            prefixes: (0..random.below(3)).map(|_| random_topic(random)).collect(),
            is_hasty: random.chance(3),
            is_node: random.chance(2),
            appetite: 1_000 + random.below(20_000),
            state: State::Closed { opening: None },
            get: None,
            post: None,
            idle: Vec::new(),
            socket: None,
            tries: 0,
            outbox: Vec::new(),
            joined: None,
            seen: Vec::new(),
            may_end: false,
            is_stopping: false,
            was_said_goodbye: false,
        }
    }

    /// One turn of its own: it reads, understands, and goes on with what it is at.
    pub(super) fn step(&mut self, random: &mut Random, world: &mut Surroundings<'_>) {
        let published = world.published;
        self.read(random);
        self.hear_answers(random, published);
        self.hear_frames(random, published);
        if self.is_stopping {
            if matches!(self.socket, Some((_, Stage::Taken))) {
                self.ask_and_say(random, world);
            }
            return;
        }
        match &self.state {
            State::Closed { opening: None } if self.socket.is_none() => self.begin(random, world),
            State::Closed { .. } => {}
            State::Open { .. } => {
                self.go_on_with_upgrade(random, world);
                self.ask_and_say(random, world);
            }
        }
    }

    fn lines(&mut self) -> impl Iterator<Item = &mut Line> {
        let opening = match &mut self.state {
            State::Closed { opening } => opening.as_mut(),
            State::Open { .. } => None,
        };
        let socket = self.socket.as_mut().map(|(line, _)| line);
        let requests = [opening, self.get.as_mut(), self.post.as_mut(), socket];
        requests.into_iter().flatten().chain(&mut self.idle)
    }

    fn read(&mut self, random: &mut Random) {
        let appetite = if self.appetite == 0 { 0 } else { 1 + random.below(self.appetite) };
        self.lines().for_each(|line| _ = line.read(appetite));
        self.idle.retain(|line| !line.has_ended());
    }

    fn query(&self) -> String {
        let mut query = String::new();
        if self.is_json {
            query += "&format=json";
        }
        self.prefixes.iter().for_each(|topic| query += &format!("&topic={topic}"));
        query
    }

    fn path(&self, transport: &str) -> String {
        let sid = match &self.state {
            State::Open { sid } => format!("&sid={sid}"),
            State::Closed { .. } => String::new(),
        };
        format!("/socket.io/?EIO=4&transport={transport}{sid}{}", self.query())
    }

    /// Sends a request on a connection that is free, or on a new one.
    fn request(&mut self, random: &mut Random, world: &mut Surroundings<'_>, text: &str) -> Line {
        let line = match self.idle.pop() {
            Some(line) => line,
            None => Line::new((world.accept)(random)),
        };
        line.send(text.as_bytes());
        line
    }

    fn get_request(&self) -> String {
        format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", self.path("polling"))
    }

    fn post_request(&self, random: &mut Random, body: &str) -> String {
        let head = format!("POST {} HTTP/1.1\r\nHost: a\r\n", self.path("polling"));
        let kind = "Content-Type: text/plain;charset=UTF-8\r\n";
        if random.chance(4) {
            let size = body.len();
            let chunks = format!("{size:x}\r\n{body}\r\n0\r\n\r\n");
            return format!("{head}{kind}Transfer-Encoding: chunked\r\n\r\n{chunks}");
        }
        format!("{head}{kind}Content-Length: {}\r\n\r\n{body}", body.len())
    }

    fn upgrade_request(&self) -> String {
        format!(
            "GET {} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.path("websocket")
        )
    }

    fn begin(&mut self, random: &mut Random, world: &mut Surroundings<'_>) {
        self.tries = 0;
        if self.ways == Ways::WebSocket {
            let line = Line::new((world.accept)(random));
            line.send(self.upgrade_request().as_bytes());
            self.socket = Some((line, Stage::Asked));
            return;
        }
        let request = self.get_request();
        let line = self.request(random, world, &request);
        self.state = State::Closed { opening: Some(line) };
    }

    /// The connection of an answer is free again, or ends.
    fn release(&mut self, random: &mut Random, line: Line) {
        if line.has_ended() {
            return;
        }
        if self.is_node || random.chance(10) {
            line.pipe.borrow_mut().client_ended = true;
        } else {
            self.idle.push(line);
        }
    }

    fn hear_answers(&mut self, random: &mut Random, published: &[Published]) {
        if let State::Closed { opening } = &mut self.state
            && let Some(answer) = opening.as_mut().and_then(Line::answer)
        {
            let line = opening.take().unwrap();
            self.release(random, line);
            match answer.status {
                200 => self.hear_packet(&answer.text, published),
                status => self.assert_full(status),
            }
        }
        if let Some(answer) = self.post.as_mut().and_then(Line::answer) {
            let line = self.post.take().unwrap();
            self.release(random, line);
            if answer.status != 200 {
                self.assert_unknown(&answer);
                return self.end(random, published);
            }
            assert_eq!(answer.text, "ok");
        }
        if let Some(answer) = self.get.as_mut().and_then(Line::answer) {
            let line = self.get.take().unwrap();
            self.release(random, line);
            let has_moved = matches!(self.socket, Some((_, Stage::Taken)));
            if has_moved && (answer.status, &*answer.text) == (400, BAD_REQUEST) {
                // It was read after the change, which is no fault of the page's.
                return;
            }
            if answer.status != 200 {
                self.assert_unknown(&answer);
                return self.end(random, published);
            }
            assert!(!answer.text.is_empty(), "an empty payload is a parse error");
            for packet in answer.text.split('\u{1e}') {
                if packet == "1" {
                    self.was_said_goodbye = true;
                    return self.end(random, published);
                }
                self.hear_packet(packet, published);
            }
        }
        let is_cut = |line: &Option<Line>| line.as_ref().is_some_and(Line::has_ended);
        let is_opening_cut = matches!(&self.state, State::Closed { opening } if is_cut(opening));
        // A connection that was kept may end before the request on it arrives, after a long time only.
        if is_opening_cut || is_cut(&self.get) || is_cut(&self.post) {
            self.end(random, published);
        }
    }

    fn assert_unknown(&self, answer: &Answer) {
        let is_unknown = answer.status == 400 && answer.text == UNKNOWN;
        assert!(is_unknown || self.may_end, "{answer:?}");
    }

    /// Only who has no room refuses a handshake, or who waited too long for it.
    fn assert_full(&self, status: u16) {
        let is_lenient = self.terms.is_lenient && !self.may_end;
        assert!(matches!(status, 503 | 408) && !is_lenient, "{status}");
    }

    fn hear_frames(&mut self, random: &mut Random, published: &[Published]) {
        let Some((line, stage)) = &mut self.socket else { return };
        if *stage == Stage::Asked
            && let Some(answer) = line.answer()
        {
            if answer.status != 101 {
                let is_gone = matches!(self.state, State::Open { .. }) && answer.text == UNKNOWN;
                let (line, _) = self.socket.take().unwrap();
                line.hang_up(random);
                if !is_gone {
                    self.assert_full(answer.status);
                }
                return;
            }
            *stage = match self.state {
                State::Closed { .. } => Stage::Taken,
                State::Open { .. } if self.is_hasty && self.post.is_none() && self.tries == 1 => {
                    line.send(&[frame(0x81, b"2probe"), frame(0x81, b"5")].concat());
                    Stage::Taken
                }
                State::Open { .. } => {
                    line.send(&frame(0x81, b"2probe"));
                    Stage::Probed
                }
            };
        }
        // What came by polling is older than all that comes here.
        while self.get.is_none()
            && let Some((line, stage)) = &mut self.socket
            && *stage != Stage::Asked
            && let Some(frame) = line.frame()
        {
            match (frame, *stage) {
                (Frame::Text(text), Stage::Probed) => {
                    assert_eq!(text, "3probe", "nothing else before the change");
                    *stage = Stage::Confirmed;
                }
                (Frame::Text(text), Stage::Taken) => match &*text {
                    "3probe" => assert!(self.is_hasty, "it is answered once"),
                    packet => self.hear_packet(packet, published),
                },
                (Frame::Text(text), _) => panic!("{text} came before the change"),
                (Frame::Pong, _) => {}
                (Frame::Close(code), stage) => {
                    self.was_said_goodbye = code == 1001 && stage == Stage::Taken;
                }
            }
        }
        let has_ended = self.socket.as_ref().is_some_and(|(line, _)| line.has_ended());
        if has_ended && self.get.is_none() {
            let (line, stage) = self.socket.take().unwrap();
            line.hang_up(random);
            if stage == Stage::Taken || matches!(self.state, State::Closed { .. }) {
                self.end(random, published);
            }
        }
    }

    fn hear_packet(&mut self, packet: &str, published: &[Published]) {
        match packet {
            "2" => self.outbox.push("3".to_owned()),
            "6" => {}
            _ if packet.starts_with('0') => {
                let open: serde_json::Value = serde_json::from_str(&packet[1..]).unwrap();
                let sid = open["sid"].as_str().unwrap().to_owned();
                assert!(matches!(self.state, State::Closed { .. }), "one handshake");
                self.state = State::Open { sid };
                self.joined = None;
                self.outbox = vec!["40".to_owned()];
            }
            _ if packet.starts_with("40") => {
                let (_, known) = self.joined.as_mut().expect("it asked to be let in");
                assert_eq!(known.replace(published.len()), None, "it is let in once");
            }
            _ => {
                assert!(matches!(self.joined, Some((_, Some(_)))), "{packet} before the welcome");
                let seen = self.understand(packet, published);
                self.seen.push(seen);
            }
        }
    }

    fn understand(&self, packet: &str, published: &[Published]) -> Seen {
        let json = packet.strip_prefix("42").unwrap_or_else(|| panic!("{packet}"));
        let event: serde_json::Value = serde_json::from_str(json).unwrap();
        if event[0] == "gap" {
            let gap = if event[1].get("gap").is_some() {
                event[1].clone()
            } else {
                serde_json::json!({ "gap": event[1] })
            };
            return events::gap(&gap);
        }
        assert_eq!(event[0], "message");
        let (body, topic) = match self.is_json {
            true => (&event[1]["data"], &event[1]["topic"]),
            false => (&event[1], &event[2]),
        };
        let number = number_of(body.as_str().unwrap().as_bytes(), published);
        assert_eq!(topic, published[number - 1].topic.as_str());
        if self.is_json {
            let id: Id = event[1]["id"].as_str().unwrap().parse().unwrap();
            assert_eq!(id.epoch, Some(self.run.epoch));
            assert_eq!(self.run.begins_after + id.seq.0 as usize, number);
        }
        Seen::Message(number)
    }

    /// Tries to change over, and does it when nothing else is under way.
    fn go_on_with_upgrade(&mut self, random: &mut Random, world: &mut Surroundings<'_>) {
        let has_requests = self.get.is_some() || self.post.is_some();
        match &mut self.socket {
            None if self.ways == Ways::Both && self.tries < 3 && random.chance(10) => {
                self.tries += 1;
                let line = Line::new((world.accept)(random));
                line.send(self.upgrade_request().as_bytes());
                self.socket = Some((line, Stage::Asked));
            }
            Some((line, stage @ Stage::Confirmed)) if !has_requests => {
                line.send(&frame(0x81, b"5"));
                *stage = Stage::Taken;
            }
            _ => {}
        }
    }

    fn ask_and_say(&mut self, random: &mut Random, world: &mut Surroundings<'_>) {
        let stage = self.socket.as_ref().map(|(_, stage)| *stage);
        if stage == Some(Stage::Taken) {
            for packet in std::mem::take(&mut self.outbox) {
                self.note_wish(&packet, world.published);
                let (line, _) = self.socket.as_ref().unwrap();
                line.send(&frame(0x81, packet.as_bytes()));
            }
            return;
        }
        if stage == Some(Stage::Confirmed) {
            return;
        }
        if self.get.is_none() && !random.chance(3) {
            let request = self.get_request();
            self.get = Some(self.request(random, world, &request));
        }
        if self.post.is_none() && !self.outbox.is_empty() && !random.chance(3) {
            let packets = std::mem::take(&mut self.outbox);
            packets.iter().for_each(|packet| self.note_wish(packet, world.published));
            let request = self.post_request(random, &packets.join("\u{1e}"));
            self.post = Some(self.request(random, world, &request));
        }
    }

    fn note_wish(&mut self, packet: &str, published: &[Published]) {
        // Whoever asks twice is closed for it, and is served until then.
        if packet == "40" && self.joined.is_none() {
            self.joined = Some((published.len(), None));
        }
    }
}
