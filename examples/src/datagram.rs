//! ZeroMQ's RADIO/DISH datagrams (RFC 48): a byte that says how long the group is, the group, the body.
//! Knows no sockets.

/// libzmq's own sockets send and receive no longer datagrams (MAX_UDP_MSG); a DISH socket would get the
/// start of one as if it were all.
pub const DATAGRAM_BYTES_MAX: usize = 8192;

/// What one byte can say.
pub const GROUP_BYTES_MAX: usize = 255;

/// Writes a datagram in place of what was in `datagram`; false where it would be too long.
pub fn write(datagram: &mut Vec<u8>, group: &[u8], body: &[u8]) -> bool {
    datagram.clear();
    let Ok(group_len) = u8::try_from(group.len()) else { return false };
    if 1 + group.len() + body.len() > DATAGRAM_BYTES_MAX {
        return false;
    }
    datagram.push(group_len);
    datagram.extend_from_slice(group);
    datagram.extend_from_slice(body);
    true
}

/// The group and the body; `None` for a datagram that no RADIO socket sends.
pub fn read(datagram: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&group_len, rest) = datagram.split_first()?;
    rest.split_at_checked(usize::from(group_len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut datagram = b"from before".to_vec();
        for (group, body) in [("web1/app.log", "a line"), ("", "x"), ("topic", ""), ("", "")] {
            assert!(write(&mut datagram, group.as_bytes(), body.as_bytes()));
            assert_eq!(read(&datagram), Some((group.as_bytes(), body.as_bytes())));
        }
        write(&mut datagram, b"ab", b"cd");
        assert_eq!(datagram, b"\x02abcd");
    }

    #[test]
    fn no_datagram_is_longer_than_others_can_read() {
        let mut datagram = Vec::new();
        assert!(write(&mut datagram, &[b'g'; GROUP_BYTES_MAX], b""));
        assert!(!write(&mut datagram, &[b'g'; GROUP_BYTES_MAX + 1], b""));
        assert!(write(&mut datagram, b"g", &[b'b'; DATAGRAM_BYTES_MAX - 2]));
        assert!(!write(&mut datagram, b"g", &[b'b'; DATAGRAM_BYTES_MAX - 1]));
    }

    #[test]
    fn what_is_no_datagram_of_radio_is_refused() {
        for bytes in [&b""[..], b"\x01", b"\x05abcd", b"\xff"] {
            assert_eq!(read(bytes), None, "{bytes:?}");
        }
    }
}
