//! ZeroMQ's security mechanisms: keys and passwords, read strictly and never shown. Knows no files and no flags.

use std::fmt;
use std::hint::black_box;
use std::ops::RangeInclusive;

use super::endpoint::{Attach, Endpoint, Transport};
use super::ffi::{self, Errno};

/// What gives a build the capabilities that the bundled libzmq has not. `docs/publishers/system-libzmq.md` says the same.
const BUILD_WITH_SYSTEM_LIBZMQ: &str = "cargo build --release --config .cargo/system-libzmq.toml";

/// A key of 32 bytes in Z85 (ZeroMQ RFC 32): four bytes are five characters.
const KEY_CHARS: usize = 40;

/// The characters of Z85 in the order of their values.
const Z85: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// How the ZeroMQ endpoints are secured (`--curve-…`, `--plain-…`): by default not at all.
///
/// With CURVE, an endpoint that connects is a client, and one that binds a server. PLAIN is for clients only. Both are for
/// `tcp://` and `ipc://`.
#[derive(Clone, Default)]
pub(crate) struct Security {
    mechanism: Mechanism,
    /// The file of a secret that everybody on this host can read.
    exposed_file: Option<String>,
}

#[derive(Clone, Default)]
enum Mechanism {
    #[default]
    Null,
    Plain {
        user: String,
        password: Secret,
    },
    Curve {
        secret_key: SecretKey,
        public_key: PublicKey,
        server_key: Option<PublicKey>,
    },
}

/// Why an endpoint cannot be used with a security.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsecured {
    /// PLAIN is for endpoints that connect.
    PlainServer,
    /// CURVE needs the public key of the publisher to connect to.
    NoServerKey,
    /// ZeroMQ secures `tcp://` and `ipc://` only.
    Multicast,
}

impl Security {
    /// The length of a user or password: PLAIN has one byte for it (ZeroMQ RFC 24).
    pub(crate) const PLAIN_BYTES: RangeInclusive<usize> = 1..=255;

    /// To show `user` and `password`, each within [`Self::PLAIN_BYTES`], to publishers.
    pub(crate) fn plain(user: &str, password: &str) -> Self {
        let (user, password) = (user.to_owned(), Secret(password.to_owned()));
        Self { mechanism: Mechanism::Plain { user, password }, exposed_file: None }
    }

    /// To be the owner of `secret_key`. Endpoints that connect talk only to a publisher with the `server_key`.
    ///
    /// # Errors
    ///
    /// This build has no CURVE.
    pub(crate) fn curve(
        secret_key: SecretKey,
        server_key: Option<PublicKey>,
    ) -> Result<Self, String> {
        let public_key = secret_key.public_key()?;
        let mechanism = Mechanism::Curve { secret_key, public_key, server_key };
        Ok(Self { mechanism, exposed_file: None })
    }

    /// The same, with a secret out of a file that everybody can read.
    pub(crate) fn with_exposed_file(self, file: String) -> Self {
        Self { exposed_file: Some(file), ..self }
    }

    /// The file of a secret that everybody on this host can read, to warn of.
    pub(crate) fn exposed_file(&self) -> Option<&str> {
        self.exposed_file.as_deref()
    }

    /// Whether `endpoint` can be used with it, without being less secure than its user thinks.
    ///
    /// # Errors
    ///
    /// It cannot.
    pub(crate) fn check(&self, endpoint: &Endpoint) -> Result<(), Unsecured> {
        let (is_plain, server_key) = match &self.mechanism {
            Mechanism::Null => return Ok(()),
            Mechanism::Plain { .. } => (true, None),
            Mechanism::Curve { server_key, .. } => (false, server_key.as_ref()),
        };
        match (endpoint.transport(), endpoint.attach()) {
            // Never leaves the process.
            (Transport::Inproc, _) => Ok(()),
            (Transport::Tcp(_) | Transport::Ipc, Attach::Bind) if is_plain => {
                Err(Unsecured::PlainServer)
            }
            (Transport::Tcp(_) | Transport::Ipc, Attach::Connect)
                if !is_plain && server_key.is_none() =>
            {
                Err(Unsecured::NoServerKey)
            }
            (Transport::Tcp(_) | Transport::Ipc, _) => Ok(()),
            _ => Err(Unsecured::Multicast),
        }
    }

