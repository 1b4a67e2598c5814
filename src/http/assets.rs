//! Static files: the page and the browsers' client inside the program, and for files of a directory what they have in
//! common with them: content types, ETags, conditions, safe paths. Reads no file.

use std::borrow::Cow;
use std::rc::Rc;

use super::response::Head;
use super::{After, Cors, Exchange, Method, Refusal, Request, Status};

/// A file as it is served.
#[derive(Debug)]
pub(crate) struct Asset {
    content_type: &'static str,
    /// A strong entity tag of the content, quotes included.
    etag: String,
    bytes: Cow<'static, [u8]>,
    owner: Owner,
}

/// Whose a file is, which decides what browsers may do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// This program's page: it needs nothing from elsewhere and gets a policy that says so.
    Page,
    /// Nobody's in particular: the client is the same for everyone, and any page may load it. What it then gets to see,
    /// `--origin` decides.
    Everyone,
    /// Whoever runs the gateway: a policy from here would break pages that are fine.
    Operator,
}

/// What the built-in page may do: load and connect to its own origin, and nothing more.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self' ws: wss:; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// The methods that files know.
const ALLOWED: &str = "GET, HEAD";

impl Asset {
    /// A file of a directory, `path` relative to it, with its entity tag.
    pub(crate) fn from_file(path: &str, bytes: Vec<u8>, etag: String) -> Self {
        let content_type = content_type(path);
        Self { content_type, etag, bytes: Cow::Owned(bytes), owner: Owner::Operator }
    }

    /// Its strong entity tag, quotes included.
    pub(crate) fn etag(&self) -> &str {
        &self.etag
    }

    /// Its content.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A file inside the program. Its content is hashed.
    fn new(path: &str, bytes: Cow<'static, [u8]>, owner: Owner) -> Self {
        let etag = format!("\"{:x}-{:016x}\"", bytes.len(), fnv1a(&bytes));
        Self { content_type: content_type(path), etag, bytes, owner }
    }
}

/// Files inside the program. Made once per gateway, since making them hashes them.
#[derive(Debug)]
pub(crate) struct BuiltIn {
    files: Vec<(&'static str, Rc<Asset>)>,
}

/// The browsers' client, an ES module.
const CLIENT: &str = include_str!("../../www/zmq2ws.js");

impl BuiltIn {
    /// The page, without the client that it imports.
    pub(crate) fn page() -> Self {
        let files = [
            ("index.html", include_str!("../../www/index.html")),
            ("app.js", include_str!("../../www/app.js")),
            ("detail.js", include_str!("../../www/detail.js")),
            ("dom.js", include_str!("../../www/dom.js")),
            ("health.js", include_str!("../../www/health.js")),
            ("message.js", include_str!("../../www/message.js")),
            ("plot.js", include_str!("../../www/plot.js")),
            ("stream.js", include_str!("../../www/stream.js")),
            ("topics.js", include_str!("../../www/topics.js")),
            ("style.css", include_str!("../../www/style.css")),
        ];
        Self::new(Owner::Page, files.map(|(path, text)| (path, Cow::Borrowed(text))))
    }

    /// The browsers' client: as a module, as a script that is none, and its types.
    pub(crate) fn client() -> Self {
        let files = [
            ("zmq2ws.js", Cow::Borrowed(CLIENT)),
            ("zmq2ws.global.js", Cow::Owned(without_exports(CLIENT))),
            ("zmq2ws.d.ts", Cow::Borrowed(include_str!("../../www/zmq2ws.d.ts"))),
        ];
        Self::new(Owner::Everyone, files)
    }

    fn new<const N: usize>(owner: Owner, files: [(&'static str, Cow<'static, str>); N]) -> Self {
        let bytes = |text| match text {
            Cow::Borrowed(text) => Cow::Borrowed(str::as_bytes(text)),
            Cow::Owned(text) => Cow::Owned(String::into_bytes(text)),
        };
        let asset = |path, text| Rc::new(Asset::new(path, bytes(text), owner));
        Self { files: files.map(|(path, text)| (path, asset(path, text))).into() }
    }

