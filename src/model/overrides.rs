//! Overrides: a person's word over what health says, for a while or until it is taken back.
//!
//! Pure: the time is passed in, in Unix seconds. An override beats verdicts and never deletes anything: `up` and `down` count as the verdict of
//! the endpoints it concerns, `drain` takes them out of the answer unless nothing else is left.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::name::{Labels, Name};
use super::report::{OverrideReport, OverrideRequest};
use super::target::EndpointData;
use super::ttl::parse_duration_ms;

/// How many overrides there may be at once. Each is compared with every endpoint that is selected.
pub const MAX_OVERRIDES: usize = 1000;
/// The longest reason, in octets.
pub const MAX_REASON_OCTETS: usize = 500;

/// What a person says of endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// They count as up, whatever their probes meet.
    Up,
    /// They count as down.
    Down,
    /// They leave the answer unless nothing else is left, and are not unhealthy: a machine before its maintenance.
    Drain,
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Drain => "drain",
        })
    }
}

/// Which endpoints an override concerns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Those of every owner whose name matches, and the records of any owner that lead to such a name: who says that a mail server is down
    /// means its MX record too.
    Name(NameGlob),
    /// Those of the pool with this name, whoever uses it.
    Pool(String),
    /// Those that publish this address, and the MX, SRV and CNAME records that are checked at it: a host is what its addresses are.
    Address(IpAddr),
}

/// A pattern of absolute names: a label `*` stands for one or more labels, a `*` within a label for any octets of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NameGlob(Name);

impl NameGlob {
    /// Whether an owner name matches.
    pub fn matches(&self, owner: &Name) -> bool {
        labels_match(self.0.labels(), owner.labels())
    }

    fn is_exact(&self) -> bool {
        // Label by label: in the wire form a length of 42 is the same octet.
        !self.0.labels().any(|label| label.contains(&b'*'))
    }
}

/// One star at a time: when what follows it does not fit, the last star takes one label more. Earlier stars need not be tried again, since
/// the last one may take whatever they would have left.
fn labels_match<'a>(mut pattern: Labels<'a>, mut name: Labels<'a>) -> bool {
    let mut retry: Option<(Labels<'a>, Labels<'a>)> = None;
    loop {
        let (mut wanted, mut rest) = (pattern.clone(), name.clone());
        let fits = match (wanted.next(), rest.next()) {
            (None, None) => return true,
            (Some(b"*"), Some(_)) => {
                retry = Some((wanted.clone(), rest.clone()));
                true
            }
            (Some(want), Some(label)) => octets_match(want, label),
            _ => false,
        };
        if fits {
            (pattern, name) = (wanted, rest);
            continue;
        }
        let Some((after_star, taken_to)) = &mut retry else { return false };
        if taken_to.next().is_none() {
            return false;
        }
        (pattern, name) = (after_star.clone(), taken_to.clone());
    }
}

/// As [`labels_match`], for the octets of one label; here a star may stand for nothing.
fn octets_match(pattern: &[u8], label: &[u8]) -> bool {
    let (mut p, mut l) = (0, 0);
    let mut retry = None;
    while l < label.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, l));
        } else if pattern.get(p) == Some(&label[l]) {
            (p, l) = (p + 1, l + 1);
        } else {
            let Some((after_star, taken_to)) = &mut retry else { return false };
            *taken_to += 1;
            (p, l) = (*after_star, *taken_to);
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

/// `name:GLOB`, `pool:NAME` or `address:IP`.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(glob) => write!(f, "name:{}", glob.0),
            Self::Pool(name) => write!(f, "pool:{name}"),
            Self::Address(address) => write!(f, "address:{address}"),
        }
    }
}

impl FromStr for Subject {
    type Err = String;

