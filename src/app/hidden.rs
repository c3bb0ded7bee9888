//! Hidden names: what a person says goes to the disk first, then to discovery.

use std::sync::{Arc, Mutex, PoisonError};

use tracing::{error, info};

use super::discovery::Discovery;
use super::now_s;
use crate::admin::ChangeError;
use crate::model::event::{EventKind, News};
use crate::model::hidden::{Hidden, report};
use crate::model::name::Name;
use crate::model::records::{HiddenChange, HiddenReport, HideRequest};
use crate::state::{StateDir, hidden as file};

/// The names that are hidden, and whether a change is under way: held through all of it, the disk included.
#[derive(Debug, Default)]
pub(super) struct Hiding(Mutex<Hidden>);

impl Hiding {
    /// What the state directory keeps.
    pub(super) fn load(state: Option<&Arc<StateDir>>) -> Self {
        let Some(state) = state else { return Self::default() };
        match file::load(state) {
            Ok((hidden, problem)) => {
                if let Some(problem) = problem {
                    error!("{problem}; hidden names are published again");
                }
                Self(Mutex::new(hidden.expire(now_s()).0))
            }
            Err(problem) => {
                error!("{problem}; hidden names are published again");
                Self::default()
            }
        }
    }

    /// As it was last set.
    pub(super) fn current(&self) -> Hidden {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Discovery {
    /// The names that are hidden now.
    pub(super) fn hidden(&self) -> Vec<HiddenReport> {
        self.hiding.current().expire(now_s()).0.reports()
    }

    /// Hides a name in the name of `owner`.
    pub(super) fn hide(&self, wanted: &HideRequest, owner: String) -> Result<HiddenChange, ChangeError> {
        let (name, hide) = Hidden::read(wanted, owner, now_s()).map_err(ChangeError::Bad)?;
        let said = report(&name, &hide);
        let full =
            || ChangeError::Full("too many names are hidden: use a source's \"exclude_names\"".to_owned());
        self.change_hidden(|current| current.with(name.clone(), hide).map(Some).ok_or_else(full))?;
        let HiddenReport { reason, owner, until, .. } = &said;
        info!(hostname = %name, until, owner, reason, "name hidden");
        Ok(self.told(
            EventKind::NameHidden,
            format!("{name} is hidden ({reason})"),
            &name,
            owner.clone(),
            said,
        ))
    }

    /// Publishes a hidden name again, in the name of `owner`; `None` if it is not hidden.
    pub(super) fn unhide(&self, name: &Name, owner: &str) -> Result<Option<HiddenChange>, ChangeError> {
        let mut gone = None;
        self.change_hidden(|current| {
            Ok(current.without(name).map(|(next, hide)| {
                gone = Some(report(name, &hide));
                next
            }))
        })?;
        let Some(said) = gone else { return Ok(None) };
        info!(hostname = %name, owner, "name no longer hidden");
        let text = format!("{name} is no longer hidden");
        Ok(Some(self.told(EventKind::NameUnhidden, text, name, owner.to_owned(), said)))
    }

    /// Makes a change durable and tells discovery, before any other change; nothing happens where it is none.
    fn change_hidden(
        &self,
        change: impl FnOnce(&Hidden) -> Result<Option<Hidden>, ChangeError>,
    ) -> Result<(), ChangeError> {
        let mut hidden = self.hiding.0.lock().unwrap_or_else(PoisonError::into_inner);
        let current = hidden.expire(now_s()).0;
        let Some(next) = change(&current)? else { return Ok(()) };
        if let Some(state) = &self.state {
            file::save(state, &next)?;
        }
        self.core().set_hidden(&next, self.now());
        *hidden = next;
        self.wake();
        Ok(())
    }

    fn told(
        &self,
        kind: EventKind,
        text: String,
        name: &Name,
        owner: String,
        said: HiddenReport,
    ) -> HiddenChange {
        let mut news = News::new(kind, text);
        news.names.push(name.to_string());
        news.owner = Some(owner);
        news.why = Some(said.reason.clone());
        news.expires_at = said.until.and_then(|at| i64::try_from(at).ok());
        self.events.publish(news);
        HiddenChange { hidden: said, discovered: self.core().is_wanted(name), kept: self.state.is_some() }
    }
}