    /// The file at `path`, relative as [`safe_path`] gives it.
    pub(crate) fn find(&self, path: &str) -> Option<Rc<Asset>> {
        self.files.iter().find(|(name, _)| *name == path).map(|(_, asset)| Rc::clone(asset))
    }
}

/// What `module` exports as `zmq2ws`, as a global of a script: `export` is a syntax error there.
fn without_exports(module: &str) -> String {
    let lines = module.lines().filter(|line| !line.starts_with("export default "));
    let mut script = "var zmq2ws = (() => {\n\"use strict\";\n".to_owned();
    for line in lines {
        script += line.strip_prefix("export ").unwrap_or(line);
        script.push('\n');
    }
    script + "return zmq2ws;\n})();\n"
}

/// Appends the head of the answer to a request for a file, or all of it where it has no file in it:
/// 200, 304, 404 where there is no `asset`, or 405. The file that is to follow comes back, so that
/// those who download it share its bytes.
pub(crate) fn write_page(
    out: &mut Vec<u8>,
    request: &Request<'_>,
    exchange: Exchange<'_>,
    asset: Option<Rc<Asset>>,
) -> (After, Option<Rc<Asset>>) {
    let Some(asset) = asset else {
        let refusal = Refusal::new(Status::NotFound, "there is nothing at this path");
        return (refusal.write(out, exchange), None);
    };
    if !matches!(request.method, Method::Get | Method::Head) {
        return (Refusal::method_not_allowed(ALLOWED).write(out, exchange), None);
    }
    let is_fresh = request.lines("if-none-match").any(|line| matches(line, &asset.etag));
    let status = if is_fresh { Status::NotModified } else { Status::Ok };
    let after = write_head(out, exchange, &asset, status);
    let has_content = status == Status::Ok && !exchange.head_only;
    (after, has_content.then_some(asset))
}

fn write_head(out: &mut Vec<u8>, exchange: Exchange<'_>, asset: &Asset, status: Status) -> After {
    let cors = match asset.owner {
        Owner::Everyone => Cors::Everyone,
        Owner::Page | Owner::Operator => exchange.cors,
    };
    let mut head = Head::start(out, Exchange { cors, ..exchange }, status);
    head.field("ETag", &asset.etag);
    // Kept, but asked for again each time, which costs a 304: a new version of the program is seen
    // at once.
    head.field("Cache-Control", "no-cache");
    match asset.owner {
        Owner::Page => {
            head.field("Content-Security-Policy", CONTENT_SECURITY_POLICY);
            head.field("Referrer-Policy", "no-referrer");
        }
        Owner::Everyone => head.field("Cross-Origin-Resource-Policy", "cross-origin"),
        Owner::Operator => {}
    }
    if status == Status::Ok {
        head.field("Content-Type", asset.content_type);
    }
    head.finish_before(asset.bytes.len())
}

/// Whether one line of `If-None-Match` names `etag`, or any by `*`. Tags are compared weakly (RFC
/// 9110 section 13.1.2).
fn matches(line: &[u8], etag: &str) -> bool {
    if line == b"*" {
        return true;
    }
    let mut rest = line;
    loop {
        while let [b' ' | b'\t' | b',', tail @ ..] = rest {
            rest = tail;
        }
        let opaque = rest.strip_prefix(b"W/").unwrap_or(rest);
        // A tag may hold commas, so the list is split by its quotes. What is no tag ends the list.
        let Some(inside) = opaque.strip_prefix(b"\"") else { return false };
        let Some(end) = inside.iter().position(|&byte| byte == b'"') else { return false };
        let (tag, tail) = opaque.split_at(end + 2);
        if tag == etag.as_bytes() {
            return true;
        }
        rest = tail;
    }
}

/// The file that a URL's path names, relative to the folder of files: `None` where it could lead
/// outside or to what is hidden. `path` starts with `/` and has been percent-decoded, once. A
/// folder means its `index.html`.
///
/// Refused are empty segments, segments that start with a dot (`.`, `..` and hidden files),
/// backslashes, control bytes and what is not UTF-8. Symbolic links are for whoever opens the file
/// to judge.
pub(crate) fn safe_path(path: &[u8]) -> Option<String> {
    let path = std::str::from_utf8(path).ok()?.strip_prefix('/')?;
    let is_safe = |segment: &str| {
        !segment.is_empty()
            && !segment.starts_with('.')
            && !segment.contains(|c: char| c == '\\' || c.is_control())
    };
    let (folders, file) = path.rsplit_once('/').unwrap_or(("", path));
    let folders_are_safe = !path.contains('/') || folders.split('/').all(is_safe);
    match file {
        _ if !folders_are_safe => None,
        "" => Some(format!("{path}index.html")),
        file => is_safe(file).then(|| path.to_owned()),
    }
}

/// The content type by the path's extension, in any case of letters; unknown ones are bytes, which
/// `nosniff` keeps from being anything else.
fn content_type(path: &str) -> &'static str {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension.to_ascii_lowercase().as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "txt" => "text/plain; charset=utf-8",
        // Types of TypeScript. Other files of this extension are video.
        "ts" if path.ends_with(".d.ts") => "text/plain; charset=utf-8",
        "md" => "text/markdown; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "xml" => "application/xml",
        "wasm" => "application/wasm",
        "pdf" => "application/pdf",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        _ => "application/octet-stream",
    }
}