    /// Reads what `Display` writes; the error says what is wrong.
    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || format!("{text:?} is none of name:GLOB, pool:NAME and address:IP");
        let (kind, value) = text.split_once(':').ok_or_else(shape)?;
        match kind {
            "name" => {
                let name = Name::parse_absolute(value);
                Ok(Self::Name(NameGlob(name.map_err(|e| format!("{value:?} is not a domain name: {e}"))?)))
            }
            "pool" if !value.is_empty() && !value.contains(char::is_control) => {
                Ok(Self::Pool(value.to_owned()))
            }
            "pool" => Err(format!("{value:?} is not the name of a pool")),
            "address" => {
                let address = value.parse();
                Ok(Self::Address(address.map_err(|_| format!("{value:?} is not an IP address"))?))
            }
            _ => Err(shape()),
        }
    }
}

/// A person's word, as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOverride {
    /// Which endpoints.
    pub subject: Subject,
    /// Only those in this zone.
    pub zone: Option<Name>,
    /// What is said of them.
    pub word: Word,
    /// Unix seconds from which on it no longer counts; `None` is until it is cleared.
    pub until_s: Option<u32>,
    /// Why, in the person's words.
    pub reason: String,
    /// Who said so.
    pub owner: String,
}

/// A person's word that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Its number, by which it is cleared. Numbers are not used again.
    pub id: u64,
    /// Unix seconds when it was set.
    pub set_s: u32,
    /// What it says.
    pub said: NewOverride,
}

impl Override {
    /// Whether it still counts.
    pub fn is_in_force(&self, now_s: u32) -> bool {
        self.said.until_s.is_none_or(|until_s| now_s < until_s)
    }

    /// The order in which overrides are asked: who singles out an endpoint knows more of it than who names a whole name; among equals the
    /// one for a zone comes first, and then the newest.
    fn rank(&self) -> impl Ord + use<> {
        let generality = match &self.said.subject {
            Subject::Address(_) => 0,
            Subject::Pool(_) => 1,
            Subject::Name(glob) if glob.is_exact() => 2,
            Subject::Name(_) => 3,
        };
        (generality, self.said.zone.is_none(), Reverse(self.id))
    }

    /// Whether it is about an address, in this zone, that is no endpoint's own: one that a record leads to.
    pub fn concerns_address(&self, zone: &Name, address: IpAddr) -> bool {
        self.said.subject == Subject::Address(address)
            && self.said.zone.as_ref().is_none_or(|only| only == zone)
    }

    /// Whether it is about an endpoint, given as for [`Overrides::find`].
    pub fn concerns(&self, zone: &Name, owner: &Name, pools: &[&str], data: &EndpointData) -> bool {
        self.said.zone.as_ref().is_none_or(|only| only == zone)
            && match &self.said.subject {
                Subject::Name(glob) => {
                    glob.matches(owner) || data.host().is_some_and(|host| glob.matches(&host))
                }
                Subject::Pool(name) => pools.contains(&name.as_str()),
                Subject::Address(wanted) => data.address() == Some(*wanted),
            }
    }
}

impl NewOverride {
    /// Reads what a person asks for; `owner` is who it is.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn read(request: &OverrideRequest, owner: String, now_s: u32) -> Result<Self, String> {
        let until_s = until(&request.lasts, now_s)?;
        Ok(Self {
            subject: request.subject.parse()?,
            zone: request.zone.as_deref().map(absolute).transpose()?,
            word: request.word,
            until_s,
            reason: request.reason.trim().to_owned(),
            owner,
        })
    }
}

/// When a time such as `1h30m` is over, in Unix seconds; `None` for `forever`.
///
/// # Errors
/// It is neither, or over already.
pub fn until(lasts: &str, now_s: u32) -> Result<Option<u32>, String> {
    if lasts == "forever" {
        return Ok(None);
    }
    let ms = parse_duration_ms(lasts)
        .ok_or_else(|| format!("{lasts:?} is neither a time such as \"1h\" or \"2d\" nor \"forever\""))?;
    let seconds = u32::try_from(ms.div_ceil(1000)).ok();
    let until_s = seconds.and_then(|seconds| now_s.checked_add(seconds));
    let until_s = until_s.ok_or_else(|| format!("{lasts} is too long: say \"forever\""))?;
    if until_s <= now_s { Err(OverrideError::Past.to_string()) } else { Ok(Some(until_s)) }
}

