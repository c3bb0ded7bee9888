//! The history of targets, over restarts. Losing it costs nothing but knowledge.

use std::collections::BTreeMap;

use super::{SetAside, StateDir, StateError};
use crate::model::report::TransitionReport;

const FILE: &str = "history.json";
const VERSION: u32 = 1;

/// Saves histories by target (see [`super::verdicts::target_key`]), in the place of all that were saved before.
///
/// # Errors
/// The file could not be written; an older one still stands.
pub fn save(state: &StateDir, all: &[(&str, Vec<&TransitionReport>)]) -> Result<(), StateError> {
    let all: BTreeMap<&str, &Vec<&TransitionReport>> = all.iter().map(|(key, h)| (*key, h)).collect();
    // On one line: there may be a hundred thousand of them.
    state.write_blob_with(FILE, VERSION, |writer| Ok(serde_json::to_writer(writer, &all)?))
}

/// What was saved; nothing where there is no file. A [`SetAside`] is to be reported.
///
/// # Errors
/// The file cannot be read.
pub fn load(state: &StateDir) -> Result<(Saved, Option<SetAside>), StateError> {
    super::load_json(state, FILE, VERSION)
}

/// Transitions by target, oldest first.
pub type Saved = BTreeMap<String, Vec<TransitionReport>>;

#[cfg(test)]
mod tests {
    use super::super::tests::Folder;
    use super::*;
    use crate::model::target::Verdict;

    #[test]
    fn histories_come_back() {
        let folder = Folder::new();
        let state = StateDir::open(folder.path()).unwrap();
        assert_eq!(load(&state).unwrap(), (Saved::new(), None));
        let one = TransitionReport { at_ms: 5, from: Verdict::Up, to: Verdict::Down, reason: "x".into() };
        save(&state, &[("tcp a", vec![&one, &one]), ("tcp b", vec![&one])]).unwrap();
        let (saved, problem) = load(&state).unwrap();
        assert_eq!((saved["tcp a"].len(), &saved["tcp b"][0], problem), (2, &one, None));
    }
}
