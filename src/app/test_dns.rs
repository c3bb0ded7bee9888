//! What DNS says of a host name now, where it comes from, and how it fares: for whoever has deployed something and wants to know whether
//! it has arrived.

use std::net::Ipv4Addr;

use super::control::Handles;
use super::explain::wire_answer;
use crate::admin::Control;
use crate::answer::Settings;
use crate::model::explain::Client;
use crate::model::name::Name;
use crate::model::records::{DiscoveredFrom, TestDns, TypedAnswer};
use crate::model::rrtype::RrType;

/// Types that nobody who tests a host name asks for.
const MADE: [RrType; 4] = [RrType::RRSIG, RrType::NSEC, RrType::A, RrType::AAAA];

impl Handles {
    /// See `/api/v1/test-dns`.
    pub(super) fn test(&self, hostname: &Name) -> TestDns {
        let client = Client { address: Ipv4Addr::LOCALHOST.into(), network: None };
        let names = self.explanation(hostname, RrType::A, client).names;
        let owner = if self.is_ready() { self.keeper.explain(hostname) } else { None }.and_then(|o| o.owner);
        let mut types = vec![RrType::A, RrType::AAAA];
        types.extend(owner.iter().flat_map(|owner| &owner.types).filter(|rtype| !MADE.contains(rtype)));
        let snapshot = self.published.load();
        let answer = |rtype: RrType| TypedAnswer {
            rtype: rtype.to_string(),
            answer: wire_answer(&snapshot, Settings::default(), hostname, rtype, client).report,
        };
        let sources = self.discovery.reports();
        let origins = owner.iter().flat_map(|owner| &owner.discovered);
        let discovered = origins.filter_map(|origin| {
            let source = sources.iter().find(|source| source.name == *origin.source)?.clone();
            Some(DiscoveredFrom { object: origin.object.to_string(), source })
        });
        let name = hostname.to_string();
        TestDns {
            answers: types.into_iter().map(answer).collect(),
            names,
            discovered: discovered.collect(),
            plan: self.plan().into_iter().filter(|entry| entry.name == name).collect(),
            hidden: self.discovery.hidden().into_iter().find(|hidden| hidden.name == name),
            hostname: name,
        }
    }
}
