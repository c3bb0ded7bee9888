//! From matchers to names: which matchers there are, what they take, and what of them can be published.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::IpAddr;

use super::parser::Call;
use super::{Fault, Grammar, Routers, Syntax, Wildcards, regexp};
use crate::model::name::Name;

/// What the matchers of a rule gave so far.
#[derive(Default)]
pub(super) struct Found {
    pub(super) names: Vec<Name>,
    pub(super) reported: Vec<Fault>,
    seen: HashSet<Name>,
}

/// What a matcher's arguments are to this module.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Host names.
    Hosts,
    /// Regular expressions of host names.
    Regexps,
    /// Paths, which start with a slash.
    Paths,
    /// ALPN protocols.
    Protocols,
    /// Anything that has nothing to do with names.
    Other,
}

/// A matcher: its name, what it takes, and how many arguments in the syntax of Traefik 3 (none: it has no such matcher).
struct Matcher(&'static str, Takes, &'static [usize], V2);

/// How many arguments a matcher takes in the syntax of Traefik 2.
#[derive(Clone, Copy, PartialEq, Eq)]
enum V2 {
    /// There is no such matcher.
    Unknown,
    /// One or more.
    Any,
    /// Pairs of key and value.
    Pairs,
}

const HTTP: &[Matcher] = &[
    Matcher("Host", Takes::Hosts, &[1], V2::Any),
    Matcher("HostHeader", Takes::Hosts, &[], V2::Any),
    Matcher("HostRegexp", Takes::Regexps, &[1], V2::Any),
    Matcher("ClientIP", Takes::Other, &[1], V2::Any),
    Matcher("Method", Takes::Other, &[1], V2::Any),
    Matcher("Path", Takes::Paths, &[1], V2::Any),
    Matcher("PathPrefix", Takes::Paths, &[1], V2::Any),
    Matcher("PathRegexp", Takes::Other, &[1], V2::Unknown),
    Matcher("Header", Takes::Other, &[2], V2::Unknown),
    Matcher("HeaderRegexp", Takes::Other, &[2], V2::Unknown),
    Matcher("Headers", Takes::Other, &[], V2::Pairs),
    Matcher("HeadersRegexp", Takes::Other, &[], V2::Pairs),
    Matcher("Query", Takes::Other, &[1, 2], V2::Any),
    Matcher("QueryRegexp", Takes::Other, &[1, 2], V2::Unknown),
];

const TCP: &[Matcher] = &[
    Matcher("HostSNI", Takes::Hosts, &[1], V2::Any),
    Matcher("HostSNIRegexp", Takes::Regexps, &[1], V2::Any),
    Matcher("ClientIP", Takes::Other, &[1], V2::Any),
    Matcher("ALPN", Takes::Protocols, &[1], V2::Any),
];

impl Matcher {
    /// Whether a name in a rule means this matcher: as here, in lower case, upper case, or with the first letter alone upper.
    fn is_written(&self, word: &str) -> bool {
        let name = self.0;
        word.eq_ignore_ascii_case(name) && {
            let title = word.starts_with(|c: char| c.is_ascii_uppercase())
                && !word[1..].contains(|c: char| c.is_ascii_uppercase());
            let lower = !word.contains(|c: char| c.is_ascii_uppercase());
            let upper = !word.contains(|c: char| c.is_ascii_lowercase());
            word == name || title || lower || upper
        }
    }

    /// Whether the syntax has it.
    fn is_in(&self, syntax: Syntax) -> bool {
        let (v3, v2) = (!self.2.is_empty(), self.3 != V2::Unknown);
        match syntax {
            Syntax::V2 => v2,
            Syntax::V3 => v3,
            Syntax::Either => v2 || v3,
        }
    }

