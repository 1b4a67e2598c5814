//! Decides who may connect: which browsers' pages (`Origin`), and which peers see metrics. Knows no
//! request.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// Which pages in browsers may connect (`--origin`). Requests without an `Origin` come from no
/// browser and always may.
///
/// # Examples
///
/// ```
/// use zmq2ws::{Gateway, OriginPolicy};
///
/// let dashboards = ["https://a.example.com", "https://b.example.com:8443"];
/// let gateway = Gateway::builder().origin(OriginPolicy::from_entries(dashboards)?).build()?;
///
/// assert_eq!(OriginPolicy::from_entries([])?, OriginPolicy::SameHost);
/// assert_eq!(OriginPolicy::from_entries(["*"])?, OriginPolicy::Any);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OriginPolicy {
    /// Pages that were served under the host and port they connect to.
    #[default]
    SameHost,
    /// Every page, `null` origins included.
    Any,
    /// Pages of these origins and no others: the gateway's own page, too, only where its origin is
    /// listed.
    List(Vec<Origin>),
}

/// A web origin (RFC 6454), normalised: two of them are equal where a browser calls them the same.
///
/// # Examples
///
/// ```
/// use zmq2ws::{Origin, OriginPolicy};
///
/// let origin: Origin = "HTTPS://Example.com:443".parse()?;
/// assert_eq!(origin, "https://example.com".parse()?);
/// assert_eq!(origin.to_string(), "https://example.com");
/// let policy = OriginPolicy::List(vec![origin]);
/// # let _ = policy;
/// # Ok::<(), zmq2ws::InvalidOrigin>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    authority: Authority,
}

/// An entry of an allowlist that is not an origin.
///
/// # Examples
///
/// ```
/// let error: zmq2ws::InvalidOrigin = "https://example.com/".parse::<zmq2ws::Origin>().unwrap_err();
/// assert_eq!(error.entry, "https://example.com/");
/// assert_eq!(error.reason, "an origin ends with its host or port, without a slash or path");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidOrigin {
    /// The entry as it was given.
    pub entry: String,
    /// Why it cannot be used, and what can.
    pub reason: &'static str,
}

impl OriginPolicy {
    /// The policy of an allowlist: no entry is [`Self::SameHost`], `*` among the entries is
    /// [`Self::Any`].
    ///
    /// # Errors
    ///
    /// For the first entry that is neither `*` nor `scheme://host[:port]`.
    pub fn from_entries<'a>(
        entries: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, InvalidOrigin> {
        let mut origins = Vec::new();
        let mut is_any = false;
        for entry in entries {
            match entry {
                "*" => is_any = true,
                _ => origins.push(entry.parse::<Origin>()?),
            }
        }
        Ok(match (is_any, origins.is_empty()) {
            (true, _) => Self::Any,
            (false, true) => Self::SameHost,
            (false, false) => Self::List(origins),
        })
    }

    /// Whether a page of `origin`, the `Origin` field's value, may connect to `host`, the `Host`
    /// field's.
    ///
    /// Under [`Self::SameHost`] a host without a port may mean 80 or 443: behind a proxy that ends
    /// TLS nobody here knows.
    pub(crate) fn allows(&self, origin: Option<&[u8]>, host: Option<&[u8]>) -> bool {
        let Some(origin) = origin else { return true };
        let parsed = || std::str::from_utf8(origin).ok()?.parse::<Origin>().ok();
        match self {
            Self::Any => true,
            Self::List(origins) => parsed().is_some_and(|origin| origins.contains(&origin)),
            Self::SameHost => {
                let host = host.and_then(|host| Authority::parse(std::str::from_utf8(host).ok()?));
                match (parsed(), host) {
                    (Some(origin), Some(host)) => origin.is_served_under(&host),
                    _ => false,
                }
            }
        }
    }
}

