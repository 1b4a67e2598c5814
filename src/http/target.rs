//! Takes a request target apart: host, path, query. Knows no header and decodes nothing.

use super::{Refusal, Status};

/// The pieces of a request target (RFC 9112 section 3.2).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// Host and port, where the target is a URL.
    pub(super) authority: Option<&'a [u8]>,
    /// Starts with `/`; percent escapes as sent.
    pub(crate) path: &'a [u8],
    /// What follows the first `?`.
    pub(crate) query: &'a [u8],
}

impl<'a> Target<'a> {
    /// Takes `target` apart: a path, or an http URL as a client of a proxy sends it.
    ///
    /// # Errors
    ///
    /// 400 for other forms, 501 for CONNECT, 405 for `OPTIONS *`. All close.
    pub(crate) fn parse(method: &str, target: &'a [u8]) -> Result<Self, Refusal> {
        if method == "CONNECT" {
            return Err(Refusal::closing(Status::NotImplemented, "this server is no proxy"));
        }
        if method == "OPTIONS" && target == b"*" {
            return Err(Refusal::method_not_allowed("GET, HEAD").and_close());
        }
        // A fragment never leaves its client (RFC 9110 section 7.1).
        if target.contains(&b'#') {
            return Err(refuse("a fragment in the request target"));
        }
        let (authority, rest) = match target {
            [b'/', ..] => (None, target),
            _ => {
                let (authority, rest) = split_absolute(target)
                    .ok_or_else(|| refuse("the request target is neither a path nor a URL"))?;
                (Some(authority), rest)
            }
        };
        let path_end = rest.iter().position(|&byte| byte == b'?').unwrap_or(rest.len());
        let path = match &rest[..path_end] {
            b"" => b"/",
            path => path,
        };
        Ok(Self { authority, path, query: rest.get(path_end + 1..).unwrap_or_default() })
    }
}

/// The authority of an absolute URL, and what follows it.
fn split_absolute(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = target.iter().position(|&byte| byte == b':')?;
    let scheme = &target[..colon];
    let is_served = ["http", "https", "ws", "wss"]
        .iter()
        .any(|name| scheme.eq_ignore_ascii_case(name.as_bytes()));
    let rest = target[colon..].strip_prefix(b"://").filter(|_| is_served)?;
    let end = rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    (!authority.is_empty() && is_authority(authority)).then_some((authority, rest))
}

/// Whether `text` can be a host with an optional port (RFC 3986 section 3.2), by its bytes. User
/// names are refused.
pub(super) fn is_authority(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte))
}

fn refuse(reason: &'static str) -> Refusal {
    Refusal::closing(Status::BadRequest, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: &str, target: &str) -> Option<Status> {
        Target::parse(method, target.as_bytes()).err().map(|refusal| refusal.status)
    }

    #[test]
    fn paths_and_urls() {
        for (target, authority, path, query) in [
            ("/", None, "/", ""),
            ("/a%20b?c?d", None, "/a%20b", "c?d"),
            ("//b/c", None, "//b/c", ""),
            ("http://b/c?d", Some("b"), "/c", "d"),
            ("HTTPS://b:1", Some("b:1"), "/", ""),
            ("ws://[::1]?a/b", Some("[::1]"), "/", "a/b"),
        ] {
            let is = Target::parse("GET", target.as_bytes()).unwrap();
            assert_eq!(is.authority, authority.map(str::as_bytes), "{target}");
            assert_eq!((is.path, is.query), (path.as_bytes(), query.as_bytes()), "{target}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for target in ["*", "a:80", "a", "ftp://a/", "http:///", "http://u@a/", "http:/a", "/#a"] {
            assert_eq!(status("GET", target), Some(Status::BadRequest), "{target}");
        }
        assert_eq!(status("CONNECT", "a:80"), Some(Status::NotImplemented));
        assert_eq!(status("OPTIONS", "*"), Some(Status::MethodNotAllowed));
    }
}
