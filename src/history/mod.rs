//! Messages that are kept after they were sent: the newest of all, and the last of each topic. Keeps messages, not
//! encodings; knows neither feeds nor clients.

mod record;
mod ring;
#[cfg(test)]
mod tests;
mod values;

pub(crate) use ring::History;
pub(crate) use values::LastValues;

/// How much is kept.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    /// Messages kept for resuming (`--history`); 0 keeps none.
    pub(crate) messages_max: usize,
    /// Topics whose last message is kept (`--last-value-topics`); 0 keeps none.
    pub(crate) topics_max: usize,
    /// Bytes for each of the two (`--history-bytes`).
    pub(crate) bytes_max: usize,
}

impl Limits {
    /// What both may take together.
    pub(crate) fn total_bytes_max(&self) -> usize {
        let stores = usize::from(self.messages_max > 0) + usize::from(self.topics_max > 0);
        stores * self.bytes_max
    }
}
