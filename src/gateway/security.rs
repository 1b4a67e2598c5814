//! ZeroMQ's security, as methods. What belongs together is not decided here.

use std::path::Path;

use super::Builder;
use crate::config::GivenSecret;

/// # Upstream: ZeroMQ's security
///
/// CURVE or PLAIN, for all endpoints alike: one that cannot have it is refused, so that nothing is taken in without it by
/// mistake; `inproc://` needs none. CURVE needs the system's libzmq (handbook, "The system's libzmq"); PLAIN is in every
/// build, and encrypts nothing. Keys are 40 characters of Z85, as `zmq::z85_encode` makes them. What is secret is in no error,
/// no log and no `Debug`, and is wiped when the gateway is open.
///
/// # Examples
///
/// The gateway as a client of a publisher whose public key it knows, and, for publishers that connect, as the server:
///
/// ```
/// use zmq2ws::Gateway;
///
/// // As `zmq::CurveKeyPair` and `zmq::z85_encode` make them.
/// let (secret_key, public_key) =
///     ("JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6", "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7");
/// let client = Gateway::builder()
///     .connect("tcp://192.0.2.1:5556")
///     .curve_secret_key(secret_key)
///     .curve_server_key("Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID");
/// let server = Gateway::builder()
///     .bind("tcp://127.0.0.1:*")
///     .curve_secret_key(secret_key)
///     .curve_public_key(public_key);
/// if zmq::has("curve") == Some(true) {
///     client.check()?;
///     server.check()?;
/// }
/// # Ok::<(), zmq2ws::Error>(())
/// ```
///
/// PLAIN, and secrets out of files:
///
/// ```
/// use zmq2ws::Gateway;
///
/// let builder = Gateway::builder().connect("tcp://192.0.2.1:5556").plain_user("gateway");
/// builder.plain_password("hunter2").check()?;
///
/// let builder = Gateway::builder().connect("tcp://192.0.2.1:5556").plain_user("gateway");
/// let error = builder.plain_password_file("/no/such/file").check().unwrap_err().to_string();
/// assert!(error.starts_with("plain_password_file: '/no/such/file': cannot be read: "));
///
/// let builder = Gateway::builder().bind("tcp://127.0.0.1:*");
/// assert!(builder.curve_secret_key_file("/no/such/file").check().is_err());
/// # Ok::<(), zmq2ws::Error>(())
/// ```
impl Builder {
    /// CURVE: the gateway's own secret key, in Z85 or as a whole certificate of CZMQ or pyzmq. Default none. With
    /// [`Self::bind`] the gateway is the server: publishers need the public key that belongs to it as their server key, and
    /// **whoever knows that may publish**. Takes the place of [`Self::curve_secret_key_file`].
    pub fn curve_secret_key(self, key: &str) -> Self {
        let key = GivenSecret::new("curve-secret-key", key);
        self.set(key.name(), |config| config.security.curve_secret_key = Some(key))
    }

    /// CURVE: a file with what [`Self::curve_secret_key`] takes, whose place it takes, up to 64 KiB. It is read now, once, so
    /// it may be a pipe; why it cannot be read, building says. A warning is logged where everybody on the host can.
    pub fn curve_secret_key_file(self, path: impl AsRef<Path>) -> Self {
        let key = GivenSecret::read("curve-secret-key-file", path.as_ref());
        self.set(key.name(), |config| config.security.curve_secret_key = Some(key))
    }

    /// CURVE: the public key of the publishers that the gateway connects to, in Z85; no other publisher is let in. Default
    /// none; needed for [`Self::connect`], together with the gateway's own secret key.
    pub fn curve_server_key(self, key: impl Into<String>) -> Self {
        self.set("curve-server-key", |config| config.security.curve_server_key = Some(key.into()))
    }

    /// CURVE: the gateway's own public key, in Z85, to check that it belongs to the secret one. By default it is made from
    /// that.
    pub fn curve_public_key(self, key: impl Into<String>) -> Self {
        self.set("curve-public-key", |config| config.security.curve_public_key = Some(key.into()))
    }

    /// PLAIN: the user that publishers are told, 1 to 255 bytes. Default none. Needs a password, and is for
    /// [`Self::connect`] only.
    pub fn plain_user(self, user: impl Into<String>) -> Self {
        self.set("plain-user", |config| config.security.plain_user = Some(user.into()))
    }

    /// PLAIN: the password of [`Self::plain_user`], 1 to 255 bytes. Takes the place of [`Self::plain_password_file`].
    pub fn plain_password(self, password: &str) -> Self {
        let password = GivenSecret::new("plain-password", password);
        self.set(password.name(), |config| config.security.plain_password = Some(password))
    }