    /// Whether it takes that many arguments.
    fn takes(&self, count: usize, syntax: Syntax) -> bool {
        let v2 = match self.3 {
            V2::Unknown => false,
            V2::Any => count > 0,
            V2::Pairs => count > 0 && count.is_multiple_of(2),
        };
        match syntax {
            Syntax::V2 => v2,
            Syntax::V3 => self.2.contains(&count),
            Syntax::Either => v2 || self.2.contains(&count),
        }
    }
}

/// Checks one matcher, and adds what it publishes.
///
/// # Errors
/// What Traefik refuses, also in matchers that publish nothing.
pub(super) fn collect(call: &Call<'_>, grammar: Grammar, found: &mut Found) -> Result<(), Fault> {
    let matcher = known(call, grammar)?;
    if !matcher.takes(call.arguments.len(), grammar.syntax) {
        return Err(Fault::new(call.at, wrong_count(matcher, call.arguments.len(), grammar.syntax)));
    }
    for (at, argument) in &call.arguments {
        let fault = |message: String| Fault::new(*at, message);
        if argument.is_empty() {
            return Err(fault(format!("{} takes no empty string", matcher.0)));
        }
        match matcher.1 {
            Takes::Hosts => {
                may_be_host(matcher.0, argument, grammar).map_err(fault)?;
                if !call.negated {
                    found.host(*at, argument, grammar);
                }
            }
            Takes::Regexps => {
                let names = pattern(matcher.0, argument, grammar).map_err(fault)?;
                if !call.negated {
                    found.pattern(*at, argument, names);
                }
            }
            Takes::Paths if !argument.starts_with('/') => {
                return Err(fault(format!(
                    "\"{}\" is no path: it does not start with a slash",
                    short(argument)
                )));
            }
            Takes::Protocols if argument == "acme-tls/1" => {
                return Err(fault("ALPN does not take \"acme-tls/1\"".to_owned()));
            }
            Takes::Paths | Takes::Protocols | Takes::Other => {}
        }
    }
    Ok(())
}

