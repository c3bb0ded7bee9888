//! Texts with fields to be filled in: `{{text}}`. No expressions, so that there is nothing to go wrong once a template is read.

use std::borrow::Cow;

use crate::config::json::nearest;

/// What may stand between the braces, and what it is.
const FIELDS: [(&str, Field); 12] = [
    ("text", Field::Text),
    ("summary", Field::Summary),
    ("count", Field::Count),
    ("kind", Field::Kind),
    ("severity", Field::Severity),
    ("zone", Field::Zone),
    ("name", Field::Name),
    ("target", Field::Target),
    ("source", Field::Source),
    ("server", Field::Server),
    ("time", Field::Time),
    ("events", Field::Events),
];

/// A field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Everything in words, a line for each event.
    Text,
    /// Everything in one line.
    Summary,
    /// How many events.
    Count,
    /// The kind of the first event; of several, trouble comes first.
    Kind,
    /// `trouble` if any event is, else `info`.
    Severity,
    /// The first event's zone.
    Zone,
    /// The first event's name.
    Name,
    /// The first event's target.
    Target,
    /// The first event's source.
    Source,
    /// The host that Hale runs on.
    Server,
    /// When the first event happened, as RFC 3339 in UTC.
    Time,
    /// The events as a JSON list: a value of its own, not to stand within quotation marks.
    Events,
}

/// A text with fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Field(Field),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong, and a hint.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("{{") {
            let Some((name, after)) = behind.split_once("}}") else {
                return Err(("a field begins with {{ and does not end".to_owned(), "add }}".to_owned()));
            };
            let name = name.trim();
            let known = || FIELDS.iter().map(|(name, _)| *name);
            let Some((_, field)) = FIELDS.iter().find(|(known, _)| *known == name) else {
                let all = known().collect::<Vec<_>>().join(", ");
                let hint = nearest(name, known()).map_or_else(
                    || format!("the fields are {all}"),
                    |near| format!("did you mean {{{{{near}}}}}? The fields are {all}"),
                );
                return Err((format!("there is no field {{{{{name}}}}}"), hint));
            };
            parts.push(Part::Text(before.into()));
            parts.push(Part::Field(*field));
            rest = after;
        }
        parts.push(Part::Text(rest.into()));
        Ok(Self(parts))
    }

    /// The text with the fields filled in.
    pub fn fill<'v>(&self, value: impl Fn(Field) -> Cow<'v, str>) -> String {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field(field) => out.push_str(&value(*field)),
            }
        }
        out
    }

    /// As [`Template::fill`], for a template of JSON in which fields stand within quotation marks: what they are filled with is escaped, so
    /// that no value ends its string.
    pub fn fill_json<'v>(&self, value: impl Fn(Field) -> Cow<'v, str>) -> String {
        self.fill(|field| match field {
            Field::Events => value(field),
            _ => Cow::Owned(escaped(&value(field))),
        })
    }
}

/// The inside of a JSON string.
fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(field: Field) -> Cow<'static, str> {
        match field {
            Field::Events => "[]".into(),
            Field::Count => "2".into(),
            _ => "say \"no\"\\\nnow".into(),
        }
    }

    #[test]
    fn fields_are_filled_in() {
        let check = |template: &str, want: &str| {
            assert_eq!(Template::parse(template).unwrap().fill(sample), want);
        };
        check("", "");
        check("plain {text} }}", "plain {text} }}");
        check("{{count}}{{ count }} events", "22 events");
        check("a {{zone}}!", "a say \"no\"\\\nnow!");
    }

    #[test]
    fn no_value_leaves_its_string() {
        let template = Template::parse(r#"{"a":"{{text}}","n":{{count}},"all":{{events}}}"#).unwrap();
        let filled: serde_json::Value = serde_json::from_str(&template.fill_json(sample)).unwrap();
        assert_eq!(filled["a"], "say \"no\"\\\nnow");
        assert_eq!((&filled["n"], &filled["all"]), (&2.into(), &serde_json::json!([])));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |template: &str, message: &str, hint: &str| {
            let wrong = Template::parse(template).unwrap_err();
            assert_eq!(wrong.0, message);
            assert!(wrong.1.starts_with(hint), "{}", wrong.1);
        };
        check("{{text", "a field begins with {{ and does not end", "add }}");
        check("{{texd}}", "there is no field {{texd}}", "did you mean {{text}}?");
        check("{{env.HOME}}", "there is no field {{env.HOME}}", "the fields are text, summary,");
    }
}
