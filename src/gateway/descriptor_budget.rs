//! How many clients there are descriptors for. Opens none.

use crate::net::{open_descriptors, raise_descriptor_limit};

/// Descriptors beside those of clients: ZeroMQ's own connections, listeners, files, standard streams.
const OTHER_DESCRIPTORS: usize = 256;

/// Connections that may exist beside `--max-clients`: requests, refusals, health checks.
const OTHER_CONNECTIONS: usize = 128;

/// What there are descriptors for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DescriptorBudget {
    pub(super) clients_max: usize,
    pub(super) connections_max: usize,
}

impl DescriptorBudget {
    /// The room for `clients_wanted`, beside what this process has open already. Where so many were asked for, the limit
    /// is raised to fit: it is the whole process's, so nobody else's to touch.
    pub(super) fn find(clients_wanted: usize, is_asked_for: bool) -> Self {
        let open = open_descriptors();
        let wanted = match is_asked_for {
            true => open + clients_wanted + OTHER_CONNECTIONS + OTHER_DESCRIPTORS,
            false => 0,
        };
        let limit = usize::try_from(raise_descriptor_limit(wanted as u64)).unwrap_or(usize::MAX);
        Self::within(limit.saturating_sub(open), clients_wanted)
    }

    /// Tells the log where it is less than `clients_wanted`.
    pub(super) fn tell_shortage(&self, clients_wanted: usize, is_asked_for: bool) {
        match self.clients_max {
            clients_max if clients_max == clients_wanted => {}
            clients_max if is_asked_for => log::warn!(
                "at most {clients_max} clients instead of {clients_wanted}: this process may have no more descriptors \
                 (raise the hard limit, for example LimitNOFILE=, or lower max-clients)"
            ),
            clients_max => log::info!(
                "at most {clients_max} clients: this process may have no more descriptors (set max-clients, and the \
                 limit is raised to fit)"
            ),
        }
    }

    /// Shares `descriptors` out. Where there are few, ZeroMQ keeps half: out of descriptors it could not reconnect, and would
    /// spin while somebody waits to be accepted.
    fn within(descriptors: usize, clients_wanted: usize) -> Self {
        let connections_max = descriptors - OTHER_DESCRIPTORS.min(descriptors / 2);
        let others = OTHER_CONNECTIONS.min(connections_max / 2);
        let clients_max = clients_wanted.min(connections_max - others);
        Self { clients_max, connections_max: clients_max + others }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_shared_out_so_that_some_are_left() {
        let room = |clients_max, connections_max| DescriptorBudget { clients_max, connections_max };
        assert_eq!(DescriptorBudget::within(20_000, 100_000), room(19_616, 19_744));
        assert_eq!(DescriptorBudget::within(20_000, 10), room(10, 138));
        assert_eq!(DescriptorBudget::within(1_024, 100_000), room(640, 768));
        assert_eq!(DescriptorBudget::within(80, 100_000), room(20, 40));
        assert_eq!(DescriptorBudget::within(usize::MAX, 1), room(1, 129));
        assert_eq!(DescriptorBudget::within(0, 1), room(0, 0));
    }
}
