//! Checks as configured: complete but for what they take from the name and the address that are checked. Named ones are kept in
//! tables, which resolve the names by which checks refer to each other.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::address::Probe;
use super::check::{CheckRef, Written};
use crate::config::json::{At, Element, Map, Reader, nearest};
use crate::model::check::{CheckKind, ExternalCheck, TlsCheck};
use crate::model::condition::Condition;
use crate::model::diagnostic::Position;
use crate::model::name::Name;
use crate::model::target::{Check, Target};

/// Checks that one combination may come to, those of its parts' parts included: each endpoint keeps that many targets.
const MAX_CHECKS: usize = 64;

/// The port of the service that a record leads to.
#[derive(Clone, Copy, Debug)]
pub(super) enum RecordPort {
    /// The record says it (SRV): a check that gives none goes there, whatever the port of its protocol.
    Said(u16),
    /// The service has it (MX): a check whose protocol has none goes there.
    Usual(u16),
    /// Nobody knows.
    None,
}

/// Stands for the checked name in the id of an external check.
const NAME: &str = "{name}";
/// Stands for the published address there.
const ADDRESS: &str = "{address}";

/// What one probe does, but for what comes from the checked name.
#[derive(Clone, Debug)]
pub(crate) struct ProbeTemplate {
    /// Port to connect to if the check gives one, unless the endpoint's `probe` does.
    pub(crate) port: Option<u16>,
    /// The check; a host that is empty is the checked name.
    pub(crate) check: Arc<Check>,
}

impl ProbeTemplate {
    /// A TCP check of a-healthy-dns's shape: one failure flips.
    pub(crate) fn health_port(interval_ms: u32, timeout_ms: u32) -> Self {
        let check = Check {
            kind: CheckKind::Tcp,
            interval_ms,
            timeout_ms,
            rise: 1,
            fall: 1,
            rules: Default::default(),
        };
        Self { port: None, check: Arc::new(check) }
    }

    /// The same check with a port.
    pub(crate) fn with_port(&self, port: u16) -> Self {
        Self { port: Some(port), ..self.clone() }
    }

    /// Port to connect to, if the check gives one or its protocol has one.
    fn port(&self) -> Option<u16> {
        self.port.or(match &self.check.kind {
            CheckKind::Http(http) if http.tls.is_some() => Some(443),
            CheckKind::Http(_) => Some(80),
            CheckKind::Tls(_) => Some(443),
            CheckKind::Dns(_) => Some(53),
            _ => None,
        })
    }

    /// Whether what is probed depends on the published address.
    fn needs_address(&self) -> bool {
        match &self.check.kind {
            CheckKind::Name(_) => false,
            CheckKind::External(external) => external.id.contains(ADDRESS),
            _ => true,
        }
    }

