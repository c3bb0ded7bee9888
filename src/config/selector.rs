//! Label selectors of Kubernetes: the grammar of `kubectl get -l`, and the structured form that objects hold.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

/// Characters of the longest name in a cluster, and of the prefix of a key.
const MAX_SUBDOMAIN: usize = 253;
/// Characters of the longest label, of its value, and of a namespace.
const MAX_LABEL: usize = 63;

/// All of its requirements have to hold; none hold for everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

/// One condition on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: Box<str>,
    operator: Operator,
    values: Vec<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

/// A text that is no selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorError {
    /// The part that is wrong.
    pub part: String,
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is no requirement of a selector", self.part)
    }
}

impl std::error::Error for SelectorError {}

impl Selector {
    /// Reads `a=b`, `a==b`, `a!=b`, `a in (b, c)`, `a notin (b, c)`, `a` and `!a`, with commas between them.
    ///
    /// # Errors
    /// The first part that is none of these.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut all = Vec::new();
        for part in requirements(text) {
            let wrong = || SelectorError { part: part.trim().to_owned() };
            all.push(requirement(part.trim()).ok_or_else(wrong)?);
        }
        Ok(Self(all))
    }

    /// Whether every requirement holds for labels (or annotations), of which `value_of` gives the value of a key.
    pub fn matches<'a>(&self, value_of: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| {
            let value = value_of(&requirement.key);
            let listed = value.is_some_and(|value| requirement.values.iter().any(|one| **one == *value));
            match requirement.operator {
                Operator::In => listed,
                Operator::NotIn => !listed,
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        })
    }

    /// The first value that no label can have, so that the API server would refuse the selector. Annotations may have any.
    pub fn impossible_value(&self) -> Option<&str> {
        let mut values = self.0.iter().flat_map(|requirement| &requirement.values);
        values.find(|value| !value.is_empty() && !is_label(value)).map(|value| &**value)
    }

    /// The keys that it reads.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|requirement| &*requirement.key)
    }

    /// Whether it holds for everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The parts between commas that stand outside of parentheses.
fn requirements(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, octet) in text.bytes().enumerate() {
        match octet {
            b'(' => inside = true,
            b')' => inside = false,
            b',' if !inside => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !text.trim().is_empty() {
        parts.push(&text[start..]);
    }
    parts
}

/// One part, without spaces around it.
fn requirement(part: &str) -> Option<Requirement> {
    let make = |key: &str, operator, values: Vec<Box<str>>| {
        is_key(key).then(|| Requirement { key: key.into(), operator, values })
    };
    if let Some(key) = part.strip_prefix('!') {
        return make(key.trim(), Operator::DoesNotExist, Vec::new());
    }
    if let Some(set) = part.strip_suffix(')') {
        let (left, set) = set.split_once('(')?;
        let (key, word) = left.trim().rsplit_once(char::is_whitespace)?;
        let operator = match word {
            "in" => Operator::In,
            "notin" => Operator::NotIn,
            _ => return None,
        };
        let values = set.split(',').map(|value| value.trim().into()).collect();
        return make(key.trim(), operator, values);
    }
    let Some(at) = part.find(['=', '!']) else {
        return make(part, Operator::Exists, Vec::new());
    };
    let (key, rest) = part.split_at(at);
    let (operator, value) = if let Some(value) = rest.strip_prefix("!=") {
        (Operator::NotIn, value)
    } else {
        (Operator::In, rest.strip_prefix("==").or_else(|| rest.strip_prefix('='))?)
    };
    let value = value.trim();
    if value.contains(['=', '!', '(', ')', ' ']) {
        return None;
    }
    make(key.trim(), operator, vec![value.into()])
}

/// A key as the API server would take it: a name with an optional prefix, a domain, before a slash.
fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_label(name),
        None => is_label(key),
    }
}

/// The name of a label, or its value: letters, digits, and `-`, `_`, `.` within.
fn is_label(text: &str) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric();
    let ends = [text.as_bytes().first(), text.as_bytes().last()];
    text.len() <= MAX_LABEL
        && ends.into_iter().all(|end| end.is_some_and(plain))
        && text.bytes().all(|b| plain(&b) || matches!(b, b'-' | b'_' | b'.'))
}

