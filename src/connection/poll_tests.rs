//! Polls on simulated streams: who waits, who gives up, and what they may keep.

use std::time::Duration;

use super::tests::{REQUEST, Rig, answers};

const POLL: &[u8] = b"GET /poll HTTP/1.1\r\nHost: a\r\n\r\n";

fn content(output: &[u8]) -> &str {
    let text = std::str::from_utf8(output).unwrap();
    assert_eq!(answers(output), 1, "{text}");
    text.split_once("\r\n\r\n").unwrap().1
}

/// Both are where nothing has come yet, and only one of them has waited for as long as it would.
#[test]
fn a_poll_that_has_just_come_is_not_answered_as_one_that_has_waited() {
    let mut rig = Rig::new(1 << 20, 512 << 20);
    // For whose sake their feed lasts.
    let _bystander = rig.connect(POLL);
    let patient = rig.connect(b"GET /poll?timeout=1 HTTP/1.1\r\nHost: a\r\n\r\n");
    rig.turn();
    rig.now += Duration::from_secs(2);
    // Its second request is looked at in the turn in which the first client has waited enough.
    let newcomer = rig.connect(&[REQUEST, POLL].concat());
    rig.turns(2);
    assert!(content(&rig.take_output(patient)).starts_with("{\"messages\":[],"));
    assert_eq!(content(&rig.take_output(newcomer)), "ok\n");
    rig.publish(3);
    rig.turn();
    assert!(content(&rig.take_output(newcomer)).contains("\"data\":\"xxx\""));
}

#[test]
fn what_comes_behind_a_poll_is_counted_and_too_much_of_it_ends_some() {
    let mut rig = Rig::new(1 << 20, 1 << 20);
    let request = [POLL, &[b'x'; 10_000]].concat();
    rig.connect(&request);
    rig.turn();
    assert!(rig.connections.context.request_memory.used_bytes() >= 10_000);
    for _ in 0..100 {
        rig.connect(&request);
        rig.turn();
        let held = rig.connections.context.request_memory.used_bytes();
        assert!(held <= (1 << 17) + 20_000, "{held} bytes");
    }
    let innocent = rig.connect(POLL);
    rig.turn();
    rig.publish(3);
    rig.turn();
    assert!(content(&rig.take_output(innocent)).contains("xxx"), "who keeps nothing is served");
}

#[test]
fn who_gives_up_waiting_is_let_go_of_at_once_whatever_it_asked_for_next() {
    for behind in [&b""[..], REQUEST, POLL, &REQUEST.repeat(100)] {
        let mut rig = Rig::new(1 << 20, 512 << 20);
        let client = rig.connect(&[POLL, behind].concat());
        rig.turn();
        assert_eq!(rig.connections.context.feeds.len(), 1);
        rig.peer(client).input_ended = true;
        rig.turn();
        let counts = (rig.connections.context.feeds.len(), rig.connections.len());
        assert_eq!(counts, (0, 0), "{} bytes behind", behind.len());
        assert_eq!(rig.connections.context.request_memory.used_bytes(), 0);
    }
}

/// With this much behind it nothing more is read, and so not that the client is gone.
#[test]
fn with_much_behind_it_a_poll_is_read_again_when_it_is_answered() {
    let mut rig = Rig::new(1 << 20, 512 << 20);
    let client = rig.connect(&[POLL, &REQUEST.repeat(200)].concat());
    rig.turn();
    rig.peer(client).input_ended = true;
    rig.turns(3);
    assert_eq!(rig.connections.len(), 1);
    rig.publish(3);
    rig.turns(40);
    assert_eq!(answers(&rig.take_output(client)), 201);
    assert_eq!(rig.connections.len(), 0);
}

