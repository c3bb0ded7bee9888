//! From what lists and watches say to reports: pure. Objects are kept only where something that they refer to can change what they publish.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;

use crate::discovery::claim::{ObjectKey, ObjectKind};
use crate::discovery::rule::Routers;
use crate::discovery::source::{Failure, Problem, ProblemKind, Report, Scope, Seen};

use super::decode::{Decoded, Item};
use super::gateway::{self, Memory};
use super::listener::RouteKind;
use super::objects::Object;
use super::options::Options;
use super::resource::Resource;
use super::world::{Known, Path, World};
use super::{dns_endpoint, ingress, ingress_route, service};

/// What a list or watch said.
// It is made and taken apart once, so that a box for each event would only cost.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub enum Event {
    /// All objects, to the last page.
    Listed(Vec<Decoded>),
    /// One object is new or has changed.
    Changed(Decoded),
    /// One object is gone.
    Gone(Path),
    /// The watch lives.
    Alive,
    /// A watch that had failed stands again; that nothing was missed meanwhile is not known yet.
    Resumed,
    /// A call failed after all retries.
    Failed(Failure),
}

/// The status of a DNSEndpoint that is behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusPatch {
    /// Namespace and name.
    pub path: Path,
    /// What `status.observedGeneration` is to be.
    pub generation: i64,
}

/// Lists that are needed only because of what some object says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Labels of namespaces.
    pub namespaces: bool,
    /// Nodes.
    pub nodes: bool,
    /// The EndpointSlices of these Services.
    pub slices: BTreeSet<Path>,
}

/// What is known of a cluster.
#[derive(Debug)]
pub struct Store {
    options: Arc<Options>,
    world: World,
    kept: BTreeMap<ObjectKey, (Item, Memory)>,
    /// Lists that wait for what their objects refer to, with the objects of each.
    pending: Vec<(Scope, Vec<Decoded>)>,
    reports: Vec<Report>,
    patches: Vec<StatusPatch>,
}

impl Store {
    /// One that knows nothing.
    pub fn new(options: Arc<Options>) -> Self {
        let (world, kept) = (World::default(), BTreeMap::new());
        Self { options, world, kept, pending: Vec::new(), reports: Vec::new(), patches: Vec::new() }
    }

    /// A list of this resource and scope is under way: what refers to it waits for it.
    pub fn expect(&mut self, resource: Resource, scope: Option<&str>, service: Option<&Path>) {
        let world = &mut self.world;
        match resource {
            Resource::Publishes(_) => {}
            Resource::Gateway => world.gateways.expect(scope),
            Resource::ListenerSet => world.sets.expect(scope),
            Resource::Namespace => world.namespaces.expect(scope),
            Resource::Node => world.nodes.expect(scope),
            Resource::TraefikService => world.traefik.expect(scope),
            Resource::EndpointSlice => {
                if let Some(service) = service {
                    world.slices.entry(service.clone()).or_default().expect(scope);
                }
            }
        }
    }

    /// Takes in what a list or watch of a resource said; `service` is that of EndpointSlices.
    pub fn take(&mut self, resource: Resource, scope: Option<&str>, service: Option<&Path>, event: Event) {
        if let Resource::Publishes(kind) = resource {
            self.take_published(Scope { kind, namespace: scope.map(Box::from) }, event);
            return;
        }
        if let Event::Failed(failure) = &event {
            let scope = Scope { kind: resource.reported_as(), namespace: scope.map(Box::from) };
            self.reports.push(Report::Failed(Some(scope), failure.clone()));
        }
        let changed = self.take_referred(resource, scope, service, event);
        if changed {
            self.look_again(resource, service);
        }
    }

    /// What is to be reported since the last call; lists are held until what they refer to has come.
    pub fn reports(&mut self) -> Vec<Report> {
        for (scope, objects) in mem::take(&mut self.pending) {
            if self.is_settled(scope.kind) {
                self.report_list(scope, objects);
            } else {
                self.pending.push((scope, objects));
            }
        }
        mem::take(&mut self.reports)
    }

    /// The statuses to be written since the last call.
    pub fn patches(&mut self) -> Vec<StatusPatch> {
        mem::take(&mut self.patches)
    }

    /// Whether lists wait for what they refer to.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The lists that objects ask for.
    pub fn needs(&self) -> Needs {
        let mut needs = Needs::default();
        let pending =
            self.pending.iter().flat_map(|(_, objects)| objects).filter_map(|one| one.item.as_ref().ok());
        for item in self.kept.values().map(|(item, _)| item).chain(pending) {
            if let Item::Service(service) = item {
                let (nodes, slices) = service::needs(service, &self.options);
                needs.nodes |= nodes;
                if slices {
                    let metadata = &service.metadata;
                    needs.slices.insert((metadata.namespace.clone(), metadata.name.clone()));
                }
            }
        }
        let gateways = self.world.gateways.so_far().flat_map(|gateway| {
            let own = gateway.spec.allowed_listeners.iter();
            own.chain(gateway.spec.listeners.iter().filter_map(|listener| listener.allowed_routes.as_ref()))
        });
        let sets = self.world.sets.so_far().flat_map(|set| &set.spec.listeners);
        let sets = sets.filter_map(|listener| listener.allowed_routes.as_ref());
        needs.namespaces = gateways.chain(sets).any(|allowed| {
            allowed
                .namespaces
                .as_ref()
                .is_some_and(|namespaces| namespaces.from.as_deref() == Some("Selector"))
        });
        needs
    }

