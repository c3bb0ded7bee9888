//! Why an answer is what it is: the keeper's selection, health's results, people's words, the zone file's lines, and the answer itself.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hickory_proto::op::{Edns, Message};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{RData, Record};

use super::control::Handles;
use super::now_s;
use crate::answer::{Outcome, Query, Scratch, Settings, Transport, answer};
use crate::health::probe;
use crate::keeper::build::EndpointPlace;
use crate::keeper::explain::{NameOrigin, OwnerOrigin, Selected};
use crate::model::discovered::Origin;
use crate::model::explain::{
    AnswerReport, Client, ClientNetwork, EndpointReport, Explanation, NameExplanation, ProbedReport,
    SelectionReport, TypeReport, ZoneOfName,
};
use crate::model::name::Name;
use crate::model::pick::Pick;
use crate::model::rdata;
use crate::model::report::{OverrideReport, TargetReport};
use crate::model::rrset::Rrset;
use crate::model::rrtype::RrType;
use crate::model::target::{Group, TargetId};
use crate::resolver::own_name;
use crate::snapshot::Snapshot;
use crate::snapshot::handle::Published;
use crate::zone::select::{EndpointTrace, Reason, Selection, Trace};

/// Names that aliases may lead through, as many as the engine follows.
const MOST_NAMES: usize = 9;
/// Transitions told of each target; `/api/v1/targets/{id}/history` has all.
const TRANSITIONS: usize = 5;
/// Octets of the largest answer.
const MESSAGE: usize = 65_535;
/// The EDNS option of RFC 7871.
const CLIENT_SUBNET: u16 = 8;

impl Handles {
    /// What `client` would be answered for a name and type, and why.
    pub(super) fn explanation(&self, name: &Name, rtype: RrType, client: Client) -> Explanation {
        let settings = Settings { client_subnet: self.live.client_subnet(), ..Settings::default() };
        let wire = wire_answer(&self.published.load(), settings, name, rtype, client);
        let network = client.network.filter(|_| wire.report.ecs_scope.is_some());
        // A resolver that does not say for whom it asks is looked up itself (RFC 7871 §7.2.1).
        let decides = network.and_then(|network| network.client()).unwrap_or(client.address);
        let targets = self.target_reports().into_iter().map(|target| (target.id, target)).collect();
        let known = Known { handles: self, targets, client: decides };
        let mut names = Vec::new();
        let mut next = Some(name.clone());
        let mut seen: Vec<Name> = Vec::new();
        // Aliases are followed also where the answer is only that a verdict is awaited.
        while let Some(name) = next.take_if(|name| !seen.contains(name) && seen.len() < MOST_NAMES) {
            let (explained, alias) = known.name(&name);
            names.push(explained);
            next = wire.aliases.iter().find(|(from, _)| *from == name).map(|(_, to)| to.clone()).or(alias);
            seen.push(name);
        }
        Explanation {
            name: name.to_string(),
            rtype: rtype.to_string(),
            client: client.address,
            ecs: client.network.map(|network| network.to_string()),
            names,
            answer: wire.report,
        }
    }
}

/// What is looked up for each name.
struct Known<'a> {
    handles: &'a Handles,
    targets: HashMap<u32, TargetReport>,
    /// The address that decides where clients are given different answers.
    client: IpAddr,
}

