//! Engine.IO's sessions on WebSockets: how they get there from polls, and who comes back.

use super::tests::{BAD, Pair, UPGRADE, bad, frame, frames, ok, rig_with, sid_of};
use crate::connection::tests::Rig;
use crate::test_random::Random;

#[test]
fn a_client_may_leave_and_join_again() {
    let (mut pair, socket) = Pair::upgraded();
    pair.publish(b"a");
    assert_eq!(pair.hear(socket), [r#"42["message","a","t"]"#]);
    assert_eq!(pair.say(socket, &["41"]), [""; 0]);
    pair.publish(b"b");
    assert_eq!(pair.hear(socket), [""; 0]);
    let heard = pair.say(socket, &["40", "41", "40"]);
    assert!(heard.len() == 2 && heard.iter().all(|it| it.starts_with("40{")), "{heard:?}");
    pair.publish(b"c");
    assert_eq!(pair.hear(socket), [r#"42["message","c","t"]"#]);
    // A frame that is under way is finished whatever is said meanwhile.
    pair.rig.peer(socket).room = 10;
    pair.publish(b"d");
    pair.publish(b"e");
    pair.rig.turns(3);
    pair.rig.peer(socket).input.extend([frame(1, b"41"), frame(1, b"40")].concat());
    pair.rig.turns(2);
    let begun = pair.rig.take_output(socket);
    assert_eq!(begun.len(), 10);
    pair.rig.peer(socket).room = usize::MAX;
    pair.rig.turns(3);
    let heard = frames(&[begun, pair.rig.take_output(socket)].concat());
    assert_eq!(heard[0], r#"42["message","d","t"]"#);
    assert!(heard.len() == 2 && heard[1].starts_with("40{"), "{heard:?}");
    pair.publish(b"f");
    assert_eq!(pair.hear(socket), [r#"42["message","f","t"]"#]);
}

#[test]
fn a_socket_takes_over_without_losing_or_doubling() {
    let mut pair = Pair::joined();
    let waiting = pair.hold();
    let socket = pair.socket();
    assert_eq!(pair.say(socket, &["2probe"]), ["3probe"]);
    assert_eq!(pair.take(waiting), ok("6"), "it ends at once");
    let another = pair.hold();
    pair.publish(b"a");
    assert_eq!(pair.take(another), ok(r#"42["message","a","t"]"#));
    let third = pair.hold();
    pair.wait(50);
    assert_eq!(pair.rig.take_output(third), b"");
    pair.wait(100);
    assert_eq!(pair.take(third), ok("6"), "and the next ones now and then");
    pair.publish(b"b");
    assert_eq!(pair.hear(socket), [""; 0]);
    assert_eq!(pair.say(socket, &["5"]), [r#"42["message","b","t"]"#]);
    assert_eq!(pair.get(), bad(BAD));
    assert_eq!(pair.post("3"), bad(BAD));
    pair.publish(b"c");
    assert_eq!(pair.hear(socket), [r#"42["message","c","t"]"#]);
    assert_eq!(pair.sessions(), 1);
    let closing = frame(8, b"\x03\xe8");
    pair.rig.peer(socket).input.extend(closing);
    assert_eq!(pair.hear(socket), ["88:\\x03\\xe8"]);
    assert_eq!(pair.sessions(), 0);
}

#[test]
fn a_poll_that_waits_when_the_socket_takes_over_gets_nothing() {
    let mut pair = Pair::joined();
    let socket = pair.socket();
    assert_eq!(pair.say(socket, &["2probe"]), ["3probe"]);
    assert_eq!(pair.get(), ok("6"));
    let waiting = pair.hold();
    assert_eq!(pair.say(socket, &["5"]), [""; 0]);
    pair.publish(b"a");
    assert_eq!(pair.take(waiting), ok("6"));
    assert_eq!(pair.hear(socket), [r#"42["message","a","t"]"#]);
}

#[test]
fn a_post_may_come_with_the_upgrade() {
    let mut pair = Pair::new();
    let socket = pair.socket();
    assert_eq!(pair.say(socket, &["2probe"]), ["3probe"]);
    assert_eq!(pair.post("40"), ok("ok"));
    let heard = pair.say(socket, &["5"]);
    assert!(heard.len() == 1 && heard[0].starts_with("40{"), "{heard:?}");
}

#[test]
fn a_probe_that_fails_leaves_the_session_alone() {
    for texts in [&["2"][..], &["2nope"], &["5"], &["40"], &["2probe", "2probe"], &["x"], &[""]] {
        let mut pair = Pair::joined();
        let socket = pair.socket();
        let heard = pair.say(socket, texts);
        assert!(heard.last().is_some_and(|last| last.starts_with("88:")), "{texts:?} {heard:?}");
        let waiting = pair.hold();
        pair.publish(b"a");
        assert_eq!(pair.take(waiting), ok(r#"42["message","a","t"]"#));
    }
    let mut pair = Pair::joined();
    let socket = pair.socket();
    pair.rig.peer(socket).input_ended = true;
    let waiting = pair.hold();
    pair.publish(b"a");
    assert_eq!(pair.take(waiting), ok(r#"42["message","a","t"]"#));
    let late = pair.socket();
    assert_eq!(pair.say(late, &["2probe"]), ["3probe"]);
    assert_eq!(pair.get(), ok("6"));
    pair.wait(10_000);
    assert!(pair.hear(late).iter().any(|last| last.starts_with("88:")));
    let waiting = pair.hold();
    pair.publish(b"b");
    assert_eq!(pair.take(waiting), ok(r#"42["message","b","t"]"#));
    assert_eq!(pair.sessions(), 1);
}

#[test]
fn a_second_socket_is_closed() {
    let mut pair = Pair::joined();
    let first = pair.socket();
    for texts in [&["2probe", "5"][..], &[]] {
        let second = pair.upgrade();
        let output = pair.rig.take_output(second);
        assert!(output.starts_with(b"HTTP/1.1 101 ") && output.ends_with(b"\x88\x02\x03\xea"));
        pair.say(first, texts);
    }
    pair.publish(b"a");
    assert_eq!(pair.hear(first), [r#"42["message","a","t"]"#]);
}

#[test]
fn a_session_may_begin_with_a_socket() {
    let mut rig = rig_with(false, Rig::with_history());
    let request = "GET /socket.io/?transport=websocket&EIO=4&topic=t HTTP/1.1\r\nHost: a\r\n";
    let socket = rig.connect(format!("{request}{UPGRADE}\r\n").as_bytes());
    rig.turns(2);
    let output = rig.take_output(socket);
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let open = frames(&output[end..]);
    assert!(open.len() == 1 && open[0].contains("\"upgrades\":[],"), "{open:?}");
    let mut pair = Pair { rig, sid: sid_of(&open[0]) };
    let heard = pair.say(socket, &["40"]);
    assert!(heard[0].starts_with("40{\"sid\":") && !heard[0].contains(&pair.sid), "{heard:?}");
    pair.publish(b"\xff");
    let expected =
        [r#"451-["message",{"_placeholder":true,"num":0},"t"]"#.to_owned(), "82:\\xff".into()];
    assert_eq!(pair.hear(socket), expected);
    assert_eq!(pair.get(), bad(BAD));
    let binary = frame(2, b"x");
    pair.rig.peer(socket).input.extend(binary);
    assert_eq!(pair.hear(socket), ["88:\\x03\\xea"]);
    assert_eq!(pair.sessions(), 0);
}

#[test]
fn pings_do_not_wait_for_messages_to_end() {
    let (mut pair, socket) = Pair::upgraded();
    pair.rig.peer(socket).room = 30;
    for _ in 0..50 {
        pair.publish(b"0123456789");
    }
    pair.rig.turns(2);
    pair.wait(25_000);
    let begun = pair.rig.take_output(socket);
    pair.rig.peer(socket).room = usize::MAX;
    pair.rig.turns(3);
    let all = frames(&[begun, pair.rig.take_output(socket)].concat());
    assert_eq!((all.len(), &*all[1]), (51, "2"));
}

#[test]
fn who_comes_back_first_gets_what_it_missed() {
    for by_socket in [false, true] {
        let mut pair = Pair::with(true, Rig::with_history());
        assert_eq!(pair.post("40"), ok("ok"));
        let (_, welcome) = pair.get();
        let welcome: serde_json::Value = serde_json::from_str(&welcome[2..]).unwrap();
        let pid = welcome["pid"].as_str().unwrap().to_owned();
        pair.publish(b"a");
        let (_, event) = pair.get();
        let event: serde_json::Value = serde_json::from_str(&event[2..]).unwrap();
        let offset = event[3].as_str().unwrap().to_owned();
        pair.publish(b"b");
        pair.publish(b"c");
        for (auth, expected) in [
            (format!(r#"{{"pid":"{pid}","offset":"{offset}"}}"#), &["b", "c"][..]),
            (format!(r#"{{"pid":"{pid}"}}"#), &["a", "b", "c"]),
        ] {
            pair.sid = String::new();
            let client = pair.send("GET", "", "", "");
            let (_, open) = pair.take(client);
            pair.sid = sid_of(&open);
            let mut packets = Vec::new();
            if by_socket {
                let socket = pair.socket();
                pair.say(socket, &["2probe", "5"]);
                packets = pair.say(socket, &[&format!("40{auth}")]);
            } else {
                assert_eq!(pair.post(&format!("40{auth}")), ok("ok"));
                while packets.len() < expected.len() + 1 {
                    packets.extend(pair.get().1.split('\x1e').map(str::to_owned));
                }
            }
            let bodies: Vec<_> = packets[..expected.len()]
                .iter()
                .map(|packet| packet.split('"').nth(3).unwrap())
                .collect();
            assert_eq!(bodies, expected);
            let last = packets.last().unwrap();
            assert!(last.starts_with("40{\"sid\":") && last.contains(&pid), "{packets:?}");
        }
    }
}

#[test]
fn who_cannot_resume_begins_anew() {
    for auth in [
        r#"{"pid":"nope"}"#,
        r#"{"pid":"abc","offset":"zzzzzzzz-1"}"#,
        r#"{"pid":"zzzzzzzz-1-abc","offset":"nope"}"#,
        r#"{"pid":"zzzzzzzz-1-abc","offset":"zzzzzzzz-1"}"#,
        r#"{"pid":5,"offset":[]}"#,
    ] {
        let mut pair = Pair::with(true, Rig::with_history());
        assert_eq!(pair.post(&format!("40{auth}")), ok("ok"));
        let (_, packets) = pair.get();
        let welcome = packets.split('\x1e').next().unwrap();
        let welcome: serde_json::Value = serde_json::from_str(&welcome[2..]).unwrap();
        assert!(!auth.contains(welcome["pid"].as_str().unwrap()));
    }
}

#[test]
fn who_joins_again_on_a_stalled_socket_is_not_visited_for_it() {
    let (mut pair, socket) = Pair::upgraded();
    pair.rig.peer(socket).room = 10;
    pair.publish(b"a");
    pair.rig.turns(3);
    pair.rig.peer(socket).input.extend([frame(1, b"41"), frame(1, b"40")].concat());
    pair.rig.turns(3);
    pair.publish(b"b");
    pair.rig.turns(10);
    assert!(!pair.rig.connections.has_work(), "nothing can be done before the socket takes bytes");
    let begun = pair.rig.take_output(socket);
    pair.rig.peer(socket).room = usize::MAX;
    pair.rig.turns(3);
    let heard = frames(&[begun, pair.rig.take_output(socket)].concat());
    assert_eq!(heard.len(), 3);
    assert!(heard[1].starts_with("40{"), "{heard:?}");
    assert_eq!(heard[2], r#"42["message","b","t"]"#);
}

#[test]
fn garbage_ends_sessions_and_nothing_else() {
    let mut random = Random::from_env();
    let pieces: [&[u8]; 22] = [
        b"0",
        b"1",
        b"2",
        b"3",
        b"4",
        b"5",
        b"6",
        b"2probe",
        b"40",
        b"41",
        b"42[\"a\",1]",
        b"b",
        b"bAQI=",
        b"\x1e",
        b"\xff",
        b"451-[\"a\"]",
        b"40/x,",
        b"{\"pid\":\"",
        b"-1-a\"",
        b"}",
        b"[",
        b"17",
    ];
    for _ in 0..300 {
        let mut pair = Pair::with(random.chance(2), Rig::with_history());
        let socket = random.chance(2).then(|| pair.socket());
        for _ in 0..1 + random.below(12) {
            let len = 1 + random.below(4);
            let said: Vec<u8> =
                (0..len).flat_map(|_| pieces[random.below(pieces.len())].to_vec()).collect();
            match (random.below(5), socket) {
                (0, Some(socket)) => {
                    let opcode = [1, 1, 2][random.below(3)];
                    pair.rig.peer(socket).input.extend(frame(opcode, &said));
                }
                (1, Some(socket)) => pair.rig.peer(socket).input.extend(frame(1, b"2probe")),
                (2, Some(socket)) => pair.rig.peer(socket).input.extend(frame(1, b"5")),
                (3, _) => {
                    pair.send("GET", "", "", "");
                }
                (4, _) => pair.publish(b"a"),
                _ => {
                    let said = String::from_utf8_lossy(&said).into_owned();
                    pair.send("POST", "", "", &said);
                }
            }
            pair.rig.turns(1 + random.below(3));
            pair.rig.connections.context.feeds.check_invariants();
            assert!(pair.sessions() <= 1);
        }
        pair.rig.turns(10);
        assert!(!pair.rig.connections.has_work());
        pair.wait(60_000);
        pair.wait(60_000);
        pair.wait(60_000);
        assert_eq!(pair.sessions(), 0, "whoever says nothing more is given up");
        assert_eq!(pair.rig.connections.context.feeds.len(), 0);
    }
}