/// The matcher that a call names.
fn known(call: &Call<'_>, grammar: Grammar) -> Result<&'static Matcher, Fault> {
    let all = match grammar.routers {
        Routers::Http => HTTP,
        Routers::Tcp => TCP,
    };
    let mut named = all.iter().filter(|matcher| matcher.is_in(grammar.syntax));
    named.find(|matcher| matcher.is_written(call.matcher)).ok_or_else(|| {
        let kind = match grammar.routers {
            Routers::Http => "HTTP",
            Routers::Tcp => "TCP",
        };
        let syntax = match grammar.syntax {
            Syntax::V2 => " of Traefik 2",
            Syntax::V3 => " of Traefik 3",
            Syntax::Either => "",
        };
        Fault::new(call.at, format!("\"{}\" is no matcher of {kind} rules{syntax}", short(call.matcher)))
    })
}

fn wrong_count(matcher: &Matcher, count: usize, syntax: Syntax) -> String {
    let takes = match (matcher.2, syntax) {
        (_, Syntax::V2) | ([], _) if matcher.3 == V2::Pairs => "pairs of strings".to_owned(),
        (_, Syntax::V2 | Syntax::Either) | ([], _) => "one string or more".to_owned(),
        ([1], _) => "one string".to_owned(),
        ([one], _) => format!("{one} strings"),
        (_, _) => "one or two strings".to_owned(),
    };
    format!("{} takes {takes}, not {count}", matcher.0)
}

/// What Traefik refuses of a host, whatever it stands for.
fn may_be_host(matcher: &str, host: &str, grammar: Grammar) -> Result<(), String> {
    if !host.is_ascii() {
        return Err(format!("{matcher} takes ASCII alone: write \"{}\" with its xn-- labels", short(host)));
    }
    if grammar.routers == Routers::Http || host == "*" {
        return Ok(());
    }
    let rest = match grammar.wildcards {
        Wildcards::Literal => host,
        Wildcards::OneLabel => host.strip_prefix("*.").unwrap_or(host),
        Wildcards::Below => host.strip_prefix("**.").or_else(|| host.strip_prefix("*.")).unwrap_or(host),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | ':');
    if rest.is_empty() || !rest.chars().all(fits) {
        return Err(format!("{matcher} does not take \"{}\"", short(host)));
    }
    Ok(())
}

/// What a regular expression or template stands for.
///
/// # Errors
/// Templates that Traefik refuses.
fn pattern(matcher: &str, text: &str, grammar: Grammar) -> Result<Result<Vec<String>, String>, String> {
    let template = match grammar.syntax {
        Syntax::V2 => true,
        Syntax::V3 => false,
        Syntax::Either => regexp::looks_like_template(text),
    };
    // Only HostSNIRegexp of Traefik 2 lets other characters through, and no client sends one.
    let may_be_other = template && grammar.routers == Routers::Tcp;
    if !text.is_ascii() && !may_be_other {
        return Err(format!("{matcher} takes ASCII alone"));
    }
    let pattern = if template { Cow::Owned(regexp::of_template(text)?) } else { Cow::Borrowed(text) };
    Ok(regexp::names(&pattern))
}

impl Found {
    /// Adds the host of `Host` or `HostSNI`.
    fn host(&mut self, at: usize, host: &str, grammar: Grammar) {
        let lower = host.to_ascii_lowercase();
        let name = lower.strip_suffix('.').unwrap_or(&lower);
        let (wildcard, rest) = match name {
            // Whatever is asked for: a catch-all has no name.
            "*" => return,
            _ => match (name.strip_prefix("**."), name.strip_prefix("*.")) {
                (Some(rest), _) => (Some(Wildcards::Below), rest),
                (None, Some(rest)) => (Some(Wildcards::OneLabel), rest),
                (None, None) => (None, name),
            },
        };
        if rest.contains('*') {
            return self
                .report(at, format!("\"{}\" has an asterisk that Traefik takes literally", short(host)));
        }
        match wildcard {
            None => self.name(at, rest),
            Some(needed) if needed <= grammar.wildcards => self.name(at, &format!("*.{rest}")),
            Some(needed) => {
                let from = if needed == Wildcards::OneLabel { "3.7" } else { "3.8" };
                self.report(
                    at,
                    format!("\"{}\" matches no request: it is a wildcard only in the v3 syntax, from Traefik {from} on", short(host)),
                );
            }
        }
    }

    /// Adds what a regular expression stands for.
    fn pattern(&mut self, at: usize, text: &str, names: Result<Vec<String>, String>) {
        match names {
            Ok(names) => names.iter().for_each(|name| self.name(at, name.strip_suffix('.').unwrap_or(name))),
            Err(why) => self.report(at, format!("\"{}\" {why}", short(text))),
        }
    }

    /// Adds a name in lower case, `*.` before it for a wildcard, without the trailing dot.
    fn name(&mut self, at: usize, name: &str) {
        if is_address(name) {
            return;
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if let Some(stray) = name.strip_prefix("*.").unwrap_or(name).chars().find(|c| !plain(*c)) {
            return self.report(at, format!("\"{}\" is no host name: it has {stray:?}", short(name)));
        }
        match Name::parse_absolute(name) {
            // The one dot that may end it is gone.
            Ok(_) if name.is_empty() || name.ends_with('.') => {
                self.report(at, format!("\"{}\" is no host name: it ends in two dots", short(name)));
            }
            Ok(name) => {
                if self.seen.insert(name.clone()) {
                    self.names.push(name);
                }
            }
            Err(error) => self.report(at, format!("\"{}\" is no host name: {error}", short(name))),
        }
    }

    fn report(&mut self, at: usize, message: impl Into<String>) {
        self.reported.push(Fault::new(at, message));
    }
}

/// Whether a host is an IP address, in brackets or not.
fn is_address(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().is_ok()
}

/// A text as messages quote it: not more of it than a line holds.
fn short(text: &str) -> Cow<'_, str> {
    const CHARACTERS: usize = 80;
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}