    /// The same check for a record of another type than addresses: for its owner or for the host that it leads to, and with the port that the
    /// record leads to.
    fn for_record(&self, name: &Name, port: RecordPort) -> Result<Self, &'static str> {
        let port = match port {
            RecordPort::Said(port) => Some(port),
            RecordPort::Usual(port) => self.port().or(Some(port)),
            RecordPort::None => None,
        };
        let with_port = Self { port: self.port.or(port), check: Arc::clone(&self.check) };
        let check = with_port.for_owner(name)?;
        Ok(Self { check, ..with_port })
    }

    /// The check of one owner.
    ///
    /// # Errors
    /// The key that must be given, since the owner's name can be no host: a wildcard, or a name with odd octets.
    pub(crate) fn for_owner(&self, owner: &Name) -> Result<Arc<Check>, &'static str> {
        let mut kind = self.check.kind.clone();
        match &mut kind {
            CheckKind::Http(http) if http.host.is_empty() => {
                let host = host_of(owner).ok_or("host")?;
                http.host = self.authority(&host, if http.tls.is_some() { 443 } else { 80 });
                set_sni(&mut http.tls, host);
            }
            CheckKind::Grpc(grpc) if grpc.host.is_empty() => {
                let host = host_of(owner).ok_or("host")?;
                grpc.host = self.authority(&host, if grpc.tls.is_some() { 443 } else { 80 });
                set_sni(&mut grpc.tls, host);
            }
            CheckKind::Tls(tls) if tls.sni.is_empty() => tls.sni = host_of(owner).ok_or("sni")?,
            CheckKind::Exec(exec) => exec.name = owner.to_string().trim_end_matches('.').to_owned(),
            CheckKind::External(external) if external.id.contains(NAME) => {
                external.id = external.id.replace(NAME, host_of(owner).ok_or("id")?.as_str());
            }
            _ => return Ok(Arc::clone(&self.check)),
        }
        Ok(Arc::new(Check { kind, ..Check::clone(&self.check) }))
    }

    /// The host with the port that clients use, not the one that a `probe` override connects to.
    fn authority(&self, host: &str, default_port: u16) -> String {
        match self.port {
            Some(port) if port != default_port => format!("{host}:{port}"),
            _ => host.to_owned(),
        }
    }

    /// The target of an endpoint: `check`, made for its owner, against `address`, or where its `probe` says. `is_alone`: it is not part
    /// of a combination, whose checks have ports that differ, so that one given for the endpoint replaces none of them.
    ///
    /// Nothing if no port is known.
    pub(crate) fn target(
        &self,
        mut check: Arc<Check>,
        address: IpAddr,
        probe: Option<Probe>,
        is_alone: bool,
    ) -> Option<Target> {
        let given = probe.and_then(|probe| probe.port);
        let port = if is_alone { given.or(self.port()) } else { self.port().or(given) };
        let to = probe.and_then(|probe| probe.address).unwrap_or(address);
        let address = match &check.kind {
            CheckKind::Icmp(_) => SocketAddr::new(to, 0),
            CheckKind::Exec(_) => SocketAddr::new(to, port.unwrap_or(0)),
            CheckKind::Name(_) => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
            CheckKind::External(external) => {
                if external.id.contains(ADDRESS) {
                    let id = external.id.replace(ADDRESS, &address.to_string());
                    let kind = CheckKind::External(Box::new(ExternalCheck { id, ..(**external).clone() }));
                    check = Arc::new(Check { kind, ..Check::clone(&check) });
                }
                // The id alone says what it is about: whoever has the same one shares the verdict.
                SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)
            }
            _ => SocketAddr::new(to, port?),
        };
        Some(Target { address, check })
    }
}

fn set_sni(tls: &mut Option<TlsCheck>, host: String) {
    if let Some(tls) = tls.as_mut().filter(|tls| tls.sni.is_empty()) {
        tls.sni = host;
    }
}

/// The name as a host without a dot at its end, if clients could ask for it.
fn host_of(owner: &Name) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if owner.is_root() || !owner.labels().all(|label| label.iter().copied().all(plain)) {
        return None;
    }
    Some(owner.to_string().trim_end_matches('.').to_owned())
}

/// How many parts of a combination must be up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Each of them.
    All,
    /// One of them.
    Any,
    /// So many of them.
    AtLeast(u16),
}

/// A check whose references are resolved. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) enum Template {
    /// One probe.
    Probe(Arc<ProbeTemplate>),
    /// Several checks, and how many of them must be up.
    Combined(Wanted, Arc<[Template]>),
}

impl Template {
    /// How many probes it comes to.
    fn len(&self) -> usize {
        match self {
            Self::Probe(_) => 1,
            Self::Combined(_, parts) => parts.iter().map(Self::len).sum(),
        }
    }

    /// The same check with other probes; the error is the first that `probe` gives.
    fn map<E>(&self, probe: &mut impl FnMut(&ProbeTemplate) -> Result<ProbeTemplate, E>) -> Result<Self, E> {
        Ok(match self {
            Self::Probe(one) => Self::Probe(Arc::new(probe(one)?)),
            Self::Combined(wanted, parts) => {
                Self::Combined(*wanted, parts.iter().map(|part| part.map(probe)).collect::<Result<_, E>>()?)
            }
        })
    }

