//! What becomes an event by the passing of time alone: certificates and signatures that are about to expire, sources that have failed for long.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::control::Handles;
use super::now_s;
use crate::admin::Control;
use crate::keeper::channel::ZoneStatus;
use crate::model::discovery_report::SourceReport;
use crate::model::event::{EventKind, News};
use crate::model::name::Name;
use crate::model::report::TargetReport;

/// How often it is looked at: sources each time, what there may be a great deal of each so many times.
const EVERY: Duration = Duration::from_secs(5);
const OTHERS_EVERY: u64 = 6;
/// Until the first look, once there is something to look at.
const UNTIL_READY: Duration = Duration::from_millis(200);
/// Days before it expires at which a certificate is told of, and once it has.
const CERTIFICATE_DAYS: [i64; 4] = [14, 7, 2, 0];
/// Signatures that expire within so many seconds, and have been due for so many.
const SIGNATURE_S: u64 = 86_400;
const SIGNING_LATE_S: u64 = 600;

const DAY_S: i64 = 86_400;

/// Looks at it now and then, as long as the runtime lives.
pub(super) async fn look_after(handles: Arc<Handles>) {
    while !handles.is_ready() {
        tokio::time::sleep(UNTIL_READY).await;
    }
    let mut watch = Watch::default();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for look in 0u64.. {
        ticks.tick().await;
        let looked = Arc::clone(&handles);
        let sources = tokio::task::spawn_blocking(move || looked.sources());
        let Ok(sources) = sources.await else { continue };
        handles.events.publish_all(watch.sources(&sources, now_s().into()));
        if look.is_multiple_of(OTHERS_EVERY) {
            let looked = Arc::clone(&handles);
            let others =
                tokio::task::spawn_blocking(move || (looked.target_reports(), looked.zone_statuses()));
            let Ok((targets, zones)) = others.await else { continue };
            handles.events.publish_all(watch.others(&targets, &zones, now_s().into()));
        }
    }
}

/// What was told already. Pure.
#[derive(Debug, Default)]
struct Watch {
    /// By target: when the certificate expires that was told of, and at how many days.
    certificates: BTreeMap<String, (i64, i64)>,
    zones: BTreeSet<Name>,
    /// By source: since when it has been seen to fail, and whether that was told.
    failing: BTreeMap<String, (u64, bool)>,
}

impl Watch {
    fn others(&mut self, targets: &[TargetReport], zones: &[ZoneStatus], now_s: u64) -> Vec<News> {
        let mut news: Vec<News> =
            targets.iter().filter_map(|target| self.certificate(target, now_s)).collect();
        news.extend(zones.iter().filter_map(|zone| self.signatures(zone, now_s)));
        let known: BTreeSet<&str> = targets.iter().map(|target| &*target.target).collect();
        self.certificates.retain(|target, _| known.contains(&**target));
        let known: BTreeSet<&Name> = zones.iter().map(|zone| &zone.apex).collect();
        self.zones.retain(|zone| known.contains(zone));
        news
    }

    fn sources(&mut self, sources: &[SourceReport], now_s: u64) -> Vec<News> {
        self.failing.retain(|name, _| sources.iter().any(|source| source.name == *name));
        sources.iter().filter_map(|source| self.stale(source, now_s)).collect()
    }

    fn certificate(&mut self, target: &TargetReport, now_s: u64) -> Option<News> {
        let expires_at = target.certificate_expires_at?;
        let left_s = expires_at - i64::try_from(now_s).ok()?;
        let Some(days) = CERTIFICATE_DAYS.into_iter().rev().find(|days| left_s <= days * DAY_S) else {
            self.certificates.remove(&target.target);
            return None;
        };
        if self.certificates.insert(target.target.clone(), (expires_at, days)) == Some((expires_at, days)) {
            return None;
        }
        let text = match days {
            0 => format!("the certificate of {} has expired", target.target),
            _ => format!("the certificate of {} expires in {} hours", target.target, left_s / 3600),
        };
        let mut news = News::new(EventKind::CertificateExpiring, text);
        (news.target, news.target_id) = (Some(target.target.clone()), Some(target.id));
        news.expires_at = Some(expires_at);
        Some(news)
    }

    fn signatures(&mut self, zone: &ZoneStatus, now_s: u64) -> Option<News> {
        let is_late = zone.signing_since_s.is_some_and(|since| u64::from(since) + SIGNING_LATE_S < now_s);
        let expires_at = zone.earliest_expiry_s.map(u64::from);
        let Some(expires_at) = expires_at.filter(|at| is_late && *at < now_s + SIGNATURE_S) else {
            self.zones.remove(&zone.apex);
            return None;
        };
        if !self.zones.insert(zone.apex.clone()) {
            return None;
        }
        let left = expires_at.saturating_sub(now_s) / 60;
        let text =
            format!("signatures of {} are not renewed: the first expires in {left} minutes", zone.apex);
        let mut news = News::new(EventKind::SigningTrouble, text);
        news.zones.push(zone.apex.to_string());
        news.expires_at = i64::try_from(expires_at).ok();
        Some(news)
    }

