//! What a simulated client that polls reads in the bytes that it got.

use crate::message::Id;

/// An answer to a poll.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) json: serde_json::Value,
    pub(super) next: Id,
}

/// The next whole answer in `bytes`, and how many bytes it has: `None` of an answer for one to another request.
pub(super) fn read(bytes: &[u8]) -> Option<(Option<Answer>, usize)> {
    let head_len = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..head_len]).unwrap();
    let field =
        |name| head.lines().find_map(|line: &str| line.strip_prefix(name)?.strip_prefix(": "));
    let end = head_len + field("Content-Length").unwrap().parse::<usize>().unwrap();
    let content = bytes.get(head_len..end)?;
    if field("Content-Type") != Some("application/json") {
        return Some((None, end));
    }
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let json: serde_json::Value = serde_json::from_slice(content).unwrap();
    let next: Id = json["next"].as_str().unwrap().parse().unwrap();
    let messages = json["messages"].as_array().unwrap();
    let last = messages.last().map(|it| it["id"].as_str().unwrap().parse::<Id>().unwrap());
    assert!(last.is_none_or(|last| last.seq <= next.seq), "nothing is sent twice");
    Some((Some(Answer { json, next }), end))
}

/// All whole answers in `bytes`.
pub(super) fn read_all(mut bytes: &[u8]) -> Vec<Answer> {
    let mut answers = Vec::new();
    while let Some((answer, len)) = read(bytes) {
        answers.extend(answer);
        bytes = &bytes[len..];
    }
    answers
}
