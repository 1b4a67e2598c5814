//! Entry points for `benches/micro`, as `fuzz` has them for fuzzing. No part of the public interface: they change
//! without notice, whatever semantic versioning says. Plain values go in and come out; what is measured stays inside.

mod kernels;
mod sessions;

pub use kernels::{Encode, Feeds, Topics, parse_request};
pub use sessions::Sessions;

use crate::message::{self, Part, Seq, TopicFrom};

/// A message as it comes from ZeroMQ, ready to be published any number of times.
pub struct Upstream {
    parts: [Part; 2],
}

impl Upstream {
    /// A message of two parts, the topic and the body.
    pub fn new(topic: &[u8], body: &[u8]) -> Self {
        Self { parts: [Part::from(topic), Part::from(body)] }
    }

    fn message(&self, seq: Seq) -> message::Message<'_> {
        message::Message::from_parts(seq, &self.parts, TopicFrom::Part)
    }
}
