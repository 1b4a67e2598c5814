//! TLS over a client's socket. The record layer is rustls's, the buffers are ours: there are none while nothing is under way.
//! Knows no protocol, but for one answer to who speaks HTTP where TLS is spoken.

use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::buffer::spare_capacity;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};

use super::{ByteStream, Stream, Unusable};

/// What is encrypted at once: the most that a record holds.
const PLAIN_BYTES_MAX: usize = 16 << 10;

/// What encrypting adds to a record, in both versions of TLS.
const OVERHEAD_BYTES: usize = 32;

/// What is kept of a client's records that are not whole: the longest one that there is (RFC 8446, section 5.2), so a handshake
/// message has to be shorter.
const INPUT_BYTES_MAX: usize = 5 + (16 << 10) + 256;

/// What is read at once: no more records than can be decrypted in 50 µs, however short they are. A request and a handshake
/// message have room in it.
const READ_BYTES_MAX: usize = 4 << 10;

/// For who took the port for one of plain HTTP.
const PLAIN_HTTP_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 54\r\nConnection: close\r\n\r\nThis is an HTTPS port, and the request was plain HTTP\n";

/// What makes clients' sockets speak TLS: the certificate, which may be exchanged for another one at any time.
#[derive(Clone)]
pub(crate) struct Acceptor {
    /// Locked to copy or exchange the pointer.
    current: Arc<Mutex<Arc<ServerConfig>>>,
}

/// A certificate with its key, as clients are to see it.
pub(crate) struct Identity(Arc<ServerConfig>);

impl Identity {
    /// Reads the chain of certificates, the own one first, and its key; both are PEM.
    pub(crate) fn from_pem(chain: &str, key: &str) -> Result<Self, Unusable> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| Unusable::Certificate(not_pem(&error)))?;
        if chain.is_empty() {
            let reason = "holds no certificate: expected PEM, with -----BEGIN CERTIFICATE-----";
            return Err(Unusable::Certificate(reason.into()));
        }
        let is_encrypted = key.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| {
            Unusable::Key(match error {
                pem::Error::NoItemsFound if is_encrypted => {
                    "holds an encrypted key: expected one without a password".into()
                }
                pem::Error::NoItemsFound => {
                    "holds no private key: expected PEM, with -----BEGIN PRIVATE KEY-----".into()
                }
                error => not_pem(&error),
            })
        })?;
        let mut provider = ring::default_provider();
        // A client chooses the curve, and a handshake over P-384 costs six times one over these.
        provider.kx_groups = vec![ring::kx_group::X25519, ring::kx_group::SECP256R1];
        let provider = Arc::new(provider);
        let signing_key = provider.key_provider.load_private_key(key.clone_key());
        // The error may not show what is in the key.
        signing_key.map_err(|_| {
            Unusable::Key("holds a key that cannot be used: expected RSA of 2048 bits or more, ECDSA P-256 or P-384, or Ed25519".into())
        })?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for both versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => Unusable::Pair,
                error => Unusable::Certificate(format!("cannot be used: {error}")),
            })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Who comes back shows what it was given, so that nothing is kept for those who left. Keys for that live as long as
        // the certificate, and some hours.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.ticketer = ring::Ticketer::new()
            .map_err(|error| Unusable::Key(format!("cannot be used now: {error}")))?;
        Ok(Self(Arc::new(config)))
    }
}

fn not_pem(error: &pem::Error) -> String {
    let what = match error {
        pem::Error::MissingSectionEnd { .. } => "a section that does not end",
        pem::Error::IllegalSectionStart { .. } => "a section that does not begin properly",
        pem::Error::Base64Decode(_) => "a section that is not base64",
        _ => "something else",
    };
    format!("holds no PEM that can be read, but {what}")
}

impl Acceptor {
    pub(crate) fn new(Identity(config): Identity) -> Self {
        Self { current: Arc::new(Mutex::new(config)) }
    }

    /// Shows this one to all who connect from now on.
    pub(crate) fn exchange(&self, Identity(config): Identity) {
        let before = std::mem::replace(&mut *self.lock(), config);
        // Without the lock.
        drop(before);
    }

