//! Real feeds in their exact framing, from a ZeroMQ socket to parsed JSON in a client, with the flags that a user would
//! type.

use std::io::Write;

use data_encoding::BASE64;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};

use crate::support::http::RECEIVED;
use crate::support::process::Gateway;
use crate::support::publisher::Publisher;
use crate::support::websocket::Raw;

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// A client that asks for JSON.
struct Client(Raw);

impl Client {
    fn open(gateway: &Gateway, query: &str) -> Self {
        Self(Raw::open(gateway.address, &format!("/ws?format=json{query}")))
    }

    /// The next message, without its id.
    #[track_caller]
    fn message(&mut self) -> Value {
        let mut message: Value = serde_json::from_str(self.0.message().text()).unwrap();
        if let Some(fields) = message.as_object_mut() {
            fields.remove("id");
        }
        message
    }
}

/// Parts of which one is not UTF-8, as JSON has them.
fn base64(topic: &str, parts: &[&[u8]]) -> Value {
    let text = |part: &[u8]| str::from_utf8(part).ok().map(str::to_owned);
    let data = |part: &&[u8]| text(part).unwrap_or_else(|| BASE64.encode(part));
    let encoding = |part: &&[u8]| if text(part).is_some() { "utf8" } else { "base64" };
    match parts {
        [part] => json!({"topic": topic, "data": data(part), "encoding": encoding(part)}),
        _ => json!({
            "topic": topic,
            "data": parts.iter().map(data).collect::<Vec<_>>(),
            "encoding": parts.iter().map(encoding).collect::<Vec<_>>(),
        }),
    }
}

fn gap(missed: Option<u64>) -> Value {
    json!({"gap": {"missed": missed, "reason": "upstream"}})
}

#[test]
fn bitcoin_core_counts_and_what_it_lost_is_told_in_its_place() {
    let gateway = Gateway::start(&["--sequence", "2:u32le"]);
    let mut all = Client::open(&gateway, "");
    let mut blocks = Client::open(&gateway, "&exact=hashblock");
    let mut raw = Raw::open(gateway.address, "/ws?topic=hashtx");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let hash = [0xab; 32];
    let send = |topic: &str, counter: u32| {
        publisher.send(&[topic.as_bytes(), &hash, &counter.to_le_bytes()]);
        base64(topic, &[&hash, &counter.to_le_bytes()])
    };
    // As a node sends that was up for long, loses 51 transactions at a block, and is started again.
    let expected = [
        send("hashtx", 4_294_967_294),
        send("hashtx", 4_294_967_295),
        send("hashtx", 0),
        send("hashblock", 7),
        send("hashtx", 1),
    ];
    for message in expected {
        assert_eq!(all.message(), message);
    }
    let after_loss = send("hashtx", 53);
    let block = send("hashblock", 8);
    assert_eq!([all.message(), all.message()], [gap(Some(51)), after_loss]);
    assert_eq!(all.message(), block);
    let restarted = [send("hashblock", 0), send("hashtx", 0), send("hashtx", 1)];
    assert_eq!([all.message(), all.message()], [gap(None), restarted[0].clone()]);
    assert_eq!([all.message(), all.message()], [gap(None), restarted[1].clone()]);
    assert_eq!(all.message(), restarted[2]);
    // Only those are told who would have got what was lost.
    assert_eq!(blocks.message()["topic"], "hashblock");
    assert_eq!(blocks.message(), block);
    assert_eq!([blocks.message(), blocks.message()], [gap(None), restarted[0].clone()]);
    for _ in 0..7 {
        assert_eq!(raw.message().payload.len(), 36, "the body's parts, joined, and no gap");
    }
    let metrics = gateway.metrics();
    assert_eq!(metrics.get("zmq2ws_gaps_total{reason=\"upstream\"}"), 3.0, "once for each loss");
    assert_eq!(metrics.get("zmq2ws_gaps_total{reason=\"lag\"}"), 0.0);
    assert_eq!(metrics.get("zmq2ws_counters_unread_total"), 0.0);
}

#[test]
fn a_large_block_comes_whole_with_the_gap_before_it() {
    let gateway = Gateway::start(&["--sequence", "2:u32le"]);
    let mut client = Client::open(&gateway, "&topic=rawblock");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let block: Vec<u8> = (0..2_000_000_u32).map(|index| (index % 251) as u8).collect();
    for counter in [1_u32, 2, 5] {
        publisher.send(&[b"rawblock", &block, &counter.to_le_bytes()]);
    }
    let expected = |counter: u32| base64("rawblock", &[&block, &counter.to_le_bytes()]);
    assert!(client.message() == expected(1));
    assert!(client.message() == expected(2));
    assert_eq!(client.message(), gap(Some(2)));
    assert!(client.message() == expected(5));
}

