//! What host names were resolved to, for ALIAS: the words between the resolver and the keeper. Values only.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// The addresses of a host name. A family is `None` until something is known of it, and empty where it is known to have none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// IPv4, in order and without duplicates.
    pub v4: Option<Vec<Ipv4Addr>>,
    /// IPv6, likewise.
    pub v6: Option<Vec<Ipv6Addr>>,
}

impl Addresses {
    /// Whether nothing is known yet.
    pub fn is_unknown(&self) -> bool {
        self.v4.is_none() && self.v6.is_none()
    }
}