impl Known<'_> {
    /// What answers for a name, and the name that it is an alias of.
    fn name(&self, name: &Name) -> (NameExplanation, Option<Name>) {
        // Before the first publication the keeper does not run.
        let origin = if self.handles.is_ready() { self.handles.keeper.explain(name) } else { None };
        let owner = origin.as_ref().and_then(|origin| origin.owner.as_ref());
        let selection = origin.as_ref().zip(owner).and_then(|(origin, owner)| self.selection(origin, owner));
        let alias = owner.and_then(|owner| owner.alias_of.clone());
        let explained = NameExplanation {
            name: name.to_string(),
            owner: owner.map(|owner| owner.name.to_string()),
            types: owner
                .map(|owner| owner.types.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
            from: owner
                .map(|owner| self.from(owner))
                .unwrap_or_default()
                .into_iter()
                .chain(self.hidden(name))
                .collect(),
            selection,
            zone: origin.map(|origin| ZoneOfName {
                apex: origin.zone.to_string(),
                alias_of: origin.alias_of.map(|apex| apex.to_string()),
                file: origin.file.display().to_string(),
                problem: origin.trouble,
                serial: origin.serial.map(|serial| serial.0),
            }),
        };
        (explained, alias)
    }

    /// That a person keeps it from being published, where any source wants it.
    fn hidden(&self, name: &Name) -> Option<String> {
        let text = name.to_string();
        let hidden = self.handles.discovery.hidden().into_iter().find(|hidden| hidden.name == text)?;
        Some(format!("hidden by {}: {}", hidden.owner, hidden.reason))
    }

    /// Where an owner's records come from besides the zone file.
    fn from(&self, owner: &OwnerOrigin) -> Vec<String> {
        let discovered = owner.discovered.iter();
        let mut from: Vec<String> = discovered
            .map(|Origin { source, object }| format!("discovered by {source} from {object}"))
            .collect();
        if let Some(host) = &owner.host {
            let known = self.handles.aliases.report().into_iter().find(|alias| alias.name == *host);
            let state = match known {
                None => "not resolved yet".to_owned(),
                Some(alias) => match (alias.age_s, alias.problem) {
                    (Some(age), None) => format!("resolved {age} s ago"),
                    (Some(age), Some(problem)) => format!("last resolved {age} s ago, and now: {problem}"),
                    (None, Some(problem)) => format!("not resolved since the start: {problem}"),
                    (None, None) => "not resolved yet".to_owned(),
                },
            };
            from.push(format!("ALIAS of {host}, {state}"));
        }
        from
    }

    fn selection(&self, origin: &NameOrigin, owner: &OwnerOrigin) -> Option<SelectionReport> {
        let Selected { selection, trace, .. } = owner.selected.as_ref()?;
        let words = |types: &[RrType]| types.iter().map(ToString::to_string).collect();
        Some(SelectionReport {
            endpoints: self.endpoints(origin, owner),
            // The root, and then in the order in which they are written.
            pools: trace
                .pools
                .iter()
                .take(1)
                .chain(trace.pools.iter().skip(1).rev())
                .map(ToString::to_string)
                .collect(),
            outcome: outcome(selection),
            answers: selection
                .rrsets
                .iter()
                .map(|default| {
                    let choice = selection
                        .choices
                        .iter()
                        .find(|choice| choice.sets.first().is_some_and(|first| first.rtype == default.rtype));
                    let sets = choice.map_or(std::slice::from_ref(default), |choice| &choice.sets);
                    self.answers(default, sets, choice.map(|choice| &choice.pick), trace)
                })
                .collect(),
            pending: words(&selection.pending),
            withheld: words(&selection.withheld),
        })
    }

    fn answers(&self, default: &Rrset, sets: &[Rrset], pick: Option<&Pick>, trace: &Trace) -> TypeReport {
        let given = match pick {
            None => Some(0),
            Some(pick) if pick.is_drawn() => None,
            Some(pick) => Some(usize::from(pick.choose(self.client, 0).set)),
        };
        let texts = |set: &Rrset| set.rdata.iter().map(|rdata| rdata::to_text(set.rtype, rdata)).collect();
        TypeReport {
            rtype: default.rtype.to_string(),
            ttl: default.ttl,
            ttl_because: ttl_because(default, trace),
            sets: sets.iter().map(texts).collect(),
            given,
        }
    }

    fn endpoints(&self, origin: &NameOrigin, owner: &OwnerOrigin) -> Vec<EndpointReport> {
        let Some(Selected { trace, endpoints, .. }) = &owner.selected else { return Vec::new() };
        let mut places = self.places(origin, &owner.name);
        let report = |(trace, origin): (&EndpointTrace, &crate::keeper::explain::EndpointOrigin)| {
            // Nothing is there twice but in several pools, and then in their order.
            let place = places.iter().position(|place| place.data == trace.data);
            EndpointReport {
                publishes: trace.data.to_string(),
                from: place.map(|i| places.remove(i).place),
                weight: origin.weight,
                share: trace.state.share,
                pools: trace.pools.clone(),
                rests_on: origin.condition.clone(),
                verdict: trace.state.verdict,
                counts_as: trace.counts_as,
                said: origin.said.as_ref().map(OverrideReport::from),
                targets: origin.targets.iter().filter_map(|id| self.target(*id)).collect(),
            }
        };
        trace.endpoints.iter().zip(endpoints).map(report).collect()
    }

    /// Where the owner's endpoints stand in the zone file as it is now.
    fn places(&self, origin: &NameOrigin, owner: &Name) -> Vec<EndpointPlace> {
        let Ok((sources, _)) = (self.handles.find_sources)() else { return Vec::new() };
        let Some(source) = sources.iter().find(|source| source.label() == origin.file) else {
            return Vec::new();
        };
        source.endpoint_places(&origin.zone, owner)
    }

    fn target(&self, id: TargetId) -> Option<ProbedReport> {
        let report = self.targets.get(&id.0)?.clone();
        let history = self.handles.health.history(id).map(|(_, history)| history).unwrap_or_default();
        Some(ProbedReport { report, history: history.into_iter().rev().take(TRANSITIONS).rev().collect() })
    }
}

