//! `hale explain`: why an answer is what it is.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::outcome::{Failure, Outcome};
use super::server::ServerArgs;
use super::status::now_s;
use super::terminal::{self, duration};
use super::zone::percent_encoded;
use crate::model::explain::{
    ClientNetwork, EndpointReport, Explanation, NameExplanation, ProbedReport, SelectionReport, TypeReport,
};
use crate::model::name::Name;
use crate::model::rrtype::RrType;

#[derive(clap::Args, Debug)]
pub(super) struct ExplainArgs {
    /// Absolute name
    name: String,
    /// RR type
    #[arg(value_name = "TYPE", default_value = "A")]
    rtype: String,
    /// Whose question it would be; this machine's by default
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// The network that the client, a resolver, asks for (EDNS Client Subnet), such as 192.0.2.0/24
    #[arg(long, value_name = "PREFIX")]
    ecs: Option<ClientNetwork>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) fn run(args: &ExplainArgs) -> Outcome {
    let name = Name::parse_absolute(&args.name)
        .map_err(|error| Failure::usage(format!("{:?} is not a domain name: {error}", args.name)))?;
    let rtype: RrType = args.rtype.parse().map_err(|_| {
        Failure::usage(format!("{:?} is not an RR type", args.rtype)).hint("such as A, AAAA or MX")
    })?;
    let client = args.client.map(|client| format!("&client={client}")).unwrap_or_default();
    let ecs = args.ecs.map(|network| format!("&ecs={network}")).unwrap_or_default();
    let path =
        format!("/api/v1/explain?name={}&type={rtype}{client}{ecs}", percent_encoded(&name.to_string()));
    let explanation: Explanation = args.server.client()?.get(&path)?;
    if args.json {
        terminal::print_json(&explanation)
    } else {
        terminal::print(&describe(&explanation, now_s()))
    }
}

/// Writing to the text cannot fail, here and below.
fn describe(explanation: &Explanation, now_s: u64) -> String {
    let Explanation { name, rtype, client, ecs, names, answer } = explanation;
    let mut text = format!("{name} {rtype} for {client}");
    if let Some(network) = ecs {
        let _ = write!(text, ", which asks for {network}");
    }
    text.push('\n');
    for name in names {
        text.push('\n');
        describe_name(&mut text, name, now_s);
    }
    let _ = write!(text, "\nanswer  {}", answer.rcode);
    if let Some(error) = &answer.extended_error {
        let _ = write!(text, ", extended error {error}");
    }
    match (ecs, answer.ecs_scope) {
        (Some(_), Some(0)) => text.push_str(", for clients of every network"),
        (Some(_), Some(bits)) => {
            let _ = write!(text, ", for clients that share the first {bits} bits of the network");
        }
        (Some(_), None) => text.push_str(", for which the network was not looked at"),
        (None, _) => {}
    }
    text.push('\n');
    for record in &answer.records {
        let _ = writeln!(text, "  {record}");
    }
    text
}

fn describe_name(text: &mut String, name: &NameExplanation, now_s: u64) {
    let _ = writeln!(text, "{}", name.name);
    let Some(zone) = &name.zone else {
        let _ = writeln!(text, "  no zone of this server");
        return;
    };
    let serial = zone.serial.map_or_else(|| "not served".to_owned(), |serial| format!("serial {serial}"));
    let _ = writeln!(text, "  zone     {} ({serial}), {}", zone.apex, zone.file);
    if let Some(primary) = &zone.alias_of {
        let _ = writeln!(text, "           an alias of {primary}");
    }
    if let Some(problem) = &zone.problem {
        let _ = writeln!(text, "           {}", problem.replace('\n', "\n           "));
    }
    match &name.owner {
        None => {
            let _ = writeln!(text, "  owner    none: the name does not exist");
        }
        Some(owner) => {
            let _ = writeln!(text, "  owner    {owner} has {}", list(&name.types, "no records now"));
            for from in &name.from {
                let _ = writeln!(text, "           {from}");
            }
        }
    }
    if let Some(selection) = &name.selection {
        describe_selection(text, selection, name.from.is_empty(), now_s);
    }
}

fn describe_selection(text: &mut String, selection: &SelectionReport, all_declared: bool, now_s: u64) {
    for endpoint in &selection.endpoints {
        describe_endpoint(text, endpoint, all_declared, now_s);
    }
    for pool in &selection.pools {
        let _ = writeln!(text, "  pool     {pool}");
    }
    let _ = writeln!(text, "  outcome  {}", selection.outcome);
    for answers in &selection.answers {
        describe_type(text, answers);
    }
    if !selection.pending.is_empty() {
        let _ =
            writeln!(text, "           {} awaits its first verdict: SERVFAIL", selection.pending.join(", "));
    }
    if !selection.withheld.is_empty() {
        let _ = writeln!(text, "           {} is withheld: NODATA", selection.withheld.join(", "));
    }
}