    /// Forgets the EndpointSlices of a Service that leads to its pods no more.
    pub fn forget_slices(&mut self, service: &Path) {
        self.world.slices.remove(service);
    }

    fn take_published(&mut self, scope: Scope, event: Event) {
        match event {
            Event::Listed(objects) if self.depends(scope.kind) => {
                // An older list of the scope has nothing to say any more.
                self.pending.retain(|(held, _)| *held != scope);
                self.pending.push((scope, objects));
            }
            Event::Listed(objects) => self.report_list(scope, objects),
            Event::Changed(object) => {
                let key = key(scope.kind, &object);
                if let Some((_, waiting)) = self.pending.iter_mut().find(|(held, _)| held.covers(&key)) {
                    waiting.retain(|held| (&held.namespace, &held.name) != (&key.namespace, &key.name));
                    waiting.push(object);
                    return;
                }
                let seen = self.see_object(&key, object);
                self.reports.push(Report::Changed(key, seen));
            }
            Event::Gone((namespace, name)) => {
                let key = ObjectKey { kind: scope.kind, namespace, name };
                self.kept.remove(&key);
                for (_, waiting) in self.pending.iter_mut().filter(|(held, _)| held.covers(&key)) {
                    waiting.retain(|held| (&held.namespace, &held.name) != (&key.namespace, &key.name));
                }
                self.reports.push(Report::Gone(key));
            }
            Event::Alive => self.reports.push(Report::Alive(scope)),
            Event::Resumed => self.reports.push(Report::Resumed(scope)),
            Event::Failed(failure) => self.reports.push(Report::Failed(Some(scope), failure)),
        }
    }

    /// Reports a complete list, and forgets what it does not hold.
    fn report_list(&mut self, scope: Scope, objects: Vec<Decoded>) {
        let keys: BTreeSet<ObjectKey> = objects.iter().map(|object| key(scope.kind, object)).collect();
        self.kept.retain(|held, _| !scope.covers(held) || keys.contains(held));
        let mut all = Vec::with_capacity(objects.len());
        for object in objects {
            let key = key(scope.kind, &object);
            let seen = self.see_object(&key, object);
            all.push((key, seen));
        }
        self.reports.push(Report::Listed { scope, objects: all });
    }

    /// What a new or changed object publishes; it is kept if that can change without it.
    fn see_object(&mut self, key: &ObjectKey, object: Decoded) -> Seen {
        let item = match object.item {
            Ok(item) => item,
            Err(why) => return Seen::Stands(Problem::new(ProblemKind::Malformed, why)),
        };
        let mut memory = self.kept.remove(key).map(|(_, memory)| memory).unwrap_or_default();
        let seen = self.see(key, &item, &mut memory);
        if self.is_kept(&item) {
            self.kept.insert(key.clone(), (item, memory));
        } else if let Item::DnsEndpoint(object) = item {
            let generation = object.metadata.generation;
            if generation > 0
                && object.status.observed_generation != generation
                && self.options.admits(&object.metadata)
            {
                let path = (key.namespace.clone(), key.name.clone());
                self.patches.push(StatusPatch { path, generation });
            }
        }
        seen
    }

    fn see(&self, key: &ObjectKey, item: &Item, memory: &mut Memory) -> Seen {
        let (options, world) = (&*self.options, &self.world);
        match item {
            Item::Ingress(object) => ingress::claims(object, options),
            Item::IngressRoute(object) => {
                let tcp = matches!(key.kind, ObjectKind::IngressRouteTcp | ObjectKind::LegacyIngressRouteTcp);
                let routers = if tcp { Routers::Tcp } else { Routers::Http };
                ingress_route::claims(object, routers, options, world.traefik())
            }
            Item::Route(object) => {
                let kind = match key.kind {
                    ObjectKind::GrpcRoute => RouteKind::Grpc,
                    ObjectKind::TlsRoute => RouteKind::Tls,
                    _ => RouteKind::Http,
                };
                gateway::claims(object, kind, options, world, memory)
            }
            Item::Service(object) => {
                let path = (key.namespace.clone(), key.name.clone());
                service::claims(object, options, &world.around(&path))
            }
            Item::DnsEndpoint(object) => dns_endpoint::claims(object, options),
            // These publish nothing themselves.
            Item::Gateway(_)
            | Item::ListenerSet(_)
            | Item::Namespace(_)
            | Item::Node(_)
            | Item::EndpointSlice(_) => Seen::Claims(Vec::new(), Vec::new()),
        }
    }

