//! Endpoints of one owner while they are collected.

use std::collections::HashMap;
use std::sync::Arc;

use super::address::Entry;
use super::template::ProbeTemplate;
use crate::config::json::Reader;
use crate::config::types::RdataText;
use crate::model::diagnostic::{Diagnostic, Position};
use crate::model::target::{Check, Endpoint, EndpointData};

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Endpoints {
    /// The endpoints, those of one pool after the other.
    pub(super) list: Vec<Endpoint>,
    /// Where each stands, with its JSON path.
    pub(super) places: Vec<(Position, String)>,
    /// The CNAMEs of pools, one of each, where those hold no addresses.
    pub(super) cnames: Vec<RdataText>,
    /// Where the present pool begins: the same address may stand in several.
    start: usize,
    /// Index by what is published, kept only for long lists: a short one is compared faster.
    by_data: HashMap<EndpointData, usize>,
    /// The owner's checks made for its name; nothing where its name is of no use to the check, which was reported.
    pub(super) instances: Vec<(Arc<ProbeTemplate>, Option<Arc<Check>>)>,
}

/// Longer lists of addresses are indexed to find duplicates.
const INDEXED_LENGTH: usize = 16;

impl Endpoints {
    /// Begins a pool; its endpoints will be those from the place that is returned.
    pub(super) fn begin_pool(&mut self) -> usize {
        self.by_data.clear();
        self.start = self.list.len();
        self.start
    }

    /// Adds an endpoint, unless the pool holds it already.
    pub(super) fn push(&mut self, endpoint: Endpoint, entry: Entry, reader: &mut Reader<'_>) {
        if let Some(first) = self.find(&endpoint.data) {
            let (place, path) = &self.places[first];
            let file = reader.source().file;
            let message = format!("{} stands twice", endpoint.data);
            let hint = format!("it is first given at {}:{} ({path})", place.line, place.column);
            let diagnostic = if self.list[first] == endpoint {
                Diagnostic::warning(file, message).hint(format!("{hint}; this one is left out"))
            } else {
                Diagnostic::error(file, message + " with different settings")
                    .hint(format!("{hint}; keep one"))
            };
            return reader.report(diagnostic.at(entry.position, entry.path));
        }
        if self.list.len() - self.start >= INDEXED_LENGTH {
            if self.by_data.is_empty() {
                let pool = self.list.iter().enumerate().skip(self.start);
                self.by_data = pool.map(|(i, e)| (e.data.clone(), i)).collect();
            }
            self.by_data.insert(endpoint.data.clone(), self.list.len());
        }
        self.list.push(endpoint);
        self.places.push((entry.position, entry.path));
    }

    fn find(&self, data: &EndpointData) -> Option<usize> {
        if self.by_data.is_empty() {
            let mut pool = self.list.iter().enumerate().skip(self.start);
            return pool.find(|(_, endpoint)| endpoint.data == *data).map(|(i, _)| i);
        }
        self.by_data.get(data).copied()
    }
}
