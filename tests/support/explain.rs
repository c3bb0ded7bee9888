//! Compares decoded answers of two servers, section by section.
//!
//! Where servers may legitimately differ, a *rule* says so by RFC section and brings both answers to one form; it checks what it
//! takes away against the zone's true data, so that a rule excuses only what it is about. Rules never look at the rcode alone.
//! How often each rule was needed is counted and printed.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::client::Via;
use super::denial;
use super::wire::{Message, QueryBuilder, Record, WireName, rcode, rtype};

/// All records of the zones that the servers serve, from a transfer.
#[derive(Default)]
pub struct Truth {
    apexes: Vec<WireName>,
    records: HashSet<Record>,
    sets: BTreeMap<(WireName, u16), BTreeSet<Record>>,
    names: HashSet<WireName>,
}

impl Truth {
    /// Adds a zone's records.
    pub fn add(&mut self, apex: &str, records: Vec<Record>) {
        self.apexes.push(WireName::new(apex));
        for record in records {
            let mut name = Some(record.owner.clone());
            while let Some(ancestor) = name.filter(|name| self.names.insert(name.clone())) {
                name = ancestor.parent();
            }
            self.sets.entry((record.owner.clone(), record.rtype)).or_default().insert(record.clone());
            self.records.insert(record);
        }
    }

    /// The records of one type of an owner.
    pub fn set(&self, owner: &WireName, wanted: u16) -> impl Iterator<Item = &Record> {
        self.sets.get(&(owner.clone(), wanted)).into_iter().flatten()
    }

    /// The apex of the zone that holds the name.
    pub fn zone_of<'a>(&'a self, name: &WireName) -> Option<&'a WireName> {
        self.apexes.iter().find(|apex| name.is_within(apex))
    }

    /// The zone cut at or above the name, the topmost one; `None` for what is authoritative.
    pub fn cut_above(&self, name: &WireName) -> Option<WireName> {
        let apex = self.zone_of(name)?;
        let mut cut = None;
        let mut at = name.clone();
        while at != *apex {
            if self.set(&at, rtype::NS).next().is_some() {
                cut = Some(at.clone());
            }
            at = at.parent()?;
        }
        cut
    }

    /// Whether the name or one below it holds records (RFC 8020: also an empty non-terminal exists).
    pub fn exists(&self, name: &WireName) -> bool {
        self.names.contains(name)
    }

    /// Whether the record is in a zone, as it stands or as a wildcard's expansion (RFC 4592).
    pub fn is_true(&self, record: &Record) -> bool {
        if self.records.contains(record) {
            return true;
        }
        let mut ancestor = record.owner.parent();
        while let Some(name) = ancestor {
            let source = Record { owner: name.child(b"*"), ..record.clone() };
            if self.records.contains(&source) {
                return true;
            }
            ancestor = name.parent();
        }
        false
    }
}

/// How often each rule was needed.
pub type Uses = BTreeMap<&'static str, usize>;

/// An answer as it is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Normal {
    rcode: u16,
    aa: bool,
    tc: bool,
    answer: BTreeSet<Record>,
    authority: BTreeSet<Record>,
    additional: BTreeSet<Record>,
}

/// Compares two answers to one query. `Err` tells every difference that no rule explains.
pub fn compare(
    truth: &Truth,
    query: &QueryBuilder,
    via: Via,
    left: (&str, &Message),
    right: (&str, &Message),
    uses: &mut Uses,
) -> Result<(), String> {
    for (name, message) in [left, right] {
        check_alone(truth, query, via, message).map_err(|error| format!("{name}: {error}: {message:#?}"))?;
    }
    let mut a = normalise(truth, left.1, uses);
    let mut b = normalise(truth, right.1, uses);
    between(truth, query, [left.0, right.0], &mut a, &mut b, uses);
    if a == b {
        return Ok(());
    }
    let claims = denial::claims(truth, &query.name, query.qtype, &a.answer, None);
    let mut text = format!("{query:?} by {via:?}, owes {claims:?}\n");
    for (section, one, two) in [
        ("answer", &a.answer, &b.answer),
        ("authority", &a.authority, &b.authority),
        ("additional", &a.additional, &b.additional),
    ] {
        for record in one.difference(two) {
            text += &format!("  {section}: only {}: {record:?}\n", left.0);
        }
        for record in two.difference(one) {
            text += &format!("  {section}: only {}: {record:?}\n", right.0);
        }
    }
    for (name, side) in [(left.0, &a), (right.0, &b)] {
        text += &format!("  {name}: rcode {} aa {} tc {}\n", side.rcode, side.aa, side.tc);
        for record in side.answer.iter().chain(&side.authority) {
            text += &format!("      {record:?}\n");
        }
    }
    Err(text)
}