fn absolute(text: &str) -> Result<Name, String> {
    Name::parse_absolute(text).map_err(|e| format!("{text:?} is not a domain name: {e}"))
}

impl From<&Override> for OverrideReport {
    fn from(entry: &Override) -> Self {
        let said = &entry.said;
        Self {
            id: entry.id,
            subject: said.subject.to_string(),
            zone: said.zone.as_ref().map(ToString::to_string),
            word: said.word,
            set_at: entry.set_s.into(),
            until: said.until_s.map(u64::from),
            reason: said.reason.clone(),
            owner: said.owner.clone(),
        }
    }
}

/// Reads what `From<&Override>` wrote; the error says what is wrong.
impl TryFrom<OverrideReport> for Override {
    type Error = String;

    fn try_from(report: OverrideReport) -> Result<Self, String> {
        let seconds = |value: u64| u32::try_from(value).map_err(|_| format!("{value} is no time"));
        let said = NewOverride {
            subject: report.subject.parse()?,
            zone: report.zone.as_deref().map(absolute).transpose()?,
            word: report.word,
            until_s: report.until.map(seconds).transpose()?,
            reason: report.reason,
            owner: report.owner,
        };
        Ok(Self { id: report.id, set_s: seconds(report.set_at)?, said })
    }
}

/// Why an override was not taken. `Display` is a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OverrideError {
    /// There are [`MAX_OVERRIDES`] already.
    TooMany,
    /// The end does not lie ahead.
    Past,
    /// No reason is given.
    NoReason,
    /// The reason is longer than [`MAX_REASON_OCTETS`], or has control characters.
    BadReason,
}

impl fmt::Display for OverrideError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => {
                write!(
                    f,
                    "there are {MAX_OVERRIDES} overrides already: clear some, or use a name glob for several"
                )
            }
            Self::Past => f.write_str("it would be over at once"),
            Self::NoReason => {
                f.write_str("a reason is needed: whoever finds it at night must know why it is there")
            }
            Self::BadReason => {
                write!(
                    f,
                    "the reason must be one line of at most {MAX_REASON_OCTETS} octets without control characters"
                )
            }
        }
    }
}

impl std::error::Error for OverrideError {}

/// All overrides in force. A value: each change makes the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// In the order in which they are asked.
    entries: Vec<Override>,
    last_id: u64,
}

impl Overrides {
    /// Those of an earlier run; `last_id` is the highest number that was ever given.
    pub fn restored(entries: impl IntoIterator<Item = Override>, last_id: u64) -> Self {
        let mut entries: Vec<Override> = entries.into_iter().collect();
        entries.sort_by_key(Override::rank);
        let last_id = entries.iter().map(|entry| entry.id).fold(last_id, u64::max);
        Self { entries, last_id }
    }

    /// These and another one, which replaces one of the same subject and zone. Returns the new override's number too.
    ///
    /// # Errors
    /// See [`OverrideError`].
    pub fn with(&self, said: NewOverride, now_s: u32) -> Result<(Self, u64), OverrideError> {
        if said.reason.trim().is_empty() {
            return Err(OverrideError::NoReason);
        }
        if said.reason.len() > MAX_REASON_OCTETS || said.reason.contains(char::is_control) {
            return Err(OverrideError::BadReason);
        }
        if said.until_s.is_some_and(|until_s| until_s <= now_s) {
            return Err(OverrideError::Past);
        }
        let id = self.last_id + 1;
        let is_other = |e: &&Override| e.said.subject != said.subject || e.said.zone != said.zone;
        let mut entries: Vec<Override> = self.entries.iter().filter(is_other).cloned().collect();
        if entries.len() >= MAX_OVERRIDES {
            return Err(OverrideError::TooMany);
        }
        entries.push(Override { id, set_s: now_s, said });
        Ok((Self::restored(entries, id), id))
    }

    /// These but the one with a number, and that one; `None` where there is none.
    pub fn without(&self, id: u64) -> Option<(Self, Override)> {
        let mut rest = self.clone();
        let position = rest.entries.iter().position(|entry| entry.id == id)?;
        let cleared = rest.entries.remove(position);
        Some((rest, cleared))
    }

