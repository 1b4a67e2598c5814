//! How many connections, or sessions, each address has (`--max-clients-per-ip`). Knows nothing else of them.

use std::collections::HashMap;
use std::net::IpAddr;

/// Counts connections by address while there is a limit.
#[derive(Debug)]
pub(crate) struct Addresses {
    counts: HashMap<IpAddr, usize>,
    /// 0 is no limit.
    connections_max: usize,
}

impl Addresses {
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

    #[test]
    fn each_address_has_its_own_room_and_gives_it_back() {
        let (one, two) = (Some(IpAddr::from([10, 0, 0, 1])), Some(IpAddr::from([10, 0, 0, 2])));
        let mut addresses = Addresses::with_limit(2);
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
