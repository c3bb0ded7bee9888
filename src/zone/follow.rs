//! Owners that follow the verdict of another name, over all zones: none may follow itself by way of others. Pure.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::check::owner_path;
use super::desired::DesiredZone;
use crate::model::check::CheckKind;
use crate::model::diagnostic::{Diagnostic, Position};
use crate::model::name::Name;

/// One owner that follows another one's verdict.
#[derive(Clone, Debug)]
pub struct Follow {
    owner: Name,
    followed: Name,
    file: PathBuf,
    position: Position,
    path: String,
}

/// What the owners of a zone that was read from `file` follow.
pub fn follows(zone: &DesiredZone, file: &Path) -> Vec<Follow> {
    let mut all = Vec::new();
    for placed in zone.owners.iter() {
        let endpoints = placed.owner.checked.iter().flat_map(|checked| &checked.endpoints);
        for condition in endpoints.filter_map(|endpoint| endpoint.condition.as_ref()) {
            condition.for_each_target(&mut |target| {
                if let CheckKind::Name(followed) = &target.check.kind {
                    all.push(Follow {
                        owner: placed.name.clone(),
                        followed: followed.clone(),
                        file: file.to_owned(),
                        position: placed.position,
                        path: owner_path(&super::check::below_root(&placed.name, &zone.apex)),
                    });
                }
            });
        }
    }
    all
}

/// An error for each circle, and a warning for each owner that follows a name of none of the zones with these apexes.
pub fn findings(follows: &[Follow], apexes: &HashSet<Name>) -> Vec<Diagnostic> {
    let mut graph: HashMap<&Name, Vec<&Follow>> = HashMap::new();
    for follow in follows {
        graph.entry(&follow.owner).or_default().push(follow);
    }
    let mut search =
        Search { graph, done: HashSet::new(), path: Vec::new(), open: HashMap::new(), found: Vec::new() };
    let mut told: HashSet<(&Name, &Name)> = HashSet::new();
    for follow in follows {
        search.visit(&follow.owner);
        let is_served = std::iter::successors(Some(follow.followed.clone()), Name::parent)
            .any(|above| apexes.contains(&above));
        if !is_served && told.insert((&follow.owner, &follow.followed)) {
            let message = format!("no zone here holds {}, which \"name\" follows", follow.followed);
            let hint = "until one does, the check keeps the verdict it has; add its zone file, or probe the backend instead";
            search.found.push(
                Diagnostic::warning(&follow.file, message)
                    .at(follow.position, follow.path.as_str())
                    .hint(hint),
            );
        }
    }
    search.found
}

/// Depth first; on the explicit stack of names lies the path from where it began.
struct Search<'f> {
    graph: HashMap<&'f Name, Vec<&'f Follow>>,
    done: HashSet<&'f Name>,
    /// Each name with how many of its follows are done.
    path: Vec<(&'f Name, usize)>,
    /// Where on the path each of its names stands.
    open: HashMap<&'f Name, usize>,
    found: Vec<Diagnostic>,
}

impl<'f> Search<'f> {
    /// Not by recursion: a chain of names may be as long as a zone.
    fn visit(&mut self, start: &'f Name) {
        if self.done.contains(start) {
            return;
        }
        self.push(start);
        while let Some((name, next)) = self.path.last_mut() {
            let Some(follow) = self.graph.get(*name).and_then(|follows| follows.get(*next)).copied() else {
                self.done.insert(*name);
                self.open.remove(*name);
                self.path.pop();
                continue;
            };
            *next += 1;
            if let Some(&from) = self.open.get(&follow.followed) {
                self.circle(follow, from);
            } else if !self.done.contains(&follow.followed) {
                self.push(&follow.followed);
            }
        }
    }

    fn push(&mut self, name: &'f Name) {
        self.open.insert(name, self.path.len());
        self.path.push((name, 0));
    }

    fn circle(&mut self, follow: &Follow, from: usize) {
        let names: Vec<String> = self.path[from..].iter().map(|(name, _)| name.to_string()).collect();
        let message = format!("{} follows its own verdict", follow.owner);
        let hint = format!("{} → {}: give one of them a check of its own", names.join(" → "), names[0]);
        let error =
            Diagnostic::error(&follow.file, message).at(follow.position, follow.path.as_str()).hint(hint);
        if !self.found.contains(&error) {
            self.found.push(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows as `owner>followed`, each from the file that its owner's name begins with; the zones are `a.` and `b.`.
    #[track_caller]
    fn check(follows: &[&str], expected: &[&str]) {
        let name = |text: &str| Name::parse_absolute(text).unwrap();
        let follows: Vec<Follow> = follows
            .iter()
            .map(|text| {
                let (owner, followed) = text.split_once('>').unwrap();
                Follow {
                    owner: name(owner),
                    followed: name(followed),
                    file: PathBuf::from(owner),
                    position: Position { line: 1, column: 1 },
                    path: format!("records.{owner}"),
                }
            })
            .collect();
        let apexes = [name("a"), name("b")].into();
        let found: Vec<String> = findings(&follows, &apexes)
            .iter()
            .map(|d| format!("{} {}", d.file.display(), d.hint.as_deref().unwrap_or_default()))
            .map(|line| line.split(':').next().unwrap().to_owned())
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn circles_are_found_once_each() {
        check(&["x.a>y.a", "y.a>z.b", "x.a>z.b"], &[]);
        check(&["x.a>x.a"], &["x.a x.a. → x.a."]);
        check(&["x.a>y.a", "y.a>x.a"], &["y.a x.a. → y.a. → x.a."]);
        check(&["w.a>x.a", "x.a>y.b", "y.b>z.a", "z.a>x.a"], &["z.a x.a. → y.b. → z.a. → x.a."]);
        check(&["x.a>y.a", "y.a>x.a", "y.a>x.a"], &["y.a x.a. → y.a. → x.a."]);
        check(
            &["x.a>x.c"],
            &[
                "x.a until one does, the check keeps the verdict it has; add its zone file, or probe the backend instead",
            ],
        );
    }

    #[test]
    fn a_long_chain_is_no_trouble() {
        let chain: Vec<String> = (0..20_000).map(|i| format!("n{i}.a>n{}.a", i + 1)).collect();
        let chain: Vec<&str> = chain.iter().map(String::as_str).collect();
        check(&chain, &[]);
    }
}