impl Origin {
    fn is_served_under(&self, host: &Authority) -> bool {
        let port_is_same = match (self.authority.port, host.port) {
            (None, _) => false,
            (Some(port), None) => matches!(port, 80 | 443),
            (Some(port), Some(host_port)) => port == host_port,
        };
        port_is_same && self.authority.host == host.host
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    /// Reads `scheme://host[:port]`, as a browser writes it: international names in their `xn--`
    /// form.
    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let invalid = |reason| InvalidOrigin { entry: text.to_owned(), reason };
        const EXPECTED: &str = "expected scheme://host[:port], such as https://example.com, or *";
        if text.eq_ignore_ascii_case("null") {
            return Err(invalid("any sandboxed page is 'null': name the page's origin, or use *"));
        }
        let (scheme, authority) = text.split_once("://").ok_or_else(|| invalid(EXPECTED))?;
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        if !is_scheme {
            return Err(invalid(EXPECTED));
        }
        if authority.contains(['/', '?', '#']) {
            return Err(invalid("an origin ends with its host or port, without a slash or path"));
        }
        if authority.contains('*') {
            return Err(invalid(
                "'*' stands alone and allows every origin: it is no part of a host",
            ));
        }
        let mut authority = Authority::parse(authority).ok_or_else(|| invalid(EXPECTED))?;
        let scheme = scheme.to_ascii_lowercase();
        authority.port = authority.port.or(match scheme.as_str() {
            "http" | "ws" => Some(80),
            "https" | "wss" => Some(443),
            _ => None,
        });
        Ok(Self { scheme, authority })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority.host)?;
        match (self.scheme.as_str(), self.authority.port) {
            ("http" | "ws", Some(80)) | ("https" | "wss", Some(443)) | (_, None) => Ok(()),
            (_, Some(port)) => write!(f, ":{port}"),
        }
    }
}

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}': {}", self.entry.escape_debug(), self.reason)
    }
}

impl std::error::Error for InvalidOrigin {}

/// A host and a port as URLs write them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Authority {
    /// In lower case; an IPv6 address in brackets and in its shortest form.
    host: String,
    port: Option<u16>,
}

impl Authority {
    /// Reads `host[:port]`, the port from 1 to 65535.
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                let address: Ipv6Addr = address.parse().ok()?;
                (format!("[{address}]"), port)
            }
            None => {
                let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                let is_host = !host.is_empty()
                    && host
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
                (is_host.then(|| host.to_ascii_lowercase())?, port)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().ok().filter(|port| *port != 0)?)
            }
            _ => return None,
        };
        Some(Self { host, port })
    }
}

/// Whether `peer` is a process on this host that asks for itself. A local proxy, which says so by
/// `is_forwarded`, may ask for anyone.
pub(crate) fn is_loopback_peer(peer: IpAddr, is_forwarded: bool) -> bool {
    peer.to_canonical().is_loopback() && !is_forwarded
}

/// Counts connections by address while there is a limit.
#[derive(Debug)]
pub(crate) struct AddressCounts {
    counts: HashMap<IpAddr, usize>,
    /// 0 is no limit.
    connections_max: usize,
}

impl AddressCounts {
    pub(crate) fn with_limit(connections_max: usize) -> Self {
        Self { counts: HashMap::new(), connections_max }
    }

    /// Counts one more connection, if its address may have it. A Unix socket's peer has no address.
    pub(crate) fn admit(&mut self, ip: Option<IpAddr>) -> bool {
        let Some(ip) = ip.filter(|_| self.connections_max > 0) else { return true };
        let count = self.counts.entry(ip).or_insert(0);
        let is_admitted = *count < self.connections_max;
        *count += usize::from(is_admitted);
        is_admitted
    }

