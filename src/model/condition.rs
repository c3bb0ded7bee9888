//! What must hold for an endpoint to count as up: a target's verdict, or a combination of several. Pure.

use std::fmt;

use super::target::{Target, TargetId, Verdict};

/// An expression over verdicts. As configured its leaves are [`Target`]s; as the keeper holds it they are [`TargetId`]s.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Condition<T = Target> {
    /// What probes say of a target.
    Target(T),
    /// Each of these is up.
    All(Box<[Condition<T>]>),
    /// One of these is up.
    Any(Box<[Condition<T>]>),
    /// So many of these are up.
    AtLeast(u16, Box<[Condition<T>]>),
}

/// A condition whose targets have their numbers on the verdict board.
pub type Resolved = Condition<TargetId>;

impl<T> Condition<T> {
    /// What the condition amounts to, by the verdicts of its leaves.
    ///
    /// A combination is unknown only as long as what is unknown could still decide it: `all` is down as soon as one is down, `any`
    /// is up as soon as one is up, and "at least n" is down once n can no longer be reached.
    pub fn evaluate(&self, of_target: &impl Fn(&T) -> Verdict) -> Verdict {
        let (wanted, parts) = match self {
            Self::Target(target) => return of_target(target),
            Self::All(parts) => (parts.len(), parts),
            Self::Any(parts) => (1, parts),
            Self::AtLeast(wanted, parts) => (usize::from(*wanted), parts),
        };
        let (mut up, mut unknown) = (0, 0);
        for part in parts {
            match part.evaluate(of_target) {
                Verdict::Up => up += 1,
                Verdict::Unknown => unknown += 1,
                Verdict::Down => {}
            }
        }
        if up >= wanted {
            Verdict::Up
        } else if up + unknown < wanted {
            Verdict::Down
        } else {
            Verdict::Unknown
        }
    }

    /// The target, if it is nothing but one.
    pub fn as_target(&self) -> Option<&T> {
        match self {
            Self::Target(target) => Some(target),
            _ => None,
        }
    }

    /// The same condition over other leaves.
    pub fn map<U>(&self, leaf: &mut impl FnMut(&T) -> U) -> Condition<U> {
        match self {
            Self::Target(target) => Condition::Target(leaf(target)),
            Self::All(parts) => Condition::All(parts.iter().map(|part| part.map(leaf)).collect()),
            Self::Any(parts) => Condition::Any(parts.iter().map(|part| part.map(leaf)).collect()),
            Self::AtLeast(wanted, parts) => {
                Condition::AtLeast(*wanted, parts.iter().map(|part| part.map(leaf)).collect())
            }
        }
    }

    /// Calls `leaf` for each target in it, in the order in which they are written; one that stands twice is seen twice.
    pub fn for_each_target<'a>(&'a self, leaf: &mut impl FnMut(&'a T)) {
        match self {
            Self::Target(target) => leaf(target),
            Self::All(parts) | Self::Any(parts) | Self::AtLeast(_, parts) => {
                parts.iter().for_each(|part| part.for_each_target(leaf));
            }
        }
    }
}

/// As [`Target`]s are shown, combinations around them: `all(tcp 192.0.2.1:22, name www.example.test.)`.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = match self {
            Self::Target(target) => return target.fmt(f),
            Self::All(parts) => {
                f.write_str("all(")?;
                parts
            }
            Self::Any(parts) => {
                f.write_str("any(")?;
                parts
            }
            Self::AtLeast(wanted, parts) => {
                write!(f, "at_least {wanted} of(")?;
                parts
            }
        };
        for (i, part) in parts.iter().enumerate() {
            write!(f, "{}{part}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str(")")
    }
}

impl<T> From<T> for Condition<T> {
    fn from(target: T) -> Self {
        Self::Target(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(letter: char) -> Condition<Verdict> {
        Condition::Target(match letter {
            'u' => Verdict::Up,
            'd' => Verdict::Down,
            _ => Verdict::Unknown,
        })
    }

    /// Verdicts as letters: what all of them, any of them, and at least two of them amount to.
    #[track_caller]
    fn check(parts: &str, expected: &str) {
        let parts: Box<[_]> = parts.chars().map(leaf).collect();
        let found: String = [
            Condition::All(parts.clone()),
            Condition::Any(parts.clone()),
            Condition::AtLeast(2, parts.clone()),
        ]
        .iter()
        .map(|condition| condition.evaluate(&|v| *v))
        .map(|verdict| match verdict {
            Verdict::Up => 'u',
            Verdict::Down => 'd',
            Verdict::Unknown => '?',
        })
        .collect();
        assert_eq!(found, expected, "{parts:?}");
    }

    #[test]
    fn three_values() {
        for (parts, all_any_two) in [
            ("u", "uud"),
            ("d", "ddd"),
            ("?", "??d"),
            ("uu", "uuu"),
            ("ud", "dud"),
            ("u?", "?u?"),
            ("d?", "d?d"),
            ("??", "???"),
            ("dd", "ddd"),
            ("uud", "duu"),
            ("u?d", "du?"),
            ("??d", "d??"),
            ("?dd", "d?d"),
            ("uu?", "?uu"),
        ] {
            check(parts, all_any_two);
        }
    }

    #[test]
    fn nests() {
        let condition =
            Condition::All(Box::new([leaf('u'), Condition::Any(Box::new([leaf('d'), leaf('?')]))]));
        assert_eq!(condition.evaluate(&|v| *v), Verdict::Unknown);
        let mut targets = Vec::new();
        condition.for_each_target(&mut |target| targets.push(*target));
        assert_eq!(targets, [Verdict::Up, Verdict::Down, Verdict::Unknown]);
        let mut count = 0;
        let numbered = condition.map(&mut |_| {
            count += 1;
            TargetId(count)
        });
        let mut ids = Vec::new();
        numbered.for_each_target(&mut |id| ids.push(id.0));
        assert_eq!(ids, [1, 2, 3]);
    }

    #[test]
    fn an_endpoint_is_no_larger_for_it() {
        // A zone of a million checked addresses holds a million of them.
        assert_eq!(size_of::<Option<Condition>>(), size_of::<Option<Target>>());
    }
}
