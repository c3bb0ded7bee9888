//! The algorithm of RFC 1034 §4.3.2 as amended: from a question to the records of the answer section, hop by hop.
//!
//! Each step that needs a DNSSEC proof queues it here, beside the step (RFC 4035 §3.1.3); denial.rs writes the queue.

use crate::model::name::MAX_NAME_OCTETS;
use crate::model::rrtype::RrType;
use crate::snapshot::lookup::{
    Chooser, Found, KeyedName, Node, Note, RrsetView, Snapshot, ZoneImage, ZoneRef,
};

use super::Kind;
use super::additional::Targets;
use super::denial::Proofs;
use super::edns::ExtendedError;
use super::encode::{Full, MAX_POINTER, Owner, Response, Rrs, Section};
use super::parse::HEADER;
use super::rcode::Rcode;

/// CNAMEs and DNAMEs followed for one question.
pub(super) const MAX_HOPS: usize = 8;
/// RDATA and TTL of the answer to ANY in an unsigned zone (RFC 8482 §4.2).
const ANY_HINFO: &[u8] = b"\x07RFC8482\0";
const ANY_TTL_S: u32 = 3600;

/// Where the name in work stands in the message: its labels down to `split` labels literally at `owner_at`, those of the
/// suffix of `split` labels at `split_at`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    owner_at: usize,
    split: usize,
    split_at: usize,
}

impl Place {
    /// A name that stands uncompressed at `at`.
    #[inline]
    fn whole(name: &KeyedName, at: usize) -> Self {
        Self { owner_at: at, split: 0, split_at: at + name.len() - 1 }
    }

    /// Where the whole name stands.
    #[inline]
    fn of_name(&self, name: &KeyedName) -> usize {
        if name.depth() > self.split { self.owner_at } else { self.at(name, name.depth()) }
    }

    /// Where the suffix of `depth` labels stands.
    #[inline]
    pub(super) fn at(&self, name: &KeyedName, depth: usize) -> usize {
        if depth > self.split {
            self.owner_at + name.start(depth)
        } else {
            self.split_at + name.start(depth) - name.start(self.split)
        }
    }
}

/// The zone that the name in work belongs to.
#[derive(Clone, Copy)]
pub(super) struct Hop<'s> {
    pub(super) image: &'s ZoneImage,
    pub(super) place: Place,
    /// Where the apex stands in the message.
    pub(super) apex_at: usize,
}

/// What comes after a step.
enum Step {
    Done(Kind),
    /// The name in work has changed to a CNAME's or DNAME's target, which stands at this place.
    Follow(Place),
}

/// A worker's room for names, its count of rotations, and what the query brings to a choice.
pub(super) struct Work<'w> {
    pub(super) name: &'w mut KeyedName,
    pub(super) other: &'w mut KeyedName,
    pub(super) turn: &'w mut u32,
    pub(super) chooser: Chooser<'w>,
    /// The query is for a client's network.
    pub(super) is_for_subnet: bool,
}

/// One question on its way to an answer.
pub(super) struct Resolver<'s, 'w, 'o> {
    pub(super) snapshot: &'s Snapshot,
    pub(super) response: &'w mut Response<'o>,
    /// The name in work, and room for another one.
    pub(super) name: &'w mut KeyedName,
    pub(super) other: &'w mut KeyedName,
    turn: &'w mut u32,
    /// Picks among the answers of owners with a policy.
    pub(super) chooser: Chooser<'w>,
    is_for_subnet: bool,
    pub(super) qtype: RrType,
    pub(super) dnssec_ok: bool,
    pub(super) rcode: Rcode,
    pub(super) error: Option<ExtendedError>,
    /// Hash of the name that a rate limit counts ([`Class::name_hash`](super::Class::name_hash)).
    pub(super) counted: u64,
    pub(super) proofs: Option<Proofs<'s>>,
    /// The RRset whose targets' addresses go into the additional section.
    pub(super) targets: Option<Targets<'s>>,
    trail: Option<Trail>,
}

