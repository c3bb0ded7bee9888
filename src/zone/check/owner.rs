//! Rules that one owner can break alone.

use super::{Held, Subject};
use crate::model::diagnostic::Diagnostic;
use crate::model::rrtype::RrType;

/// Types that signing makes, besides those that the keys make.
const MADE_BY_SERVER: [RrType; 5] =
    [RrType::SOA, RrType::RRSIG, RrType::NSEC, RrType::NSEC3, RrType::NSEC3PARAM];
/// Types that a signed zone's keys make.
const MADE_FROM_KEYS: [RrType; 3] = [RrType::DNSKEY, RrType::CDS, RrType::CDNSKEY];

/// Checks one owner.
pub(in crate::zone) fn check(subject: &Subject<'_>, out: &mut Vec<Diagnostic>) {
    for rule in [aliases, delegation, made_elsewhere] {
        rule(subject, out);
    }
}

impl Subject<'_> {
    fn get(&self, rtype: RrType) -> Option<&Held> {
        self.held.iter().find(|held| held.rtype == rtype)
    }

    fn error(&self, held: &Held, message: impl Into<String>, hint: &str) -> Diagnostic {
        Diagnostic::error(self.file, message).at(held.mark.position, &*held.mark.path).hint(hint)
    }

    fn warning(&self, held: &Held, message: impl Into<String>, hint: &str) -> Diagnostic {
        Diagnostic::warning(self.file, message).at(held.mark.position, &*held.mark.path).hint(hint)
    }
}

/// CNAME and DNAME.
fn aliases(subject: &Subject<'_>, out: &mut Vec<Diagnostic>) {
    if let Some(cname) = subject.get(RrType::CNAME) {
        let others: Vec<String> = subject
            .held
            .iter()
            .filter(|held| held.rtype != RrType::CNAME)
            .map(|held| held.rtype.to_string())
            .collect();
        if subject.is_apex {
            let hint = "the apex holds SOA and NS, which exclude a CNAME (RFC 1034 §3.6.2); give it addresses of its own";
            out.push(subject.error(cname, "a CNAME at the apex", hint));
        } else if !others.is_empty() {
            let message = format!("a CNAME beside {}", others.join(", "));
            out.push(subject.error(
                cname,
                message,
                "an owner with a CNAME holds nothing else (RFC 1034 §3.6.2)",
            ));
        }
        if cname.count > 1 {
            let message = format!("{} CNAME records", cname.count);
            out.push(subject.error(cname, message, "an owner has one CNAME at most (RFC 2181 §10.1)"));
        }
    }
    if let Some(dname) = subject.get(RrType::DNAME) {
        if dname.count > 1 {
            let message = format!("{} DNAME records", dname.count);
            out.push(subject.error(dname, message, "an owner has one DNAME at most (RFC 6672 §2)"));
        }
        if !subject.is_apex && subject.get(RrType::NS).is_some() {
            let hint = "a zone cut cannot be a DNAME owner as well, except at the apex (RFC 6672 §2.4)";
            out.push(subject.error(dname, "a DNAME beside NS", hint));
        }
        if subject.is_wildcard {
            let hint = "wildcard DNAMEs answer unpredictably (RFC 4592 §4.4, RFC 6672 §3.3)";
            out.push(subject.warning(dname, "a DNAME at a wildcard", hint));
        }
    }
}

/// NS and DS.
fn delegation(subject: &Subject<'_>, out: &mut Vec<Diagnostic>) {
    let (ns, ds) = (subject.get(RrType::NS), subject.get(RrType::DS));
    match (ds, ns) {
        (Some(ds), _) if subject.is_apex => {
            let hint =
                "a zone's DS stands in its parent zone (RFC 4034 §5); give it to the parent's operator";
            out.push(subject.error(ds, "a DS at the apex", hint));
        }
        (Some(ds), None) => {
            out.push(subject.warning(ds, "a DS without NS", "a DS belongs to a delegation (RFC 4035 §2.4)"));
        }
        _ => {}
    }
    let Some(ns) = ns.filter(|_| !subject.is_apex) else { return };
    if subject.is_wildcard {
        out.push(subject.warning(
            ns,
            "NS at a wildcard",
            "wildcard delegations are undefined (RFC 4592 §4.2)",
        ));
    }
    let may_stand_at_cut = [RrType::NS, RrType::DS, RrType::A, RrType::AAAA, RrType::CNAME, RrType::DNAME];
    for hidden in subject.held.iter().filter(|held| !may_stand_at_cut.contains(&held.rtype)) {
        let message = format!("{} beside NS is hidden by the delegation", hidden.rtype);
        out.push(subject.warning(hidden, message, "it belongs into the child zone (RFC 2181 §6.1)"));
    }
}

/// Records that are not to be given.
fn made_elsewhere(subject: &Subject<'_>, out: &mut Vec<Diagnostic>) {
    for held in subject.held {
        let rtype = held.rtype;
        if MADE_BY_SERVER.contains(&rtype) {
            let hint = "the server makes SOA from \"soa\", and the others when it signs";
            out.push(subject.error(held, format!("{rtype} cannot be given as records"), hint));
        }
        if !MADE_FROM_KEYS.contains(&rtype) {
            continue;
        }
        if subject.is_signed && (subject.is_apex || rtype != RrType::DNSKEY) {
            let hint = "a signed zone's keys make it; leave it out";
            out.push(subject.error(held, format!("{rtype} cannot be given in a signed zone"), hint));
        } else if !subject.is_apex {
            let message = format!("{rtype} below the apex has no effect");
            out.push(subject.warning(
                held,
                message,
                "it belongs to the apex (RFC 4034 §2.1.1, RFC 7344 §4.1)",
            ));
        }
    }
}
