//! `ALIAS`: the owner has the addresses of another host, which Hale resolves.

use std::net::{IpAddr, Ipv4Addr};

use super::owner::{OwnerKeys, Resolver, Shared};
use super::template::Template;
use crate::config::types::AliasConfig;
use crate::model::rrtype::RrType;

/// Stands for the resolved address in the targets of an ALIAS' check.
const PLACEHOLDER: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

impl Resolver<'_, '_, '_> {
    /// The owner's ALIAS, if it has one that can be.
    pub(super) fn host_alias(
        &mut self,
        keys: &mut OwnerKeys,
        has_addresses: bool,
        shared: &Shared,
    ) -> Option<AliasConfig> {
        let at = keys.alias.key_position()?;
        let has_addresses = has_addresses || !keys.pools.is_absent() || !keys.map.is_absent();
        let is_alias = keys.rrsets.iter().any(|rrset| rrset.rtype == RrType::CNAME);
        for (is_wrong, message, hint) in [
            (
                has_addresses,
                "\"ALIAS\" and addresses exclude each other",
                "the addresses are those of the name that \"ALIAS\" gives",
            ),
            (
                is_alias,
                "\"ALIAS\" and \"CNAME\" exclude each other",
                "a CNAME is followed by the resolver that asks, an ALIAS by Hale",
            ),
        ] {
            if is_wrong {
                self.reader.error_in("ALIAS", at, message, hint);
                return None;
            }
        }
        let given = keys.alias.take()?;
        let path = self.reader.path_below(&["ALIAS"]);
        let condition = match shared {
            Shared::Wrong => return None,
            Shared::None => None,
            Shared::Template(template) => {
                let is_alone = matches!(template, Template::Probe(_));
                let mut problem = None;
                let found = template.condition(&mut |probe| {
                    let check = match self.instance(probe) {
                        Ok(check) => check,
                        Err(key) => {
                            problem = Some((
                                format!(
                                    "the check needs its own \"{key}\": the owner's name cannot be asked for"
                                ),
                                format!("give the check \"{key}\": \"www.example.test\""),
                            ));
                            return None;
                        }
                    };
                    let target = probe.target(check, PLACEHOLDER, None, is_alone);
                    if target.is_none() {
                        problem = Some(("the check has no port".to_owned(), "write \"tcp\": 443".to_owned()));
                    }
                    target
                });
                if let Some((message, hint)) = problem {
                    self.reader.error_at(path, given.position, message, &hint);
                    return None;
                }
                found
            }
        };
        let ttl = keys.ttl.get().map(|ttl| ttl.value.0);
        Some(AliasConfig { text: given.value.0, ttl, condition, position: given.position, path })
    }
}
