//! Who speaks to the admin listener, for the audit log and as the owner of what is changed.

use std::fmt;
use std::net::IpAddr;

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// A process on this machine, by its user id; the system may not tell it.
    Unix(Option<u32>),
    /// Somebody at an address.
    Tcp(IpAddr),
}

impl Peer {
    /// The address at the other end; none of a process on this machine.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Unix(_) => None,
            Self::Tcp(address) => Some(*address),
        }
    }

    /// Who a change is put down to, once it is allowed: over TCP that takes the token.
    pub(super) fn owner(&self) -> String {
        match self {
            Self::Unix(_) => self.to_string(),
            Self::Tcp(address) => format!("admin.token from {address}"),
        }
    }
}

/// `root (uid 0)`, or an address.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(Some(uid)) => {
                // Asked for each change only, and those are rare.
                let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
                match user_name(&users, *uid) {
                    Some(name) => write!(f, "{name} (uid {uid})"),
                    None => write!(f, "uid {uid}"),
                }
            }
            Self::Unix(None) => f.write_str("the unix socket"),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

/// The name of a user in passwd(5) form. Users of a directory service are not in the file and go by their number.
fn user_name(users: &str, uid: u32) -> Option<&str> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid) && !name.is_empty()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_users_and_addresses() {
        let users = "root:x:0:0:root:/root:/bin/sh\n\nbroken\nhale:x:101:102::/:/bin/false\n";
        assert_eq!(user_name(users, 0), Some("root"));
        assert_eq!(user_name(users, 101), Some("hale"));
        assert_eq!(user_name(users, 102), None);
        let remote = Peer::Tcp([192, 0, 2, 7].into());
        assert_eq!(remote.to_string(), "192.0.2.7");
        assert_eq!(remote.owner(), "admin.token from 192.0.2.7");
        assert_eq!(Peer::Unix(Some(4_000_000_000)).to_string(), "uid 4000000000");
    }
}