    fn stale(&mut self, source: &SourceReport, now_s: u64) -> Option<News> {
        let Some(failure) = &source.failure else {
            self.failing.remove(&source.name);
            return None;
        };
        let (since_s, is_told) = self.failing.entry(source.name.clone()).or_insert((now_s, false));
        // One that never worked has no age.
        let age_s = source.age_seconds.unwrap_or_default().max(now_s.saturating_sub(*since_s));
        if age_s < source.stale_after_seconds || std::mem::replace(is_told, true) {
            return None;
        }
        let text = format!(
            "source {} has failed for {}; its {} names stay as they were: {}",
            source.name,
            in_words(age_s),
            source.names,
            failure.text
        );
        let mut news = News::new(EventKind::SourceStale, text);
        (news.source, news.why) = (Some(source.name.clone()), Some(failure.text.clone()));
        Some(news)
    }
}

/// A time in seconds or, from two minutes on, in minutes.
fn in_words(seconds: u64) -> String {
    if seconds < 120 { format!("{seconds} seconds") } else { format!("{} minutes", seconds / 60) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::discovery_report::FailureReport;

    const NOW_S: u64 = 1_700_000_000;

    fn target(left_s: i64) -> TargetReport {
        let json = serde_json::json!({
            "id": 1, "target": "https 192.0.2.1:443", "verdict": "up", "flips": 0, "braked": false, "share": 100,
            "certificate_expires_at": NOW_S as i64 + left_s,
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn certificates_are_told_of_at_each_step_once() {
        let mut watch = Watch::default();
        let mut told = |days: i64, now_s: u64| {
            let told = watch.others(&[target(days * DAY_S)], &[], now_s);
            told.into_iter().map(|n| n.text).collect::<Vec<_>>()
        };
        assert!(told(30, NOW_S).is_empty());
        assert_eq!(told(13, NOW_S).len(), 1);
        assert!(told(13, NOW_S + 3600).is_empty(), "told already");
        assert_eq!(told(13, NOW_S + 7 * 86_400).len(), 1, "six days are left");
        assert!(told(13, NOW_S + 14 * 86_400)[0].contains("has expired"));
        assert!(told(90, NOW_S).is_empty(), "renewed");
        assert_eq!(told(1, NOW_S).len(), 1);
    }

    /// Seconds from now, the age of what is known of the source, whether it fails, and whether it is told to be stale then.
    #[test]
    fn a_source_is_stale_once_until_it_works() {
        let mut watch = Watch::default();
        let mut check = |after_s, age_seconds, fails: bool, told| {
            let source = SourceReport {
                name: "edge".to_owned(),
                age_seconds,
                failure: fails
                    .then(|| FailureReport { text: "refused".to_owned(), ..FailureReport::default() }),
                stale_after_seconds: 300,
                ..SourceReport::default()
            };
            assert_eq!(watch.sources(&[source], NOW_S + after_s).len(), told, "after {after_s} s");
        };
        check(0, Some(60), true, 0);
        check(241, Some(301), true, 1);
        check(271, Some(331), true, 0);
        check(301, Some(0), false, 0);
        check(302, Some(1), true, 0);
        check(601, Some(300), true, 1);
        check(602, Some(0), false, 0);
        // One that has never worked.
        check(700, None, true, 0);
        check(999, None, true, 0);
        check(1000, None, true, 1);
        check(1001, None, true, 0);
    }

    /// When renewal was due, when the first signature expires, both in seconds from now, and whether it is told.
    #[test]
    fn signatures_that_are_not_renewed_are_told_of() {
        let status = |since: Option<i64>, expiry: i64| ZoneStatus {
            apex: Name::parse_absolute("example.test").unwrap(),
            alias_of: None,
            file: "z.json".into(),
            serial: None,
            is_signed: true,
            owners: 0,
            checked_owners: 0,
            overridden_owners: 0,
            octets: 0,
            changed_s: 0,
            earliest_expiry_s: Some((NOW_S as i64 + expiry) as u32),
            next_signing_s: None,
            cached_signatures: 0,
            evicted_signatures: 0,
            signing_since_s: since.map(|since| (NOW_S as i64 + since) as u32),
            trouble: None,
        };
        let mut watch = Watch::default();
        let mut check = |since, expiry, told| {
            let news = watch.others(&[], &[status(since, expiry)], NOW_S);
            assert_eq!(news.len(), told, "{since:?} {expiry}");
        };
        check(None, 7 * DAY_S, 0);
        check(None, 1800, 0);
        check(Some(-60), 1740, 0);
        check(Some(-6 * DAY_S), DAY_S + 60, 0);
        check(Some(-6 * DAY_S - 120), DAY_S - 60, 1);
        check(Some(-6 * DAY_S - 180), DAY_S - 120, 0);
        check(None, 7 * DAY_S, 0);
        check(Some(-601), 1199, 1);
    }
}
