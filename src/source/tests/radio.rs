//! Datagrams of RADIO sockets: what becomes a message, what is dropped, and that nothing is lost unnoticed.

use std::net::UdpSocket;

use super::super::radio::{Radio, parse};
use super::*;
use crate::test_radio::{Radio as Sender, datagram, loopback_group};
use crate::test_random::Random;

/// The largest datagram that IPv4 carries, without its headers.
const PAYLOAD_BYTES_MAX: usize = 65_507;

fn try_listen(text: &str, config: &SourceConfig) -> Result<Radio, String> {
    let endpoint = endpoint(text, Attach::Bind);
    let Transport::Udp(address) = endpoint.transport() else { panic!("{text}") };
    Radio::open(&endpoint, address, config).map_err(|error| error.to_string())
}

fn listen(text: &str, config: &SourceConfig) -> (Radio, Sender) {
    let radio = try_listen(text, config).unwrap();
    let sender = Sender::open(radio.endpoint());
    (radio, sender)
}

fn sub(prefixes: &[&str]) -> SourceConfig {
    let subscribe = prefixes.iter().map(|prefix| prefix.as_bytes().to_vec()).collect();
    SourceConfig { subscribe, ..config(SocketKind::Sub) }
}

/// A message, and whether something was lost before it.
type Heard = (Vec<u8>, Vec<u8>, bool);

/// Receives what waits, which on loopback is everything that was sent.
fn drain(radio: &mut Radio) -> Vec<Heard> {
    let mut heard = Vec::new();
    loop {
        let drained = radio.drain(BUDGET, &mut |Arrival { parts, follows_loss }| {
            let [group, body] = parts else { panic!("{} parts", parts.len()) };
            heard.push((group.to_vec(), body.to_vec(), follows_loss));
            true
        });
        assert_eq!(radio.needs_drain(), drained == Drained::More);
        if drained == Drained::Empty {
            return heard;
        }
    }
}

fn dropped(radio: &Radio, reason: DropReason) -> u64 {
    radio.counts().dropped[reason as usize]
}

#[test]
fn a_group_is_the_first_part_and_the_rest_the_second() {
    let longest_group = [b'g'; 255];
    let largest_body = vec![b'b'; PAYLOAD_BYTES_MAX - 1 - 255];
    let messages: [(&[u8], &[u8]); 6] = [
        (b"weather.oslo", b"4.5"),
        (b"weather.oslo", b""),
        (b"", b"body"),
        (b"", b""),
        (b"\xff\0", b"\0\xff"),
        (&longest_group, &largest_body),
    ];
    for text in ["udp://127.0.0.1:*", "udp://*:*", "udp://[::1]:*", &loopback_group()] {
        let (mut radio, mut sender) = listen(text, &sub(&[""]));
        if let Some(port) = radio.endpoint().strip_prefix("udp://0.0.0.0:") {
            sender = Sender::open(&format!("udp://127.0.0.1:{port}"));
        }
        assert!(radio.needs_drain(), "at first nobody knows");
        messages.iter().for_each(|(group, body)| sender.send(group, body));
        let expected = messages.map(|(group, body)| (group.to_vec(), body.to_vec(), false));
        assert_eq!(drain(&mut radio), expected, "{text}");
        let bytes = messages.iter().map(|(group, body)| (group.len() + body.len()) as u64).sum();
        let counts = SourceCounts { messages: 6, bytes, subscriptions: 1, ..Default::default() };
        assert_eq!(*radio.counts(), counts);
        assert_eq!(drain(&mut radio), []);
    }
}

#[test]
fn what_is_no_message_is_counted_and_ignored() {
    let (mut radio, sender) = listen(&loopback_group(), &sub(&[""]));
    let mut random = Random::from_env();
    let mut expected = Vec::new();
    let mut malformed = 0;
    for _ in 0..500 {
        let len = random.below(400);
        let bytes = random.bytes(len);
        sender.send_bytes(&bytes);
        match bytes.split_first() {
            Some((&len, rest)) if rest.len() >= len.into() => {
                let (group, body) = rest.split_at(len.into());
                expected.push((group.to_vec(), body.to_vec(), false));
            }
            _ => malformed += 1,
        }
    }
    sender.send_bytes(b"");
    sender.send_bytes(&[255; 255]);
    assert_eq!(drain(&mut radio), expected);
    assert_eq!(dropped(&radio, DropReason::Malformed), malformed + 2);
    assert_eq!(radio.counts().passed_over, malformed + 2);
    assert!(radio.next_deadline().unwrap() <= Instant::now(), "something to say in the log");
}

