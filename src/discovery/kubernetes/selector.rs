//! Label selectors: the grammar of `kubectl get -l`, and the structured form that objects hold.

use std::fmt;

use serde::Deserialize;

use super::pairs::Pairs;

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

    /// Whether every requirement holds for these labels (or annotations).
    pub fn matches(&self, labels: &Pairs) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            let listed = value.is_some_and(|value| requirement.values.iter().any(|one| **one == *value));
            match requirement.operator {
                Operator::In => listed,
                Operator::NotIn => !listed,
                Operator::Exists => value.is_some(),
                Operator::DoesNotExist => value.is_none(),
            }
        })
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

/// A key as the API server would take it: a name with an optional prefix before a slash.
fn is_key(key: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    !key.is_empty() && key.chars().all(allowed) && key.matches('/').count() <= 1
}

/// The structured form (`matchLabels`, `matchExpressions`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Structured {
    #[serde(default)]
    match_labels: Pairs,
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
        let equal = structured.match_labels.iter().map(|(key, value)| Requirement {
            key: key.into(),
            operator: Operator::In,
            values: vec![value.into()],
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
        let pairs: Pairs = labels.split(' ').filter_map(|pair| pair.split_once('=')).collect();
        assert_eq!(Selector::parse(selector).unwrap().matches(&pairs), expected, "{selector} on {labels}");
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
        ] {
            assert_eq!(Selector::parse(text), Err(SelectorError { part: part.to_owned() }), "{text}");
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
