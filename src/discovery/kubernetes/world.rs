//! What objects refer to: Gateways, ListenerSets, namespaces, nodes, EndpointSlices and Traefik's Service, as far as they are known.

use std::collections::BTreeMap;

use super::gateway::Parents;
use super::objects::{EndpointSlice, Gateway, ListenerSet, Namespace, Node, Service};
use super::pairs::Pairs;
use super::service::Around;

/// Namespace and name.
pub type Path = (Box<str>, Box<str>);

/// Objects of one kind, with what is known of each list that they come from.
#[derive(Debug)]
pub struct Known<T> {
    lists: BTreeMap<Option<Box<str>>, List>,
    objects: BTreeMap<Path, T>,
}

/// What is known of one list: a namespace's, or that of all.
#[derive(Clone, Debug, PartialEq, Eq)]
enum List {
    /// It is on its way.
    Awaited,
    /// It has come, and is kept up to date as far as that works.
    Complete,
    /// It has never come, for this reason.
    Failed(Box<str>),
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self { lists: BTreeMap::new(), objects: BTreeMap::new() }
    }
}

impl<T: PartialEq> Known<T> {
    /// A list of this scope is going to come, unless it already has.
    pub fn expect(&mut self, scope: Option<&str>) {
        let list = self.lists.entry(scope.map(Box::from)).or_insert(List::Awaited);
        if matches!(list, List::Failed(_)) {
            *list = List::Awaited;
        }
    }

    /// The list of this scope failed; what an earlier one said still counts.
    pub fn fail(&mut self, scope: Option<&str>, reason: &str) {
        if let Some(list @ (List::Awaited | List::Failed(_))) = self.lists.get_mut(&scope.map(Box::from)) {
            *list = List::Failed(reason.into());
        }
    }

    /// Replaces what the scope holds; whether that changes anything. An object that could not be read (`None`) stays as it was.
    pub fn replace(&mut self, scope: Option<&str>, objects: Vec<(Path, Option<T>)>) -> bool {
        let first = self.lists.insert(scope.map(Box::from), List::Complete) != Some(List::Complete);
        let mut new: BTreeMap<Path, Option<T>> = objects.into_iter().collect();
        new.retain(|path, object| object.is_some() || self.objects.contains_key(path));
        let is_within = |path: &Path| scope.is_none_or(|namespace| *path.0 == *namespace);
        let held = self.objects.keys().filter(|path| is_within(path));
        let same = held.eq(new.keys())
            && new.iter().all(|(path, object)| object.is_none() || self.objects.get(path) == object.as_ref());
        self.objects.retain(|path, _| !is_within(path) || new.contains_key(path));
        self.objects.extend(new.into_iter().filter_map(|(path, object)| Some((path, object?))));
        first || !same
    }

    /// Sets one object; whether that changes anything.
    pub fn set(&mut self, path: Path, object: T) -> bool {
        if self.objects.get(&path) == Some(&object) {
            return false;
        }
        self.objects.insert(path, object);
        true
    }

    /// Drops one object; whether it was there.
    pub fn remove(&mut self, path: &Path) -> bool {
        self.objects.remove(path).is_some()
    }

    /// Whether every list has come or failed.
    pub fn is_settled(&self) -> bool {
        !self.lists.values().any(|list| *list == List::Awaited)
    }

    /// Whether lists were asked for, and every one of them has come or failed.
    pub fn has_come(&self) -> bool {
        !self.lists.is_empty() && self.is_settled()
    }

    /// All objects, once every list has come.
    pub fn all(&self) -> Option<impl Iterator<Item = &T>> {
        let complete = !self.lists.is_empty() && self.lists.values().all(|list| *list == List::Complete);
        complete.then(|| self.objects.values())
    }

    /// All objects known so far.
    pub fn so_far(&self) -> impl Iterator<Item = &T> {
        self.objects.values()
    }