    /// Those still in force, and those that have just ceased to be.
    pub fn expire(&self, now_s: u32) -> (Self, Vec<Override>) {
        let (entries, gone) = self.entries.iter().cloned().partition(|entry| entry.is_in_force(now_s));
        (Self { entries, last_id: self.last_id }, gone)
    }

    /// Unix seconds when the next one expires.
    pub fn next_expiry_s(&self) -> Option<u32> {
        self.entries.iter().filter_map(|entry| entry.said.until_s).min()
    }

    /// The override that decides about an endpoint: of `owner` in `zone`, within `pools` (their names, in any order; none outside of
    /// pools), publishing `address` (none for a CNAME).
    pub fn find(
        &self,
        zone: &Name,
        owner: &Name,
        pools: &[&str],
        data: &EndpointData,
        now_s: u32,
    ) -> Option<&Override> {
        self.entries.iter().find(|e| e.is_in_force(now_s) && e.concerns(zone, owner, pools, data))
    }

    /// The override of an address that records of this zone lead to.
    pub fn find_address(&self, zone: &Name, address: IpAddr, now_s: u32) -> Option<&Override> {
        self.entries.iter().find(|e| e.is_in_force(now_s) && e.concerns_address(zone, address))
    }

    /// What [`Overrides::find`] says.
    pub fn effective(
        &self,
        zone: &Name,
        owner: &Name,
        pools: &[&str],
        data: &EndpointData,
        now_s: u32,
    ) -> Option<Word> {
        self.find(zone, owner, pools, data, now_s).map(|found| found.said.word)
    }

    /// The overrides that only these or only `other` have: endpoints that none of them concerns are as they were.
    pub fn difference<'a>(&'a self, other: &'a Self) -> Vec<&'a Override> {
        let only = |a: &'a Self, b: &'a Self| {
            // Overrides are never changed, so that the number tells them apart.
            let theirs: HashSet<u64> = b.entries.iter().map(|entry| entry.id).collect();
            a.entries.iter().filter(move |entry| !theirs.contains(&entry.id))
        };
        only(self, other).chain(only(other, self)).collect()
    }

    /// All of them, oldest first.
    pub fn list(&self) -> Vec<&Override> {
        let mut all: Vec<&Override> = self.entries.iter().collect();
        all.sort_by_key(|entry| entry.id);
        all
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The highest number that was ever given; it is kept over restarts, so that an old number never means a new override.
    pub fn last_id(&self) -> u64 {
        self.last_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse_absolute(text).unwrap()
    }

    fn said(subject: &str, word: Word) -> NewOverride {
        let subject = subject.parse().unwrap();
        let (reason, owner) = ("maintenance".to_owned(), "root".to_owned());
        NewOverride { subject, zone: None, word, until_s: None, reason, owner }
    }

    fn all(said: impl IntoIterator<Item = NewOverride>) -> Overrides {
        said.into_iter().fold(Overrides::default(), |all, said| all.with(said, 100).unwrap().0)
    }

    #[test]
    fn globs() {
        // Pattern, names that match, names that do not.
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("www.a.test", &["www.a.test", "WWW.A.test."], &["a.test", "x.www.a.test", "www.a.tes"]),
            ("*.a.test", &["www.a.test", "b.c.a.test", "*.a.test"], &["a.test", "a.b.test"]),
            ("*", &["www.a.test", "test"], &["."]),
            ("www.*", &["www.a.test", "www.test"], &["www", "x.www.test"]),
            ("*.b.*.test", &["a.b.c.test", "a.b.b.c.test", "x.y.b.z.test"], &["b.c.test", "a.b.test"]),
            ("web-*.a.test", &["web-1.a.test", "web-.a.test"], &["web.a.test", "web-1.b.a.test"]),
            ("*1*.a.test", &["1.a.test", "x1y1.a.test"], &["2.a.test", "1.1.a.test"]),
        ];
        for (pattern, matching, others) in cases {
            let Ok(Subject::Name(glob)) = format!("name:{pattern}").parse() else { panic!("{pattern}") };
            for owner in *matching {
                assert!(glob.matches(&name(owner)), "{pattern} matches {owner}");
            }
            for owner in *others {
                assert!(!glob.matches(&name(owner)), "{pattern} does not match {owner}");
            }
        }
    }

