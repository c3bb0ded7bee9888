//! The SOA record's figures and their defaults.

use super::Builder;
use crate::model::diagnostic::Diagnostic;
use crate::model::ttl::MAX_TTL;
use crate::zone::desired::Soa;

/// Secondaries are notified, so that refresh is only the fallback.
const REFRESH: u32 = 3600;
/// Well below refresh (RFC 1912 §2.2).
const RETRY: u32 = 600;
/// Two weeks: RFC 1912 §2.2 suggests two to four.
const EXPIRE: u32 = 14 * 86_400;
/// RFC 2308 §5 finds one to three hours sensible.
const MAX_DEFAULT_MINIMUM: u32 = 3600;

impl Builder<'_> {
    /// Defaults: mname is the first of `nameservers` (else the first NS at the apex), rname `hostmaster.<apex>`, refresh 1 h (or half of a
    /// given expire if that is less), retry 10 min (at most refresh), expire 14 d (or twice a given refresh if that is more), minimum the zone's
    /// default TTL up to 1 h, TTL the zone's default. The last two never exceed the zone's smallest auto TTL, so that a cached
    /// negative answer does not outlive a recovery.
    ///
    /// `None` goes with an error in the diagnostics.
    pub(super) fn soa(&mut self) -> Option<Soa> {
        let given = &self.header.soa;
        let expire = given.expire.unwrap_or_else(|| EXPIRE.max(given.refresh.unwrap_or(0).saturating_mul(2)));
        let refresh = given.refresh.unwrap_or_else(|| REFRESH.min(expire / 2));
        let retry = given.retry.unwrap_or_else(|| RETRY.min(refresh.max(1)));
        let minimum = given.minimum.unwrap_or_else(|| self.header.default_ttl.min(MAX_DEFAULT_MINIMUM));
        let ttl = given.ttl.unwrap_or(self.header.default_ttl);
        for (key, seconds) in
            [("refresh", refresh), ("retry", retry), ("expire", expire), ("minimum", minimum), ("ttl", ttl)]
        {
            if seconds > MAX_TTL {
                let path = if given.ttl.is_none() && key == "ttl" {
                    "default_ttl".to_owned()
                } else {
                    format!("soa.{key}")
                };
                let hint = format!("the limit is {MAX_TTL} seconds (RFC 2181 §8)");
                self.soa_error(&path, format!("a time of {seconds} seconds"), hint);
            }
        }
        if refresh >= expire {
            let message = format!(
                "a secondary would expire after {expire} seconds, before it refreshes after {refresh}"
            );
            self.soa_error("soa.expire", message, format!("give more than {refresh}, or a shorter refresh"));
        }
        let rname = match &given.rname {
            Some(rname) => Some(rname.clone()),
            None => self.apex.prepend(b"hostmaster").ok(),
        };
        if rname.is_none() {
            let message = format!("hostmaster.{} is too long for a name", self.apex);
            self.soa_error("soa.rname", message, "give \"soa\": { \"rname\": … } of your own".to_owned());
        }
        let mname =
            given.mname.as_ref().or(self.header.nameservers.first()).or(self.first_apex_ns.as_ref()).cloned();
        let (minimum, ttl) = (self.cap("soa.minimum", minimum), self.cap("soa.ttl", ttl));
        Some(Soa { mname: mname?, rname: rname?, refresh, retry, expire, minimum, ttl })
    }

    /// At most the smallest auto TTL; says so if a larger one was asked for.
    fn cap(&mut self, path: &str, seconds: u32) -> u32 {
        let Some(smallest) = self.smallest_auto_ttl.filter(|&smallest| smallest < seconds) else {
            return seconds;
        };
        let given = &self.header.soa;
        let is_given = if path == "soa.ttl" { given.ttl.is_some() } else { given.minimum.is_some() };
        if is_given {
            let message =
                format!("{seconds} seconds are lowered to {smallest}, the zone's smallest auto TTL");
            self.diagnostics.push(
                Diagnostic::warning(&self.header.file, message)
                    .at(self.header.position, path)
                    .hint("a cached negative answer must not outlive a recovery; leave this out, or give checked records a \"ttl\""),
            );
        }
        smallest
    }

    fn soa_error(&mut self, path: &str, message: String, hint: String) {
        self.diagnostics
            .push(Diagnostic::error(&self.header.file, message).at(self.header.position, path).hint(hint));
    }
}