    /// One object; an error says why nothing is known of its namespace.
    fn get(&self, what: &str, namespace: &str, name: &str) -> Result<Option<&T>, Box<str>> {
        if let Some(found) = self.objects.get(&(namespace.into(), name.into())) {
            return Ok(Some(found));
        }
        match self.lists.get(&None).or_else(|| self.lists.get(&Some(namespace.into()))) {
            Some(List::Complete) => Ok(None),
            Some(List::Failed(reason)) => Err(format!("{what} are not known: {reason}").into()),
            Some(List::Awaited) => Err(format!("{what} are not known yet").into()),
            None => Err(format!("{what} of namespace {namespace} are not watched, or not installed").into()),
        }
    }
}

/// Everything that objects may refer to.
#[derive(Debug, Default)]
pub struct World {
    /// Gateways.
    pub gateways: Known<Gateway>,
    /// ListenerSets.
    pub sets: Known<ListenerSet>,
    /// Namespaces, with an empty namespace of their own.
    pub namespaces: Known<Namespace>,
    /// Nodes likewise.
    pub nodes: Known<Node>,
    /// Traefik's Service.
    pub traefik: Known<Service>,
    /// EndpointSlices, by the Service that they belong to.
    pub slices: BTreeMap<Path, Known<EndpointSlice>>,
}

impl World {
    /// What stands around a Service.
    pub fn around(&self, service: &Path) -> Around<'_> {
        Around {
            nodes: self.nodes.all().map(Iterator::collect),
            slices: self.slices.get(service).and_then(Known::all).map(Iterator::collect),
        }
    }

    /// Traefik's Service, if it is known.
    pub fn traefik(&self) -> Option<&Service> {
        self.traefik.so_far().next()
    }
}

impl Parents for World {
    fn gateway(&self, namespace: &str, name: &str) -> Result<Option<&Gateway>, Box<str>> {
        self.gateways.get("gateways", namespace, name)
    }

    fn listener_set(&self, namespace: &str, name: &str) -> Result<Option<&ListenerSet>, Box<str>> {
        self.sets.get("listenersets", namespace, name)
    }

    fn namespace(&self, name: &str) -> Option<&Pairs> {
        let found = self.namespaces.get("namespaces", "", name).ok()??;
        Some(&found.metadata.labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(namespace: &str, name: &str) -> Path {
        (namespace.into(), name.into())
    }

    #[test]
    fn lists_come_fail_and_are_replaced_scope_by_scope() {
        let mut known: Known<u8> = Known::default();
        known.expect(Some("a"));
        known.expect(Some("b"));
        assert!(!known.is_settled() && known.all().is_none());
        assert!(known.replace(Some("a"), vec![(path("a", "x"), Some(1)), (path("a", "y"), Some(2))]));
        known.fail(Some("b"), "403");
        assert!(known.is_settled() && known.all().is_none());
        assert_eq!(known.get("things", "b", "x"), Err("things are not known: 403".into()));
        assert_eq!(known.get("things", "a", "z"), Ok(None));
        assert_eq!(
            known.get("things", "c", "z"),
            Err("things of namespace c are not watched, or not installed".into())
        );
        assert!(known.replace(Some("b"), vec![(path("b", "x"), Some(3))]));
        assert_eq!(known.all().map(|all| all.copied().collect::<Vec<_>>()), Some(vec![1, 2, 3]));
        assert!(!known.replace(Some("b"), vec![(path("b", "x"), None)]), "what cannot be read stays");
        known.fail(Some("a"), "gone");
        assert_eq!(known.get("things", "a", "x"), Ok(Some(&1)), "what was listed stays");
        assert!(known.replace(Some("a"), vec![(path("a", "y"), Some(2))]));
        assert!(
            !known.set(path("a", "y"), 2) && known.set(path("a", "y"), 4) && known.remove(&path("a", "y"))
        );
        assert_eq!(known.so_far().copied().collect::<Vec<_>>(), [3]);
    }
}