    /// PLAIN: a file with the password, without the end of its last line. Takes the place of [`Self::plain_password`], and is
    /// read as [`Self::curve_secret_key_file`] is.
    pub fn plain_password_file(self, path: impl AsRef<Path>) -> Self {
        let password = GivenSecret::read("plain-password-file", path.as_ref());
        self.set(password.name(), |config| config.security.plain_password = Some(password))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Gateway;

    const SECRET_KEY: &str = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6";
    const PUBLIC_KEY: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
    const CURVE_IS_NOT_HERE: &str = "CURVE is not in this build's libzmq; to build with the system's: \
         cargo build --release --config .cargo/system-libzmq.toml";

    fn connected() -> Builder {
        Gateway::builder().connect("tcp://127.0.0.1:9")
    }

    fn bound() -> Builder {
        Gateway::builder().bind("tcp://127.0.0.1:*")
    }

    #[track_caller]
    fn assert_refused(builder: &Builder, setting: &str, reason: &str) {
        let error = builder.check().unwrap_err().to_string();
        assert!(error.starts_with(setting), "{error} is not of {setting}");
        assert!(error.contains(reason), "{error} does not say: {reason}");
        for text in [error, format!("{builder:?}")] {
            assert!(!text.contains("hunter2") && !text.contains("JTKVSB"), "{text}");
            assert!(!text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn plain_needs_a_user_a_password_and_someone_to_tell_them_to() {
        let user = || connected().plain_user("me");
        assert!(user().plain_password("hunter2").check().is_ok());
        assert_refused(&user(), "plain_user: 'me'", "needs plain_password_file");
        let password = connected().plain_password("hunter2");
        assert_refused(&password, "plain_password: '…'", "needs plain_user");
        let whom = |builder: Builder| builder.plain_user("me").plain_password("hunter2");
        assert_refused(&whom(bound()), "plain_user: 'me'", "needs connect");
        assert_refused(&whom(Gateway::builder()), "plain_user: 'me'", "needs connect");
        let both = whom(connected().bind("tcp://127.0.0.1:*"));
        assert_refused(&both, "bind: 'tcp://127.0.0.1:*'", "plain_user is for connect only");
        let multicast = whom(Gateway::builder().connect("udp://239.1.1.1:5"));
        assert_refused(&multicast, "connect: 'udp://239.1.1.1:5'", "multicast has no security");
        let long = "hunter2".repeat(40);
        assert_refused(&user().plain_password(&long), "plain_password: '…'", "of 1 to 255 bytes");
        let nobody = connected().plain_user("").plain_password("hunter2");
        assert_refused(&nobody, "plain_user: ''", "a user of 1 to 255 bytes");
        let zeros = user().plain_password_file("/dev/zero");
        assert_refused(&zeros, "plain_password_file: '/dev/zero'", "at most 64 KiB");
        let curve = user().curve_server_key("x");
        assert_refused(
            &curve,
            "plain_user: 'me'",
            "conflicts with curve_server_key: endpoints have",
        );
    }

    #[test]
    fn the_last_call_counts_and_a_file_of_settings_is_named_until_then() {
        let toml =
            "connect = ['tcp://127.0.0.1:9']\nplain-user = 'me'\nplain-password-file = '/no/such'";
        let read = || Builder::from_toml(toml, "z.toml").unwrap();
        assert_refused(&read(), "z.toml: plain-password-file: '/no/such'", "cannot be read: ");
        let elsewhere = read().plain_password_file("/no/other");
        assert_refused(&elsewhere, "plain_password_file: '/no/other'", "cannot be read: ");
        assert!(read().plain_password("hunter2").check().is_ok());
        assert_refused(&read().plain_password(""), "plain_password: '…'", "of 1 to 255 bytes");
    }

    #[test]
    fn a_key_in_the_place_of_a_file_is_not_shown() {
        let reason = "not the key itself";
        let builder = bound().curve_secret_key_file(SECRET_KEY);
        assert_refused(&builder, "curve_secret_key_file: '…'", reason);
        let toml = format!("bind = ['tcp://127.0.0.1:*']\ncurve-secret-key-file = '{SECRET_KEY}'");
        let builder = Builder::from_toml(&toml, "z.toml").unwrap();
        assert_refused(&builder, "z.toml: curve-secret-key-file: '…'", reason);
    }

    #[test]
    fn curve_needs_a_secret_key_and_for_connecting_a_server_key() {
        let secret = |builder: Builder| builder.curve_secret_key(SECRET_KEY);
        if zmq::has("curve") != Some(true) {
            assert_refused(&secret(bound()), "curve_secret_key: '…'", CURVE_IS_NOT_HERE);
            let client = connected().curve_server_key(PUBLIC_KEY);
            assert_refused(
                &client,
                &format!("curve_server_key: '{PUBLIC_KEY}'"),
                CURVE_IS_NOT_HERE,
            );
            return;
        }
        assert!(secret(bound()).curve_public_key(PUBLIC_KEY).check().is_ok());
        assert!(secret(connected()).curve_server_key(PUBLIC_KEY).check().is_ok());
        let certificate = format!("curve\n    secret-key = \"{SECRET_KEY}\"\n");
        assert!(bound().curve_secret_key(&certificate).check().is_ok());
        let needs = "needs curve_secret_key_file, this gateway's own key";
        assert_refused(&connected().curve_server_key(PUBLIC_KEY), "curve_server_key: ", needs);
        assert_refused(&bound().curve_public_key(PUBLIC_KEY), "curve_public_key: ", needs);
        assert_refused(&secret(connected()), "connect: 'tcp://", "needs curve_server_key");
        let server = secret(bound()).curve_server_key(PUBLIC_KEY);
        assert_refused(&server, "curve_server_key: ", "is for connect; with bind, ");
        assert_refused(
            &secret(Gateway::builder()),
            "curve_secret_key: '…'",
            "needs connect or bind",
        );
        let other = secret(bound()).curve_public_key(PUBLIC_KEY.replace('r', "s"));
        assert_refused(
            &other,
            "curve_public_key: ",
            "does not belong to the key in curve_secret_key",
        );
        let short = bound().curve_secret_key(&SECRET_KEY[1..]);
        assert_refused(&short, "curve_secret_key: '…'", "and this has 39");
        let path = bound().curve_secret_key("/etc/gateway.key");
        assert_refused(&path, "curve_secret_key: '…'", "expected a key of 40 characters in Z85");
        let mistyped = secret(connected()).curve_server_key("abc");
        assert_refused(&mistyped, "curve_server_key: 'abc'", "and this has 3");
        let multicast = secret(Gateway::builder()).connect("udp://239.1.1.1:5");
        assert_refused(&multicast, "connect: 'udp://239.1.1.1:5'", "multicast has no security");
    }
}
