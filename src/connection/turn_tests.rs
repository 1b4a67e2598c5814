//! What a turn sends and what waits: messages that are gathered, crowds that resume, goodbyes behind a replay.

use std::time::Duration;

use super::budget::TURN_HANDSHAKES_MAX;
use super::tests::{REQUEST, Rig, answers};

const WAIT: Duration = Duration::from_millis(5);

/// The messages of 10 bytes that were sent to a client.
fn messages(rig: &Rig, client: usize) -> usize {
    rig.take_output(client).len() / 12
}

#[test]
fn what_is_published_within_the_wait_is_sent_together_at_its_end() {
    let mut rig = Rig::coalescing(WAIT);
    let client = rig.websocket();
    for _ in 0..3 {
        let end = rig.now + WAIT;
        for _ in 0..4 {
            rig.publish(10);
            rig.turns(2);
            assert_eq!(messages(&rig, client), 0);
            assert!(!rig.connections.has_work(), "nothing spins meanwhile");
            assert_eq!(rig.connections.next_deadline(), Some(end));
            rig.now += WAIT / 5;
        }
        rig.now = end;
        rig.turn();
        assert_eq!(messages(&rig, client), 4);
        assert!(rig.connections.next_deadline() > Some(end + WAIT), "and then nothing is due");
    }
}

#[test]
fn requests_and_pings_are_answered_while_messages_wait() {
    let mut rig = Rig::coalescing(WAIT);
    let client = rig.websocket();
    rig.publish(10);
    rig.turn();
    rig.peer(client).input.extend(b"\x89\x80\0\0\0\0");
    let newcomer = rig.connect(REQUEST);
    rig.turn();
    assert!(rig.take_output(client).starts_with(b"\x8a\0"));
    assert_eq!(answers(&rig.take_output(newcomer)), 1);
}

/// More clients than a turn serves: what comes while they are served is not sent with it to some, and at once to others.
#[test]
fn what_is_published_while_others_are_served_waits_anew() {
    let mut rig = Rig::coalescing(WAIT);
    let crowd: Vec<_> = (0..600).map(|_| rig.websocket()).collect();
    rig.publish(10);
    rig.turn();
    rig.now += WAIT;
    let mut turns = 0;
    rig.turn();
    while rig.connections.has_work() {
        rig.publish(10);
        rig.turn();
        turns += 1;
        assert!(turns < 10, "the wait is made again");
    }
    assert!(crowd.iter().all(|&client| messages(&rig, client) > 0));
    assert_eq!(rig.connections.next_deadline(), Some(rig.now + WAIT));
    rig.now += WAIT;
    rig.turns(turns + 1);
    assert_eq!(rig.connections.context.feeds.lag(), (0, 0));
}

#[test]
fn neither_a_full_feed_nor_a_shutdown_waits() {
    let mut rig = Rig::coalescing(Duration::from_secs(1));
    let client = rig.websocket();
    rig.publish(4_000);
    rig.turn();
    assert_eq!(rig.take_output(client).len(), 0);
    rig.publish(4_000);
    rig.turn();
    assert!(rig.take_output(client).len() > 8_000, "half of the lag allowed has come together");
    rig.publish(10);
    rig.turn();
    assert_eq!(messages(&rig, client), 0);
    rig.connections.stop_serving();
    rig.turn();
    assert_eq!(messages(&rig, client), 1);
}

/// Nothing comes behind a replay that would say that it is over.
#[test]
fn who_is_replaying_while_the_gateway_stops_is_said_goodbye_behind_the_last_message() {
    for (path, goodbye) in [("/ws", &b"\x88\x02\x03\xe9"[..]), ("/sse", b"0\r\n\r\n")] {
        // What is kept comes last, or what it does not want.
        for unwanted in [0, 3_000] {
            let mut rig = Rig::with_history();
            (0..100).for_each(|_| rig.publish(1_000));
            (0..unwanted).for_each(|_| rig.publish_of("other", 1));
            let client = rig.resuming(path, 0);
            rig.turn();
            rig.connections.stop_serving();
            rig.connections.begin_shutdown(rig.now, rig.now + Duration::from_secs(5));
            rig.turns(50);
            let output = rig.take_output(client);
            assert!(output.len() > 100_000, "it got everything: {}", output.len());
            assert!(output.ends_with(goodbye), "{path}: no goodbye");
        }
    }
}

/// As `pings_that_are_due_together_are_spread_over_turns`: a piece costs more than a ping.
#[test]
fn a_crowd_that_resumes_at_once_is_spread_over_turns() {
    let mut rig = Rig::with_history();
    (0..1_000).for_each(|_| rig.publish(1_000));
    let clients: Vec<_> = (0..1_000).map(|number| rig.resuming("/ws", number % 50)).collect();
    for _ in 0..20 {
        rig.turn();
        let bytes: usize = clients.iter().map(|&client| rig.take_output(client).len()).sum();
        assert!(bytes <= 5 << 20, "{} MiB in one turn, 4 are allowed", bytes >> 20);
    }
}

/// Thousands of pings would otherwise wake the loop thousands of times.
#[test]
fn deadlines_that_are_close_are_met_together() {
    let mut rig = Rig::new(10_000, 512 << 20);
    for _ in 0..4 {
        rig.connect(b"");
        rig.now += Duration::from_millis(10);
    }
    let first = rig.connections.next_deadline().unwrap();
    rig.now = first;
    rig.turn();
    assert_eq!(rig.connections.len(), 3);
    let second = rig.connections.next_deadline().unwrap();
    assert_eq!(second, first + Duration::from_millis(50), "not 10 ms later");
    rig.now = second;
    rig.turn();
    assert_eq!(rig.connections.len(), 0);
}

/// Hundreds may have sent something since the last turn, each of them sixteen requests.
#[test]
fn who_sends_is_answered_once_before_others_have_their_turn() {
    let mut rig = Rig::new(1 << 20, 512 << 20);
    let client = rig.connect(&REQUEST.repeat(40));
    let key = rig.clients[client].0;
    rig.connections.handle_readable(rig.now, key, &mut rig.scratch);
    assert_eq!(answers(&rig.take_output(client)), 1);
    rig.turns(10);
    assert_eq!(answers(&rig.take_output(client)), 39);
}

/// Each step of a handshake takes as long as hundreds of requests.
#[test]
fn a_crowd_of_handshakes_is_spread_over_turns_and_holds_up_nobody() {
    let mut rig = Rig::new(1 << 20, 512 << 20);
    let crowd: Vec<_> = (0..3 * TURN_HANDSHAKES_MAX).map(|_| rig.connect(REQUEST)).collect();
    crowd.iter().for_each(|&client| rig.peer(client).is_greeting = true);
    let other = rig.connect(REQUEST);
    for turn in 1..=3 {
        rig.turn();
        let greeted = crowd.iter().filter(|&&client| rig.peer(client).input.is_empty()).count();
        assert_eq!(greeted, turn * TURN_HANDSHAKES_MAX, "as many in each turn");
        assert_eq!(
            answers(&rig.peer(other).output),
            1,
            "whose handshake is over is served at once"
        );
    }
}
