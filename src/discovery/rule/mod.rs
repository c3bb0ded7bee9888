//! Host names of Traefik's rules (`Host(`a.example`) && PathPrefix(`/x`)`): what a rule routes, as names that can be published.
//!
//! Traefik reads a rule as a Go expression. Here it is read by the same grammar (`lexer`, `parser`), `!` is pushed inward, and
//! what stands in a positive `Host`, `HostSNI` or one of their regular expressions becomes names (`hosts`, `regexp`). A host that
//! cannot be said in DNS exactly, or at least as a wildcard, is reported and never guessed.

mod hosts;
mod lexer;
mod parser;
mod regexp;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::model::diagnostic::Position;
use crate::model::name::Name;

/// Octets of the longest rule that is read.
pub const MAX_RULE_OCTETS: usize = 256 * 1024;

/// How a rule is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grammar {
    /// Which matchers there are.
    pub routers: Routers,
    /// What the matchers take.
    pub syntax: Syntax,
    /// What `*` says in `Host` and `HostSNI`.
    pub wildcards: Wildcards,
}

/// The kind of router that a rule belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routers {
    /// `Host`, `HostRegexp`.
    Http,
    /// `HostSNI`, `HostSNIRegexp`.
    Tcp,
}

/// A router's `ruleSyntax`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// Traefik 2: matchers take several arguments, regular expressions stand in `{name:…}` templates.
    V2,
    /// Traefik 3: one argument, a Go regular expression.
    V3,
    /// Not known: what either takes.
    Either,
}

/// What Traefik makes of a host with asterisks, by its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wildcards {
    /// Before 3.7: a literal that no request has.
    Literal,
    /// 3.7: `*.x` is one label below `x`.
    OneLabel,
    /// From 3.8 on also `**.x`, any name below `x`. Also where the version is not known.
    Below,
}

impl Grammar {
    /// The grammar of a router, by Traefik's version (`3.7.13`; anything that is no version is taken for a current one) and the router's
    /// `ruleSyntax` (`v2`, `v3`; Traefik takes all else for its own version's).
    pub fn of(routers: Routers, version: &str, rule_syntax: &str) -> Self {
        let mut numbers = version.trim_start_matches('v').split(['.', '-']).map(|n| n.parse::<u32>().ok());
        let version = match (numbers.next().flatten(), numbers.next().flatten()) {
            (Some(major), minor) => Some((major, minor.unwrap_or(0))),
            (None, _) => None,
        };
        let syntax = match (rule_syntax, version) {
            (_, Some((0..=2, _))) => Syntax::V2,
            (syntax, _) if syntax.eq_ignore_ascii_case("v2") => Syntax::V2,
            (syntax, _) if syntax.eq_ignore_ascii_case("v3") => Syntax::V3,
            (_, Some(_)) => Syntax::V3,
            (_, None) => Syntax::Either,
        };
        let wildcards = match version {
            _ if syntax == Syntax::V2 => Wildcards::Literal,
            Some(version) if version < (3, 7) => Wildcards::Literal,
            Some((3, 7)) => Wildcards::OneLabel,
            _ => Wildcards::Below,
        };
        Self { routers, syntax, wildcards }
    }

    /// The grammar where Traefik's version is not known: both syntaxes, wildcards as in current versions.
    pub fn unknown(routers: Routers) -> Self {
        Self { routers, syntax: Syntax::Either, wildcards: Wildcards::Below }
    }
}

/// The host names of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleHosts {
    /// What can be published, each name once, in the order of the rule; a first label `*` is a DNS wildcard.
    pub names: Vec<Name>,
    /// Hosts that are routed (or meant to be) but have no name to publish, and why.
    pub reported: Vec<Problem>,
}

/// What is wrong in a rule, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line and column (in characters) of the rule, from 1.
    pub position: Position,
    /// What is wrong, and where there is a way out, what to write instead.
    pub message: String,
}

/// One line: `column 17: …`, or `line 2, column 5: …` below the first line.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.position;
        if line > 1 {
            write!(f, "line {line}, ")?;
        }
        write!(f, "column {column}: {}", self.message)
    }
}

/// The names that a rule routes.
///
/// # Errors
/// What Traefik itself would refuse: syntax, unknown matchers, arguments that a matcher does not take. Regular expressions that cannot be
/// read are reported instead, since Traefik knows more of them.
pub fn rule_hosts(rule: &str, grammar: Grammar) -> Result<RuleHosts, Problem> {
    let problem = |fault: Fault| Problem { position: position(rule, fault.at), message: fault.message };
    let calls = parser::parse(rule).map_err(problem)?;
    let mut found = hosts::Found::default();
    for call in &calls {
        hosts::collect(call, grammar, &mut found).map_err(problem)?;
    }
    Ok(RuleHosts { names: found.names, reported: found.reported.into_iter().map(problem).collect() })
}

/// A problem with the octet of the rule at which it stands.
#[derive(Debug)]
struct Fault {
    at: usize,
    message: String,
}

impl Fault {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}

/// Line and column of an octet.
fn position(text: &str, at: usize) -> Position {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let count = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
    Position {
        line: count(before.matches('\n').count()),
        column: count(before[line_start..].chars().count()),
    }
}
