//! Multicast by `udp://` between hosts: by the interface that the routes lead to, and by one that is named.

use crate::support::hosts::{Host, Network};
use crate::support::process::Gateway;
use crate::support::test_radio::Radio;
use crate::support::wait_until;
use crate::support::websocket::Raw;

const RECEIVED: &str = "zmq2ws_messages_received_total";

/// What is sent from now on is heard, sooner or later.
fn wait_until_heard(radio: &Radio, host: &Host, gateway: &Gateway) {
    let received = || host.run(|| gateway.metrics().get(RECEIVED));
    let before = received();
    wait_until("a datagram that is heard", || {
        radio.send(b"t", b"are you there?");
        received() > before
    });
}

#[test]
#[ignore = "long"]
fn every_host_hears_what_one_sends_also_after_its_interface_was_replaced() {
    let mut network = Network::new();
    if !network.has_links_for("multicast between hosts") {
        return;
    }
    let sender = network.add_host();
    let radio = sender.run(|| Radio::open(&format!("udp://{};239.192.1.1:5556", sender.ip())));
    let endpoints = ["udp://239.192.1.1:5556", "udp://eth0;239.192.1.1:5556"];
    let gateways = endpoints.map(|endpoint| {
        let host = network.add_host();
        let gateway = host.run(|| Gateway::start(&["--connect", endpoint]));
        (host, gateway)
    });
    let mut clients = gateways.each_ref().map(|(host, gateway)| {
        let client = host.run(|| Raw::open(gateway.address, "/ws"));
        wait_until_heard(&radio, host, gateway);
        client
    });
    for (host, gateway) in &gateways {
        network.replace_interface(host);
        wait_until_heard(&radio, host, gateway);
    }
    radio.send(b"t", b"once");
    radio.send(b"t", b"last");
    for client in &mut clients {
        let texts = std::iter::from_fn(|| Some(client.message().text().to_owned()));
        let end: Vec<_> = texts.skip_while(|text| text == "are you there?").take(2).collect();
        assert_eq!(end, ["once", "last"], "no interface of before brings it, too");
    }
}