    /// For a record: see [`ProbeTemplate::for_record`].
    pub(super) fn for_record(&self, name: &Name, port: RecordPort) -> Result<Self, &'static str> {
        self.map(&mut |probe| probe.for_record(name, port))
    }

    /// Calls `leaf` for each probe.
    pub(super) fn for_each_probe<'t>(&'t self, leaf: &mut impl FnMut(&'t ProbeTemplate)) {
        match self {
            Self::Probe(probe) => leaf(probe),
            Self::Combined(_, parts) => parts.iter().for_each(|part| part.for_each_probe(leaf)),
        }
    }

    /// Whether any of its probes depends on the published address.
    pub(super) fn needs_address(&self) -> bool {
        let mut needs = false;
        self.for_each_probe(&mut |probe| needs |= probe.needs_address());
        needs
    }

    /// The condition over the targets that `target` makes of its probes; nothing as soon as one cannot be made.
    pub(crate) fn condition(
        &self,
        target: &mut impl FnMut(&Arc<ProbeTemplate>) -> Option<Target>,
    ) -> Option<Condition> {
        let (wanted, parts) = match self {
            Self::Probe(probe) => return target(probe).map(Condition::Target),
            Self::Combined(wanted, parts) => (wanted, parts),
        };
        let parts = parts.iter().map(|part| part.condition(target)).collect::<Option<Box<[_]>>>()?;
        Some(match wanted {
            Wanted::All => Condition::All(parts),
            Wanted::Any => Condition::Any(parts),
            Wanted::AtLeast(wanted) => Condition::AtLeast(*wanted, parts),
        })
    }
}

/// The checks of one file by name, with those of the file around it; nothing for one that was reported as wrong.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checks {
    own: HashMap<String, Option<Template>>,
    /// Those of `hale.json`, for a zone; one of the zone's own hides the one of the same name.
    outer: Option<Arc<Checks>>,
}

/// A name that refers to a check, with the JSON path and the place where it stands.
type Reference<'n> = (&'n str, String, Position);

impl Checks {
    /// A file without checks of its own.
    pub(crate) fn within(outer: Arc<Self>) -> Self {
        Self { own: HashMap::new(), outer: Some(outer) }
    }

    /// Resolves what the key `checks` holds. Its checks may refer to each other in any order, and to `outer` ones.
    pub(crate) fn resolve(reader: &mut Reader<'_>, map: &Map<Written>, outer: Option<Arc<Self>>) -> Self {
        let written = map.0.iter().map(|(name, check)| (&**name, check)).collect();
        let mut resolution =
            Resolution { written, done: Self { own: HashMap::new(), outer }, path: Vec::new() };
        for (name, check) in &map.0 {
            if name == "none" {
                reader.error_at(
                    "checks.none".to_owned(),
                    check.position,
                    "a check cannot be named \"none\"",
                    "\"check\": \"none\" means that nothing is checked; choose another name",
                );
            }
            resolution.named(reader, name, check);
        }
        resolution.done
    }

    /// What a name refers to; nothing if there is no such check, nothing within if it was reported as wrong.
    pub(crate) fn get(&self, name: &str) -> Option<&Option<Template>> {
        self.own.get(name).or_else(|| self.outer.as_ref()?.get(name))
    }

    fn names(&self) -> Vec<&str> {
        let mut names = self.outer.as_ref().map_or_else(Vec::new, |outer| outer.names());
        names.extend(self.own.keys().map(String::as_str));
        names
    }

    /// Looks a reference up, and reports one to nowhere.
    pub(crate) fn named(&self, reader: &mut Reader<'_>, (name, path, at): Reference<'_>) -> Option<Template> {
        if let Some(found) = self.get(name) {
            return found.clone();
        }
        unknown(reader, (name, path, at), self.names().into_iter());
        None
    }

    /// Resolves a check that stands in place, at `path`.
    pub(crate) fn inline(
        &self,
        reader: &mut Reader<'_>,
        written: &Written,
        path: &str,
        at: Position,
    ) -> Option<Template> {
        combine(written, reader, path, at, &mut |reader, reference| self.named(reader, reference))
    }
}