    fn is_kept(&self, item: &Item) -> bool {
        match item {
            Item::IngressRoute(_) => self.options.traefik_service.is_some(),
            Item::Route(_) => true,
            Item::Service(service) => service::needs(service, &self.options) != (false, false),
            _ => false,
        }
    }

    /// Whether objects of a kind refer to others.
    fn depends(&self, kind: ObjectKind) -> bool {
        match kind {
            ObjectKind::HttpRoute | ObjectKind::GrpcRoute | ObjectKind::TlsRoute | ObjectKind::Service => {
                true
            }
            ObjectKind::Ingress | ObjectKind::DnsEndpoint | ObjectKind::Router | ObjectKind::TcpRouter => {
                false
            }
            _ => self.options.traefik_service.is_some(),
        }
    }

    /// Whether everything that objects of a kind refer to has come, or failed.
    fn is_settled(&self, kind: ObjectKind) -> bool {
        let (world, needs) = (&self.world, self.needs());
        match kind {
            ObjectKind::HttpRoute | ObjectKind::GrpcRoute | ObjectKind::TlsRoute => {
                let labels = !needs.namespaces || world.namespaces.has_come();
                world.gateways.is_settled() && world.sets.is_settled() && labels
            }
            ObjectKind::Service => {
                let slices = needs.slices.iter();
                let mut slices = slices.map(|path| world.slices.get(path).is_some_and(Known::has_come));
                (!needs.nodes || world.nodes.has_come()) && slices.all(|settled| settled)
            }
            _ => world.traefik.is_settled(),
        }
    }

    /// Takes in an object that others refer to; whether anything changed for them.
    fn take_referred(
        &mut self,
        resource: Resource,
        scope: Option<&str>,
        service: Option<&Path>,
        event: Event,
    ) -> bool {
        let world = &mut self.world;
        macro_rules! take {
            ($known:expr, $variant:ident $(, $unbox:tt)?) => {
                apply($known, scope, event, |item| match item {
                    Item::$variant(object) => Some($($unbox)? object),
                    _ => None,
                })
            };
        }
        match resource {
            Resource::Publishes(_) => false,
            Resource::Gateway => take!(&mut world.gateways, Gateway),
            Resource::ListenerSet => take!(&mut world.sets, ListenerSet),
            Resource::Namespace => take!(&mut world.namespaces, Namespace),
            Resource::Node => take!(&mut world.nodes, Node),
            Resource::TraefikService => take!(&mut world.traefik, Service, *),
            Resource::EndpointSlice => match service.and_then(|service| world.slices.get_mut(service)) {
                Some(known) => take!(known, EndpointSlice),
                None => false,
            },
        }
    }

    /// Reports again what refers to a resource that has changed.
    fn look_again(&mut self, resource: Resource, service: Option<&Path>) {
        let concerned = |key: &ObjectKey| match resource {
            Resource::EndpointSlice => {
                let path = (key.namespace.clone(), key.name.clone());
                key.kind == ObjectKind::Service && service == Some(&path)
            }
            Resource::Node => key.kind == ObjectKind::Service,
            Resource::TraefikService => matches!(
                key.kind,
                ObjectKind::IngressRoute
                    | ObjectKind::IngressRouteTcp
                    | ObjectKind::LegacyIngressRoute
                    | ObjectKind::LegacyIngressRouteTcp
            ),
            _ => matches!(key.kind, ObjectKind::HttpRoute | ObjectKind::GrpcRoute | ObjectKind::TlsRoute),
        };
        let keys: Vec<ObjectKey> = self.kept.keys().filter(|key| concerned(key)).cloned().collect();
        for key in keys {
            let Some((item, mut memory)) = self.kept.remove(&key) else { continue };
            let seen = self.see(&key, &item, &mut memory);
            self.kept.insert(key.clone(), (item, memory));
            self.reports.push(Report::Changed(key, seen));
        }
    }
}

/// Takes an event into what is known of a resource; whether anything changed.
fn apply<T: Object>(
    known: &mut Known<T>,
    scope: Option<&str>,
    event: Event,
    pick: impl Fn(Item) -> Option<T>,
) -> bool {
    match event {
        Event::Listed(objects) => {
            let objects =
                objects.into_iter().map(|one| ((one.namespace, one.name), one.item.ok().and_then(&pick)));
            known.replace(scope, objects.collect())
        }
        // One that cannot be read stays as it was.
        Event::Changed(one) => match one.item.ok().and_then(pick) {
            Some(object) => known.set((one.namespace, one.name), object),
            None => false,
        },
        Event::Gone(path) => known.remove(&path),
        Event::Alive | Event::Resumed => false,
        Event::Failed(failure) => {
            known.fail(scope, &failure.text);
            false
        }
    }
}

fn key(kind: ObjectKind, object: &Decoded) -> ObjectKey {
    ObjectKey { kind, namespace: object.namespace.clone(), name: object.name.clone() }
}
