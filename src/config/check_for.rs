//! A check of `hale.json` for names that are not known when it is read.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::json::{At, Reader};
use super::types::Shared;
use super::zone_file::check::CheckRef;
use super::zone_file::{Checks, Template};
use crate::model::check::CheckKind;
use crate::model::condition::Condition;
use crate::model::name::Name;
use crate::model::target::{Check, Target, VerdictRules};

/// A check that can be made for any name and address. Cheap to clone.
#[derive(Clone)]
pub struct CheckFor(Option<Template>);

impl CheckFor {
    /// The check that `check` at `path` holds; nothing if it was reported as wrong.
    pub(super) fn resolve(
        reader: &mut Reader<'_>,
        checks: &Checks,
        check: &At<CheckRef>,
        path: String,
    ) -> Option<Self> {
        let at = check.position;
        match &check.value {
            CheckRef::None => Some(Self(None)),
            CheckRef::Named(name) => checks.named(reader, (name, path, at)).map(|found| Self(Some(found))),
            CheckRef::Inline(Some(written)) => {
                checks.inline(reader, written, &path, at).map(|found| Self(Some(found)))
            }
            CheckRef::Inline(None) => None,
        }
    }

    /// What must hold for an address of a name to be up; `None` for a check that is `"none"`.
    ///
    /// # Errors
    /// Why the check is of no use for this name: it has no port, or needs a `host` or `sni` since the name is a wildcard.
    pub fn condition(&self, owner: &Name, address: IpAddr) -> Result<Option<Condition>, String> {
        let Some(template) = &self.0 else { return Ok(None) };
        let is_alone = matches!(template, Template::Probe(_));
        let mut wrong = "it has no port";
        let found = template.condition(&mut |probe| match probe.for_owner(owner) {
            Ok(check) => probe.target(check, address, None, is_alone),
            Err(key) => {
                wrong = match key {
                    "host" => "it must give \"host\", since the name can be none",
                    "sni" => "it must give \"sni\", since the name can be none",
                    _ => "the name cannot stand in its \"id\"",
                };
                None
            }
        });
        let found = found.ok_or_else(|| wrong.to_owned())?;
        Ok(Some(found.map(&mut patient)))
    }
}

/// The same target, whose first verdict is down only after `fall` failures: what was just deployed is answered until then. What is not probed
/// keeps its identity.
fn patient(target: &Target) -> Target {
    let check = &*target.check;
    if matches!(check.kind, CheckKind::External(_) | CheckKind::Name(_)) {
        return target.clone();
    }
    let rules = VerdictRules { patient: true, ..check.rules };
    Target { address: target.address, check: Arc::new(Check { rules, ..check.clone() }) }
}

impl Shared {
    /// One of the `checks` of `hale.json`, or `none`, by its name; nothing if there is no such check.
    pub fn check(&self, name: &str) -> Option<CheckFor> {
        if name == "none" {
            return Some(CheckFor(None));
        }
        self.checks.get(name)?.clone().map(|template| CheckFor(Some(template)))
    }
}

impl fmt::Debug for CheckFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
