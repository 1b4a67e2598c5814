//! The settings of ZeroMQ's security: what belongs together, what is in the files, and what a build without CURVE says.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use zmq::CurveKeyPair;

use crate::cli::{TempFile, command};

const BUILD: &str =
    "to build with the system's: cargo build --release --config .cargo/system-libzmq.toml\n";

fn check(args: &[&str]) -> Output {
    command().arg("--check").args(args).output().unwrap()
}

/// Asserts exit status 2 and one line that starts so and holds `part`.
#[track_caller]
fn assert_refused(args: &[&str], start: &str, part: &str) {
    let output = check(args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.matches('\n').count(), 1, "{stderr:?}");
    assert!(stderr.starts_with(&format!("zmq2ws: {start}")), "{start}: {stderr}");
    assert!(stderr.contains(part), "{part}: {stderr}");
}

#[track_caller]
fn assert_valid(args: &[&str]) {
    let output = check(args);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A file that only its owner may read.
fn secret(text: &str) -> TempFile {
    let file = TempFile::new(text);
    fs::set_permissions(file.path(), Permissions::from_mode(0o600)).unwrap();
    file
}

/// The keys of a new pair in Z85: public, secret.
fn pair() -> [String; 2] {
    let pair = CurveKeyPair::new().unwrap();
    [pair.public_key, pair.secret_key].map(|key| zmq::z85_encode(&key).unwrap())
}

fn has_curve() -> bool {
    let has = zmq::has("curve") == Some(true);
    let required = std::env::var("ZMQ2WS_TEST_LIBZMQ").is_ok_and(|which| which == "system");
    assert!(has || !required, "the system's libzmq has no CURVE");
    has
}

#[test]
fn what_this_build_has_not_comes_with_the_command_to_build_it() {
    if !has_curve() {
        for flag in ["--curve-server-key", "--curve-public-key", "--curve-secret-key-file"] {
            let args = [flag, "x", "--connect=tcp://127.0.0.1:9"];
            assert_refused(&args, &format!("{flag}: 'x': CURVE is not in this build's"), BUILD);
        }
    }
    if zmq::has("pgm") != Some(true) {
        for scheme in ["epgm", "pgm"] {
            let endpoint = format!("{scheme}://127.0.0.1;239.192.1.1:5555");
            let start = format!("--connect: '{endpoint}': {scheme}:// is not in this build's");
            assert_refused(&["--connect", &endpoint], &start, BUILD);
        }
    }
}

#[test]
fn plain_needs_a_user_a_password_and_someone_to_tell_them_to() {
    let file = secret("hunter2\n");
    let (path, connect) = (file.path(), "--connect=tcp://127.0.0.1:9");
    let (user, password) = ("--plain-user=me", format!("--plain-password-file={path}"));
    let password = password.as_str();
    assert_valid(&[connect, user, password]);
    assert_refused(&[connect, user], "--plain-user: 'me': ", "needs --plain-password-file");
    assert_refused(&[connect, password], "--plain-password-file: ", "needs --plain-user");
    assert_refused(&[user, password], "--plain-user: 'me': ", "needs --connect");
    let bind = "--bind=tcp://127.0.0.1:*";
    assert_refused(&[connect, bind, user, password], "--bind: 'tcp://127", "for --connect only");
    assert_refused(&[connect, user, password, "--demo"], "--demo: ", "conflicts with --plain-user");
    let curve = "--curve-server-key=x";
    assert_refused(&[connect, user, password, curve], "--plain-user: ", "conflicts with --curve-");
    let long = format!("--plain-user={}", "x".repeat(256));
    assert_refused(&[connect, &long, password], "--plain-user: ", "of 1 to 255 bytes");
}

#[test]
fn plain_is_accepted_from_variables_and_from_the_file() {
    let password = secret("hunter2");
    let toml = format!(
        "connect = ['tcp://127.0.0.1:9']\nplain-user = 'me'\nplain-password-file = '{}'",
        password.path()
    );
    assert_valid(&["--config", TempFile::new(&toml).path()]);
    let output = command()
        .args(["--check", "--connect=tcp://127.0.0.1:9"])
        .env("ZMQ2WS_PLAIN_USER", "me")
        .env("ZMQ2WS_PLAIN_PASSWORD_FILE", password.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn files_that_hold_no_password_are_refused() {
    let refused = |path: &str, part| {
        let args =
            ["--connect=tcp://127.0.0.1:9", "--plain-user=me", "--plain-password-file", path];
        assert_refused(&args, &format!("--plain-password-file: '{path}': "), part);
    };
    refused("/no/such/file", "cannot be read: No such file");
    refused("/", "cannot be read: Is a directory");
    refused("/dev/zero", "at most 64 KiB");
    refused("/dev/null", "a password of 1 to 255 bytes");
    refused(secret("\n").path(), "a password of 1 to 255 bytes");
    refused(secret(&"x".repeat(256)).path(), "a password of 1 to 255 bytes");
}

#[test]
fn a_secret_key_in_the_place_of_its_file_is_not_shown() {
    let key = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6";
    let args = [&format!("--curve-secret-key-file={key}")[..]];
    assert_refused(&args, "--curve-secret-key-file: '…': ", "not the key itself");
    let stderr = String::from_utf8(check(&args).stderr).unwrap();
    assert!(!stderr.contains(&key[..8]), "{stderr}");
}

#[test]
fn a_key_may_begin_with_a_hyphen() {
    for flag in ["--curve-server-key", "--curve-public-key"] {
        let key = "-q:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
        assert_refused(
            &["--connect=tcp://127.0.0.1:9", flag, key],
            &format!("{flag}: '{key}': "),
            "",
        );
    }
}

#[test]
fn curve_needs_a_secret_key_and_for_connecting_a_server_key() {
    if !has_curve() {
        return;
    }
    let [public, secret_key] = pair();
    let [server, _] = pair();
    let file = secret(&format!("{secret_key}\n"));
    let file = format!("--curve-secret-key-file={}", file.path());
    let (file, connect, bind) =
        (file.as_str(), "--connect=tcp://127.0.0.1:9", "--bind=tcp://127.0.0.1:*");
    let (server, public) =
        (format!("--curve-server-key={server}"), format!("--curve-public-key={public}"));
    let (server, public) = (server.as_str(), public.as_str());
    assert_valid(&[connect, server, file]);
    assert_valid(&[connect, server, public, file]);
    assert_valid(&[bind, file]);
    assert_valid(&[file]);
    assert_valid(&[connect, bind, server, public, file]);
    assert_refused(&[connect, file], "--connect: 'tcp://", "needs --curve-server-key");
    let needs = "needs --curve-secret-key-file";
    assert_refused(&[connect, server], "--curve-server-key: ", needs);
    assert_refused(&[connect, public], "--curve-public-key: ", needs);
    assert_refused(&[bind, server, file], "--curve-server-key: ", "is for --connect");
    assert_refused(&[file, "--demo"], "--demo: ", "conflicts with --curve-secret-key-file");
    let other = format!("--curve-public-key={}", pair()[0]);
    assert_refused(&[bind, file, &other], "--curve-public-key: ", "does not belong to");
    let short = "--curve-server-key=abc";
    assert_refused(&[connect, file, short], "--curve-server-key: 'abc': ", "of 40 characters");
    let multicast = "--connect=epgm://127.0.0.1;239.192.1.1:5555";
    assert_refused(&[multicast, server, file], "--connect: 'epgm://", "multicast has no security");
}

#[test]
fn files_that_hold_no_secret_key_are_refused_and_never_shown() {
    if !has_curve() {
        return;
    }
    let [public, secret_key] = pair();
    let certificate = |name| format!("metadata\ncurve\n    {name} = \"{secret_key}\"\n");
    assert_valid(&["--curve-secret-key-file", secret(&certificate("secret-key")).path()]);
    for (text, part) in [
        (certificate("public-key"), "holds no secret key"),
        (format!("{public}{secret_key}"), "this has 80"),
        (secret_key[1..].to_owned(), "this has 39"),
    ] {
        let file = secret(&text);
        let args = ["--curve-secret-key-file", file.path()];
        assert_refused(&args, &format!("--curve-secret-key-file: '{}'", file.path()), part);
        let stderr = String::from_utf8(check(&args).stderr).unwrap();
        assert!(!stderr.contains(&secret_key[1..]), "{stderr}");
    }
}
