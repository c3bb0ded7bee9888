//! Hidden names that survive a restart. A change is on the disk before anybody acts on it.

use super::{SetAside, StateDir, StateError, load_json, save_json};
use crate::model::hidden::Hidden;
use crate::model::records::HiddenReport;

const FILE: &str = "hidden.json";
const VERSION: u32 = 1;

/// Reads the names that were hidden; of a file that cannot be used none are.
///
/// # Errors
/// It cannot be read at all.
pub fn load(state: &StateDir) -> Result<(Hidden, Option<SetAside>), StateError> {
    let (reports, problem) = load_json::<Vec<HiddenReport>>(state, FILE, VERSION)?;
    match Hidden::restored(reports) {
        Ok(hidden) => Ok((hidden, problem)),
        Err(why) => Ok((Hidden::default(), Some(state.set_aside(FILE, why)?))),
    }
}

/// Makes it durable.
///
/// # Errors
/// Those of the disk; what was saved before still stands.
pub fn save(state: &StateDir, hidden: &Hidden) -> Result<(), StateError> {
    save_json(state, FILE, VERSION, &hidden.reports())
}