#[test]
fn a_message_that_the_gateway_drops_is_told_as_lost_too() {
    let gateway = Gateway::start(&["--sequence", "2:u32be", "--max-message", "1000"]);
    let mut client = Client::open(&gateway, "");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    for (counter, bytes) in [(1_u32, 10), (2, 2000), (3, 10)] {
        publisher.send(&[b"t", &vec![b'x'; bytes], &counter.to_be_bytes()]);
    }
    assert_eq!(client.message()["data"][0], "x".repeat(10));
    assert_eq!(client.message(), gap(Some(1)));
    assert_eq!(client.message()["data"][0], "x".repeat(10));
}

#[test]
fn messages_without_their_counter_are_counted_and_logged() {
    let gateway = Gateway::start(&["--sequence", "3:u64le"]);
    let mut client = Client::open(&gateway, "");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    for _ in 0..20 {
        publisher.send(&[b"hashtx", b"body", &[0; 4]]);
    }
    for _ in 0..20 {
        assert_eq!(client.message()["topic"], "hashtx");
    }
    assert_eq!(gateway.metrics().get("zmq2ws_counters_unread_total"), 20.0);
    let line = gateway.wait_for_log("topic 'hashtx': part 3 of the body is no counter of 8 bytes");
    assert_eq!(gateway.log().iter().filter(|it| it.contains("no counter")).count(), 1, "{line}");
}

#[test]
fn eddn_is_one_part_of_zlib_with_json_inside() {
    let gateway = Gateway::start(&["--decode", "zlib"]);
    let mut client = Client::open(&gateway, "");
    // The schema stands at the start: what has no topic is matched by its inflated body.
    let commodity = "{\"$schemaRef\": \"https://eddn.edcd.io/schemas/commodity/3\"";
    let mut market = Client::open(
        &gateway,
        "&topic=%7B%22%24schemaRef%22%3A%20%22https%3A%2F%2Feddn.edcd.io%2Fschemas%2Fcommodity",
    );
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let journal = "{\"$schemaRef\": \"https://eddn.edcd.io/schemas/journal/1\", \"header\": {}, \
                   \"message\": {\"StarSystem\": \"Óðinn\"}}";
    let commodity = format!("{commodity}, \"message\": {{\"stationName\": \"Jameson\"}}}}");
    publisher.send(&[&zlib(journal.as_bytes())]);
    publisher.send(&[&zlib(commodity.as_bytes())]);
    let message = client.message();
    assert_eq!(message, json!({"topic": "", "data": journal}));
    let inner: Value = serde_json::from_str(message["data"].as_str().unwrap()).unwrap();
    assert_eq!(inner["message"]["StarSystem"], "Óðinn");
    assert_eq!(client.message()["data"], commodity);
    assert_eq!(market.message()["data"], commodity);
}

#[test]
fn ndov_is_gzip_in_one_part_or_several() {
    let gateway = Gateway::start(&["--decode=gzip", "--subscribe=/GVB/"]);
    let mut client = Client::open(&gateway, "&exact=/GVB/KV6posinfo");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let xml = "<?xml version=\"1.0\"?><VV_TM_PUSH xmlns=\"http://bison.connekt.nl/tmi8/kv6/msg\">\
               <KV6posinfo><ONROUTE/></KV6posinfo></VV_TM_PUSH>"
        .repeat(50);
    let stream = gzip(xml.as_bytes());
    for parts in [1, 2, 7] {
        let pieces = stream.chunks(stream.len().div_ceil(parts));
        let message: Vec<&[u8]> = [&b"/GVB/KV6posinfo"[..]].into_iter().chain(pieces).collect();
        publisher.send(&message);
        publisher.send(&[b"/GVB/KV6other", &stream]);
    }
    for _ in 0..3 {
        assert_eq!(client.message(), json!({"topic": "/GVB/KV6posinfo", "data": xml}));
    }
    assert_eq!(gateway.metrics().get("zmq2ws_decode_failures_total"), 0.0);
}

#[test]
fn the_weather_of_the_zeromq_guide_is_matched_by_its_zip_code() {
    let gateway = Gateway::start(&[]);
    let mut client = Client::open(&gateway, "&topic=10001%20");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    publisher.send(&[format!("{:05} {} {}", 10002, 70, 40).as_bytes()]);
    publisher.send(&[format!("{:05} {} {}", 10001, -12, 55).as_bytes()]);
    assert_eq!(client.message(), json!({"topic": "", "data": "10001 -12 55"}));
}

