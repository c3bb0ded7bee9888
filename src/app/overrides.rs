//! Overrides: what a person asks for goes to the disk first, then to the keeper, and is acknowledged when answers follow it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::info;

use super::control::Handles;
use super::now_s;
use crate::admin::ChangeError;
use crate::model::event::{EventKind, News};
use crate::model::name::Name;
use crate::model::overrides::{NewOverride, Override, OverrideError, Overrides};
use crate::model::report::{OverriddenReport, OverrideChange, OverrideReport, OverrideRequest};
use crate::model::target::TargetId;
use crate::state::StateError;

impl From<StateError> for ChangeError {
    fn from(error: StateError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<OverrideError> for ChangeError {
    fn from(error: OverrideError) -> Self {
        match error {
            OverrideError::TooMany => Self::Full(error.to_string()),
            _ => Self::Bad(error.to_string()),
        }
    }
}

impl Handles {
    pub(super) fn overrides_in_force(&self) -> Overrides {
        self.overrides.current().expire(now_s()).0
    }

    pub(super) fn set(&self, wanted: &OverrideRequest, owner: String) -> Result<OverrideChange, ChangeError> {
        let now_s = now_s();
        let said = NewOverride::read(wanted, owner, now_s).map_err(ChangeError::Bad)?;
        let mut set = None;
        let change = |current: &Overrides| -> Result<Overrides, ChangeError> {
            let (next, id) = current.expire(now_s).0.with(said, now_s)?;
            set = next.list().into_iter().find(|entry| entry.id == id).cloned();
            Ok(next)
        };
        let names = self.overrides.change(change, |next| self.take_into_service(next))??;
        let entry = set.ok_or_else(|| ChangeError::Failed("the override is gone again".into()))?;
        let Override { id, said, .. } = &entry;
        info!(
            id, subject = %said.subject, word = %said.word, zone = said.zone.as_ref().map(Name::to_string),
            until = said.until_s, owner = said.owner, reason = said.reason, names, "override set"
        );
        let text = format!("override {id} is set: {} {} ({})", said.subject, said.word, said.reason);
        self.tell(EventKind::OverrideSet, text, &entry, &said.owner);
        Ok(self.changed(&entry, names))
    }

    pub(super) fn clear(&self, id: u64, owner: &str) -> Result<Option<OverrideChange>, ChangeError> {
        if self.overrides.current().without(id).is_none() {
            return Ok(None);
        }
        let mut cleared = None;
        let change = |current: &Overrides| -> Result<Overrides, ChangeError> {
            let current = current.expire(now_s()).0;
            let (next, entry) = match current.without(id) {
                Some((next, entry)) => (next, Some(entry)),
                None => (current, None),
            };
            cleared = entry;
            Ok(next)
        };
        let names = self.overrides.change(change, |next| self.take_into_service(next))??;
        let Some(entry) = cleared else { return Ok(None) };
        info!(id, subject = %entry.said.subject, word = %entry.said.word, owner, names, "override cleared");
        let text = format!("override {id} is cleared: {} {}", entry.said.subject, entry.said.word);
        self.tell(EventKind::OverrideCleared, text, &entry, owner);
        Ok(Some(self.changed(&entry, names)))
    }

    fn tell(&self, kind: EventKind, text: String, entry: &Override, owner: &str) {
        let mut news = News::new(kind, text);
        news.zones.extend(entry.said.zone.as_ref().map(Name::to_string));
        (news.override_id, news.owner) = (Some(entry.id), Some(owner.to_owned()));
        news.expires_at = entry.said.until_s.map(i64::from);
        news.why = Some(entry.said.reason.clone());
        self.events.publish(news);
    }

    fn changed(&self, entry: &Override, names: usize) -> OverrideChange {
        OverrideChange {
            entry: OverrideReport::from(entry),
            names: names as u64,
            kept: self.overrides.is_kept(),
        }
    }

    fn take_into_service(&self, overrides: Arc<Overrides>) -> Result<usize, ChangeError> {
        self.keeper.set_overrides(overrides).ok_or_else(|| {
            ChangeError::Failed(
                "it is noted, but the server is stopping: it counts after the next start".into(),
            )
        })
    }

    /// What is overridden now, by zone and by target.
    pub(super) fn overridden(&self) -> Overridden {
        let mut overridden = Overridden::default();
        if !self.is_ready() || self.overrides_in_force().is_empty() {
            return overridden;
        }
        for endpoint in self.keeper.overridden() {
            for target in endpoint.targets {
                let ids: &mut Vec<u64> = overridden.targets.entry(target).or_default();
                if !ids.contains(&endpoint.id) {
                    ids.push(endpoint.id);
                }
            }
            overridden.zones.entry(endpoint.zone).or_default().push(OverriddenReport {
                name: endpoint.owner.to_string(),
                publishes: endpoint.data.to_string(),
                word: endpoint.word,
                id: endpoint.id,
            });
        }
        overridden
    }
}

/// See [`Handles::overridden`].
#[derive(Default)]
pub(super) struct Overridden {
    pub(super) zones: BTreeMap<Name, Vec<OverriddenReport>>,
    pub(super) targets: BTreeMap<TargetId, Vec<u64>>,
}
