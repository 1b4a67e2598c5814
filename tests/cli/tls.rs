//! The settings of TLS: what belongs together, and what is in the files.
#![cfg(feature = "tls")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use rcgen::{CertificateParams, KeyPair};

use crate::cli::{TempFile, command};

/// A certificate and its key.
fn pair() -> [TempFile; 2] {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let files = [certificate.pem(), key.serialize_pem()].map(|text| TempFile::new(&text));
    fs::set_permissions(files[1].path(), Permissions::from_mode(0o600)).unwrap();
    files
}

fn check(args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command().arg("--check").args(args).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[track_caller]
fn assert_refused(cert: &str, key: &str, start: &str, part: &str) {
    let args = [("--tls-cert", cert), ("--tls-key", key)];
    let args: Vec<_> = args
        .iter()
        .filter(|(_, file)| !file.is_empty())
        .flat_map(|(flag, file)| [*flag, *file])
        .collect();
    let (status, stderr) = check(&args);
    assert_eq!(status, Some(2), "{stderr}");
    assert_eq!(stderr.matches('\n').count(), 1, "{stderr:?}");
    assert!(stderr.starts_with(&format!("zmq2ws: {start}: ")), "{start}: {stderr}");
    assert!(stderr.contains(part), "{part}: {stderr}");
}

#[test]
fn a_certificate_and_its_key_belong_together() {
    let [cert, key] = pair();
    let [_, other_key] = pair();
    let (cert, key) = (cert.path(), key.path());
    assert_eq!(check(&["--tls-cert", cert, "--tls-key", key]), (Some(0), String::new()));
    let toml = TempFile::new(&format!("tls-cert = '{cert}'\ntls-key = '{key}'"));
    assert_eq!(check(&["--config", toml.path()]), (Some(0), String::new()));
    assert_refused(cert, "", &format!("--tls-cert: '{cert}'"), "needs --tls-key");
    assert_refused("", key, &format!("--tls-key: '{key}'"), "needs --tls-cert");
    let other_key = other_key.path();
    let reason = "does not belong to the certificate in --tls-cert";
    assert_refused(cert, other_key, &format!("--tls-key: '{other_key}'"), reason);
}

#[test]
fn files_that_cannot_be_used_are_named_with_what_is_wrong() {
    let [cert, key] = pair();
    let refused_cert = |path: &str, part| {
        assert_refused(path, key.path(), &format!("--tls-cert: '{path}'"), part);
    };
    let refused_key = |path: &str, part| {
        assert_refused(cert.path(), path, &format!("--tls-key: '{path}'"), part);
    };
    refused_cert("/no/such/file", "cannot be read: No such file");
    refused_cert("/", "cannot be read: Is a directory");
    refused_cert("/dev/zero", "at most 64 KiB");
    refused_cert("/dev/null", "holds no certificate");
    refused_cert(key.path(), "holds no certificate");
    let begin = "-----BEGIN CERTIFICATE-----\n";
    let end = "-----END CERTIFICATE-----\n";
    refused_cert(TempFile::new(begin).path(), "a section that does not end");
    refused_cert(TempFile::new(&format!("{begin}!\n{end}")).path(), "not base64");
    refused_cert(TempFile::new(&format!("{begin}AAAA\n{end}")).path(), "cannot be used");
    refused_key("/no/such/file", "cannot be read: No such file");
    refused_key(cert.path(), "holds no private key");
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    refused_key(TempFile::new(encrypted).path(), "without a password");
    let nonsense = encrypted.replace("ENCRYPTED ", "");
    refused_key(TempFile::new(&nonsense).path(), "a key that cannot be used");
}
