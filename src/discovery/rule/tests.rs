use proptest::prelude::*;
use serde::Deserialize;

use super::*;

/// A rule of `tests/fixtures/traefik/rules.json`, with what was expected of it by hand. A test beside the real Traefik
/// (`tests/traefik_real.rs`) runs the same table there.
#[derive(Deserialize)]
#[serde(default)]
struct Case {
    rule: String,
    routers: String,
    syntax: String,
    version: String,
    names: Vec<String>,
    reported: Vec<String>,
    error: Option<String>,
}

impl Default for Case {
    fn default() -> Self {
        let (rule, syntax) = Default::default();
        let (routers, version) = ("http".to_owned(), "3.7.13".to_owned());
        Self { rule, routers, syntax, version, names: Vec::new(), reported: Vec::new(), error: None }
    }
}

/// What is wrong with the outcome of one case; nothing if it is as expected.
fn check(case: &Case) -> Option<String> {
    let routers = if case.routers == "tcp" { Routers::Tcp } else { Routers::Http };
    let wrong = match (rule_hosts(&case.rule, Grammar::of(routers, &case.version, &case.syntax)), &case.error)
    {
        (Err(problem), Some(expected)) => {
            let text = problem.to_string();
            (!text.contains(expected.as_str())).then(|| format!("error: {text}"))
        }
        (Ok(found), None) => {
            let names: Vec<String> =
                found.names.iter().map(|name| name.to_string().trim_end_matches('.').to_owned()).collect();
            let reported: Vec<String> = found.reported.iter().map(ToString::to_string).collect();
            let told = reported.len() == case.reported.len()
                && reported.iter().zip(&case.reported).all(|(text, part)| text.contains(part.as_str()));
            (names != case.names || !told).then(|| format!("names: {names:?}, reported: {reported:?}"))
        }
        (outcome, _) => Some(format!("{outcome:?}")),
    };
    wrong.map(|wrong| {
        format!("{:?} ({}, {}, {}): {wrong}", case.rule, case.routers, case.version, case.syntax)
    })
}