fn unknown<'n>(
    reader: &mut Reader<'_>,
    (name, path, at): Reference<'_>,
    known: impl Iterator<Item = &'n str>,
) {
    let hint = match nearest(name, known) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => "define it under \"checks\", in the zone or in hale.json".to_owned(),
    };
    reader.error_at(path, at, format!("there is no check \"{name}\""), hint);
}

/// The checks of one file while their names are resolved, depth first.
struct Resolution<'w> {
    written: HashMap<&'w str, &'w At<Option<Written>>>,
    done: Checks,
    /// The names that are being resolved, each for the one before it.
    path: Vec<&'w str>,
}

impl<'w> Resolution<'w> {
    fn named(
        &mut self,
        reader: &mut Reader<'_>,
        name: &'w str,
        check: &'w At<Option<Written>>,
    ) -> Option<Template> {
        if let Some(done) = self.done.own.get(name) {
            return done.clone();
        }
        self.path.push(name);
        let found = check.value.as_ref().and_then(|written| {
            let path = format!("checks.{name}");
            let lookup: Lookup<'_> = &mut |reader, reference| self.reference(reader, reference);
            combine(written, reader, &path, check.position, lookup)
        });
        self.path.pop();
        self.done.own.insert(name.to_owned(), found.clone());
        found
    }

    fn reference(&mut self, reader: &mut Reader<'_>, (name, path, at): Reference<'_>) -> Option<Template> {
        if let Some(start) = self.path.iter().position(|open| *open == name) {
            let cycle: Vec<String> = self.path[start..].iter().map(|name| format!("\"{name}\"")).collect();
            let message = format!("the check \"{name}\" rests on itself");
            let hint = format!("{} → \"{name}\": take one of them out", cycle.join(" → "));
            reader.error_at(path, at, message, hint);
            return None;
        }
        if let Some((own, check)) = self.written.get_key_value(name) {
            return self.named(reader, own, check);
        }
        if let Some(outer) = self.done.outer.as_ref().and_then(|outer| outer.get(name)) {
            return outer.clone();
        }
        let mut known = self.done.names();
        known.extend(self.written.keys().copied());
        unknown(reader, (name, path, at), known.into_iter());
        None
    }
}

type Lookup<'l> = &'l mut dyn FnMut(&mut Reader<'_>, Reference<'_>) -> Option<Template>;

/// A written check with its references looked up; nothing if any part of it was reported as wrong.
fn combine(
    written: &Written,
    reader: &mut Reader<'_>,
    path: &str,
    at: Position,
    lookup: Lookup<'_>,
) -> Option<Template> {
    let (wanted, key, parts) = match written {
        Written::Probe(probe) => return Some(Template::Probe(Arc::clone(probe))),
        Written::Combined { wanted, key, parts } => (*wanted, key, parts),
    };
    let mut found = Vec::with_capacity(parts.len());
    for Element { value, position, index } in parts {
        let path = format!("{path}.{key}[{index}]");
        found.push(match value {
            CheckRef::None => {
                let message = "\"none\" cannot be part of a combination";
                reader.error_at(path, *position, message, "a part is the name of a check, or a check");
                None
            }
            CheckRef::Named(name) => lookup(reader, (name, path, *position)),
            CheckRef::Inline(None) => None,
            CheckRef::Inline(Some(part)) => combine(part, reader, &path, *position, lookup),
        });
    }
    let found: Arc<[Template]> = found.into_iter().collect::<Option<_>>()?;
    let template = Template::Combined(wanted, found);
    if template.len() > MAX_CHECKS {
        let message =
            format!("this combination comes to {} checks, the limit is {MAX_CHECKS}", template.len());
        let hint = "each endpoint is probed by all of them: combine fewer, or let one exec check do the work";
        reader.error_at(path.to_owned(), at, message, hint);
        return None;
    }
    Some(template)
}