fn describe_endpoint(text: &mut String, endpoint: &EndpointReport, all_declared: bool, now_s: u64) {
    let EndpointReport { publishes, from, weight, share, counts_as, verdict, .. } = endpoint;
    let _ = write!(text, "  endpoint {publishes} counts as {counts_as}");
    if counts_as != verdict {
        let _ = write!(text, ", although {verdict}");
    }
    if *weight != 1 {
        let _ = write!(text, ", weight {weight}");
    }
    if *share != 100 {
        let _ = write!(text, ", starting slowly at {share} %");
    }
    if !endpoint.pools.is_empty() {
        let _ = write!(text, ", in {}", endpoint.pools.join(", "));
    }
    let _ = writeln!(text);
    match from {
        Some(from) => {
            let _ = writeln!(text, "           from {from}");
        }
        None if all_declared => text.push_str("           from no longer in the zone file\n"),
        // Discovered, or an address of an ALIAS: the owner's line says whence.
        None => {}
    }
    if let Some(said) = &endpoint.said {
        let left = match said.until {
            Some(until) => format!("for {} more", duration(until.saturating_sub(now_s))),
            None => "until it is cleared".to_owned(),
        };
        let _ = writeln!(
            text,
            "           override {}: {} is {} {left}, says {}: {}",
            said.id, said.subject, said.word, said.owner, said.reason
        );
    }
    match &endpoint.rests_on {
        None => {
            let _ = writeln!(text, "           not checked");
        }
        // One target says as much as its own line below.
        Some(condition) if endpoint.targets.len() > 1 => {
            let _ = writeln!(text, "           rests on {condition}");
        }
        Some(_) => {}
    }
    for target in &endpoint.targets {
        describe_target(text, target, now_s);
    }
}

fn describe_target(text: &mut String, probed: &ProbedReport, now_s: u64) {
    let ProbedReport { report: target, history } = probed;
    let ago = |at: u64| format!("{} ago", duration(now_s.saturating_sub(at)));
    let _ = write!(text, "           {} is {}", target.target, target.verdict);
    if target.braked {
        text.push_str(" only by the brake");
    }
    if let Some(until) = target.held_until {
        let _ = write!(
            text,
            ", held down for {} more for flipping too often",
            duration(until.saturating_sub(now_s))
        );
    }
    if let Some(at) = target.probed_at {
        let result = target.problem.as_deref().unwrap_or("success");
        // Nothing was probed where a verdict was pushed.
        let took = target.took_us.filter(|us| *us > 0);
        let took = took.map_or_else(String::new, |us| format!(" in {:.1} ms", us as f64 / 1000.0));
        let _ = write!(text, "; {}: {result}{took}", ago(at));
    }
    text.push('\n');
    for step in history {
        let _ = writeln!(
            text,
            "             {}: {} to {}: {}",
            ago(step.at_ms / 1000),
            step.from,
            step.to,
            step.reason
        );
    }
}

fn describe_type(text: &mut String, answers: &TypeReport) {
    let TypeReport { rtype, ttl, ttl_because, sets, given } = answers;
    let _ = writeln!(text, "  {rtype:<8} TTL {ttl} s, {ttl_because}");
    for (i, set) in sets.iter().enumerate() {
        let mark = match given {
            _ if sets.len() == 1 => "",
            Some(given) if *given == i => "  <- this client",
            _ => "",
        };
        let _ = writeln!(text, "           {}{mark}", set.join(", "));
    }
    if given.is_none() {
        let _ = writeln!(text, "           one of them for each query, drawn by weight");
    }
}

