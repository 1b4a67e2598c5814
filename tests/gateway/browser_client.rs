//! The browsers' client as it is served, its types as TypeScript sees them, and itself under Node.

use crate::support::http::{Connection, get};
use crate::support::process::Gateway;
use crate::support::{TempDir, node};

const FILES: [(&str, &str); 3] = [
    ("/zmq2ws.js", "text/javascript; charset=utf-8"),
    ("/zmq2ws.global.js", "text/javascript; charset=utf-8"),
    ("/zmq2ws.d.ts", "text/plain; charset=utf-8"),
];

#[test]
fn the_client_is_there_for_everyone_whatever_the_page() {
    let folder = TempDir::new();
    let www = folder.path().to_str().unwrap();
    let (other, own) = (&["--origin", "https://a.example"], &["--origin", "https://b.example"]);
    for args in [&[][..], &["--www", www], &["--no-www"], other, own, &["--origin", "*"]] {
        let gateway = Gateway::start(args);
        for (path, content_type) in FILES {
            let mut connection = Connection::open(gateway.address);
            let own = "Origin: https://b.example\r\n";
            let file = connection.request("GET", path, own);
            assert_eq!((file.status, file.header("content-type")), (200, Some(content_type)));
            assert_eq!(file.header("access-control-allow-origin"), Some("*"));
            assert_eq!(file.header("access-control-allow-credentials"), None);
            let tag = file.header("etag").unwrap();
            let same = connection.request("GET", path, &format!("{own}If-None-Match: {tag}\r\n"));
            assert_eq!(same.status, 304);
            assert_eq!(same.header("access-control-allow-origin"), Some("*"));
            assert_eq!(connection.request("POST", path, "").status, 405);
        }
        assert_eq!(get(gateway.address, "/zmq2ws.css").status, 404);
    }
    // A folder's own version comes first, and is a file like the others.
    std::fs::write(folder.file("zmq2ws.js"), "// mine").unwrap();
    let gateway = Gateway::start(&["--www", www]);
    let file = get(gateway.address, "/zmq2ws.js");
    assert_eq!((&*file.text(), file.header("access-control-allow-origin")), ("// mine", None));
    assert_eq!(get(gateway.address, "/zmq2ws.global.js").status, 200);
}

#[test]
fn the_types_are_those_of_the_client() {
    node::run("typescript", |modules| {
        vec![
            modules.join("typescript/bin/tsc").into(),
            "--project".into(),
            node::file("tsconfig.json").into(),
        ]
    });
}

#[test]
fn under_node_it_does_what_it_says() {
    let gateway = Gateway::start(&["--demo"]);
    node::run("client.test.mjs", |_| {
        let url = gateway.url("http");
        vec![node::file("client.test.mjs").into(), url.into()]
    });
}
