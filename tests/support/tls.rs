//! TLS for clients that know nothing of it: certificates that are made for each run, and a tunnel behind a plain socket.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use rustix::event::{PollFd, PollFlags, poll};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// Whether tests are to meet gateways that speak TLS: this is for all of a run.
pub(crate) fn is_over_tls() -> bool {
    super::through::Through::Tls.is_set()
}

/// Somebody who certifies gateways, and is trusted.
pub(crate) struct Authority {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority");
        let key = KeyPair::generate().unwrap();
        Self { certificate: params.self_signed(&key).unwrap(), key }
    }

    /// A certificate for gateways of this host, and its key, in PEM.
    pub(crate) fn issue(&self) -> [String; 2] {
        let mut params =
            CertificateParams::new(["localhost", "127.0.0.1"].map(String::from)).unwrap();
        params.is_ca = IsCa::ExplicitNoCa;
        params.distinguished_name.push(DnType::CommonName, "a gateway");
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.certificate, &self.key).unwrap();
        [certificate.pem(), key.serialize_pem()]
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    /// A client that trusts nobody else.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

/// What all gateways of this program have.
pub(crate) struct Identity {
    pub(crate) authority: Authority,
    pub(crate) cert_file: PathBuf,
    pub(crate) key_file: PathBuf,
    /// The authority's certificate, for clients that read files.
    pub(crate) authority_file: PathBuf,
    client: Arc<ClientConfig>,
}

pub(crate) fn identity() -> &'static Identity {
    static IDENTITY: OnceLock<Identity> = OnceLock::new();
    IDENTITY.get_or_init(|| {
        let authority = Authority::new();
        let [cert, key] = authority.issue();
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let file = |name| {
            folder.join(format!("{}-{}-{name}", env!("CARGO_CRATE_NAME"), std::process::id()))
        };
        let (cert_file, key_file) = (file("cert.pem"), file("key.pem"));
        let authority_file = super::node::trusted_file();
        fs::write(&authority_file, authority.pem()).unwrap();
        fs::write(&cert_file, cert).unwrap();
        write_secret(&key_file, &key);
        let client = authority.client();
        Identity { authority, cert_file, key_file, authority_file, client }
    })
}

/// Writes a file that only its owner may read.
pub(crate) fn write_secret(path: &Path, text: &str) {
    let mut options = OpenOptions::new();
    let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// The addresses where TLS is spoken.
static ADDRESSES: Mutex<Option<HashSet<SocketAddr>>> = Mutex::new(None);

/// From now on a client of this address speaks TLS.
pub(crate) fn note_address(address: SocketAddr) {
    ADDRESSES.lock().unwrap().get_or_insert_default().insert(address);
}

pub(crate) fn speaks_tls(address: SocketAddr) -> bool {
    ADDRESSES.lock().unwrap().as_ref().is_some_and(|all| all.contains(&address))
}

/// The socket as it is, or where its other end speaks TLS, the end of a tunnel.
pub(crate) fn through_tunnel(socket: TcpStream, receive_bytes: Option<usize>) -> TcpStream {
    let speaks = socket.peer_addr().is_ok_and(|peer| {
        ADDRESSES.lock().unwrap().as_ref().is_some_and(|all| all.contains(&peer))
    });
    if speaks { tunnel(socket, connection(&identity().client), receive_bytes) } else { socket }
}

pub(crate) fn connection(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost").unwrap()).unwrap()
}

/// What one says into it comes out of `socket` encrypted, and the other way round.
pub(crate) fn tunnel(
    socket: TcpStream,
    connection: ClientConnection,
    receive_bytes: Option<usize>,
) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = super::http::socket();
    if let Some(bytes) = receive_bytes {
        rustix::net::sockopt::set_socket_recv_buffer_size(&near, bytes).unwrap();
    }
    rustix::net::connect(&near, &listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    for end in [&far, &socket] {
        end.set_nonblocking(true).unwrap();
        end.set_nodelay(true).unwrap();
    }
    thread::Builder::new()
        .stack_size(128 << 10)
        .spawn(move || {
            Tunnel { far, socket, connection, inward: Vec::new(), state: [Way::Open; 2] }.run();
        })
        .unwrap();
    near.into()
}

struct Tunnel {
    far: TcpStream,
    socket: TcpStream,
    connection: ClientConnection,
    /// Decrypted, and not taken yet.
    inward: Vec<u8>,
    /// Outward, inward.
    state: [Way; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// Nothing more will come; what came is passed on.
    Ending,
    Ended,
}

impl Tunnel {
    fn run(mut self) {
        // Whatever fails at one end fails at the other, too.
        if self.pass_on().is_err() {
            super::http::reset(self.far);
            super::http::reset(self.socket);
        }
    }

    fn pass_on(&mut self) -> io::Result<()> {
        while self.state != [Way::Ended; 2] {
            self.wait();
            self.outward()?;
            self.inward()?;
        }
        Ok(())
    }

    fn wait(&self) {
        let mut wanted = [PollFlags::empty(); 2];
        let [far, socket] = &mut wanted;
        if self.state[0] == Way::Open
            && !self.connection.wants_write()
            && !self.connection.is_handshaking()
        {
            *far |= PollFlags::IN;
        }
        if !self.inward.is_empty() {
            *far |= PollFlags::OUT;
        } else if self.state[1] == Way::Open {
            *socket |= PollFlags::IN;
        }
        if self.connection.wants_write() {
            *socket |= PollFlags::OUT;
        }
        let mut fds: Vec<_> = [(&self.far, wanted[0]), (&self.socket, wanted[1])]
            .into_iter()
            .filter(|(_, flags)| !flags.is_empty())
            .map(|(end, flags)| PollFd::new(end, flags))
            .collect();
        poll(&mut fds, None).unwrap();
    }

    fn outward(&mut self) -> io::Result<()> {
        if self.state[0] == Way::Open
            && !self.connection.wants_write()
            && !self.connection.is_handshaking()
        {
            let mut piece = [0; 4096];
            match self.far.read(&mut piece) {
                Ok(0) => {
                    self.connection.send_close_notify();
                    self.state[0] = Way::Ending;
                }
                Ok(len) => self.connection.writer().write_all(&piece[..len])?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if self.state[0] == Way::Ending {
            self.state[0] = Way::Ended;
            self.socket.shutdown(std::net::Shutdown::Write)?;
        }
        Ok(())
    }

    fn inward(&mut self) -> io::Result<()> {
        if self.inward.is_empty() && self.state[1] == Way::Open {
            match self.connection.read_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            self.connection.process_new_packets().map_err(io::Error::other)?;
            match self.connection.reader().read_to_end(&mut self.inward) {
                Ok(_) => self.state[1] = Way::Ending,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // It went without a goodbye: so may the other end.
                Err(error) => return Err(error),
            }
        }
        while !self.inward.is_empty() {
            match self.far.write(&self.inward) {
                Ok(len) => drop(self.inward.drain(..len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if self.state[1] == Way::Ending {
            self.state[1] = Way::Ended;
            self.far.shutdown(std::net::Shutdown::Write)?;
        }
        Ok(())
    }
}