/// What a probe met that did not simply succeed.
pub(super) fn problem(outcome: &probe::Outcome) -> Option<String> {
    match outcome {
        probe::Outcome::Success => None,
        probe::Outcome::HostUnreachable => Some("host unreachable".into()),
        probe::Outcome::Warning(why)
        | probe::Outcome::Failure(why)
        | probe::Outcome::Unrouted(why)
        | probe::Outcome::LocalError(why) => Some(why.to_string()),
    }
}

/// Where groups fare differently, each is told on its own: `A, AAAA: …; MX: …`.
fn outcome(selection: &Selection) -> String {
    let awaited = selection.pending.iter().map(|rtype| Group::of(*rtype));
    let mut groups: Vec<Group> = selection.reasons.iter().map(|(group, _)| *group).collect();
    groups.extend(awaited);
    groups.sort_by_key(|group| group.types()[0]);
    groups.dedup();
    let mut told: Vec<(String, &'static str)> = Vec::with_capacity(groups.len());
    for group in groups {
        let rtype = group.types()[0];
        let is_awaited = selection.pending.iter().any(|pending| Group::of(*pending) == group);
        let types: Vec<String> = group.types().iter().map(ToString::to_string).collect();
        told.push((types.join(", "), outcome_of(selection.reason(rtype), is_awaited)));
    }
    match &told[..] {
        [] => outcome_of(Reason::Healthy, false).to_owned(),
        [(_, first), others @ ..] if others.iter().all(|(_, other)| other == first) => (*first).to_owned(),
        _ => told.iter().map(|(types, so)| format!("{types}: {so}")).collect::<Vec<_>>().join("; "),
    }
}

fn outcome_of(reason: Reason, is_awaited: bool) -> &'static str {
    match reason {
        Reason::Healthy if !is_awaited => "by the policy, of what is up",
        Reason::Healthy => "some first verdicts are awaited",
        Reason::ServingAll => "all are down: by the policy as if all were up",
        Reason::LastGood => "all are down: by the policy, of what was up last",
        Reason::Fallback => "all are down: the fallback",
        Reason::Nothing => "all are down: nothing is answered",
    }
}

fn ttl_because(set: &Rrset, trace: &Trace) -> String {
    const RULE: &str = "the fastest check's interval × min(rise, fall), within 1 s and 5 m";
    let group = Group::of(set.rtype);
    match trace.auto_ttls.iter().find(|(of, _)| *of == group) {
        Some((_, auto)) if *auto == set.ttl => format!("auto: {RULE}"),
        Some((_, auto)) => format!("given in the zone file; auto would be {auto} s: {RULE}"),
        None => "of the zone file: nothing is checked".to_owned(),
    }
}

/// What stands on the wire.
pub(super) struct Wire {
    pub(super) report: AnswerReport,
    /// Aliases in the answer, with what they lead to.
    aliases: Vec<(Name, Name)>,
}