#[test]
fn monero_has_its_topic_before_the_first_colon() {
    let gateway = Gateway::start(&["--topic-from", ":"]);
    let mut client = Client::open(&gateway, "&exact=json-minimal-txpool_add");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let body = r#"[{"id":"b5086746e805d875cbbbbb49e19aac29d9b75019f656fab8516cdf64ac5cd346","blob_size":1533}]"#;
    publisher.send(&[format!("json-minimal-chain_main:{body}").as_bytes()]);
    publisher.send(&[format!("json-minimal-txpool_add:{body}").as_bytes()]);
    let message = client.message();
    assert_eq!(message, json!({"topic": "json-minimal-txpool_add", "data": body}));
    let inner: Value = serde_json::from_str(message["data"].as_str().unwrap()).unwrap();
    assert_eq!(inner[0]["blob_size"], 1533);
}

#[test]
fn misp_has_its_topic_before_the_first_space() {
    let gateway = Gateway::start(&["--topic-from", " "]);
    let mut client = Client::open(&gateway, "&exact=misp_json");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    publisher
        .send(&[br#"misp_json_self {"status": "And when you're dead I will be still alive."}"#]);
    publisher.send(&[br#"misp_json {"Event": {"info": "a b", "Attribute": []}}"#]);
    let message = client.message();
    assert_eq!(message["topic"], "misp_json");
    let inner: Value = serde_json::from_str(message["data"].as_str().unwrap()).unwrap();
    assert_eq!(inner["Event"]["info"], "a b");
}

#[test]
fn libbitcoin_has_no_topic_and_keeps_its_parts() {
    let gateway = Gateway::start(&["--topic-from", "none"]);
    let mut client = Client::open(&gateway, "");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    for sequence in 65_534..=65_536_u32 {
        let (sequence, height) = ((sequence as u16).to_le_bytes(), 870_000_u32.to_le_bytes());
        let block = [&[2, 0, 0, 0x20][..], &[0xfe; 76]].concat();
        publisher.send(&[&sequence, &height, &block]);
        assert_eq!(client.message(), base64("", &[&sequence, &height, &block]));
    }
}

#[test]
fn pupil_capture_sends_msgpack_and_images() {
    let gateway = Gateway::start(&["--subscribe", "frame.", "--max-lag", "16MiB"]);
    let mut client = Client::open(&gateway, "&exact=frame.world");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    // {"topic": "frame.world", "index": 1}, as msgpack has it.
    let head = b"\x82\xa5topic\xabframe.world\xa5index\x01";
    let image: Vec<u8> = (0..1280 * 720 * 3_u32).map(|index| (index % 253) as u8).collect();
    publisher.send(&[b"frame.eye.0", head]);
    publisher.send(&[b"frame.world", head]);
    publisher.send(&[b"frame.world", head, &image]);
    publisher.send(&[b"frame.world", head, &image, &image]);
    assert_eq!(client.message(), base64("frame.world", &[head]));
    assert!(client.message() == base64("frame.world", &[head, &image]));
    assert!(client.message() == base64("frame.world", &[head, &image, &image]));
}

#[test]
fn a_bomb_is_passed_on_as_it_came_and_holds_up_nobody() {
    let gateway = Gateway::start(&["--decode=auto", "--max-message=1MiB"]);
    let mut client = Client::open(&gateway, "");
    let publisher = Publisher::connect(&gateway.endpoints[0]);
    let bomb = zlib(&vec![0; 64 << 20]);
    assert!(bomb.len() < 100_000);
    let broken = &gzip(b"broken")[..12];
    for _ in 0..50 {
        publisher.send(&[b"bomb", &bomb]);
    }
    publisher.send(&[b"broken", broken]);
    publisher.send(&[b"plain", b"text"]);
    publisher.send(&[b"fine", &gzip(b"text")]);
    for _ in 0..50 {
        assert!(client.message() == base64("bomb", &[&bomb]));
    }
    assert_eq!(client.message(), base64("broken", &[broken]));
    assert_eq!(client.message(), json!({"topic": "plain", "data": "text"}));
    assert_eq!(client.message(), json!({"topic": "fine", "data": "text"}));
    gateway.wait_for_metric(RECEIVED, |value| value == 53.0);
    assert_eq!(gateway.metrics().get("zmq2ws_decode_failures_total"), 51.0);
    gateway.wait_for_log("topic 'bomb': a part of the body inflates to more than max-message");
    gateway.wait_for_log("topic 'broken': a part of the body does not inflate");
    let log = gateway.log();
    assert_eq!(log.iter().filter(|line| line.contains("topic 'bomb'")).count(), 1, "once a minute");
    assert!(gateway.anonymous_bytes() < 100 << 20, "{}", gateway.anonymous_bytes());
}
