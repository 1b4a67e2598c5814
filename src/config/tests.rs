//! What users set reaches its field, and what they may not set is refused.

use std::time::Duration;

use super::*;
use crate::access::OriginPolicy;
use crate::feed::LagPolicy;
use crate::intake::{Counter, CounterType, Decode};
use crate::message::TopicFrom;
use crate::source::SocketKind;
use crate::wire::{Format, Payload};

fn config(toml: &str) -> Result<Config, String> {
    let settings = Settings::from_toml(toml, "z.toml").map_err(|error| error.to_string())?;
    let config = Config::read(settings).map_err(|error| error.to_string())?;
    config.check(false).map_err(|error| error.to_string())?;
    Ok(config)
}

#[test]
fn a_library_opens_nothing_that_nobody_asked_for() {
    let config = Config::default();
    assert!(config.endpoints.is_empty() && config.listen.is_empty());
    assert_eq!(config.check(false), Ok(()));
}

#[test]
fn defaults_are_those_of_the_help() {
    let config = config("").unwrap();
    let seconds = Duration::from_secs;
    assert_eq!(config.socket, SocketKind::Sub);
    assert_eq!(config.subscribe, [b""]);
    assert!(!config.on_demand);
    assert_eq!(config.topic_from, TopicFrom::Part);
    assert_eq!((config.decode, config.sequence), (Decode::None, None));
    assert_eq!((config.rcvhwm, config.heartbeat), (10_000, seconds(5)));
    assert_eq!(config.message_bytes_max, 16 << 20);
    assert!(!config.reuse_port);
    assert_eq!((config.format, config.payload), (None, Payload::Auto));
    assert_eq!((config.history_messages_max, config.history_bytes()), (1_000, 8 << 20));
    assert_eq!((config.last_value, config.last_value_topics_max), (false, 10_000));
    assert!(!config.socket_io_recovery);
    assert_eq!((config.compress, config.compress_bytes_min), (false, 256));
    assert_eq!((config.lag_policy, config.lag_bytes_max), (LagPolicy::Skip, 1 << 20));
    assert_eq!((config.coalesce, config.site), (Duration::ZERO, SiteConfig::BuiltIn));
    assert_eq!((config.clients_max, config.clients_per_ip_max), (100_000, 0));
    assert_eq!(config.topics_max, 128);
    assert_eq!((config.handshake_timeout, config.keepalive_timeout), (seconds(10), seconds(60)));
    assert_eq!((config.ping_interval, config.ping_timeout), (seconds(25), seconds(20)));
    assert_eq!((config.write_timeout, config.drain), (seconds(30), seconds(5)));
    assert_eq!((config.memory_bytes_max, config.inbound_bytes_max), (512 << 20, 4 << 10));
    assert!(matches!(config.origin, OriginPolicy::SameHost));
    assert!(config.metrics.is_none());
}

#[cfg(feature = "compress")]
#[test]
fn what_the_feature_compress_is_for_reaches_its_field() {
    let config = config("decode = 'auto'\ncompress = true\non-demand = true").unwrap();
    assert_eq!((config.decode, config.compress, config.on_demand), (Decode::Auto, true, true));
}

#[test]
fn socket_io_recovery_reaches_its_field() {
    assert!(config("socket-io-recovery = true").unwrap().socket_io_recovery);
}

#[test]
fn what_was_left_out_of_the_build_is_refused() {
    for (feature, is_here, toml, setting) in [
        ("compress", cfg!(feature = "compress"), "compress = true", "compress: 'true'"),
        ("compress", cfg!(feature = "compress"), "decode = 'zlib'", "decode: 'zlib'"),
        ("tls", cfg!(feature = "tls"), "tls-cert = 'x'\ntls-key = 'y'", "tls-cert: 'x'"),
    ] {
        let reason = format!("this build has none: the Cargo feature '{feature}' was left out");
        let refused = (!is_here).then(|| format!("z.toml: {setting}: {reason}"));
        // Who has it reads the files.
        let error = config(toml).err().filter(|error| error.ends_with(&reason));
        assert_eq!(error, refused);
    }
    let off = "compress = false\ncompress-min = 1\ndecode = 'none'\nsocket-io-recovery = false";
    let config = config(off).unwrap();
    assert_eq!((config.compress, config.decode), (false, Decode::None));
    assert!(!config.socket_io_recovery);
}

#[test]
fn prefixes_reach_their_field() {
    let config = config("subscribe = ['a,b', '']").unwrap();
    assert_eq!(config.subscribe, [&b"a,b"[..], b""]);
}