fn list(words: &[String], none: &str) -> String {
    if words.is_empty() { none.to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::explain::{AnswerReport, ZoneOfName};
    use crate::model::overrides::Word;
    use crate::model::report::{OverrideReport, TargetReport, TransitionReport};
    use crate::model::target::Verdict;

    fn endpoint(publishes: &str, counts_as: Verdict) -> EndpointReport {
        EndpointReport {
            publishes: publishes.into(),
            from: Some(format!("zones/a.json:3:9 records.www.A[{publishes}]")),
            weight: 1,
            share: 100,
            pools: Vec::new(),
            rests_on: Some(format!("tcp {publishes}:80")),
            verdict: Verdict::Up,
            counts_as,
            said: None,
            targets: Vec::new(),
        }
    }

    fn explanation() -> Explanation {
        let step = TransitionReport {
            at_ms: 400_000,
            from: Verdict::Up,
            to: Verdict::Down,
            reason: "connection refused".into(),
        };
        let report = TargetReport {
            id: 7,
            target: "tcp 192.0.2.1:80".into(),
            verdict: Verdict::Down,
            probed_at: Some(498),
            problem: Some("connection refused".into()),
            took_us: Some(1_250),
            interval_ms: Some(5_000),
            changed_at: Some(400),
            flips: 1,
            braked: false,
            held_until: Some(560),
            share: 100,
            overrides: Vec::new(),
            certificate_expires_at: None,
        };
        let target = ProbedReport { report, history: vec![step] };
        let said = OverrideReport {
            id: 4,
            subject: "address:192.0.2.2".into(),
            zone: None,
            word: Word::Down,
            set_at: 0,
            until: Some(4_100),
            reason: "new disk".into(),
            owner: "root (uid 0)".into(),
        };
        let first = EndpointReport {
            verdict: Verdict::Down,
            targets: vec![target],
            weight: 3,
            ..endpoint("192.0.2.1", Verdict::Down)
        };
        let second = EndpointReport {
            said: Some(said),
            rests_on: None,
            share: 40,
            pools: vec!["fra".into()],
            ..endpoint("192.0.2.2", Verdict::Down)
        };
        let selection = SelectionReport {
            endpoints: vec![first, second],
            pools: vec!["policy (hashed): 0 of 2 up: down".into()],
            outcome: "all are down: by the policy as if all were up".into(),
            answers: vec![TypeReport {
                rtype: "A".into(),
                ttl: 10,
                ttl_because: "auto: by the check".into(),
                sets: vec![vec!["192.0.2.1".into()], vec!["192.0.2.2".into()]],
                given: Some(1),
            }],
            pending: Vec::new(),
            withheld: vec!["AAAA".into()],
        };
        let name = NameExplanation {
            name: "www.a.test.".into(),
            zone: Some(ZoneOfName {
                apex: "a.test.".into(),
                alias_of: None,
                file: "zones/a.json".into(),
                problem: None,
                serial: Some(9),
            }),
            owner: Some("*.a.test.".into()),
            types: vec!["A".into(), "TXT".into()],
            from: vec!["discovered by prod from ingress/shop/web".into()],
            selection: Some(selection),
        };
        let outside = NameExplanation {
            name: "b.test.".into(),
            zone: None,
            owner: None,
            types: Vec::new(),
            from: Vec::new(),
            selection: None,
        };
        Explanation {
            name: "www.a.test.".into(),
            rtype: "A".into(),
            client: [192, 0, 2, 9].into(),
            ecs: Some("198.51.100.0/24".into()),
            names: vec![name, outside],
            answer: AnswerReport {
                rcode: "NOERROR".into(),
                extended_error: Some("0 Other all down".into()),
                ecs_scope: Some(24),
                records: vec!["www.a.test. 10 IN A 192.0.2.2".into()],
            },
        }
    }

    #[test]
    fn tells_all_of_it() {
        let want = "\
www.a.test. A for 192.0.2.9, which asks for 198.51.100.0/24

www.a.test.
  zone     a.test. (serial 9), zones/a.json
  owner    *.a.test. has A, TXT
           discovered by prod from ingress/shop/web
  endpoint 192.0.2.1 counts as down, weight 3
           from zones/a.json:3:9 records.www.A[192.0.2.1]
           tcp 192.0.2.1:80 is down, held down for 1m more for flipping too often; 2s ago: connection refused in 1.2 ms
             1m 40s ago: up to down: connection refused
  endpoint 192.0.2.2 counts as down, although up, starting slowly at 40 %, in fra
           from zones/a.json:3:9 records.www.A[192.0.2.2]
           override 4: address:192.0.2.2 is down for 1h more, says root (uid 0): new disk
           not checked
  pool     policy (hashed): 0 of 2 up: down
  outcome  all are down: by the policy as if all were up
  A        TTL 10 s, auto: by the check
           192.0.2.1
           192.0.2.2  <- this client
           AAAA is withheld: NODATA

b.test.
  no zone of this server

answer  NOERROR, extended error 0 Other all down, for clients that share the first 24 bits of the network
  www.a.test. 10 IN A 192.0.2.2
";
        let text = describe(&explanation(), 500);
        assert_eq!(text, want, "{text}");
    }

    #[test]
    fn what_is_drawn_is_not_given() {
        let mut text = String::new();
        let sets = vec![vec!["192.0.2.1".into()], vec!["192.0.2.2".into()]];
        let (rtype, ttl_because) = ("A".to_owned(), "x".to_owned());
        describe_type(&mut text, &TypeReport { rtype, ttl: 5, ttl_because, sets, given: None });
        assert!(
            text.ends_with("192.0.2.2\n           one of them for each query, drawn by weight\n"),
            "{text}"
        );
    }
}