    /// Whether peers show no user, password or key.
    pub(super) fn is_none(&self) -> bool {
        matches!(self.mechanism, Mechanism::Null)
    }

    /// Sets the options of a socket that is not bound or connected yet.
    pub(super) fn apply(&self, socket: &zmq::Socket, attach: Attach) -> zmq::Result<()> {
        match &self.mechanism {
            Mechanism::Null => Ok(()),
            Mechanism::Plain { user, password } => {
                socket.set_plain_username(Some(user))?;
                socket.set_plain_password(Some(&password.0))
            }
            Mechanism::Curve { secret_key, public_key, server_key } => {
                socket.set_curve_secretkey(secret_key.0.0.as_bytes())?;
                socket.set_curve_publickey(public_key.0.as_bytes())?;
                match (attach, server_key) {
                    (Attach::Connect, Some(key)) => socket.set_curve_serverkey(key.0.as_bytes()),
                    // Without a server's key nobody gets in: `check` has said so.
                    (Attach::Connect, None) => Err(zmq::Error::EINVAL),
                    (Attach::Bind, _) => socket.set_curve_server(true),
                }
            }
        }
    }
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.mechanism {
            Mechanism::Null => "Null",
            Mechanism::Plain { .. } => "Plain",
            Mechanism::Curve { .. } => "Curve",
        })
    }
}

/// A CURVE key that everybody may know, in Z85.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublicKey(String);

impl PublicKey {
    /// Reads 40 characters of Z85.
    ///
    /// # Errors
    ///
    /// What was expected, without the text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        check_key(text).map(|()| Self(text.to_owned()))
    }
}

/// A CURVE key that only its owner knows, in Z85.
#[derive(Clone)]
pub(crate) struct SecretKey(Secret);

impl SecretKey {
    /// Reads 40 characters of Z85.
    ///
    /// # Errors
    ///
    /// What was expected, without the text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        check_key(text).map(|()| Self(Secret(text.to_owned())))
    }

    /// The key that belongs to it.
    ///
    /// # Errors
    ///
    /// This build has no CURVE.
    pub(crate) fn public_key(&self) -> Result<PublicKey, String> {
        if !has_curve() {
            return Err(needs_system_libzmq("CURVE"));
        }
        let cannot = |errno: Errno| format!("libzmq cannot use it: {errno}");
        ffi::curve_public_key(&self.0.0).map(PublicKey).map_err(cannot)
    }
}

/// Text that is not shown, and that is wiped when it goes.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0).into_bytes();
        bytes.fill(0);
        // What nobody looks at again, the compiler need not write.
        black_box(&bytes);
    }
}

/// Whether this build's libzmq has CURVE.
pub(crate) fn has_curve() -> bool {
    zmq::has("curve") == Some(true)
}

/// Why `what` cannot be used, and how to get it.
pub(crate) fn needs_system_libzmq(what: &str) -> String {
    format!(
        "{what} is not in this build's libzmq; to build with the system's: {BUILD_WITH_SYSTEM_LIBZMQ}"
    )
}