/// What every answer must be, whatever another server says.
fn check_alone(truth: &Truth, query: &QueryBuilder, via: Via, message: &Message) -> Result<(), String> {
    if message.questions != [(query.name.clone(), query.qtype, query.class)] {
        return Err(
            "the question is not echoed as it was (RFC 1035 §4.1.1, case by draft-vixie-dnsext-dns0x20)"
                .into(),
        );
    }
    if message.opt.is_some() != query.edns.is_some() {
        return Err("OPT in the answer if and only if in the query (RFC 6891 §6.1.1)".into());
    }
    let limit = query.edns.as_ref().map_or(512, |edns| usize::from(edns.udp_size.max(512)));
    if via == Via::Udp && message.len > limit {
        return Err(format!("{} octets where the client takes {limit}", message.len));
    }
    for record in &message.additional {
        if !truth.is_true(record) {
            return Err(format!("additional record that no zone holds: {record:?}"));
        }
    }
    Ok(())
}

/// Holds an answer by UDP against the same server's by TCP. TC exactly where something required does not fit (RFC 2181 §9, RFC 9471 §3),
/// and only whole RRsets (RFC 2181 §5); what the server left out without TC must be optional.
pub fn check_truncation(
    truth: &Truth,
    query: &QueryBuilder,
    udp: &Message,
    tcp: &Message,
) -> Result<(), String> {
    let describe = |what: &str| {
        Err(format!(
            "{what}
{query:?}
by UDP {udp:#?}
by TCP {tcp:#?}"
        ))
    };
    // Where a chain is cut, its end and so the rcode of the end (RFC 6604 §3) are not known yet.
    let cut_chain =
        udp.tc && udp.rcode == rcode::NOERROR && udp.answer.iter().any(|record| record.rtype == rtype::CNAME);
    if (udp.rcode != tcp.rcode && !cut_chain) || udp.aa != tcp.aa || tcp.tc {
        return describe("UDP and TCP disagree in the header");
    }
    let [short, long] = [udp, tcp].map(|message| normalise(truth, message, &mut Uses::new()));
    for (name, some, all) in [
        ("answer", &udp.answer, &tcp.answer),
        ("authority", &udp.authority, &tcp.authority),
        ("additional", &udp.additional, &tcp.additional),
    ] {
        let sets = |records: &[Record]| {
            let mut sets: BTreeMap<(WireName, u16, u16), BTreeSet<Record>> = BTreeMap::new();
            for record in records {
                sets.entry((record.owner.clone(), record.rtype, record.covered()))
                    .or_default()
                    .insert(record.clone());
            }
            sets
        };
        let all = sets(all);
        if sets(some).iter().any(|(key, set)| all.get(key) != Some(set)) {
            return describe(&format!("the {name} section has part of an RRset, or one that TCP has not"));
        }
    }
    let limit = query.edns.as_ref().map_or(512, |edns| usize::from(edns.udp_size.clamp(512, 1232)));
    if udp.tc && tcp.len <= limit {
        return describe("TC although all of it fits");
    }
    if !udp.tc && (short.answer != long.answer || short.authority != long.authority) {
        return describe("something required is left out without TC");
    }
    // RFC 9471 §3.1: without TC all glue below the cut is there. §3.2: sibling glue may be left out, but not in favour of addresses that
    // are authoritative and can be asked for.
    let cut = udp.authority.iter().find(|record| record.rtype == rtype::NS).map(|record| &record.owner);
    let in_domain = |record: &Record| cut.is_some_and(|cut| record.owner.is_within(cut));
    let left_out: Vec<&Record> = long.additional.difference(&short.additional).collect();
    if !udp.tc && !udp.aa && left_out.iter().any(|record| in_domain(record)) {
        return describe("glue below the cut is left out without TC (RFC 9471 §3.1)");
    }
    let elsewhere = |record: &Record| truth.cut_above(&record.owner).is_none();
    if !udp.tc && !udp.aa && !left_out.is_empty() && udp.additional.iter().any(elsewhere) {
        return describe("sibling glue is left out where other addresses found room (RFC 9471 §3.2)");
    }
    Ok(())
}

/// Brings an answer to the common form by the rules that concern it alone.
fn normalise(truth: &Truth, message: &Message, uses: &mut Uses) -> Normal {
    let set = |records: &[Record]| records.iter().cloned().collect::<BTreeSet<_>>();
    let mut normal = Normal {
        rcode: message.rcode,
        aa: message.aa,
        tc: message.tc,
        answer: set(&message.answer),
        authority: set(&message.authority),
        additional: set(&message.additional),
    };
    // RFC 1034 §3.7, §4.3.2 step 6: an answer may bring the zone's own NS RRset; nothing needs it.
    let before = normal.authority.len();
    if message.aa && !message.answer.is_empty() {
        let apexes = &truth.apexes;
        normal.authority.retain(|record| record.covered() != rtype::NS || !apexes.contains(&record.owner));
    }
    count(uses, "RFC 1034 §3.7: the apex NS RRset with an answer", before != normal.authority.len());
    // RFC 1034 §4.3.2 step 6: what "may be useful". Only the glue of a referral is required (RFC 9471 §3), and checked there.
    if message.aa || !message.answer.is_empty() {
        count(
            uses,
            "RFC 1034 §4.3.2 step 6: additional data that may be useful",
            !normal.additional.is_empty(),
        );
        normal.additional.clear();
    }
    // RFC 9471 §2: glue is what lies below a cut. Of a name server elsewhere in the zone the addresses are useful, not glue; NSD and
    // Knot DNS add them even where a wildcard makes them.
    let before = normal.additional.len();
    normal.additional.retain(|record| truth.cut_above(&record.owner).is_some());
    count(
        uses,
        "RFC 9471 §2: authoritative addresses with a referral are not glue",
        before != normal.additional.len(),
    );
    normal
}

/// Rules about a pair of answers. Where a rule speaks of one server, no other is excused.
fn between(
    truth: &Truth,
    query: &QueryBuilder,
    names: [&str; 2],
    a: &mut Normal,
    b: &mut Normal,
    uses: &mut Uses,
) {
    if a == b {
        return;
    }
    minimal_any(truth, query, a, b, uses);
    // RFC 2181 §9: of a truncated answer only the header counts. `check_truncation` holds it against the same server's answer by TCP.
    if a.tc || b.tc {
        count(uses, "RFC 2181 §9: a truncated answer", true);
        for side in [&mut *a, b] {
            *side = Normal { rcode: side.rcode, aa: side.aa, ..Normal::default() };
        }
    }
    let border = stops_at_zone_border(truth, a, b, uses);
    nsec_at_an_unsigned_alias(query, a, b, uses);
    inexact_proof(truth, query, border.as_ref(), names, [a, b], uses);
}

/// RFC 8482 §4: a responder to QTYPE=ANY may give a subset of the RRsets, or a HINFO record of its own. Whatever is given must be true,
/// and both servers must have found something or both nothing.
fn minimal_any(truth: &Truth, query: &QueryBuilder, a: &mut Normal, b: &mut Normal, uses: &mut Uses) {
    // What both say is no difference; it may be a CNAME that a DNAME made, which no zone holds.
    let common: BTreeSet<Record> = a.answer.intersection(&b.answer).cloned().collect();
    let given = |normal: &Normal| {
        let honest =
            |record: &Record| common.contains(record) || truth.is_true(record) || is_rfc8482_hinfo(record);
        !normal.answer.is_empty() && normal.answer.iter().all(honest)
    };
    if query.qtype == rtype::ANY && given(a) && given(b) && a.rcode == b.rcode && a.aa == b.aa {
        count(uses, "RFC 8482 §4: a subset of the RRsets, or HINFO, for QTYPE=ANY", true);
        for side in [a, b] {
            side.answer.clear();
            side.authority.clear();
            side.tc = false;
        }
    }
}

fn is_rfc8482_hinfo(record: &Record) -> bool {
    record.rtype == rtype::HINFO && record.rdata.starts_with(b"\x07RFC8482")
}

/// RFC 1034 §4.3.2 step 3a: the search starts again at step 1 with a CNAME's target, in whatever zone it lies. A resolver starts again
/// there by itself, so a server may stop at the border of a zone, as Knot DNS does. The chain up to there must be the same; what the
/// subject says beyond is compared with the reference that goes on.
/// Gives the name at which the answers now end.
fn stops_at_zone_border(truth: &Truth, a: &mut Normal, b: &Normal, uses: &mut Uses) -> Option<WireName> {
    let last = last_target(b)?;
    let border = b.answer.iter().any(|record| {
        record.rtype == rtype::CNAME
            && record.name_at(0) == last
            && truth.zone_of(&record.owner) != truth.zone_of(&last)
    });
    // With a SOA it went on, and found nothing at the target.
    let went_on = b.authority.iter().any(|record| record.rtype == rtype::SOA);
    if !border || went_on || b.rcode != rcode::NOERROR || !b.answer.is_subset(&a.answer) {
        return None;
    }
    // Nothing that the subject adds may stand before the border: its owners are the border's target and what follows from it.
    let beyond: BTreeSet<Record> = a.answer.difference(&b.answer).cloned().collect();
    let before: HashSet<&WireName> = b.answer.iter().map(|record| &record.owner).collect();
    if beyond.iter().any(|record| before.contains(&record.owner) && record.covered() != rtype::DNAME) {
        return None;
    }
    count(uses, "RFC 1034 §4.3.2 step 3a: a chain that stops at the border of a zone", true);
    a.answer = b.answer.clone();
    a.rcode = b.rcode;
    a.tc = b.tc;
    // The proofs about the part before the border (a wildcard's, RFC 4035 §3.1.3.3) must be there; what the subject proves beyond it is
    // about zones where the chain has been since, and true.
    let since: HashSet<Option<&WireName>> = (beyond.iter().map(|record| truth.zone_of(&record.owner)))
        .chain(
            beyond
                .iter()
                .filter(|record| record.rtype == rtype::CNAME)
                .map(|record| truth.zone_of(&record.name_at(0))),
        )
        .chain([truth.zone_of(&last)])
        .collect();
    a.authority.retain(|record| {
        b.authority.contains(record)
            || !truth.is_true(record)
            || !since.contains(&truth.zone_of(&record.owner))
    });
    Some(last)
}

/// Where the chain of CNAMEs in an answer ends without the end being in the answer.
fn last_target(normal: &Normal) -> Option<WireName> {
    let owners: HashSet<&WireName> = normal.answer.iter().map(|record| &record.owner).collect();
    let cnames = normal.answer.iter().filter(|record| record.rtype == rtype::CNAME);
    cnames.map(|record| record.name_at(0)).find(|target| !owners.contains(target))
}

/// RFC 4035 §2.5 lets NSEC stand beside a CNAME, so BIND and Knot DNS never follow a CNAME for QTYPE=NSEC; RFC 1034 §3.6.2 says to follow
/// it wherever the type is not there, as NSD does in an unsigned zone.
fn nsec_at_an_unsigned_alias(query: &QueryBuilder, a: &mut Normal, b: &mut Normal, uses: &mut Uses) {
    let stops_at = |short: &Normal, long: &Normal| {
        let at = last_target(short).unwrap_or_else(|| query.name.lower());
        let alias = long.answer.iter().any(|record| record.rtype == rtype::CNAME && record.owner == at);
        alias && short.answer.is_subset(&long.answer) && short.rcode == rcode::NOERROR && short.aa
    };
    if query.qtype == rtype::NSEC && (stops_at(a, b) || stops_at(b, a)) {
        count(uses, "RFC 4035 §2.5 and RFC 1034 §3.6.2: QTYPE=NSEC at a CNAME of an unsigned zone", true);
        *a = b.clone();
    }
}

/// RFC 4035 §3.1.3: what an answer has to prove is the same for all, and `denial` works it out from the zone. Known deviations: NSD 4.6 aims
/// its proofs at a wrong name after a DNAME; Knot DNS 3.2 leaves out the proof that there is no closer match where QTYPE is NSEC and the
/// wildcard's own NSEC would be that proof (§3.1.3.3), and where the name asked for begins with an asterisk label (§3.1.3.4). An
/// answer is excused only where the other one is exact by the RFC and differs in NSEC records alone.
fn inexact_proof(
    truth: &Truth,
    query: &QueryBuilder,
    border: Option<&WireName>,
    names: [&str; 2],
    sides: [&mut Normal; 2],
    uses: &mut Uses,
) {
    let [a, b] = sides;
    let denies = |record: &Record| record.covered() == rtype::NSEC;
    if a.answer != b.answer || a.authority.symmetric_difference(&b.authority).any(|record| !denies(record)) {
        return;
    }
    let claims = denial::claims(truth, &query.name, query.qtype, &a.answer, border);
    let exact = [denial::is_exact(&claims, &a.authority), denial::is_exact(&claims, &b.authority)];
    for (index, rule) in [
        ("nsd", "RFC 4035 §3.1.3: NSD proves the wrong thing after a DNAME"),
        ("knotd", "RFC 4035 §3.1.3.3, §3.1.3.4: Knot DNS leaves a proof out"),
    ]
    .iter()
    .flat_map(|rule| [(0, rule), (1, rule)])
    .filter_map(|(index, (server, rule))| {
        (names[index] == *server && !exact[index] && exact[1 - index]).then_some((index, *rule))
    }) {
        count(uses, rule, true);
        let authority = if index == 0 { b.authority.clone() } else { a.authority.clone() };
        a.authority = authority.clone();
        b.authority = authority;
    }
}

fn count(uses: &mut Uses, rule: &'static str, used: bool) {
    if used {
        *uses.entry(rule).or_default() += 1;
    }
}