/// FNV-1a, 64 bits: the same in every build and on every host, so that gateways behind one address
/// agree.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, parse_head};
    use super::*;

    #[test]
    fn the_page_and_its_client_stay_small() {
        let bytes = |files: &BuiltIn| files.files.iter().map(|(_, it)| it.bytes.len()).sum();
        let (page, client): (usize, usize) = (bytes(&BuiltIn::page()), bytes(&BuiltIn::client()));
        assert!(page + CLIENT.len() <= 120 << 10, "{page} + {}", CLIENT.len());
        assert!(CLIENT.len() < 30 << 10 && client < 80 << 10, "{} {client}", CLIENT.len());
    }

    fn answer(head: &str, asset: Option<&Rc<Asset>>) -> String {
        let request = parse_head(head.as_bytes(), &Limits::default()).unwrap();
        let mut out = Vec::new();
        let (after, content) =
            write_page(&mut out, &request, request.exchange(), asset.map(Rc::clone));
        assert_eq!(after, After::NextRequest);
        out.extend_from_slice(content.as_ref().map_or(b"", |asset| asset.bytes()));
        String::from_utf8(out).unwrap()
    }

    fn get(lines: &str, asset: Option<&Rc<Asset>>) -> String {
        answer(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"), asset)
    }

    #[test]
    fn the_page_comes_with_its_policies() {
        let built_in = BuiltIn::page();
        let text = get("", built_in.find("index.html").as_ref());
        assert!(text.starts_with("HTTP/1.1 200 OK\r\nX-Content-Type-Options: nosniff\r\n"));
        assert!(text.contains("\r\nContent-Type: text/html; charset=utf-8\r\n"));
        assert!(
            text.contains("\r\nContent-Security-Policy: default-src 'none'; script-src 'self';")
        );
        assert!(text.contains("; connect-src 'self' ws: wss:; img-src 'self' data:; base-uri "));
        assert!(text.contains("\r\nReferrer-Policy: no-referrer\r\n"));
        assert!(text.contains("\r\nCache-Control: no-cache\r\n"));
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(body.as_bytes(), include_bytes!("../../www/index.html"));
        assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())));
    }

    #[test]
    fn the_page_has_every_file_it_names() {
        let (built_in, client) = (BuiltIn::page(), BuiltIn::client());
        for (_, asset) in &built_in.files {
            let text = str::from_utf8(&asset.bytes).unwrap();
            for before in ["src=\"", "href=\"", "from \"", "import \""] {
                for named in text.split(before).skip(1) {
                    let name = named.split('"').next().unwrap();
                    let name = name.trim_start_matches("./").trim_start_matches('/');
                    let is_outside = name.starts_with("data:") || name.starts_with('#');
                    let file = built_in.find(name).or_else(|| client.find(name));
                    assert!(is_outside || file.is_some(), "{name:?}");
                }
            }
        }
        assert!(built_in.find("").is_none() && built_in.find("/index.html").is_none());
    }

    #[test]
    fn every_page_may_load_the_client() {
        let client = BuiltIn::client();
        let module = client.find("zmq2ws.js").unwrap();
        let fresh = format!("If-None-Match: {}\r\n", module.etag);
        for (lines, path, content_type) in [
            ("", "zmq2ws.js", "text/javascript; charset=utf-8"),
            (&fresh, "zmq2ws.js", ""),
            ("", "zmq2ws.global.js", "text/javascript; charset=utf-8"),
            ("", "zmq2ws.d.ts", "text/plain; charset=utf-8"),
        ] {
            let text = get(lines, client.find(path).as_ref());
            assert!(text.contains("\r\nAccess-Control-Allow-Origin: *\r\n"), "{text}");
            assert!(text.contains("\r\nCross-Origin-Resource-Policy: cross-origin\r\n"), "{text}");
            assert!(!text.contains("Credentials") && !text.contains("Policy: default"), "{text}");
            assert!(text.contains(content_type), "{text}");
        }
    }

    #[test]
    fn the_client_is_a_script_too_once_it_exports_nothing() {
        let module =
            "// Why.\nexport function zmq2ws() {\n  return 1;\n}\n\nexport default zmq2ws;\n";
        let script = "var zmq2ws = (() => {\n\"use strict\";\n// Why.\nfunction zmq2ws() {\n  return 1;\n}\n\n\
            return zmq2ws;\n})();\n";
        assert_eq!(without_exports(module), script);
        let is_module = |line: &str| line.starts_with("export") || line.starts_with("import");
        assert_eq!(CLIENT.lines().filter(|line| is_module(line)).count(), 2);
        assert!(!without_exports(CLIENT).lines().any(is_module));
    }

    fn operator_file(path: &str, content: &[u8]) -> Rc<Asset> {
        Rc::new(Asset::from_file(path, content.to_vec(), "\"1-2,3\"".to_owned()))
    }

    #[test]
    fn files_of_the_operator_get_no_policy() {
        let asset = operator_file("a/B.PNG", b"x");
        let text = get("", Some(&asset));
        assert!(text.contains("\r\nContent-Type: image/png\r\n") && text.contains("nosniff"));
        assert!(!text.contains("Policy") && text.ends_with("\r\n\r\nx"));
    }

    #[test]
    fn methods_and_missing_files() {
        let asset = operator_file("a.txt", b"content");
        let head = answer("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", Some(&asset));
        assert!(head.contains("Content-Length: 7\r\n") && head.ends_with("\r\n\r\n"));
        let post = "POST / HTTP/1.1\r\nHost: a\r\n\r\n";
        let text = answer(post, Some(&asset));
        assert!(text.starts_with("HTTP/1.1 405 ") && text.contains("\r\nAllow: GET, HEAD\r\n"));
        for text in [answer(post, None), get("", None)] {
            assert!(text.starts_with("HTTP/1.1 404 "));
        }
    }

    #[test]
    fn conditions() {
        let asset = operator_file("a", b"content");
        let tag = &asset.etag;
        for (lines, is_fresh) in [
            (format!("If-None-Match: {tag}\r\n"), true),
            (format!("If-None-Match: W/{tag}\r\n"), true),
            (format!("If-None-Match: \"x\", \"a,b\" ,, W/\"y\",{tag}\r\n"), true),
            (format!("If-None-Match: \"x\"\r\nIf-None-Match: {tag}\r\n"), true),
            ("If-None-Match: *\r\n".into(), true),
            (format!("If-None-Match: \"x{tag}\"\r\n"), false),
            (format!("If-None-Match: w/{tag}\r\n"), false),
            (format!("If-None-Match: {}\r\n", tag.trim_matches('"')), false),
            ("If-None-Match: \"\r\n".into(), false),
            ("If-None-Match:\r\n".into(), false),
            ("If-None-Match: \"*\"\r\n".into(), false),
        ] {
            let text = get(&lines, Some(&asset));
            let status = if is_fresh { "HTTP/1.1 304 " } else { "HTTP/1.1 200 " };
            assert!(text.starts_with(status), "{lines:?} {text}");
            assert!(text.contains(&format!("\r\nETag: {tag}\r\n")));
            if is_fresh {
                assert!(text.ends_with("\r\n\r\n") && !text.contains("\r\nContent-"), "{text}");
            }
        }
        let built_in = |text| BuiltIn::new(Owner::Page, [("a", Cow::Borrowed(text))]).find("a");
        assert_ne!(built_in("content").unwrap().etag, built_in("Content").unwrap().etag);
    }

    #[test]
    fn paths_stay_inside() {
        for (path, safe) in [
            ("/", Some("index.html")),
            ("/a/b c.txt", Some("a/b c.txt")),
            ("/a/", Some("a/index.html")),
            ("/a..b/\u{e9}", Some("a..b/\u{e9}")),
            ("", None),
            ("a", None),
            ("//", None),
            ("//a", None),
            ("/a//b", None),
            ("/a//", None),
            ("/..", None),
            ("/../a", None),
            ("/a/../b", None),
            ("/a/..", None),
            ("/../", None),
            ("/./a", None),
            ("/.", None),
            ("/...", None),
            ("/.git/config", None),
            ("/a/.env", None),
            ("/a\\..\\b", None),
            ("/a\0", None),
            ("/a\n/b", None),
            ("/a\u{85}", None),
        ] {
            assert_eq!(safe_path(path.as_bytes()).as_deref(), safe, "{path:?}");
        }
        assert_eq!(safe_path(b"/\xff"), None);
    }

    #[test]
    fn content_types() {
        assert_eq!(content_type("a.b/c"), "application/octet-stream");
        assert_eq!(content_type("a.MJS"), "text/javascript; charset=utf-8");
        assert_eq!(content_type("noextension"), "application/octet-stream");
        assert_eq!(content_type("video.ts"), "application/octet-stream");
    }
}
