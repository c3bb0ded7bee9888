use super::*;
use crate::config::Network;
use crate::model::rrtype::RrType;

fn limits() -> RateLimits {
    RateLimits {
        responses_per_second: 10,
        nxdomains_per_second: 5,
        referrals_per_second: 4,
        errors_per_second: 2,
        slip: 2,
        burst_ms: 1000,
        ipv4_prefix: 24,
        ipv6_prefix: 56,
        exempt: vec![Network::new("203.0.113.0".parse().unwrap(), 24).unwrap()],
        table_size: 1024,
    }
}

fn class(kind: Kind, name_hash: u64) -> Class {
    Class { rcode: 0, qtype: RrType::A, zone: Some(0), kind, truncated: false, name_hash, has_cookie: false }
}

/// What becomes of one response after the other: `.` sent, `t` truncated, `x` dropped.
fn judge<'a>(limiter: &mut Limiter, responses: impl IntoIterator<Item = (&'a str, Class)>) -> String {
    let verdicts =
        responses.into_iter().map(|(client, class)| limiter.judge(client.parse().unwrap(), &class));
    verdicts
        .map(|verdict| match verdict {
            Verdict::Send => '.',
            Verdict::Truncate => 't',
            Verdict::Drop => 'x',
        })
        .collect()
}

/// So many responses of a kind to one client.
fn check(limits: &RateLimits, kind: Kind, count: usize, expected: &str) {
    let mut limiter = Limiter::new(limits);
    let got = judge(&mut limiter, std::iter::repeat_n(("192.0.2.1", class(kind, 7)), count));
    assert_eq!(got, expected, "{kind:?} {limits:?}");
}

#[test]
fn each_kind_has_its_rate_and_every_slipth_response_beyond_is_truncated() {
    check(&limits(), Kind::Positive, 16, "..........txtxtx");
    check(&limits(), Kind::Synthesised, 11, "..........t");
    check(&limits(), Kind::Nodata, 11, "..........t");
    check(&limits(), Kind::Nxdomain, 9, ".....txtx");
    check(&limits(), Kind::Referral, 7, "....txt");
    check(&limits(), Kind::Error, 6, "..txtx");
    for (slip, expected) in [(0, "..xxxxxx"), (1, "..tttttt"), (3, "..txxtxx")] {
        check(&RateLimits { slip, ..limits() }, Kind::Error, 8, expected);
    }
    for (burst_ms, expected) in [(100, ".txt"), (10, ".txt"), (200, "..tx"), (2000, "....")] {
        check(&RateLimits { burst_ms, ..limits() }, Kind::Positive, 4, &expected[..4]);
    }
    check(&RateLimits { responses_per_second: 1, burst_ms: 10, ..limits() }, Kind::Positive, 3, ".tx");
}

#[test]
fn what_shares_a_bucket() {
    let positive = |name| class(Kind::Positive, name);
    // After ten responses of the first kind to 192.0.2.1, is this one limited too?
    for (client, class, limited) in [
        ("192.0.2.1", positive(7), true),
        ("192.0.2.255", positive(7), true),
        ("::ffff:192.0.2.9", positive(7), true),
        ("192.0.3.1", positive(7), false),
        ("192.0.2.1", positive(8), false),
        ("192.0.2.1", class(Kind::Nodata, 7), false),
        ("192.0.2.1", Class { has_cookie: true, ..positive(7) }, false),
        ("192.0.2.1", Class { qtype: RrType::TXT, zone: None, ..positive(7) }, true),
    ] {
        let mut limiter = Limiter::new(&limits());
        judge(&mut limiter, std::iter::repeat_n(("192.0.2.1", positive(7)), 10));
        assert_eq!(judge(&mut limiter, [(client, class)]) != ".", limited, "{client} {class:?}");
    }
    for (client, limited) in [
        ("2001:db8:0:ff::9", true),
        ("2001:db8:0:1ff::9", false),
        ("2001:db8:0:100::1", false),
        ("0.0.0.1", false),
    ] {
        let mut limiter = Limiter::new(&limits());
        judge(&mut limiter, std::iter::repeat_n(("2001:db8::1", positive(7)), 10));
        assert_eq!(judge(&mut limiter, [(client, positive(7))]) != ".", limited, "{client}");
    }
    // Errors of whatever name count together.
    let mut limiter = Limiter::new(&limits());
    assert_eq!(judge(&mut limiter, (0..4).map(|name| ("192.0.2.1", class(Kind::Error, name)))), "..tx");
}

#[test]
fn exempt_networks_are_never_limited() {
    let mut limiter = Limiter::new(&limits());
    let many = |client| std::iter::repeat_n((client, class(Kind::Positive, 7)), 100);
    assert_eq!(judge(&mut limiter, many("203.0.113.9")), ".".repeat(100));
    assert!(judge(&mut limiter, many("203.0.114.9")).contains('x'));
}

#[test]
fn a_rate_is_held_over_time() {
    let mut limiter = Limiter::new(&limits());
    let mut sent = 0;
    // 50 a second for 20 seconds, where 10 are allowed and 10 may come at once.
    for step in 0..1000 {
        limiter.now_ns = step * 20_000_000;
        sent += usize::from(judge(&mut limiter, [("192.0.2.1", class(Kind::Positive, 7))]) == ".");
    }
    assert!((208..=210).contains(&sent), "{sent}");
    // After a silence a whole burst, and no more.
    limiter.now_ns += 60 * SECOND_NS;
    let burst = std::iter::repeat_n(("192.0.2.1", class(Kind::Positive, 7)), 20);
    assert_eq!(judge(&mut limiter, burst).matches('.').count(), 10);
}

#[test]
fn a_flood_of_forged_networks_leaves_a_limited_one_limited() {
    let mut limiter = Limiter::new(&limits());
    let one = ("192.0.2.1", class(Kind::Positive, 7));
    judge(&mut limiter, std::iter::repeat_n(one, 10));
    for network in 0..100_000u32 {
        let client = IpAddr::from((network << 8).to_be_bytes());
        limiter.judge(client, &class(Kind::Positive, 7));
        // The flooded network keeps asking, as it does in an attack.
        if network.is_multiple_of(100) {
            assert_ne!(judge(&mut limiter, [one]), ".", "after {network}");
        }
    }
    assert!(limiter.take_forgotten() > 90_000);
    assert_eq!(limiter.take_forgotten(), 0);
}

#[test]
fn buckets_that_are_full_again_are_forgotten_for_nothing() {
    let mut limiter = Limiter::new(&RateLimits { table_size: 65_536, ..limits() });
    for second in 0..100u64 {
        limiter.now_ns = second * SECOND_NS;
        for network in 0..100u32 {
            let client = IpAddr::from(((second as u32 * 100 + network) << 8).to_be_bytes());
            assert_eq!(limiter.judge(client, &class(Kind::Positive, 7)), Verdict::Send);
        }
    }
    assert_eq!(limiter.take_forgotten(), 0);
}