#[test]
fn every_datagram_is_read_back_or_refused() {
    let mut random = Random::from_env();
    for _ in 0..20_000 {
        let group_len = random.below(256);
        let group = random.bytes(group_len);
        let body_len = random.below(50);
        let body = random.bytes(body_len);
        let whole = datagram(&group, &body);
        assert_eq!(parse(&whole), Some((&*group, &*body)));
        let cut = random.below(whole.len());
        let has_group = cut > group_len;
        assert_eq!(parse(&whole[..cut]).is_some(), has_group, "{cut} of {whole:?}");
    }
    assert_eq!(parse(b""), None);
}

#[test]
fn the_size_limit_is_over_group_and_body_and_exact() {
    let config = SourceConfig { message_bytes_max: 10, ..sub(&[""]) };
    let (mut radio, sender) = listen("udp://127.0.0.1:*", &config);
    for body in ["1234567", "12345678", "123456789"] {
        sender.send(b"ab", body.as_bytes());
    }
    let bodies: Vec<_> = drain(&mut radio).into_iter().map(|(_, body, _)| body).collect();
    assert_eq!(bodies, [&b"1234567"[..], b"12345678"]);
    assert_eq!(dropped(&radio, DropReason::TooLarge), 1);
}

#[test]
fn only_what_is_subscribed_to_comes_through() {
    let (mut radio, sender) = listen("udp://127.0.0.1:*", &sub(&["a", "news.", "a"]));
    let heard = |radio: &mut Radio| {
        ["a", "ab", "b", "", "new", "news.x"].iter().for_each(|it| sender.send(it.as_bytes(), b""));
        let groups = drain(radio).into_iter().map(|it| String::from_utf8(it.0).unwrap());
        groups.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(heard(&mut radio), "a ab news.x");
    assert_eq!(radio.counts().passed_over, 3);
    radio.subscribe(b"b");
    radio.unsubscribe(b"a");
    assert_eq!((radio.counts().subscriptions, &*heard(&mut radio)), (2, "b news.x"));
    radio.unsubscribe(b"b");
    radio.unsubscribe(b"news.");
    assert_eq!((radio.counts().subscriptions, &*heard(&mut radio)), (0, ""));
    radio.subscribe(b"");
    assert_eq!(heard(&mut radio), "a ab b  new news.x");
    assert_eq!(radio.counts().dropped, [0; DropReason::ALL.len()]);
}

#[test]
fn no_more_is_read_than_the_budget_allows() {
    let (mut radio, sender) = listen("udp://127.0.0.1:*", &sub(&["t"]));
    let mut drain = |messages, bytes| {
        let mut count = 0;
        let drained = radio.drain(Budget { messages, bytes }, &mut |_| {
            count += 1;
            true
        });
        assert_eq!(radio.needs_drain(), drained == Drained::More);
        (count, drained)
    };
    // 50 bytes each; every other one is not wanted or no message, and costs the same.
    for number in 0..20 {
        match number % 4 {
            0 | 2 => sender.send(b"t", &[0; 48]),
            1 => sender.send(b"not", &[0; 46]),
            _ => sender.send_bytes(&[99; 50]),
        }
    }
    assert_eq!(drain(0, 1000), (0, Drained::More));
    assert_eq!(drain(4, 1000), (2, Drained::More));
    assert_eq!(drain(1000, 101), (2, Drained::More));
    assert_eq!(drain(1000, 1), (0, Drained::More));
    assert_eq!(drain(12, 1000), (6, Drained::More));
    assert_eq!(drain(1000, 1000), (0, Drained::Empty));
    sender.send(b"t", b"");
    sender.send(b"t", b"");
    let mut count = 0;
    let stopped = radio.drain(BUDGET, &mut |_| {
        count += 1;
        false
    });
    assert_eq!((count, stopped), (1, Drained::More), "the receiver has enough");
}

#[test]
fn what_the_kernel_drops_is_counted_and_told_where_it_is_missing() {
    let (mut radio, sender) = listen(&loopback_group(), &sub(&[""]));
    let mut next = 0_u32;
    let mut send = |count| {
        for _ in 0..count {
            sender.send(b"t", &[&next.to_be_bytes()[..], &[0; 1000]].concat());
            next += 1;
        }
        next
    };
    // Three times more than there is room for; then a little, for the drops to show.
    let buffer_bytes = radio.datagrams_bytes_max();
    let flood = (buffer_bytes / 1000 * 3) as u32;
    let mut heard = Vec::new();
    for _ in 0..3 {
        send(flood);
        heard.extend(drain(&mut radio));
    }
    let sent = send(1);
    heard.extend(drain(&mut radio));
    let mut expected = 0;
    for (_, body, follows_loss) in &heard {
        let number = u32::from_be_bytes(*body.first_chunk().unwrap());
        assert_eq!(*follows_loss, number != expected, "{number} after {expected}");
        expected = number + 1;
    }
    assert_eq!(expected, sent);
    let lost = dropped(&radio, DropReason::Overflow);
    assert!(lost > 0);
    assert_eq!(heard.len() as u64 + lost, u64::from(sent));
}

#[test]
fn what_is_dropped_last_is_counted_without_waiting_for_more() {
    let (mut radio, sender) = listen("udp://127.0.0.1:*", &sub(&[""]));
    let flood = radio.datagrams_bytes_max() / 1000 * 3;
    (0..flood).for_each(|_| sender.send(b"t", &[0; 1000]));
    let heard = drain(&mut radio);
    assert!(!heard.iter().any(|it| it.2), "nothing is missing before these");
    let lost = dropped(&radio, DropReason::Overflow);
    assert_eq!(heard.len() as u64 + lost, flood as u64);
    sender.send(b"t", b"after");
    assert_eq!(drain(&mut radio), [(b"t".to_vec(), b"after".to_vec(), true)]);
    assert_eq!(dropped(&radio, DropReason::Overflow), lost);
}

#[test]
fn any_number_may_listen_to_a_group() {
    let (mut first, sender) = listen(&loopback_group(), &sub(&[""]));
    let (mut second, _) = listen(first.endpoint(), &sub(&[""]));
    let by_name = first.endpoint().replace("127.0.0.1;", "lo;");
    let (mut third, _) = listen(&by_name, &sub(&[""]));
    for number in 0..100_u8 {
        sender.send(b"t", &[number]);
    }
    for radio in [&mut first, &mut second, &mut third] {
        let numbers: Vec<_> = drain(radio).into_iter().map(|it| it.1[0]).collect();
        assert!(numbers.iter().copied().eq(0..100), "{numbers:?}");
    }
}

#[test]
fn nothing_else_of_the_port_is_heard() {
    let (mut radio, sender) = listen(&loopback_group(), &sub(&[""]));
    let port = radio.endpoint().rsplit(':').next().unwrap();
    // What another program joined, what is sent to this machine alone, and a group that nobody joined.
    let other = format!("udp://127.0.0.1;239.251.0.1:{port}");
    let (mut other, others_sender) = listen(&other, &sub(&[""]));
    others_sender.send(b"t", b"to another group");
    Sender::open(&format!("udp://127.0.0.1:{port}")).send(b"t", b"to the machine");
    sender.send(b"t", b"mine");
    assert_eq!(drain(&mut radio), [(b"t".to_vec(), b"mine".to_vec(), false)]);
    assert_eq!(drain(&mut other).len(), 1);
}

#[test]
fn what_cannot_be_listened_on_is_told_with_what_to_do() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let all = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port_of_all = all.local_addr().unwrap().port();
    for (text, part_of_reason) in [
        (format!("udp://127.0.0.1:{port}"), "stop the other program"),
        (format!("udp://127.0.0.1;239.192.1.1:{port_of_all}"), "has the port for itself"),
        ("udp://192.0.2.77:*".into(), "neither a multicast group nor an address of this machine"),
        ("udp://192.0.2.77;239.192.1.1:*".into(), "no interface of this machine has the address"),
        ("udp://no-such-if0;239.192.1.1:*".into(), "there is no such interface"),
    ] {
        let error = try_listen(&text, &sub(&[])).err().unwrap();
        assert!(error.contains(&text) && error.contains(part_of_reason), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let (first, _) = listen("udp://127.0.0.1:*", &sub(&[]));
    let error = try_listen(first.endpoint(), &sub(&[])).err().unwrap();
    assert!(error.contains("stop the other program"), "nobody takes datagrams away: {error}");
}

#[test]
fn a_group_that_the_interface_has_lost_is_joined_again() {
    for interface in ["127.0.0.1", "lo"] {
        let text = loopback_group().replace("127.0.0.1", interface);
        let (mut radio, _) = listen(&text, &sub(&[""]));
        let sender = Sender::open(&radio.endpoint().replace("lo;", "127.0.0.1;"));
        let now = Instant::now();
        let due = radio.next_deadline().unwrap();
        assert!(due > now && due <= now + Duration::from_secs(5));
        radio.handle_timeout(due);
        sender.send(b"t", b"1");
        radio.leave_group();
        sender.send(b"t", b"2");
        let due = radio.next_deadline().unwrap();
        radio.handle_timeout(due);
        sender.send(b"t", b"3");
        let heard: Vec<_> = drain(&mut radio).into_iter().map(|it| it.1).collect();
        assert_eq!(heard, [b"1", b"3"], "{interface}");
    }
}