/// Whether `text` is Z85 of 32 bytes, as libzmq takes it.
fn check_key(text: &str) -> Result<(), String> {
    let expected = "expected a key of 40 characters in Z85, such as curve_keygen prints";
    if text.len() != KEY_CHARS {
        return Err(format!("{expected}, and this has {}", text.chars().count()));
    }
    for group in text.as_bytes().chunks(5) {
        let mut value = 0u64;
        for character in group {
            let Some(digit) = Z85.iter().position(|it| it == character) else {
                return Err(format!("{expected}, and this has other characters"));
            };
            value = value * 85 + digit as u64;
        }
        if u32::try_from(value).is_err() {
            return Err(format!("{expected}, and this is none"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_random::Random;

    /// The example of zmq_curve(7).
    const SECRET_KEY: &str = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6";
    const PUBLIC_KEY: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";

    #[test]
    fn keys_are_what_libzmq_takes() {
        let mut random = Random::from_env();
        for _ in 0..1000 {
            let key: [u8; 32] = random.bytes(32).try_into().unwrap();
            let text = zmq::z85_encode(&key).unwrap();
            assert_eq!(check_key(&text), Ok(()), "{text}");
            assert_eq!(zmq::z85_decode(&text).unwrap(), key);
        }
        for (text, part_of_reason) in [
            (String::new(), "this has 0"),
            (PUBLIC_KEY[1..].to_owned(), "this has 39"),
            (format!("{PUBLIC_KEY} "), "this has 41"),
            ("é".repeat(20), "other characters"),
            (PUBLIC_KEY.replace('>', "\""), "other characters"),
            (PUBLIC_KEY.replace('>', "\0"), "other characters"),
            // Above 32 bits, which libzmq refuses, too.
            ("#".repeat(40), "this is none"),
        ] {
            for reason in [PublicKey::parse(&text).err(), SecretKey::parse(&text).err()] {
                let reason = reason.unwrap();
                assert!(reason.contains(part_of_reason), "{text}: {reason}");
                assert!(text.is_empty() || !reason.contains(&text), "{reason}");
            }
        }
    }

    #[test]
    fn the_public_key_comes_from_the_secret_one_where_there_is_curve() {
        let public_key = SecretKey::parse(SECRET_KEY).unwrap().public_key();
        if has_curve() {
            assert_eq!(public_key, Ok(PublicKey(PUBLIC_KEY.into())));
        } else {
            let reason = public_key.unwrap_err();
            assert!(reason.starts_with("CURVE is not in this build's libzmq"), "{reason}");
            assert!(
                reason.ends_with(BUILD_WITH_SYSTEM_LIBZMQ) && !reason.contains('\n'),
                "{reason}"
            );
        }
    }

    #[test]
    fn the_handbook_has_the_command() {
        let page = include_str!("../../docs/publishers/system-libzmq.md");
        assert!(page.lines().any(|line| line == BUILD_WITH_SYSTEM_LIBZMQ));
        assert!(include_str!("../../.cargo/system-libzmq.toml").contains("rustc-link-lib"));
    }

    #[test]
    fn nothing_secret_is_shown() {
        let plain = Security::plain("user", "hunter2");
        assert_eq!(format!("{:?} {plain:?}", Security::default()), "Null Plain");
        if has_curve() {
            let curve = Security::curve(SecretKey::parse(SECRET_KEY).unwrap(), None).unwrap();
            assert_eq!(format!("{curve:?}"), "Curve");
        }
    }

    #[test]
    fn no_endpoint_is_less_secure_than_it_seems() {
        let plain = Security::plain("user", "password");
        let endpoint = |text, attach| Endpoint::parse(text, attach).unwrap();
        let connected = endpoint("tcp://127.0.0.1:1", Attach::Connect);
        let bound = endpoint("ipc:///tmp/x", Attach::Bind);
        let inproc = endpoint("inproc://x", Attach::Bind);
        assert_eq!(plain.check(&connected), Ok(()));
        assert_eq!(plain.check(&inproc), Ok(()));
        assert_eq!(plain.check(&bound), Err(Unsecured::PlainServer));
        if !has_curve() {
            return;
        }
        let curve = |server_key: Option<&str>| {
            let server_key = server_key.map(|key| PublicKey::parse(key).unwrap());
            Security::curve(SecretKey::parse(SECRET_KEY).unwrap(), server_key).unwrap()
        };
        let (server, client) = (curve(None), curve(Some(PUBLIC_KEY)));
        assert_eq!((server.check(&bound), server.check(&inproc)), (Ok(()), Ok(())));
        assert_eq!((client.check(&connected), client.check(&bound)), (Ok(()), Ok(())));
        assert_eq!(server.check(&connected), Err(Unsecured::NoServerKey));
        let multicast = endpoint("epgm://127.0.0.1;239.192.1.1:5555", Attach::Connect);
        for security in [server, client, plain] {
            assert_eq!(security.check(&multicast), Err(Unsecured::Multicast));
        }
    }
}