/// Where a chain has been: names by hash, and DNAMEs. Made when the first link is followed.
#[derive(Clone, Copy, Default)]
struct Trail {
    names: [u64; MAX_HOPS + 1],
    dnames: [usize; MAX_HOPS + 1],
}

impl<'s, 'w, 'o> Resolver<'s, 'w, 'o> {
    #[inline]
    pub(super) fn new(
        snapshot: &'s Snapshot,
        Work { name, other, turn, chooser, is_for_subnet }: Work<'w>,
        response: &'w mut Response<'o>,
        qtype: RrType,
        dnssec_ok: bool,
    ) -> Self {
        Self {
            snapshot,
            response,
            name,
            other,
            turn,
            chooser,
            is_for_subnet,
            qtype,
            dnssec_ok,
            rcode: Rcode::NOERROR,
            error: None,
            counted: 0,
            proofs: None,
            targets: None,
            trail: None,
        }
    }

    /// The zone that answers for the name in work: the longest match, but for DS at an apex the parent's side of the cut (RFC 4035
    /// §3.1.4.1). A parent that does not delegate the name knows nothing of it, and would deny a zone that exists.
    #[inline]
    pub(super) fn zone(&self) -> Option<ZoneRef<'s>> {
        let zone = self.snapshot.zone_of(self.name, self.name.depth())?;
        if self.qtype == RrType::DS { Some(self.zone_for_ds(zone)) } else { Some(zone) }
    }

    #[cold]
    fn zone_for_ds(&self, zone: ZoneRef<'s>) -> ZoneRef<'s> {
        let depth = self.name.depth();
        if depth == 0 || zone.apex.wire().len() != self.name.len() {
            return zone;
        }
        let parent = self.snapshot.zone_of(self.name, depth - 1);
        parent.filter(|parent| parent.image.is_some_and(|image| image.delegates(self.name))).unwrap_or(zone)
    }

    /// The zone that a link leads to: not woven into the path of names without one.
    #[inline(never)]
    fn next_zone(&self) -> Option<ZoneRef<'s>> {
        self.zone()
    }

    /// Answers from `zone`, and from every zone that CNAMEs and DNAMEs lead to.
    #[inline]
    pub(super) fn resolve(&mut self, zone: &ZoneRef<'s>) -> Kind {
        let Some(mut image) = zone.image else {
            return self.fail(Rcode::SERVFAIL, ExtendedError::BROKEN_ZONE);
        };
        self.response.authoritative = true;
        let mut place = Place::whole(self.name, HEADER);
        for hop in 0..=MAX_HOPS {
            let apex_at = place.at(self.name, image.apex_depth());
            place = match self.step(&Hop { image, place, apex_at }, hop) {
                Step::Done(kind) => return kind,
                Step::Follow(place) => place,
            };
            // The target of a chain in a zone that is not served ends it: whoever asked goes on from there.
            let Some(next) = self.next_zone() else { break };
            let Some(next) = next.image else {
                return self.fail(Rcode::SERVFAIL, ExtendedError::BROKEN_ZONE);
            };
            let names = &mut self.trail.get_or_insert_default().names;
            names[hop] = self.other.whole_hash();
            if names[..=hop].contains(&self.name.whole_hash()) {
                break;
            }
            image = next;
        }
        self.finish_authority(None);
        Kind::Positive
    }

    #[inline]
    fn step(&mut self, hop: &Hop<'s>, number: usize) -> Step {
        match hop.image.lookup(self.name) {
            Found::Exact(node) => {
                self.count_as(number, self.name.depth());
                if node.is_cut() && self.qtype != RrType::DS {
                    return Step::Done(self.refer(hop, node, self.name.depth()));
                }
                self.answer_from(hop, node, None)
            }
            other => self.step_aside(hop, other, number),
        }
    }

    /// Where a chain leads is not the client's choice: what counts is the name that its first step found, the suffix of `depth` labels.
    #[inline]
    fn count_as(&mut self, number: usize, depth: usize) {
        if number == 0 {
            self.counted = self.name.suffix_hash(depth);
        }
    }

    /// A step that finds another name than the one asked for, or none. A function of its own, so that what finds the name itself, which
    /// most queries do, is one piece of code without room for the rest.
    #[inline(never)]
    fn step_aside(&mut self, hop: &Hop<'s>, found: Found<'s>, number: usize) -> Step {
        match found {
            // Not reached: `step` takes this one.
            Found::Exact(node) => self.answer_from(hop, node, None),
            Found::Wildcard { source, encloser } => {
                self.count_as(number, encloser);
                if source.is_cut() && self.qtype != RrType::DS {
                    self.prove_no_closer_name(hop);
                    return Step::Done(self.refer(hop, source, self.name.depth()));
                }
                self.answer_from(hop, source, Some(encloser))
            }
            Found::BelowCut { cut, depth } => {
                self.count_as(number, depth);
                Step::Done(self.refer(hop, cut, depth))
            }
            Found::BelowDname { node, depth } => {
                self.count_as(number, depth);
                self.redirect(hop, node, depth, number)
            }
            Found::Missing { encloser } => {
                self.count_as(number, hop.image.apex_depth());
                self.rcode = Rcode::NXDOMAIN;
                self.prove_name_missing(hop, encloser);
                self.finish_authority(Some(hop));
                Step::Done(Kind::Nxdomain)
            }
        }
    }

    /// Answers from a node: the name's own, or the source of synthesis with the closest encloser's depth.
    #[inline]
    fn answer_from(&mut self, hop: &Hop<'s>, node: Node<'s>, encloser: Option<usize>) -> Step {
        if node.has_pending() && self.awaits_verdict(node) {
            return Step::Done(self.fail(Rcode::SERVFAIL, ExtendedError::NOT_READY));
        }
        if encloser.is_some() {
            self.prove_no_closer_name(hop);
        }
        let kind = if encloser.is_some() { Kind::Synthesised } else { Kind::Positive };
        let Some(set) = self.select(hop, node) else {
            return self.answer_otherwise(hop, node, encloser, kind);
        };
        if let Ok(start) = self.put_answer(hop, &set)
            && let Some(targets) = Targets::of(hop, &set, start)
        {
            self.targets = Some(targets);
        }
        self.finish_authority(None);
        Step::Done(kind)
    }

    /// Whether what the query asks for is not known before some check's first verdict.
    #[cold]
    fn awaits_verdict(&self, node: Node<'s>) -> bool {
        self.qtype == RrType::ANY || node.is_pending(self.qtype) || node.is_pending(RrType::CNAME)
    }

    /// Answers from a node that has no RRset of the QTYPE.
    #[inline(never)]
    fn answer_otherwise(
        &mut self,
        hop: &Hop<'s>,
        node: Node<'s>,
        encloser: Option<usize>,
        kind: Kind,
    ) -> Step {
        if self.qtype == RrType::ANY && node.rrsets().next().is_some() {
            return Step::Done(self.answer_any_unsigned(hop, kind));
        }
        if node.has_cname()
            && let Some(set) = node.rrset_for(RrType::CNAME, hop.image.tables(), &mut self.chooser)
        {
            return self.follow_cname(hop, &set, kind);
        }
        if node.is_withheld(self.qtype) || node.is_withheld(RrType::CNAME) {
            self.note(ExtendedError::WITHHELD);
        }
        self.prove_type_missing(hop, node, encloser);
        self.finish_authority(Some(hop));
        Step::Done(Kind::Nodata)
    }

    /// The RRset that answers the QTYPE, if the node has one.
    #[inline]
    fn select(&mut self, hop: &Hop<'s>, node: Node<'s>) -> Option<RrsetView<'s>> {
        match self.qtype {
            RrType::ANY | RrType::RRSIG => self.select_one_of_all(hop, node),
            qtype => node.rrset_for(qtype, hop.image.tables(), &mut self.chooser),
        }
    }

    /// For ANY one RRset that exists, the smallest (RFC 8482 §4.1): it can be validated. An unsigned zone says HINFO, unless a CNAME
    /// would make that a lie (§4.2). For RRSIG likewise the signatures of one RRset: no set of all of them exists that could be validated.
    #[cold]
    fn select_one_of_all(&mut self, hop: &Hop<'s>, node: Node<'s>) -> Option<RrsetView<'s>> {
        if self.qtype == RrType::RRSIG {
            let signed = node.rrsets().filter(|set| set.signature_count > 0);
            return signed.min_by_key(|set| set.signatures().len()).map(|set| set.signatures_alone());
        }
        if hop.image.is_signed() {
            let sets = node.rrsets().filter(|set| set.rtype != RrType::NSEC);
            sets.min_by_key(|set| set.rrs_and_signatures().len()).or_else(|| node.rrset(RrType::NSEC))
        } else {
            node.rrset_for(RrType::CNAME, hop.image.tables(), &mut self.chooser)
        }
    }

    /// Writes an RRset of the name in work into the answer section.
    #[inline]
    fn put_answer(&mut self, hop: &Hop<'s>, set: &RrsetView<'s>) -> Result<usize, Full> {
        let owner_at = hop.place.of_name(self.name);
        self.put(Section::Answer, hop, set, Owner::At(owner_at))
    }

    /// Writes an RRset that the response cannot do without: if it does not fit, the response is truncated (RFC 2181 §9).
    #[inline]
    pub(super) fn put(
        &mut self,
        section: Section,
        hop: &Hop<'s>,
        set: &RrsetView<'s>,
        owner: Owner<'_>,
    ) -> Result<usize, Full> {
        if set.note != Note::None {
            self.note_of(set.note);
        }
        let first = self.next_turn(set);
        let rrs = Rrs { set, owner, apex_at: hop.apex_at, with_signatures: self.dnssec_ok, first };
        let written = if self.response.truncated { Err(Full) } else { self.response.rrset(section, &rrs) };
        if written.is_err() {
            self.response.truncated = true;
        }
        written
    }

    /// Which record of a rotating RRset comes first this time.
    #[inline]
    pub(super) fn next_turn(&mut self, set: &RrsetView<'_>) -> u32 {
        if set.rotate {
            *self.turn = self.turn.wrapping_add(1);
        }
        *self.turn
    }

    fn note_of(&mut self, note: Note) {
        match note {
            Note::None => {}
            Note::Stale => self.note(ExtendedError::STALE),
            Note::AllDownServingAll => self.note(ExtendedError::ALL_DOWN_SERVING_ALL),
            Note::Fallback => self.note(ExtendedError::FALLBACK),
        }
    }

    /// Keeps the first extended error: it belongs to the name that was asked for.
    fn note(&mut self, error: ExtendedError) {
        self.error.get_or_insert(error);
    }

    /// Gives up with an error and no records.
    #[cold]
    fn fail(&mut self, rcode: Rcode, error: ExtendedError) -> Kind {
        self.response.clear_records();
        self.response.authoritative = false;
        self.response.truncated = false;
        self.targets = None;
        self.rcode = rcode;
        self.error = Some(error);
        Kind::Error
    }

    fn answer_any_unsigned(&mut self, hop: &Hop<'s>, kind: Kind) -> Kind {
        let owner = (0xc000 | hop.place.of_name(self.name) as u16).to_be_bytes();
        let [high, low] = RrType::HINFO.0.to_be_bytes();
        let length = [0, ANY_HINFO.len() as u8];
        let parts: [&[u8]; 5] = [&owner, &[high, low, 0, 1], &ANY_TTL_S.to_be_bytes(), &length, ANY_HINFO];
        self.response.truncated |= self.response.record_in(Section::Answer, &parts).is_err();
        kind
    }

    fn follow_cname(&mut self, hop: &Hop<'s>, set: &RrsetView<'s>, kind: Kind) -> Step {
        let Ok(start) = self.put_answer(hop, set) else {
            return Step::Done(kind);
        };
        let target = set.first_rdata();
        let target_at = start + RR_HEADER;
        let key = self.snapshot.key();
        let apex_depth = hop.image.apex_depth();
        let place = if set.first_rdata_ends_at_apex() {
            let labels = &target[..target.len().saturating_sub(2)];
            if self.other.join(key, labels, hop.image.apex().wire()).is_err() {
                return Step::Done(kind);
            }
            Place { owner_at: target_at, split: apex_depth, split_at: hop.apex_at }
        } else {
            if self.other.join(key, &[], target).is_err() {
                return Step::Done(kind);
            }
            Place::whole(self.other, target_at)
        };
        self.follow(place)
    }

    /// Makes the other name the name in work.
    fn follow(&mut self, place: Place) -> Step {
        if self.is_for_subnet {
            // One scope cannot say for whom each link of a chain holds: the first one stands alone, and who asked goes on from there (RFC
            // 7871 §7.2.1). The alternative, the longest scope for all, would have resolvers keep the alias once for each network.
            self.finish_authority(None);
            return Step::Done(Kind::Positive);
        }
        std::mem::swap(&mut self.name, &mut self.other);
        if place.owner_at + MAX_NAME_OCTETS > MAX_POINTER {
            // No pointer reaches this far: whoever asked goes on from here.
            self.finish_authority(None);
            return Step::Done(Kind::Positive);
        }
        Step::Follow(place)
    }

    /// A name below a DNAME: the DNAME, and the CNAME that it makes of the name (RFC 6672 §3.1, §3.2).
    fn redirect(&mut self, hop: &Hop<'s>, node: Node<'s>, depth: usize, number: usize) -> Step {
        let Some(set) = node.rrset(RrType::DNAME) else { return Step::Done(Kind::Nodata) };
        // A chain may pass one DNAME more than once; its record is needed once.
        let dnames = &mut self.trail.get_or_insert_default().dnames;
        let is_known = dnames[..number].contains(&node.identity());
        dnames[number] = node.identity();
        if !is_known {
            let owner = Owner::At(hop.place.at(self.name, depth));
            if self.put(Section::Answer, hop, &set, owner).is_err() {
                return Step::Done(Kind::Synthesised);
            }
        }
        let labels = &self.name.wire()[..self.name.start(depth)];
        if self.other.join(self.snapshot.key(), labels, set.first_rdata()).is_err() {
            self.rcode = Rcode::YXDOMAIN;
            self.finish_authority(None);
            return Step::Done(Kind::Error);
        }
        let owner = (0xc000 | hop.place.of_name(self.name) as u16).to_be_bytes();
        let start = self.response.written().len();
        // The CNAME is not signed: who validates makes it again from the DNAME (RFC 6672 §5.3.1).
        let fixed = [0, RrType::CNAME.0 as u8, 0, 1];
        let length = (self.other.len() as u16).to_be_bytes();
        let parts: [&[u8]; 5] = [&owner, &fixed, &set.ttl().to_be_bytes(), &length, self.other.wire()];
        if self.response.truncated || self.response.record_in(Section::Answer, &parts).is_err() {
            self.response.truncated = true;
            return Step::Done(Kind::Synthesised);
        }
        if self.qtype == RrType::CNAME {
            // The CNAME just made is what was asked for (RFC 1034 §3.6.2); BIND, NSD and Knot DNS stop here too.
            self.finish_authority(None);
            return Step::Done(Kind::Synthesised);
        }
        let place = Place::whole(self.other, start + RR_HEADER);
        self.follow(place)
    }
}

/// Octets of an RR in front of its RDATA, its owner being a pointer.
pub(super) const RR_HEADER: usize = 12;