/// A name such as objects have (RFC 1123 as Kubernetes takes it): small letters, digits, and `-` within, in parts with dots between them.
pub(super) fn is_subdomain(text: &str) -> bool {
    text.len() <= MAX_SUBDOMAIN && text.split('.').all(is_part)
}

/// The name of a namespace or Service: one such part of at most 63 characters.
pub(super) fn is_object_label(text: &str) -> bool {
    text.len() <= MAX_LABEL && is_part(text)
}

fn is_part(part: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !part.is_empty() && !part.starts_with('-') && !part.ends_with('-') && part.bytes().all(plain)
}

/// The structured form (`matchLabels`, `matchExpressions`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Structured {
    match_labels: Option<BTreeMap<Box<str>, Box<str>>>,
    match_expressions: Option<Vec<Expression>>,
}

#[derive(Deserialize)]
struct Expression {
    key: Box<str>,
    operator: Operator,
    values: Option<Vec<Box<str>>>,
}

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let structured = Structured::deserialize(deserializer)?;
        let equal = structured.match_labels.unwrap_or_default();
        let equal = equal.into_iter().map(|(key, value)| Requirement {
            key,
            operator: Operator::In,
            values: vec![value],
        });
        let mut all: Vec<Requirement> = equal.collect();
        all.extend(structured.match_expressions.unwrap_or_default().into_iter().map(|expression| {
            let Expression { key, operator, values } = expression;
            Requirement { key, operator, values: values.unwrap_or_default() }
        }));
        Ok(Self(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(selector: &str, labels: &str, expected: bool) {
        let pairs: BTreeMap<&str, &str> = labels.split(' ').filter_map(|pair| pair.split_once('=')).collect();
        let selector = Selector::parse(selector).unwrap();
        assert_eq!(selector.matches(|key| pairs.get(key).copied()), expected, "{selector:?} on {labels}");
    }

    #[test]
    fn requirements_hold_as_kubectl_reads_them() {
        for (selector, labels, expected) in [
            ("", "a=1", true),
            ("a=1", "a=1 b=2", true),
            ("a==1", "a=2", false),
            ("a!=1", "a=2", true),
            ("a!=1", "", true),
            ("a", "a=", true),
            ("!a", "a=1", false),
            ("! a", "b=1", true),
            ("a in (1, 2),b", "a=2 b=1", true),
            ("a in (1,2)", "", false),
            ("a notin (1,2)", "a=2", false),
            ("a notin (1,2)", "", true),
            ("example.test/team = x , b=2", "example.test/team=x b=2", true),
            ("a=", "a=", true),
        ] {
            check(selector, labels, expected);
        }
    }

    #[test]
    fn what_is_no_selector_is_named() {
        for (text, part) in [
            ("a=1,,b", ""),
            ("a b", "a b"),
            ("a within (1)", "a within (1)"),
            ("a=b=c", "a=b=c"),
            ("=1", "=1"),
            ("a!1", "a!1"),
            ("a/b/c", "a/b/c"),
            ("a_b/c", "a_b/c"),
            ("-a=1", "-a=1"),
            ("A/b=1", "A/b=1"),
            ("a/=1", "a/=1"),
        ] {
            assert_eq!(Selector::parse(text), Err(SelectorError { part: part.to_owned() }), "{text}");
        }
    }

    #[test]
    fn values_that_no_label_has_are_named() {
        for (text, value) in [
            ("a=b", None),
            ("a=", None),
            ("a=b_c.d-1", None),
            ("a in (b, c d)", Some("c d")),
            ("a=-b", Some("-b")),
            ("a=b/c", Some("b/c")),
            (&format!("a={}", "b".repeat(64)), Some(&*"b".repeat(64))),
        ] {
            assert_eq!(Selector::parse(text).unwrap().impossible_value(), value, "{text}");
        }
    }

    #[test]
    fn objects_hold_the_structured_form() {
        let text = r#"{"matchLabels":{"a":"1"},"matchExpressions":[
            {"key":"b","operator":"In","values":["2","3"]},{"key":"c","operator":"DoesNotExist"}]}"#;
        let selector: Selector = serde_json::from_str(text).unwrap();
        assert_eq!(selector, Selector::parse("a=1,b in (2,3),!c").unwrap());
        assert_eq!(serde_json::from_str::<Selector>("{}").unwrap(), Selector::default());
    }
}