    pub(super) fn accept(&self, socket: OwnedFd) -> io::Result<Stream> {
        let config = self.lock().clone();
        let connection = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        Ok(Stream::Tls(Box::new(Tls {
            socket,
            connection,
            input: Vec::new(),
            plain: Vec::new(),
            output: Vec::new(),
            reading: Reading::First,
            saying: Saying::Anything,
        })))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Arc<ServerConfig>> {
        // Nothing that is done with the lock held can panic.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

/// A client's socket, with TLS over it.
pub(crate) struct Tls {
    socket: OwnedFd,
    connection: UnbufferedServerConnection,
    /// What was read of records, or of handshake messages, that are not whole yet.
    input: Vec<u8>,
    /// What was decrypted and not read yet.
    plain: Vec<u8>,
    /// What was encrypted and not taken by the socket yet: one record of the client's, or a part of the handshake.
    output: Vec<u8>,
    reading: Reading,
    saying: Saying,
}

/// What comes from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Nothing has come yet.
    First,
    Records,
    /// The client has said that nothing more will come, which is still to be told.
    Ended,
    /// Nobody looks at it any more.
    Discarded,
}

/// What is said to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Saying {
    Anything,
    /// A goodbye was the last, where there was anybody to say it to.
    Goodbye,
    /// It could not be understood.
    Nothing,
}

/// What is to be encrypted.
#[derive(Clone, Copy)]
enum Say<'a> {
    Nothing,
    Text(&'a [u8]),
    Goodbye,
}

/// Whether that was done: not before the handshake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Yes,
    No,
}

impl Tls {
    /// Reads from the socket, and decrypts what is whole. Returns whether there is an end to the stream.
    fn fill(&mut self) -> io::Result<bool> {
        let room = INPUT_BYTES_MAX - self.input.len();
        self.input.reserve_exact(room.min(READ_BYTES_MAX));
        let received =
            rustix::net::recv(&self.socket, spare_capacity(&mut self.input), RecvFlags::empty());
        if received.is_err() {
            self.input.shrink_to_fit();
        }
        if received?.1 == 0 {
            return Ok(true);
        }
        if self.reading == Reading::First {
            self.reading = Reading::Records;
            // No type of record is a letter, and all methods begin with one.
            if self.input[0].is_ascii_alphabetic() {
                self.output.extend_from_slice(PLAIN_HTTP_ANSWER);
                return Err(self.fail("plain HTTP"));
            }
        }
        if let Err(error) = self.proceed(Say::Nothing) {
            return Err(self.fail(&error));
        }
        if self.input.len() >= INPUT_BYTES_MAX {
            return Err(self.fail("a record or handshake message that is too long"));
        }
        match self.send() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(false),
        }
    }

    /// This is not TLS, or not as it should be: nothing more is read, and the client is told once.
    fn fail(&mut self, error: impl fmt::Display) -> io::Error {
        log::debug!("a TLS connection failed: {error}");
        (self.input, self.plain) = (Vec::new(), Vec::new());
        (self.reading, self.saying) = (Reading::Discarded, Saying::Nothing);
        ErrorKind::InvalidData.into()
    }

    /// Lets the machine go on until it waits for the client, and says something then.
    fn proceed(&mut self, say: Say<'_>) -> Result<Said, rustls::Error> {
        let (mut taken, mut failure, mut has_failed) = (0, None, false);
        let said = loop {
            let UnbufferedStatus { mut discard, state } =
                self.connection.process_tls_records(&mut self.input[taken..]);
            let said = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        self.plain.extend_from_slice(record.payload);
                    }
                    None
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(&mut self.output, OVERHEAD_BYTES, |out| data.encode(out))
                        .expect("it is encoded once");
                    None
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    // It will be, before anything else.
                    data.done();
                    None
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.reading = Reading::Ended;
                    None
                }
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let out = &mut self.output;
                    let said = match say {
                        Say::Nothing => Ok(()),
                        Say::Text(text) => append(out, text.len() + OVERHEAD_BYTES, |out| {
                            traffic.encrypt(text, out)
                        }),
                        Say::Goodbye => {
                            append(out, OVERHEAD_BYTES, |out| traffic.queue_close_notify(out))
                        }
                    };
                    Some(said.map_or(Said::No, |()| Said::Yes))
                }
                Err(error) if failure.is_none() => {
                    failure = Some(error);
                    None
                }
                // Blocked, closed on both sides, or failed. Early data was not allowed.
                _ => Some(Said::No),
            };
            taken += discard;
            match said {
                Some(said) => break said,
                // Who fails is asked once more, and as long as something is left to be sent, of which an alert is the
                // last: it wants to read then. Longer would be to fail again.
                None if has_failed && self.connection.wants_read() => break Said::No,
                None => has_failed = failure.is_some(),
            }
        };
        self.input.drain(..taken);
        self.input.shrink_to_fit();
        failure.map_or(Ok(said), Err)
    }

    /// Gives the socket what it has room for.
    fn send(&mut self) -> io::Result<()> {
        let mut sent = 0;
        let result = loop {
            if sent == self.output.len() {
                break Ok(());
            }
            match rustix::net::send(&self.socket, &self.output[sent..], SendFlags::NOSIGNAL) {
                Ok(len) => sent += len,
                Err(errno) => break Err(errno.into()),
            }
        };
        self.output.drain(..sent);
        self.output.shrink_to_fit();
        result
    }

    /// What was decrypted, as far as there is room for it.
    fn take_plain(&mut self, buffer: &mut [u8]) -> usize {
        let len = self.plain.len().min(buffer.len());
        buffer[..len].copy_from_slice(&self.plain[..len]);
        self.plain.drain(..len);
        self.plain.shrink_to_fit();
        len
    }
}

