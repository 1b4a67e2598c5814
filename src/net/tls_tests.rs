//! TLS over a socket whose other end is held by the test: what is buffered, what is refused, how it ends.
#![cfg(feature = "tls")]

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::tls::{Acceptor, Identity, Tls};
use super::{ByteStream, Stream, Unusable};

type Client = StreamOwned<ClientConnection, UnixStream>;

fn pair() -> [String; 2] {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    [params.self_signed(&key).unwrap().pem(), key.serialize_pem()]
}

/// A client and the gateway's end, after the handshake; neither waits.
fn connect() -> (Client, Box<Tls>) {
    let [cert, key] = pair();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    far.set_nonblocking(true).unwrap();
    let acceptor = Acceptor::new(Identity::from_pem(&cert, &key).unwrap());
    let Stream::Tls(mut tls) = acceptor.accept(OwnedFd::from(near)).unwrap() else {
        panic!("it speaks TLS");
    };
    let mut client = StreamOwned::new(connection, far);
    while client.conn.is_handshaking() || client.conn.wants_write() {
        let _ = client.conn.complete_io(&mut client.sock);
        assert_blocks(tls.read(&mut [0; 9]));
    }
    (client, tls)
}

#[track_caller]
fn assert_blocks<T: std::fmt::Debug>(result: io::Result<T>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_client_cannot_choose_a_curve_that_is_dear() {
    let [cert, key] = pair();
    let acceptor = Acceptor::new(Identity::from_pem(&cert, &key).unwrap());
    let mut provider = ring::default_provider();
    provider.kx_groups = vec![ring::kx_group::SECP384R1];
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    client.write_tls(&mut far).unwrap();
    let mut stream = acceptor.accept(OwnedFd::from(near)).unwrap();
    assert_eq!(stream.read(&mut [0; 9]).unwrap_err().kind(), ErrorKind::InvalidData);
}

#[test]
fn who_says_nothing_costs_no_buffer() {
    let (mut client, mut tls) = connect();
    let mut buffer = [0; 64];
    for text in ["a", "to be read in two pieces, since the reader has so little room for it"] {
        client.write_all(text.as_bytes()).unwrap();
        let len = tls.read(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], &text.as_bytes()[..len]);
        if len < text.len() {
            assert!(tls.may_hold_input(), "what is inside, the descriptor does not tell");
            assert_eq!(tls.read(&mut buffer).unwrap(), text.len() - len);
        }
        assert_eq!(tls.write(text.as_bytes()).unwrap(), text.len());
        let mut echo = vec![0; text.len()];
        client.read_exact(&mut echo).unwrap();
        assert_eq!(echo, text.as_bytes());
    }
    assert!(!tls.may_hold_input() && !tls.needs_flush());
    assert_eq!(tls.buffered(), [0; 3]);
    assert_blocks(tls.read(&mut buffer));
    assert_eq!(tls.buffered(), [0; 3]);
}

#[test]
fn who_takes_nothing_costs_one_record_and_gets_everything_later() {
    let (mut client, mut tls) = connect();
    let text: Vec<u8> = (0..4_u32 << 20).map(|number| (number % 251) as u8).collect();
    let mut taken = 0;
    while !tls.needs_flush() {
        let wanted = &text[taken..text.len().min(taken + 100_000)];
        let len = tls.write(wanted).unwrap();
        assert!(len == wanted.len() || tls.needs_flush(), "less is taken only where it is full");
        taken += len;
    }
    for _ in 0..10 {
        assert_blocks(tls.write(&text[taken..]));
        assert_blocks(tls.flush());
        // The goodbye waits for its turn.
        assert_blocks(tls.shutdown_write());
    }
    assert!(tls.buffered()[2] < 17 << 10, "{:?}", tls.buffered());
    let mut got = Vec::new();
    let mut piece = vec![0; 10_000];
    let mut is_shut = false;
    loop {
        match client.read(&mut piece) {
            // With a goodbye: it would be an error without.
            Ok(0) => break,
            Ok(len) => got.extend_from_slice(&piece[..len]),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        if !is_shut {
            is_shut = tls.shutdown_write().is_ok();
        }
    }
    assert!(is_shut && got == text[..taken]);
    assert_eq!(tls.buffered(), [0; 3]);
}

#[test]
fn half_a_record_is_kept_and_a_goodbye_is_told_once() {
    let (mut client, mut tls) = connect();
    client.conn.writer().write_all(&[b'x'; 10_000]).unwrap();
    client.conn.send_close_notify();
    let mut record = Vec::new();
    client.conn.write_tls(&mut record).unwrap();
    let mut got = 0;
    let mut buffer = [0; 16_384];
    for piece in record.chunks(100) {
        client.sock.write_all(piece).unwrap();
        match tls.read(&mut buffer) {
            Ok(len) => got += len,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(tls.buffered()[0] <= 10_100, "{:?}", tls.buffered());
    }
    assert_eq!(got, 10_000);
    assert!(tls.may_hold_input());
    assert_eq!(tls.read(&mut buffer).unwrap(), 0);
    assert!(!tls.may_hold_input());
    // The other direction is still open.
    tls.write(b"answer").unwrap();
    tls.shutdown_write().unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "answer");
}

#[test]
fn before_the_handshake_nothing_can_be_said() {
    let [cert, key] = pair();
    let acceptor = Acceptor::new(Identity::from_pem(&cert, &key).unwrap());
    let (near, mut far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let mut stream = acceptor.accept(OwnedFd::from(near)).unwrap();
    assert_eq!(stream.write(b"too early").unwrap_err().kind(), ErrorKind::NotConnected);
    stream.shutdown_write().unwrap();
    let mut rest = Vec::new();
    far.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
}

#[test]
fn each_file_is_blamed_for_its_own_faults() {
    let [cert, key] = pair();
    let [other_cert, _] = pair();
    let unusable = |cert: &str, key: &str| Identity::from_pem(cert, key).err().unwrap();
    assert!(matches!(unusable("", &key), Unusable::Certificate(_)));
    assert!(matches!(unusable(&key, &key), Unusable::Certificate(_)));
    assert!(matches!(unusable(&cert, &cert), Unusable::Key(_)));
    assert!(matches!(unusable(&other_cert, &key), Unusable::Pair));
    // Others may follow: they are those between.
    assert!(Identity::from_pem(&format!("{cert}{other_cert}"), &key).is_ok());
    assert!(Identity::from_pem(&format!("{key}{cert}"), &format!("{cert}{key}")).is_ok());
}
