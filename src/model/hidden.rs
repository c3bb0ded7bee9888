//! Discovered names that are not published because a person says so, each for a time. Values only, which never change: a change makes
//! another set.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::name::Name;
use super::overrides::{MAX_REASON_OCTETS, until};
use super::records::{HiddenReport, HideRequest};

/// How many names may be hidden at once. Who wants more wants a source's `exclude_names`.
pub const MAX_HIDDEN: usize = 1000;

/// Why a name is hidden, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hide {
    /// When it was said, in Unix seconds.
    pub set_s: u32,
    /// When it ends; `None` for never.
    pub until_s: Option<u32>,
    /// Why.
    pub reason: String,
    /// Who said it.
    pub owner: String,
}

/// See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hidden(BTreeMap<Name, Arc<Hide>>);

impl Hidden {
    /// Reads what a person asks for; `owner` is who it is.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn read(request: &HideRequest, owner: String, now_s: u32) -> Result<(Name, Hide), String> {
        let name = Name::parse_absolute(&request.name)
            .map_err(|error| format!("{:?} is not a domain name: {error}", request.name))?;
        let reason = request.reason.trim();
        if reason.is_empty() || reason.len() > MAX_REASON_OCTETS || reason.chars().any(char::is_control) {
            return Err(format!("say why, in one line of at most {MAX_REASON_OCTETS} octets"));
        }
        let until_s = until(&request.lasts, now_s)?;
        Ok((name, Hide { set_s: now_s, until_s, reason: reason.to_owned(), owner }))
    }

    /// Why a name is hidden at a time; `None` if it is not.
    pub fn find(&self, name: &Name, now_s: u32) -> Option<&Arc<Hide>> {
        self.0.get(name).filter(|hide| hide.until_s.is_none_or(|until_s| now_s < until_s))
    }

    /// With one more, which takes the place of an earlier one; `None` if there are [`MAX_HIDDEN`] already.
    pub fn with(&self, name: Name, hide: Hide) -> Option<Self> {
        let mut next = self.clone();
        next.0.insert(name, Arc::new(hide));
        (next.0.len() <= MAX_HIDDEN).then_some(next)
    }

    /// Without one, and that one; `None` if it is not hidden.
    pub fn without(&self, name: &Name) -> Option<(Self, Arc<Hide>)> {
        let mut next = self.clone();
        let hide = next.0.remove(name)?;
        Some((next, hide))
    }

    /// Without those whose time is over, and those.
    pub fn expire(&self, now_s: u32) -> (Self, Vec<(Name, Arc<Hide>)>) {
        let is_over = |hide: &Hide| hide.until_s.is_some_and(|until_s| until_s <= now_s);
        let (gone, left) =
            self.0.clone().into_iter().partition::<BTreeMap<_, _>, _>(|(_, hide)| is_over(hide));
        (Self(left), gone.into_iter().collect())
    }

    /// Every name, in canonical order.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.0.keys()
    }

    /// All of them, as the API and the file have them.
    pub fn reports(&self) -> Vec<HiddenReport> {
        self.0.iter().map(|(name, hide)| report(name, hide)).collect()
    }

    /// What [`Hidden::reports`] wrote.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn restored(reports: Vec<HiddenReport>) -> Result<Self, String> {
        let seconds = |value: u64| u32::try_from(value).map_err(|_| format!("{value} is no time"));
        let hide = |report: HiddenReport| {
            let name = Name::parse_absolute(&report.name).map_err(|error| error.to_string())?;
            let (set_s, until_s) = (seconds(report.set_at)?, report.until.map(seconds).transpose()?);
            Ok((name, Arc::new(Hide { set_s, until_s, reason: report.reason, owner: report.owner })))
        };
        reports.into_iter().map(hide).collect::<Result<_, String>>().map(Self)
    }
}

/// One of them as the API has it.
pub fn report(name: &Name, hide: &Hide) -> HiddenReport {
    HiddenReport {
        name: name.to_string(),
        set_at: hide.set_s.into(),
        until: hide.until_s.map(u64::from),
        reason: hide.reason.clone(),
        owner: hide.owner.clone(),
    }
}

/// `hidden by root (uid 0): moves to another cluster`.
impl std::fmt::Display for Hide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "hidden by {}: {}", self.owner, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str, lasts: &str, reason: &str) -> HideRequest {
        HideRequest { name: name.to_owned(), lasts: lasts.to_owned(), reason: reason.to_owned() }
    }

    #[test]
    fn hidden_for_a_time() {
        let read = |name: &str, lasts: &str| {
            Hidden::read(&request(name, lasts, "moves"), "root".into(), 100).unwrap()
        };
        let (a, hide_a) = read("a.test", "10s");
        let (b, hide_b) = read("b.test.", "forever");
        let hidden = Hidden::default().with(a.clone(), hide_a).unwrap().with(b.clone(), hide_b).unwrap();
        assert!(hidden.find(&a, 109).is_some() && hidden.find(&a, 110).is_none());
        let (left, gone) = hidden.expire(110);
        assert_eq!((left.names().count(), gone.len(), gone[0].0.clone()), (1, 1, a));
        assert!(left.find(&b, u32::MAX).is_some());
        assert_eq!(Hidden::restored(hidden.reports()), Ok(hidden.clone()));
        assert_eq!(hidden.without(&b).unwrap().0.names().count(), 1);
        for (name, lasts, reason) in [
            ("a..b", "1h", "x"),
            ("a.test", "soon", "x"),
            ("a.test", "0s", "x"),
            ("a.test", "1h", " "),
            ("a.test", "1h", "a\nb"),
        ] {
            assert!(
                Hidden::read(&request(name, lasts, reason), "root".into(), 100).is_err(),
                "{name} {lasts} {reason}"
            );
        }
    }
}