#[test]
fn every_setting_reaches_its_field() {
    let config = config(
        r#"
        connect = ["tcp://127.0.0.1:1", "tcp://127.0.0.1:2"]
        bind = ["tcp://127.0.0.1:3"]
        socket = "pull"
        topic-from = ":"
        sequence = "2:u32le"
        rcvhwm = 1
        heartbeat = 0
        max-message = "1KiB"
        listen = ["127.0.0.1:0", "[::1]:0"]
        reuse-port = true
        format = "json"
        payload = "binary"
        history = 7
        history-bytes = "64KiB"
        last-value = true
        last-value-topics = 8
        compress-min = "1KiB"
        slow-client = "disconnect"
        max-lag = 2048
        coalesce = "1s"
        no-www = true
        max-clients = 1
        max-clients-per-ip = 2
        max-topics = 3
        handshake-timeout = "1ms"
        keepalive-timeout = "2ms"
        ping-interval = "3ms"
        ping-timeout = "4ms"
        write-timeout = "5ms"
        max-memory = "1MiB"
        max-inbound = "125"
        drain = "0"
        origin = ["*"]
        metrics = "127.0.0.1:0"
        "#,
    )
    .unwrap();
    let millis = Duration::from_millis;
    assert_eq!(config.endpoints.len(), 3);
    assert_eq!(config.socket, SocketKind::Pull);
    assert_eq!(config.topic_from, TopicFrom::Delimiter(b':'));
    assert_eq!(config.sequence, Some(Counter { part: 2, number: CounterType::U32Le }));
    assert_eq!((config.rcvhwm, config.heartbeat), (1, millis(0)));
    assert_eq!(config.message_bytes_max, 1024);
    assert_eq!((config.listen.len(), config.reuse_port), (2, true));
    assert_eq!((config.format, config.payload), (Some(Format::Json), Payload::Binary));
    assert_eq!((config.history_messages_max, config.history_bytes()), (7, 64 << 10));
    assert_eq!((config.last_value, config.last_value_topics_max), (true, 8));
    assert_eq!(config.compress_bytes_min, 1 << 10);
    assert_eq!((config.lag_policy, config.lag_bytes_max), (LagPolicy::Disconnect, 2048));
    assert_eq!((config.coalesce, config.site), (millis(1_000), SiteConfig::None));
    assert_eq!((config.clients_max, config.clients_per_ip_max, config.topics_max), (1, 2, 3));
    assert_eq!((config.handshake_timeout, config.keepalive_timeout), (millis(1), millis(2)));
    assert_eq!((config.ping_interval, config.ping_timeout), (millis(3), millis(4)));
    assert_eq!((config.write_timeout, config.drain), (millis(5), millis(0)));
    assert_eq!((config.memory_bytes_max, config.inbound_bytes_max), (1 << 20, 125));
    assert!(matches!(config.origin, OriginPolicy::Any));
    assert!(config.metrics.is_some());
}

#[test]
fn what_excludes_each_other_is_refused() {
    let refused = |toml, start: &str| {
        let error = config(toml).unwrap_err();
        assert!(error.starts_with(start), "{error}");
    };
    refused("listen = ['a:1', 'a:1']", "z.toml: listen: 'a:1': is given twice");
    refused("www = '/'\nno-www = true", "z.toml: www: '/': conflicts with --no-www");
    refused(
        "max-memory = '1MiB'",
        "z.toml: max-memory: '1MiB': expected at least 2 times --max-message",
    );
    refused("max-lag = '1GiB'", "z.toml: max-lag: '1GiB': expected at most 1/2 of --max-memory");
    refused(
        "max-message = '1GiB'",
        "z.toml: max-message: '1GiB': expected at most 1/2 of --max-memory",
    );
    refused(
        "metrics = '127.0.0.1:9'\nlisten = ['127.0.0.1:9']",
        "z.toml: metrics: '127.0.0.1:9': is also",
    );
    refused(
        "on-demand = true\nsocket = 'pull'",
        "z.toml: on-demand: 'true': conflicts with --socket pull",
    );
    refused(
        "on-demand = true\ndecode = 'zlib'\ntopic-from = 'none'",
        "z.toml: on-demand: 'true': conflicts with --decode and --topic-from none",
    );
    refused(
        "history-bytes = '65MiB'",
        "z.toml: history-bytes: '65MiB': expected at most an eighth of --max-memory",
    );
    refused(
        "last-value = true\nmax-memory = '32MiB'",
        "z.toml: max-memory: '32MiB': expected at least 4 times --max-message",
    );
    refused("bind = ['inproc://x']", "z.toml: bind: 'inproc://x': inproc:// works only");
    refused(
        "socket = 'pull'\nconnect = ['udp://239.1.1.1:5']",
        "z.toml: connect: 'udp://239.1.1.1:5': conflicts with --socket pull",
    );
    refused("www = '/no/such'", "z.toml: www: '/no/such': expected a directory");
    refused("www = '/dev/null'", "z.toml: www: '/dev/null': expected a directory");
}

#[test]
fn a_directory_is_served_and_a_switch_can_be_off() {
    assert!(config("on-demand = true").unwrap().on_demand);
    assert!(!config("on-demand = false\nsocket = 'pull'").unwrap().on_demand);
    let decodes = "on-demand = true\ntopic-from = 'none'\ndecode = 'none'";
    assert!(config(decodes).unwrap().on_demand);
    let dir = std::env::temp_dir();
    let toml = format!("www = '{}'\nno-www = false", dir.display());
    assert_eq!(config(&toml).unwrap().site, SiteConfig::Directory(dir));
}
