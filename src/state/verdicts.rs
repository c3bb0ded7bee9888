//! Verdicts that survive a restart.

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::{SetAside, StateDir, StateError};
use crate::model::target::{CheckKind, Target, Verdict};

const FILE: &str = "verdicts.json";
const VERSION: u32 = 1;

/// One target's verdict as it is saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedVerdict {
    /// Which target: see [`target_key`].
    pub target: String,
    /// Whether it was up; targets without a verdict are not saved.
    pub up: bool,
    /// When a result last confirmed it, in milliseconds of Unix time.
    pub at_unix_ms: u64,
}

impl SavedVerdict {
    /// The verdict.
    pub fn verdict(&self) -> Verdict {
        if self.up { Verdict::Up } else { Verdict::Down }
    }

    /// Its age at a time, in milliseconds of Unix time; `None` when it comes from the future: the clock was set back.
    pub fn age_ms(&self, now_unix_ms: u64) -> Option<u64> {
        now_unix_ms.checked_sub(self.at_unix_ms)
    }
}

/// What a saved verdict belongs to: address and what is asked there. Interval, timeout and thresholds are not part of it, since a verdict
/// stays true when they are changed.
pub fn target_key(target: &Target) -> String {
    match &target.check.kind {
        CheckKind::Tcp | CheckKind::Icmp(_) => target.to_string(),
        // The rest of other checks is told apart by a hash of its Debug form. Should that form change with a version of Hale, the verdict
        // is not recognised and the target is simply probed first.
        kind => {
            let hash = digest(&SHA256, format!("{kind:?}").as_bytes());
            let short: String = hash.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{target} {short}")
        }
    }
}

/// Saves the verdicts, in the place of all that were saved before.
pub fn save(state: &StateDir, verdicts: &[SavedVerdict]) -> Result<(), StateError> {
    super::save_json(state, FILE, VERSION, &verdicts)
}

/// Loads the saved verdicts; none where there is no file. A [`SetAside`] is to be reported.
pub fn load(state: &StateDir) -> Result<(Vec<SavedVerdict>, Option<SetAside>), StateError> {
    super::load_json(state, FILE, VERSION)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::Folder;
    use super::*;
    use crate::model::target::{Check, HttpCheck};

    #[test]
    fn verdicts_come_back() {
        let folder = Folder::new();
        let state = StateDir::open(folder.path()).unwrap();
        assert_eq!(load(&state).unwrap(), (Vec::new(), None));
        let verdicts =
            [true, false].map(|up| SavedVerdict { target: format!("tcp {up}"), up, at_unix_ms: 5 });
        save(&state, &verdicts).unwrap();
        assert_eq!(load(&state).unwrap(), (verdicts.to_vec(), None));
    }

    #[test]
    fn a_verdict_belongs_to_address_and_request_but_not_to_the_timing() {
        let http = HttpCheck {
            tls: None,
            host: "www.example.test".into(),
            path: "/".into(),
            method: "GET".into(),
            headers: Vec::new(),
            status: vec![(200, 200)],
            body_contains: None,
            body_not: None,
            follow: 0,
            reuse: false,
        };
        let key = |address: &str, kind: CheckKind, interval_ms| {
            let check = Arc::new(Check {
                kind,
                interval_ms,
                timeout_ms: 100,
                rise: 1,
                fall: 1,
                rules: Default::default(),
            });
            target_key(&Target { address: address.parse().unwrap(), check })
        };
        let other = HttpCheck { status: vec![(200, 399)], ..http.clone() };
        let [http, other] = [http, other].map(|http| CheckKind::Http(Box::new(http)));
        assert_eq!(key("127.0.0.1:80", http.clone(), 1000), key("127.0.0.1:80", http.clone(), 5000));
        let mut keys = [
            key("127.0.0.1:80", http.clone(), 1000),
            key("127.0.0.1:80", other, 1000),
            key("127.0.0.1:81", http, 1000),
            key("127.0.0.1:80", CheckKind::Tcp, 1000),
            key("127.0.0.1:81", CheckKind::Tcp, 1000),
        ];
        keys.sort();
        assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "{keys:?}");
    }
}