    #[test]
    fn a_pattern_of_many_stars_is_not_slow() {
        let pattern = name(&"*a.".repeat(60));
        let owner = name(&format!("{}b", "a.".repeat(120)));
        assert!(!labels_match(pattern.labels(), owner.labels()));
        assert!(!octets_match(&[b"*a".repeat(30), b"b".to_vec()].concat(), &[b'a'; 63]));
    }

    #[test]
    fn subjects_read_what_they_write() {
        for text in ["name:*.example.test.", "pool:fra", "address:2001:db8::1", "address:192.0.2.1"] {
            assert_eq!(text.parse::<Subject>().unwrap().to_string(), text);
        }
        for (text, why) in [
            ("www.example.test", "is none of name:GLOB, pool:NAME and address:IP"),
            ("zone:x", "is none of"),
            ("name:a..b", "a label is empty"),
            ("pool:", "not the name of a pool"),
            ("address:192.0.2.300", "is not an IP address"),
        ] {
            let error = text.parse::<Subject>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn the_most_specific_word_counts_and_then_the_newest() {
        let in_zone = |said: NewOverride| NewOverride { zone: Some(name("a.test")), ..said };
        let overrides = all([
            said("address:192.0.2.1", Word::Down),
            said("pool:fra", Word::Drain),
            in_zone(said("name:www.a.test", Word::Down)),
            said("name:www.*", Word::Up),
            said("name:*.test", Word::Drain),
            said("name:www.a.test", Word::Up),
        ]);
        let check = |zone: &str, owner: &str, pools: &[&str], address: &str, want: Option<Word>| {
            let data = published(address);
            let got = overrides.effective(&name(zone), &name(owner), pools, &data, 200);
            assert_eq!(got, want, "{owner} in {zone} {pools:?} {data}");
        };
        check("a.test", "www.a.test", &["fra"], "192.0.2.1", Some(Word::Down));
        check("a.test", "www.a.test", &["eu", "fra"], "192.0.2.2", Some(Word::Drain));
        check("a.test", "www.a.test", &["ams"], "192.0.2.2", Some(Word::Down));
        check("b.test", "www.a.test", &[], "192.0.2.2", Some(Word::Up));
        check("b.test", "www.b.test", &[], "192.0.2.2", Some(Word::Drain));
        check("b.net", "www.b.net", &[], "192.0.2.2", Some(Word::Up));
        check("b.net", "b.net", &[], "192.0.2.2", None);
        // A record that leads to a name goes with what is said of that name, and not with what is said of an address.
        check("a.net", "a.net", &[], "MX 10 www.b.net.", Some(Word::Up));
        check("a.net", "a.net", &[], "SRV 1 2 443 www.a.test.", Some(Word::Up));
        check("a.net", "a.net", &["fra"], "CNAME lb.net.", Some(Word::Drain));
        check("a.net", "a.net", &[], "MX 10 mail.b.net.", None);
    }

    #[test]
    fn a_label_of_42_octets_is_no_pattern() {
        let long = format!("name:{}.test", "x".repeat(usize::from(b'*')));
        let overrides = all([said(&long, Word::Down), said("name:*.test", Word::Up)]);
        let owner = name(&long["name:".len()..]);
        let data = published("192.0.2.1");
        assert_eq!(overrides.effective(&name("test"), &owner, &[], &data, 200), Some(Word::Down));
    }

    /// An address, or a type and its data.
    fn published(text: &str) -> EndpointData {
        match text.split_once(' ') {
            None => text.parse::<IpAddr>().unwrap().into(),
            Some((rtype, text)) => {
                let rtype = rtype.parse().unwrap();
                let rdata = crate::model::rdata::parse(rtype, text, &Name::root()).unwrap().into();
                EndpointData::Record { rtype, rdata }
            }
        }
    }

    #[test]
    fn changes_replace_clear_and_expire() {
        let until = |until_s, said: NewOverride| NewOverride { until_s: Some(until_s), ..said };
        let first = all([said("pool:fra", Word::Down), until(300, said("pool:ams", Word::Up))]);
        assert_eq!(first.next_expiry_s(), Some(300));
        let (second, id) = first.with(until(200, said("pool:fra", Word::Drain)), 100).unwrap();
        assert_eq!((id, second.len(), second.next_expiry_s()), (3, 2, Some(200)));
        let word = |overrides: &Overrides, now_s| {
            overrides.effective(&name("a.test"), &name("a.test"), &["fra"], &published("192.0.2.9"), now_s)
        };
        assert_eq!(word(&second, 199), Some(Word::Drain), "the newer one has replaced the older");
        assert_eq!(word(&second, 200), None, "over, whether or not anybody has taken it away yet");
        let differing: Vec<u64> = first.difference(&second).iter().map(|e| e.id).collect();
        assert_eq!(differing, [1, 3]);
        assert!(first.difference(&first.clone()).is_empty());
        let (third, gone) = second.expire(200);
        assert_eq!(gone.iter().map(|e| e.id).collect::<Vec<_>>(), [3]);
        assert_eq!(third.list().iter().map(|e| e.id).collect::<Vec<_>>(), [2]);
        assert!(third.without(3).is_none());
        let (fourth, cleared) = third.without(2).unwrap();
        assert!(fourth.is_empty() && cleared.id == 2);
        assert_eq!(fourth.with(said("pool:fra", Word::Up), 400).unwrap().1, 4, "numbers are not used again");
    }

    #[test]
    fn reads_what_is_asked_for() {
        let request = |subject: &str, zone: &str, lasts: &str| OverrideRequest {
            subject: subject.into(),
            zone: (!zone.is_empty()).then(|| zone.into()),
            word: Word::Down,
            lasts: lasts.into(),
            reason: " disk ".into(),
        };
        let read = |request: &OverrideRequest| NewOverride::read(request, "root".into(), 1000);
        let good = read(&request("pool:fra", "a.test", "90m")).unwrap();
        assert_eq!((good.until_s, good.reason.as_str()), (Some(1000 + 5400), "disk"));
        assert_eq!(good.zone, Some(name("a.test")));
        assert_eq!(read(&request("pool:fra", "", "forever")).unwrap().until_s, None);
        assert_eq!(read(&request("pool:fra", "", "500ms")).unwrap().until_s, Some(1001), "not at once");
        for (subject, zone, lasts, why) in [
            ("pool", "", "1h", "is none of name:GLOB"),
            ("pool:fra", "a..test", "1h", "not a domain name"),
            ("pool:fra", "", "soon", "neither a time"),
            ("pool:fra", "", "9999w", "too long"),
        ] {
            let error = read(&request(subject, zone, lasts)).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let entry = Override { id: 7, set_s: 1000, said: good };
        let report = OverrideReport::from(&entry);
        assert_eq!(Override::try_from(report.clone()), Ok(entry));
        assert!(Override::try_from(OverrideReport { set_at: 1 << 40, ..report }).is_err());
    }

    #[test]
    fn what_is_refused() {
        let one = said("pool:fra", Word::Up);
        let check = |said: NewOverride, want| {
            assert_eq!(Overrides::default().with(said, 100).unwrap_err(), want);
        };
        check(NewOverride { reason: " ".into(), ..one.clone() }, OverrideError::NoReason);
        check(NewOverride { reason: "a\nb".into(), ..one.clone() }, OverrideError::BadReason);
        check(NewOverride { reason: "x".repeat(501), ..one.clone() }, OverrideError::BadReason);
        check(NewOverride { until_s: Some(100), ..one.clone() }, OverrideError::Past);
        let full = all((0..MAX_OVERRIDES).map(|i| said(&format!("pool:{i}"), Word::Up)));
        assert_eq!(full.with(one, 100).unwrap_err(), OverrideError::TooMany);
        assert!(full.with(said("pool:7", Word::Down), 100).is_ok(), "a replacement adds none");
    }
}
