//! Labels and annotations: few entries, thousands of objects.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

/// A map of texts as a sorted list: a B-tree's first node alone takes ten times the room that one annotation needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs(Box<[(Box<str>, Box<str>)]>);

impl Pairs {
    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        let index = self.0.binary_search_by(|(name, _)| (**name).cmp(key)).ok()?;
        Some(&self.0[index].1)
    }

    /// Drops every entry whose key `wanted` refuses.
    pub fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        if self.0.iter().any(|(key, _)| !wanted(key)) {
            let all = std::mem::take(&mut self.0).into_vec();
            self.0 = all.into_iter().filter(|(key, _)| wanted(key)).collect();
        }
    }

    /// All entries, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }
}

impl<K: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(K, V)> for Pairs {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut all: Vec<(Box<str>, Box<str>)> =
            entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        all.sort();
        all.dedup_by(|later, earlier| later.0 == earlier.0);
        Self(all.into_boxed_slice())
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut all: Vec<(Box<str>, Box<str>)> = Vec::new();
                while let Some(key) = map.next_key::<Box<str>>()? {
                    // kubectl's copy of the whole object can be as large as all the rest, and is never read.
                    if &*key == "kubectl.kubernetes.io/last-applied-configuration" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        all.push((key, map.next_value()?));
                    }
                }
                Ok(all.into_iter().collect())
            }

            fn visit_unit<E>(self) -> Result<Pairs, E> {
                Ok(Pairs::default())
            }
        }
        deserializer.deserialize_any(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_drops_and_never_keeps_kubectls_copy() {
        let text = r#"{"b":"2","kubectl.kubernetes.io/last-applied-configuration":"{}","a":"1"}"#;
        let mut pairs: Pairs = serde_json::from_str(text).unwrap();
        assert_eq!(pairs.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!((pairs.get("b"), pairs.get("c")), (Some("2"), None));
        pairs.retain(|key| key == "a");
        assert_eq!(pairs, [("a", "1")].into_iter().collect());
        assert_eq!(serde_json::from_str::<Pairs>("null").unwrap(), Pairs::default());
        assert!(serde_json::from_str::<Pairs>(r#"{"a":1}"#).is_err());
    }
}