#[test]
fn the_table_of_rules() {
    let text = include_str!("../../../tests/fixtures/traefik/rules.json");
    let cases: Vec<Case> = serde_json::from_str(text).unwrap();
    assert!(cases.len() >= 150, "{} rules", cases.len());
    let wrong: Vec<String> = cases.iter().filter_map(check).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn versions_and_syntaxes() {
    let check = |version: &str, rule_syntax: &str, syntax: Syntax, wildcards: Wildcards| {
        let grammar = Grammar { routers: Routers::Http, syntax, wildcards };
        assert_eq!(Grammar::of(Routers::Http, version, rule_syntax), grammar, "{version:?} {rule_syntax:?}");
    };
    check("3.7.13", "", Syntax::V3, Wildcards::OneLabel);
    check("v3.7.0-rc.1", "default", Syntax::V3, Wildcards::OneLabel);
    check("3.6", "v3", Syntax::V3, Wildcards::Literal);
    check("3.8.1", "V2", Syntax::V2, Wildcards::Literal);
    check("4.0.0", "", Syntax::V3, Wildcards::Below);
    check("2.11.3", "", Syntax::V2, Wildcards::Literal);
    check("dev", "", Syntax::Either, Wildcards::Below);
    check("", "v2", Syntax::V2, Wildcards::Literal);
    check("", "v3", Syntax::V3, Wildcards::Below);
}

#[test]
fn what_is_too_deep_or_too_long_is_refused() {
    let check = |rule: &str, message: &str| {
        let problem = rule_hosts(rule, Grammar::unknown(Routers::Http)).unwrap_err();
        assert!(problem.message.contains(message), "{problem}");
    };
    let nested = |depth: usize| format!("{}Host(`a`){}", "(".repeat(depth), ")".repeat(depth));
    check(&nested(101), "more than 100 parentheses stand in one another");
    check(&nested(100_000), "more than 100 parentheses stand in one another");
    check(&"!".repeat(300_000), "the rule is longer than");
    check(&format!("{}Host(`a`)", "!".repeat(200_000)).repeat(2), "the rule is longer than");
    check("Host(`a\0`)", "NUL");
    check("Host(`a\u{feff}`)", "byte order mark");
    let deep = rule_hosts(&nested(100), Grammar::unknown(Routers::Http)).unwrap();
    assert_eq!(deep.names.len(), 1);
    let many =
        rule_hosts(&format!("{}Host(`a`)", "!".repeat(200_000)), Grammar::unknown(Routers::Http)).unwrap();
    assert_eq!(many.names.len(), 1, "an even number of negations");
}

/// Expressions that would take for ever, or all memory, if they were written out.
#[test]
fn regular_expressions_have_bounds() {
    let check = |pattern: &str| {
        let found =
            rule_hosts(&format!("HostRegexp(`{pattern}`)"), Grammar::of(Routers::Http, "3.7", "")).unwrap();
        assert_eq!((found.names.len(), found.reported.len()), (0, 1), "{pattern}");
    };
    check(&format!("^{}$", "[ab]".repeat(40)));
    check(&format!("^{}$", "(a|b)?".repeat(40)));
    check("^((((a{0,63}){0,63}){0,63}){0,63}){0,63}$");
    check("^((((){0,63}){0,63}){0,63}){0,63}$");
    check(&format!("^{}a{}$", "(".repeat(200), ")".repeat(200)));
    check(&format!("^({})$", (0..5000).map(|n| n.to_string()).collect::<Vec<_>>().join("|")));
}

/// Pieces that rules are made of, so that mutations get past the first token.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("Host(`a.example`)".to_owned()),
        Just("HostSNI(\"b.example\")".to_owned()),
        Just("HostRegexp(`^(a|b)?\\.{1,3}[a-z].+$`)".to_owned()),
        Just("HostRegexp(`{x:[a-z]+}.example`, `y`)".to_owned()),
        Just("&&".to_owned()),
        Just("||".to_owned()),
        Just("!".to_owned()),
        Just("(".to_owned()),
        Just(")".to_owned()),
        Just("/*".to_owned()),
        Just("\n".to_owned()),
        Just("\"\\u00".to_owned()),
        any::<char>().prop_map(String::from),
        "\\PC{0,8}",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn grammars() -> impl Strategy<Value = Grammar> {
    (
        prop_oneof![Just(Routers::Http), Just(Routers::Tcp)],
        prop_oneof![Just(Syntax::V2), Just(Syntax::V3), Just(Syntax::Either)],
        prop_oneof![Just(Wildcards::Literal), Just(Wildcards::OneLabel), Just(Wildcards::Below)],
    )
        .prop_map(|(routers, syntax, wildcards)| Grammar { routers, syntax, wildcards })
}

proptest! {
    /// Whatever is read: no panic, a place within the rule for each problem, and no name that a rule does not spell out.
    #[test]
    fn any_text_can_be_read(rule in pieces(), grammar in grammars()) {
        let lines = u32::try_from(rule.matches('\n').count()).unwrap() + 1;
        let found = match rule_hosts(&rule, grammar) {
            Ok(found) => found,
            Err(problem) => RuleHosts { names: Vec::new(), reported: vec![problem] },
        };
        for problem in &found.reported {
            prop_assert!((1..=lines).contains(&problem.position.line) && problem.position.column >= 1);
        }
        for name in &found.names {
            prop_assert!(!name.is_root());
        }
    }

    /// As the argument of a regular expression, too.
    #[test]
    fn any_regular_expression_can_be_read(pattern in "[\\^$.+*?(){}\\[\\]|\\\\a-d0-3:,\\-&~iPs<>]{0,24}", grammar in grammars()) {
        let _ = rule_hosts(&format!("HostRegexp(`{pattern}`)"), grammar);
        let _ = rule_hosts(&format!("HostSNIRegexp(`{pattern}`)"), grammar);
    }

    /// Two negations are none.
    #[test]
    fn negations_cancel_out(rule in pieces(), grammar in grammars()) {
        let plain = rule_hosts(&rule, grammar).map(|found| found.names);
        let twice = rule_hosts(&format!("!(!({rule}))"), grammar).map(|found| found.names);
        if let (Ok(plain), Ok(twice)) = (&plain, &twice) {
            prop_assert_eq!(plain, twice);
        }
    }
}
