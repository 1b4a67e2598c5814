//! Finds fields among the header lines of one request. Knows no field's meaning.

use super::{HEADERS_MAX, trim_spaces};

/// The header lines of one request.
#[derive(Debug)]
pub(super) struct Headers<'a> {
    lines: [httparse::Header<'a>; HEADERS_MAX],
    count: usize,
}

impl<'a> Headers<'a> {
    /// The first `count` of `lines`.
    pub(super) fn new(lines: [httparse::Header<'a>; HEADERS_MAX], count: usize) -> Self {
        Self { lines, count: count.min(HEADERS_MAX) }
    }

    /// The values of all lines that have the field `name`, in any case of letters, in order.
    pub(super) fn lines(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.lines[..self.count]
            .iter()
            .filter(move |line| line.name.eq_ignore_ascii_case(name))
            .map(|line| trim_spaces(line.value))
    }

    /// The field `name`, where it makes sense only once.
    pub(super) fn field(&self, name: &str) -> Field<'a> {
        let mut lines = self.lines(name);
        match (lines.next(), lines.next()) {
            (None, _) => Field::Absent,
            (Some(value), None) => Field::Once(value),
            (Some(_), Some(_)) => Field::Repeated,
        }
    }

    /// The elements of the list that all lines of the field `name` make together, split at commas,
    /// quoted ones included, without the empty ones (RFC 9110 section 5.6.1).
    pub(super) fn list(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.lines(name)
            .flat_map(|value| value.split(|&byte| byte == b','))
            .map(trim_spaces)
            .filter(|element| !element.is_empty())
    }
}

/// A header field that makes sense only once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field<'a> {
    /// No line has it.
    Absent,
    /// One line has it, with this value.
    Once(&'a [u8]),
    /// Several lines have it.
    Repeated,
}

impl<'a> Field<'a> {
    /// The value, where there is exactly one.
    pub(crate) fn once(self) -> Option<&'a [u8]> {
        match self {
            Self::Once(value) => Some(value),
            Self::Absent | Self::Repeated => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_lists_span_lines() {
        let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let given: [(&str, &[u8]); 4] =
            [("A", b" x, ,\ty"), ("B", b"1"), ("a", b"z,"), ("C", b"left out")];
        for (line, (name, value)) in lines.iter_mut().zip(given) {
            *line = httparse::Header { name, value };
        }
        let headers = Headers::new(lines, 3);
        assert_eq!(headers.list("a").collect::<Vec<_>>(), [&b"x"[..], b"y", b"z"]);
        assert_eq!(headers.lines("A").collect::<Vec<_>>(), [&b"x, ,\ty"[..], b"z,"]);
        assert_eq!(headers.field("a"), Field::Repeated);
        assert_eq!(headers.field("b"), Field::Once(b"1"));
        assert_eq!(headers.field("c"), Field::Absent);
        assert_eq!((Field::Repeated.once(), Field::Once(b"1").once()), (None, Some(&b"1"[..])));
    }
}
