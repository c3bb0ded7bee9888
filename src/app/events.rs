//! What becomes an event by the passing of time alone: certificates and signatures that are about to expire, sources that have failed for long.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::control::Handles;
use super::now_s;
use crate::admin::Control;
use crate::model::discovery_report::SourceReport;
use crate::model::event::{EventKind, News};
use crate::model::report::{TargetReport, ZoneReport};

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(30);
/// Days before it expires at which a certificate is told of, and once it has.
const CERTIFICATE_DAYS: [i64; 4] = [14, 7, 2, 0];
/// Signatures are renewed long before: one that expires within so many seconds was not.
const SIGNATURE_S: u64 = 86_400;
/// A source that has failed for so many seconds is stale.
const STALE_S: u64 = 300;

const DAY_S: i64 = 86_400;

/// Looks at it now and then, as long as the runtime lives.
pub(super) async fn look_after(handles: Arc<Handles>) {
    let mut watch = Watch::default();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if !handles.is_ready() {
            continue;
        }
        let looked = Arc::clone(&handles);
        let seen =
            tokio::task::spawn_blocking(move || (looked.target_reports(), looked.zones(), looked.sources()));
        let Ok((targets, zones, sources)) = seen.await else { continue };
        handles.events.publish_all(watch.look(&targets, &zones, &sources, now_s().into()));
    }
}

/// What was told already. Pure.
#[derive(Debug, Default)]
struct Watch {
    /// By target: when the certificate expires that was told of, and at how many days.
    certificates: BTreeMap<String, (i64, i64)>,
    zones: BTreeSet<String>,
    sources: BTreeSet<String>,
}

impl Watch {
    fn look(
        &mut self,
        targets: &[TargetReport],
        zones: &[ZoneReport],
        sources: &[SourceReport],
        now_s: u64,
    ) -> Vec<News> {
        let mut news: Vec<News> =
            targets.iter().filter_map(|target| self.certificate(target, now_s)).collect();
        news.extend(zones.iter().filter_map(|zone| self.signatures(zone, now_s)));
        news.extend(sources.iter().filter_map(|source| self.stale(source)));
        self.certificates.retain(|target, _| targets.iter().any(|t| t.target == *target));
        news
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

    fn signatures(&mut self, zone: &ZoneReport, now_s: u64) -> Option<News> {
        let expires_at = zone.signatures_expire_at.filter(|at| *at < now_s + SIGNATURE_S);
        let Some(expires_at) = expires_at else {
            self.zones.remove(&zone.zone);
            return None;
        };
        if !self.zones.insert(zone.zone.clone()) {
            return None;
        }
        let left = expires_at.saturating_sub(now_s) / 60;
        let text =
            format!("signatures of {} are not renewed: the first expires in {left} minutes", zone.zone);
        let mut news = News::new(EventKind::SigningTrouble, text);
        news.zones.push(zone.zone.clone());
        news.expires_at = i64::try_from(expires_at).ok();
        Some(news)
    }

    fn stale(&mut self, source: &SourceReport) -> Option<News> {
        let age_s = source.age_seconds.unwrap_or(0);
        let Some(failure) = source.failure.as_ref().filter(|_| age_s >= STALE_S) else {
            self.sources.remove(&source.name);
            return None;
        };
        if !self.sources.insert(source.name.clone()) {
            return None;
        }
        let text = format!(
            "source {} has failed for {} minutes; its {} names stay as they were: {}",
            source.name,
            age_s / 60,
            source.names,
            failure.text
        );
        let mut news = News::new(EventKind::SourceStale, text);
        (news.source, news.why) = (Some(source.name.clone()), Some(failure.text.clone()));
        Some(news)
    }
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
            watch
                .look(&[target(days * DAY_S)], &[], &[], now_s)
                .into_iter()
                .map(|n| n.text)
                .collect::<Vec<_>>()
        };
        assert!(told(30, NOW_S).is_empty());
        assert_eq!(told(13, NOW_S).len(), 1);
        assert!(told(13, NOW_S + 3600).is_empty(), "told already");
        assert_eq!(told(13, NOW_S + 7 * 86_400).len(), 1, "six days are left");
        assert!(told(13, NOW_S + 14 * 86_400)[0].contains("has expired"));
        assert!(told(90, NOW_S).is_empty(), "renewed");
        assert_eq!(told(1, NOW_S).len(), 1);
    }

    #[test]
    fn a_source_is_stale_once_until_it_works() {
        let failing = |age_seconds| SourceReport {
            name: "edge".to_owned(),
            age_seconds: Some(age_seconds),
            failure: Some(FailureReport { text: "refused".to_owned(), ..FailureReport::default() }),
            ..SourceReport::default()
        };
        let mut watch = Watch::default();
        let mut told = |source: SourceReport| watch.look(&[], &[], &[source], NOW_S).len();
        assert_eq!(told(failing(60)), 0);
        assert_eq!(told(failing(301)), 1);
        assert_eq!(told(failing(331)), 0);
        assert_eq!(told(SourceReport { name: "edge".to_owned(), ..SourceReport::default() }), 0);
        assert_eq!(told(failing(301)), 1);
    }
}
