//! What happens to a running server, as whoever watches it is told: an entry of `/api/v1/events`, a line of `hale events`, the occasion of a
//! notification.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::target::Verdict;

/// What kind of thing has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// The verdict of a target has changed.
    TargetFlip,
    /// Nothing of a name is up any more; its `when_all_down` decides what is answered.
    NameDown,
    /// Something of a name is up again.
    NameRecovered,
    /// The health brake holds verdicts: so much failing together means most likely that this host is cut off.
    BrakeHeld,
    /// The health brake has let go.
    BrakeReleased,
    /// A source fails; its names stay.
    SourceFailed,
    /// A source has failed for so long that its names may no longer be what it would say.
    SourceStale,
    /// A source works again.
    SourceRecovered,
    /// The brake of a source holds removals.
    SourceBrakeHeld,
    /// The brake of a source holds nothing any more.
    SourceBrakeReleased,
    /// Somebody has set an override.
    OverrideSet,
    /// Somebody has cleared an override.
    OverrideCleared,
    /// The time of an override is over.
    OverrideExpired,
    /// The zones were read again without an error.
    ReloadDone,
    /// A file could not be read: at the start its zone is answered SERVFAIL, later it stays what it was.
    ReloadFailed,
    /// A discovered name is published.
    DiscoveredAdded,
    /// A discovered name has other records.
    DiscoveredChanged,
    /// A discovered name is gone.
    DiscoveredRemoved,
    /// Somebody has hidden a discovered name.
    NameHidden,
    /// A discovered name is no longer hidden, by hand or since its time is over.
    NameUnhidden,
    /// Something cannot be signed, or signatures are about to expire.
    SigningTrouble,
    /// The certificate that a target shows expires soon.
    CertificateExpiring,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::TargetFlip,
        Self::NameDown,
        Self::NameRecovered,
        Self::BrakeHeld,
        Self::BrakeReleased,
        Self::SourceFailed,
        Self::SourceStale,
        Self::SourceRecovered,
        Self::SourceBrakeHeld,
        Self::SourceBrakeReleased,
        Self::OverrideSet,
        Self::OverrideCleared,
        Self::OverrideExpired,
        Self::ReloadDone,
        Self::ReloadFailed,
        Self::DiscoveredAdded,
        Self::DiscoveredChanged,
        Self::DiscoveredRemoved,
        Self::NameHidden,
        Self::NameUnhidden,
        Self::SigningTrouble,
        Self::CertificateExpiring,
    ];

    /// Its word, as in the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::TargetFlip => "target-flip",
            Self::NameDown => "name-down",
            Self::NameRecovered => "name-recovered",
            Self::BrakeHeld => "brake-held",
            Self::BrakeReleased => "brake-released",
            Self::SourceFailed => "source-failed",
            Self::SourceStale => "source-stale",
            Self::SourceRecovered => "source-recovered",
            Self::SourceBrakeHeld => "source-brake-held",
            Self::SourceBrakeReleased => "source-brake-released",
            Self::OverrideSet => "override-set",
            Self::OverrideCleared => "override-cleared",
            Self::OverrideExpired => "override-expired",
            Self::ReloadDone => "reload-done",
            Self::ReloadFailed => "reload-failed",
            Self::DiscoveredAdded => "discovered-added",
            Self::DiscoveredChanged => "discovered-changed",
            Self::DiscoveredRemoved => "discovered-removed",
            Self::NameHidden => "name-hidden",
            Self::NameUnhidden => "name-unhidden",
            Self::SigningTrouble => "signing-trouble",
            Self::CertificateExpiring => "certificate-expiring",
        }
    }

    /// Whether somebody should look at it.
    pub fn is_trouble(self) -> bool {
        matches!(
            self,
            Self::NameDown
                | Self::BrakeHeld
                | Self::SourceFailed
                | Self::SourceStale
                | Self::SourceBrakeHeld
                | Self::ReloadFailed
                | Self::SigningTrouble
                | Self::CertificateExpiring
        )
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for EventKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| format!("{text:?} is not a kind of event, such as target-flip or source-failed"))
    }
}

/// What has happened, before it is numbered. Fields that do not apply are left out of the JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct News {
    /// What kind of thing.
    pub kind: EventKind,
    /// A sentence for people.
    pub text: String,
    /// The zones that it is about, with their trailing dots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<String>,
    /// The first of the owner names that it is about, with their trailing dots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// How many owner names it is about in all, where these are more than `names` lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names_in_all: Option<u64>,
    /// What is probed, such as `tcp 192.0.2.10:443`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The target's number, as in `/api/v1/targets`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_id: Option<u32>,
    /// The verdict before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Verdict>,
    /// The verdict from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Verdict>,
    /// Why, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The source of discovered names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The object in it, as its people write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The number of the override.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub override_id: Option<u64>,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// When something expires, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
}

impl News {
    /// News with nothing but a sentence.
    pub fn new(kind: EventKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            zones: Vec::new(),
            names: Vec::new(),
            names_in_all: None,
            target: None,
            target_id: None,
            from: None,
            to: None,
            why: None,
            source: None,
            object: None,
            override_id: None,
            owner: None,
            file: None,
            expires_at: None,
        }
    }

    /// Its sentence, with the names that it is about where that does not say them.
    pub fn told(&self) -> String {
        if self.kind != EventKind::TargetFlip || self.names.is_empty() {
            return self.text.clone();
        }
        let more = self.names_in_all.map(|all| format!(" and {} more", all - self.names.len() as u64));
        format!("{} ({}{})", self.text, self.names.join(", "), more.unwrap_or_default())
    }

    /// With a zone and a name in it.
    #[must_use]
    pub fn about(mut self, zone: impl Into<String>, name: impl Into<String>) -> Self {
        self.zones.push(zone.into());
        self.names.push(name.into());
        self
    }
}

/// What has happened: an entry of `/api/v1/events`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Its number. Numbers grow, restarts included, and are not without gaps.
    pub id: u64,
    /// When, in milliseconds of Unix time.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub news: News,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_json() {
        for kind in EventKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert!("flip".parse::<EventKind>().is_err());
    }

    #[test]
    fn what_does_not_apply_is_left_out() {
        let news =
            News::new(EventKind::NameDown, "nothing is up").about("example.test.", "www.example.test.");
        let json = serde_json::to_string(&Event { id: 7, at_ms: 1, news }).unwrap();
        let want = r#"{"id":7,"at_ms":1,"kind":"name-down","text":"nothing is up","zones":["example.test."],"names":["www.example.test."]}"#;
        assert_eq!(json, want);
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap().id, 7);
    }
}