    /// One of the connections that were admitted has ended.
    pub(crate) fn release(&mut self, ip: Option<IpAddr>) {
        if let Some(ip) = ip
            && let Some(count) = self.counts.get_mut(&ip)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(policy: &OriginPolicy, origin: &str, host: &str) -> bool {
        policy.allows(Some(origin.as_bytes()), Some(host.as_bytes()))
    }

    #[test]
    fn same_host_compares_host_and_port() {
        for (origin, host, allowed) in [
            ("http://a", "a", true),
            ("https://a", "a", true),
            ("https://A.example", "a.EXAMPLE", true),
            ("http://a:80", "a", true),
            ("http://a", "a:80", true),
            ("https://a", "a:443", true),
            ("http://a:8080", "a:8080", true),
            ("http://[::1]:8080", "[0:0::1]:8080", true),
            ("http://[::1]", "[::1]", true),
            ("http://127.0.0.1:8080", "127.0.0.1:8080", true),
            ("app://a", "a", false),
            ("app://a:80", "a", true),
            ("https://a", "a:80", false),
            ("http://a:8080", "a", false),
            ("http://a", "a:8080", false),
            ("http://a:8080", "a:8081", false),
            ("http://b", "a", false),
            ("http://a.b", "a", false),
            ("http://a", "a.b", false),
            ("http://localhost:8080", "127.0.0.1:8080", false),
            ("null", "a", false),
            ("null", "null", false),
            ("", "", false),
            ("http://", "", false),
            ("http://a http://b", "a", false),
            ("http://a, http://a", "a", false),
            ("http://a/", "a", false),
            ("http://x@a", "a", false),
            ("a", "a", false),
            ("//a", "a", false),
            ("http://a:", "a", false),
            ("http://a:0", "a:0", false),
            ("http://a:65536", "a:65536", false),
            ("http://a:+80", "a", false),
            ("http://[::1", "[::1", false),
            ("http://[::1]x", "[::1]x", false),
            ("http://\u{e9}", "\u{e9}", false),
        ] {
            assert_eq!(allows(&OriginPolicy::SameHost, origin, host), allowed, "{origin} {host}");
        }
        assert!(!OriginPolicy::SameHost.allows(Some(b"http://a"), None));
        assert!(!OriginPolicy::SameHost.allows(Some(b"\xff"), Some(b"\xff")));
    }

    #[test]
    fn lists_hold_exactly_their_entries() {
        let entries = ["https://a.example", "HTTP://B:8080", "http://[0::1]:80", "app://x"];
        let policy = OriginPolicy::from_entries(entries).unwrap();
        for (origin, allowed) in [
            ("https://a.example", true),
            ("https://a.example:443", true),
            ("http://b:8080", true),
            ("http://[::1]", true),
            ("app://x", true),
            ("http://a.example", false),
            ("https://b:8080", false),
            ("https://x.a.example", false),
            ("https://a.example.evil", false),
            ("http://gateway", false),
            ("null", false),
        ] {
            assert_eq!(allows(&policy, origin, "gateway"), allowed, "{origin}");
        }
    }

    #[test]
    fn whoever_is_no_browser_may_connect() {
        let list = OriginPolicy::from_entries(["https://a"]).unwrap();
        for policy in [OriginPolicy::SameHost, OriginPolicy::Any, list] {
            assert!(policy.allows(None, None), "{policy:?}");
        }
        assert!(allows(&OriginPolicy::Any, "null", "a"));
    }

    #[test]
    fn entries() {
        assert_eq!(OriginPolicy::from_entries([]), Ok(OriginPolicy::SameHost));
        assert_eq!(OriginPolicy::from_entries(["https://a", "*"]), Ok(OriginPolicy::Any));
        for entry in [
            "",
            "null",
            "NULL",
            "a.example",
            "https://",
            "https:/a",
            "https://a/",
            "https://a/b",
            "https://*.a",
            "https://a:",
            "https://a:0",
            "https://a:http",
            "https://a b",
            "1x://a",
            "://a",
            "https://\u{e9}",
            "https://u@a",
            " https://a",
            "https://[a]",
        ] {
            let error = OriginPolicy::from_entries(["https://ok", entry]).unwrap_err();
            assert_eq!(error.entry, entry);
        }
        let error = "x\n".parse::<Origin>().unwrap_err().to_string();
        assert!(error.starts_with("'x\\n': expected scheme://host[:port]"), "{error}");
    }

    #[test]
    fn origins_are_shown_as_browsers_write_them() {
        for (given, shown) in [
            ("HTTPS://A.example:443", "https://a.example"),
            ("http://[0::1]:8080", "http://[::1]:8080"),
            ("app://x", "app://x"),
        ] {
            assert_eq!(given.parse::<Origin>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn loopback_peers() {
        for (peer, is_forwarded, is_loopback) in [
            ("127.0.0.1", false, true),
            ("127.9.9.9", false, true),
            ("::1", false, true),
            ("::ffff:127.0.0.1", false, true),
            ("127.0.0.1", true, false),
            ("10.0.0.1", false, false),
            ("::ffff:10.0.0.1", false, false),
            ("0.0.0.0", false, false),
        ] {
            let is = is_loopback_peer(peer.parse().unwrap(), is_forwarded);
            assert_eq!(is, is_loopback, "{peer} {is_forwarded}");
        }
    }

    #[test]
    fn each_address_has_its_own_room_and_gives_it_back() {
        let (one, two) = (Some(IpAddr::from([10, 0, 0, 1])), Some(IpAddr::from([10, 0, 0, 2])));
        let mut addresses = AddressCounts::with_limit(2);
        assert!(addresses.admit(one) && addresses.admit(one) && !addresses.admit(one));
        assert!(addresses.admit(two) && addresses.admit(None));
        addresses.release(one);
        assert!(addresses.admit(one));
        for ip in [one, one, two, None] {
            addresses.release(ip);
        }
        assert!(addresses.counts.is_empty());
    }
}
