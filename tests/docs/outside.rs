//! Configurations: of the gateway by its own check, of nginx and HAProxy by theirs.

use std::net::TcpListener;
use std::process::Command;

use crate::docs::markdown::Snippet;
use crate::docs::{Folder, is_possible, pages};

#[test]
fn every_configuration_of_the_gateway_is_valid() {
    for snippet in pages::in_language("toml") {
        let folder = Folder::new();
        let path = folder.write("zmq2ws.toml", &snippet.text);
        let mut command = Command::new(env!("CARGO_BIN_EXE_zmq2ws"));
        command.arg("--check").arg("--config").arg(path);
        assert_success(&mut command, &snippet);
    }
}

#[test]
fn nginx_accepts_every_configuration_for_it() {
    if !is_installed("nginx") {
        return;
    }
    for snippet in pages::in_language("nginx") {
        let folder = Folder::new();
        let path = folder.path().display();
        // nginx opens it for its check, and ports below 1024 are root's.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let lines = if snippet.text.starts_with("location") {
            format!("server {{ {} }}", snippet.text)
        } else {
            snippet.text.clone()
        };
        let text = format!(
            "pid {path}/pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off; client_body_temp_path {path}; \
             proxy_temp_path {path}; fastcgi_temp_path {path}; uwsgi_temp_path {path}; scgi_temp_path {path};\n{}}}\n",
            lines.replace("listen 80;", &format!("listen 127.0.0.1:{port};"))
        );
        let file = folder.write("conf", &text);
        assert_success(
            Command::new("nginx").args(["-t", "-e", "stderr", "-c"]).arg(file),
            &snippet,
        );
    }
}

#[test]
fn haproxy_accepts_every_configuration_for_it() {
    if !is_installed("haproxy") {
        return;
    }
    for snippet in pages::in_language("haproxy") {
        let folder = Folder::new();
        let file = folder.write("conf", &snippet.text);
        assert_success(Command::new("haproxy").args(["-c", "-f"]).arg(file), &snippet);
    }
}

fn is_installed(program: &str) -> bool {
    let is_there = Command::new(program).arg("-v").output().is_ok_and(|it| it.status.success());
    let reason = (!is_there).then(|| format!("no {program} in PATH"));
    is_possible(&format!("test of configurations with {program}"), reason)
}

#[track_caller]
fn assert_success(command: &mut Command, snippet: &Snippet) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{snippet}: {}\n{said}", output.status);
}
