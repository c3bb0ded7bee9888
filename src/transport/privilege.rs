//! The right to bind ports below 1024, taken only while it is needed.
//!
//! A program file may carry the capability as *permitted* alone (`setcap cap_net_bind_service=p`). Unlike one that is also
//! effective, such a file can be executed where the capability is not to be had (a container with all of them dropped): the
//! server then lacks the right, and listens on a port above 1023. The price is that nobody raises it but the program itself.

#[cfg(target_os = "linux")]
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// The calling thread may bind ports below 1024 for as long as this lives, if the process is permitted to. Where the right
/// is there already, or cannot be had, this does nothing: binding tells.
#[derive(Debug)]
pub struct PortPrivilege {
    /// What to go back to.
    #[cfg(target_os = "linux")]
    before: Option<CapabilitySets>,
}

impl PortPrivilege {
    /// Raises CAP_NET_BIND_SERVICE from permitted to effective (capabilities(7)), for this thread.
    #[must_use]
    pub fn raise() -> Self {
        #[cfg(target_os = "linux")]
        {
            let before = capabilities(None).ok().filter(is_asleep);
            let raised = before.as_ref().is_some_and(|before| {
                let effective = before.effective | CapabilitySet::NET_BIND_SERVICE;
                set_capabilities(None, CapabilitySets { effective, ..*before }).is_ok()
            });
            Self { before: before.filter(|_| raised) }
        }
        #[cfg(not(target_os = "linux"))]
        Self {}
    }
}

/// Permitted, but not in force.
#[cfg(target_os = "linux")]
fn is_asleep(sets: &CapabilitySets) -> bool {
    let bind = CapabilitySet::NET_BIND_SERVICE;
    sets.permitted.contains(bind) && !sets.effective.contains(bind)
}

#[cfg(target_os = "linux")]
impl Drop for PortPrivilege {
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            // To have less is always granted.
            let _ = set_capabilities(None, before);
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Whether a thread with these sets may bind low ports while the privilege lives; afterwards it has what it had.
    fn check(permitted: CapabilitySet, effective: CapabilitySet, expected: bool) {
        let inheritable = CapabilitySet::empty();
        std::thread::spawn(move || {
            let start = CapabilitySets { effective, permitted, inheritable };
            set_capabilities(None, start).unwrap();
            let privilege = PortPrivilege::raise();
            let during = capabilities(None).unwrap();
            assert_eq!(during.effective.contains(CapabilitySet::NET_BIND_SERVICE), expected);
            assert_eq!(
                during.effective - CapabilitySet::NET_BIND_SERVICE,
                effective - CapabilitySet::NET_BIND_SERVICE
            );
            drop(privilege);
            assert_eq!(capabilities(None).unwrap().effective, effective);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn it_is_raised_from_permitted_and_only_for_a_while() {
        let (none, bind) = (CapabilitySet::empty(), CapabilitySet::NET_BIND_SERVICE);
        check(none, none, false);
        // Only who has a capability can give it to a thread.
        if capabilities(None).unwrap().permitted.contains(bind) {
            check(bind, none, true);
            check(bind, bind, true);
        }
    }
}