/// As with WebSockets: a large message is there once, however different what they asked for.
#[test]
fn a_large_message_is_not_copied_for_those_who_want_it_by_other_filters() {
    let mut rig = Rig::with_history();
    let topic = "t".repeat(40);
    let waiting: Vec<_> = (0..20).collect();
    let late: Vec<_> = (20..40).collect();
    let ask = |rig: &mut Rig, number: usize, since: &str| {
        let query = format!("topic={}&{since}", &topic[..=number]);
        rig.connect(format!("GET /poll?{query} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
    };
    let clients: Vec<_> = waiting.iter().map(|&number| ask(&mut rig, number, "")).collect();
    rig.turn();
    clients.iter().for_each(|&client| rig.peer(client).room = 100);
    rig.publish_of(&topic, 1_000_000);
    rig.turns(5);
    // From history, too.
    let epoch = crate::message::Epoch::from_seed(7);
    let since = format!("since={}-0", epoch.as_str());
    let later: Vec<_> = late.iter().map(|&number| ask(&mut rig, number, &since)).collect();
    later.iter().for_each(|&client| rig.peer(client).room = 100);
    rig.turns(60);
    let held = rig.connections.context.memory.used_bytes();
    assert!(held < 4_000_000, "{held} bytes for a message of 1 MB to 40 clients");
    for client in clients.into_iter().chain(later) {
        rig.peer(client).room = usize::MAX;
        rig.turns(60);
        let output = rig.take_output(client);
        let json: serde_json::Value = serde_json::from_str(content(&output)).unwrap();
        assert_eq!(json["messages"][0]["data"].as_str().unwrap().len(), 1_000_000);
        assert_eq!(json["messages"][0]["id"], json["next"]);
    }
}

/// Their answers differ, so each is held for one alone: they are what there is to be freed.
#[test]
fn answers_that_nobody_takes_stay_within_the_memory_allowed() {
    let mut rig = Rig::new(1 << 20, 1 << 20);
    let stalled: Vec<_> = (0..80)
        .map(|number| {
            let topic = "t".repeat(number + 1);
            rig.connect(format!("GET /poll?topic={topic} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
        })
        .collect();
    let fine = rig.connect(POLL);
    rig.turn();
    stalled.iter().for_each(|&client| rig.peer(client).room = 100);
    rig.publish_of(&"t".repeat(80), 15_000);
    rig.turns(5);
    let held = rig.connections.context.memory.used_bytes();
    assert!(held <= 1 << 20, "{held} bytes");
    assert!(content(&rig.take_output(fine)).len() > 15_000);
    assert!(rig.connections.len() < 81, "some were given up");
    assert!(rig.connections.len() > 2, "and not more than necessary");
    // Who was not, gets a whole answer.
    let left: Vec<_> = stalled
        .into_iter()
        .filter(|&client| rig.connections.get(rig.clients[client].0).is_some())
        .collect();
    left.iter().for_each(|&client| rig.peer(client).room = usize::MAX);
    rig.turns(80);
    for client in left {
        let output = rig.take_output(client);
        let json: serde_json::Value = serde_json::from_str(content(&output)).unwrap();
        assert_eq!(json["messages"][0]["data"].as_str().unwrap().len(), 15_000);
    }
    assert!(rig.connections.context.memory.used_bytes() < 100_000);
}

#[test]
fn a_small_answer_that_is_cut_anywhere_comes_as_a_whole() {
    let whole = |room| {
        let mut rig = Rig::new(1 << 20, 512 << 20);
        let client = rig.connect(&[POLL, REQUEST].concat());
        rig.turn();
        rig.peer(client).room = room;
        rig.publish(300);
        let mut sent = usize::MAX;
        while rig.peer(client).output.len() != sent {
            sent = rig.peer(client).output.len();
            rig.peer(client).room = room;
            // A turn for the socket to be asked again, and one for the next request to be looked at.
            rig.turns(2);
        }
        assert_eq!(rig.connections.context.memory.used_bytes(), 0, "nothing is kept");
        String::from_utf8(rig.take_output(client)).unwrap()
    };
    let expected = whole(usize::MAX);
    assert_eq!(answers(expected.as_bytes()), 2);
    for room in [1, 7, 100, 200, 300, 500] {
        assert_eq!(whole(room), expected, "{room} bytes at a time");
    }
}

/// One each, whatever happens on the connection: several requests, polls, and waiting in between.
#[test]
fn a_poll_takes_one_timer() {
    let mut rig = Rig::new(1 << 20, 512 << 20);
    let clients: Vec<_> = (0..1_000).map(|_| rig.connect(POLL)).collect();
    rig.turns(40);
    for _ in 0..20 {
        rig.publish(3);
        rig.turns(60);
        rig.now += Duration::from_millis(10);
        for &client in &clients {
            assert_eq!(answers(&rig.take_output(client)), 1);
            rig.peer(client).input.extend_from_slice(POLL);
        }
        rig.turns(3);
    }
    let timers = rig.connections.timers_len();
    assert!(timers <= 2 * clients.len(), "{timers} timers");
}

/// As streams are: a crowd that was let go of together comes back together.
#[test]
fn polls_that_wait_at_the_end_are_answered_over_time() {
    let mut rig = Rig::new(1 << 20, 512 << 20);
    let clients: Vec<_> = (0..2_000).map(|_| rig.connect(POLL)).collect();
    rig.turns(60);
    rig.connections.stop_serving();
    rig.connections.begin_shutdown(rig.now, rig.now + Duration::from_secs(5));
    let mut answered_at = Vec::new();
    for step in 0..110 {
        rig.turns(3);
        for &client in &clients {
            let output = rig.take_output(client);
            if !output.is_empty() {
                assert!(content(&output).starts_with("{\"messages\":[],"));
                assert!(output.windows(17).any(|bytes| bytes == b"Connection: close"));
                answered_at.push(step);
            }
        }
        rig.now += Duration::from_millis(10);
    }
    assert_eq!(answered_at.len(), 2_000);
    let early = answered_at.iter().filter(|&&step| step < 50).count();
    assert!((500..1_500).contains(&early), "{early} of 2,000 in the first half");
}