/// Asks the engine, as this client's query by TCP would.
pub(super) fn wire_answer(
    snapshot: &Snapshot,
    settings: Settings,
    name: &Name,
    rtype: RrType,
    client: Client,
) -> Wire {
    let mut scratch = Scratch::new(Arc::new(settings));
    let bytes = query(name, rtype, client.network);
    let peer = SocketAddr::new(client.address, 0);
    let query = Query { bytes: &bytes, peer, transport: Transport::Tcp, now_s: now_s() };
    let mut out = vec![0; MESSAGE];
    let message = match answer(snapshot, &mut scratch, &query, &mut out) {
        Outcome::Reply(reply) => Message::from_vec(&out[..reply.len]).ok(),
        Outcome::Drop => None,
    };
    // What cannot be read back would be a defect of the engine, which its tests look for.
    let Some(message) = message else {
        return Wire { report: AnswerReport::default(), aliases: Vec::new() };
    };
    let alias = |record: &Record| match &record.data {
        RData::CNAME(target) => Some((own_name(&record.name)?, own_name(&target.0)?)),
        _ => None,
    };
    let aliases = message.answers.iter().filter_map(alias).collect();
    let report = AnswerReport {
        ecs_scope: message.edns.as_ref().and_then(subnet_scope),
        rcode: message.metadata.response_code.to_string(),
        extended_error: message.edns.as_ref().and_then(extended_error),
        records: message.answers.iter().map(record_text).collect(),
    };
    Wire { report, aliases }
}

/// Answers the resolver's questions about names of our own zones, which may be known nowhere else.
pub(super) fn local_answers(published: Arc<Published>) -> crate::resolver::Local {
    Arc::new(move |name, rtype| {
        let snapshot = published.load();
        std::iter::successors(Some(name.clone()), Name::parent).find(|apex| snapshot.zone(apex).is_some())?;
        let bytes = query(name, rtype, None);
        let mut scratch = Scratch::new(Arc::new(Settings::default()));
        let peer = SocketAddr::from(([127, 0, 0, 1], 0));
        let query = Query { bytes: &bytes, peer, transport: Transport::Tcp, now_s: now_s() };
        let mut out = vec![0; MESSAGE];
        match answer(&snapshot, &mut scratch, &query, &mut out) {
            Outcome::Reply(reply) => {
                out.truncate(reply.len);
                Some(out)
            }
            Outcome::Drop => None,
        }
    })
}

/// A query of class IN with EDNS (RFC 6891 §6.1.2), so that extended errors are told.
fn query(name: &Name, rtype: RrType, network: Option<ClientNetwork>) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    bytes.extend_from_slice(name.wire());
    bytes.extend_from_slice(&rtype.0.to_be_bytes());
    bytes.extend_from_slice(&[0, 1]);
    bytes.extend_from_slice(&[0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0]);
    // At most 20 octets of data.
    let subnet = network.map(|network| network.option()).unwrap_or_default();
    let length = if subnet.is_empty() { 0 } else { 4 + subnet.len() as u16 };
    bytes.extend_from_slice(&length.to_be_bytes());
    if !subnet.is_empty() {
        bytes.extend_from_slice(&CLIENT_SUBNET.to_be_bytes());
        bytes.extend_from_slice(&(subnet.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&subnet);
    }
    bytes
}

fn record_text(record: &Record) -> String {
    let name = own_name(&record.name).map_or_else(|| record.name.to_string(), |name| name.to_string());
    format!("{name} {} {} {} {}", record.ttl, record.dns_class, record.record_type(), record.data)
}

/// The scope of a response's client subnet option (RFC 7871 §6).
fn subnet_scope(edns: &Edns) -> Option<u8> {
    edns.options().as_ref().iter().find_map(|(_, option)| match option {
        EdnsOption::Subnet(subnet) => Some(subnet.scope_prefix()),
        _ => None,
    })
}

/// RFC 8914: a code, and a text after it.
fn extended_error(edns: &Edns) -> Option<String> {
    edns.options().as_ref().iter().find_map(|(_, option)| {
        let EdnsOption::Unknown(15, bytes) = option else { return None };
        let (code, text) = bytes.split_first_chunk::<2>()?;
        let name = match u16::from_be_bytes(*code) {
            0 => "Other",
            3 => "Stale Answer",
            14 => "Not Ready",
            20 => "Not Authoritative",
            _ => "",
        };
        let parts =
            [u16::from_be_bytes(*code).to_string(), name.to_owned(), String::from_utf8_lossy(text).into()];
        Some(parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "))
    })
}