/// Has `encode` append to `out`, in as many bytes as it takes; `bytes_wanted` are enough as a rule.
fn append<E: Into<Unencoded>>(
    out: &mut Vec<u8>,
    bytes_wanted: usize,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, E>,
) -> Result<(), Unencoded> {
    let (start, mut wanted) = (out.len(), bytes_wanted);
    loop {
        out.resize(start + wanted, 0);
        let encoded = encode(&mut out[start..]).map_err(Into::into);
        match encoded {
            Ok(len) => {
                out.truncate(start + len);
                return Ok(());
            }
            Err(Unencoded::NeedsRoom(bytes)) if bytes > wanted => wanted = bytes,
            Err(unencoded) => {
                out.truncate(start);
                return Err(unencoded);
            }
        }
    }
}

/// Why something could not be encoded.
#[derive(Debug)]
enum Unencoded {
    NeedsRoom(usize),
    Never,
}

impl From<EncodeError> for Unencoded {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => {
                Self::NeedsRoom(required_size)
            }
            EncodeError::AlreadyEncoded => Self::Never,
        }
    }
}

impl From<EncryptError> for Unencoded {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => {
                Self::NeedsRoom(required_size)
            }
            EncryptError::EncryptExhausted => Self::Never,
        }
    }
}

impl AsFd for Tls {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl ByteStream for Tls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.reading == Reading::Discarded {
            return Ok(rustix::net::recv(&self.socket, buffer, RecvFlags::empty())?.0);
        }
        // The other end may go without a goodbye: whatever is said here has a length or an end of its own.
        if self.plain.is_empty() && self.reading != Reading::Ended && self.fill()? {
            return Ok(0);
        }
        if !self.plain.is_empty() {
            return Ok(self.take_plain(buffer));
        }
        if self.reading == Reading::Ended {
            self.reading = Reading::Discarded;
            return Ok(0);
        }
        Err(ErrorKind::WouldBlock.into())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send()?;
        let mut taken = 0;
        while taken < bytes.len() && self.output.is_empty() {
            let text = &bytes[taken..bytes.len().min(taken + PLAIN_BYTES_MAX)];
            match self.proceed(Say::Text(text)) {
                Ok(Said::Yes) => taken += text.len(),
                // There has been no handshake that somebody could be told anything after.
                Ok(Said::No) => return Err(ErrorKind::NotConnected.into()),
                Err(error) => return Err(self.fail(&error)),
            }
            match self.send() {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
        Ok(taken)
    }

    fn needs_flush(&self) -> bool {
        !self.output.is_empty()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }

    fn is_greeting(&self) -> bool {
        self.reading != Reading::Discarded && self.connection.is_handshaking()
    }

    fn may_hold_input(&self) -> bool {
        !self.plain.is_empty() || self.reading == Reading::Ended
    }

    fn held_bytes(&self) -> usize {
        self.input.capacity() + self.plain.capacity() + self.output.capacity()
    }

    fn say_goodbye(&mut self) {
        if self.saying == Saying::Anything {
            self.saying = Saying::Goodbye;
            // Before the handshake there is nobody to say it to.
            let _ = self.proceed(Say::Goodbye);
            let _ = self.send();
        }
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.say_goodbye();
        match self.send() {
            // What a client is told that did not speak TLS is not waited for.
            Err(error)
                if error.kind() == ErrorKind::WouldBlock && self.saying == Saying::Goodbye =>
            {
                return Err(error);
            }
            _ => {}
        }
        self.reading = Reading::Discarded;
        (self.input, self.plain, self.output) = (Vec::new(), Vec::new(), Vec::new());
        Ok(rustix::net::shutdown(&self.socket, Shutdown::Write)?)
    }
}

#[cfg(test)]
impl Tls {
    /// What its buffers take: what is read, what is to be read, what is to be sent.
    pub(super) fn buffered(&self) -> [usize; 3] {
        [&self.input, &self.plain, &self.output].map(Vec::capacity)
    }
}

/// Nothing of what it holds is shown.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("socket", &self.socket).finish_non_exhaustive()
    }
}
