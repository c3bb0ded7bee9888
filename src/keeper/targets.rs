//! The target registry: which targets exist, under which number, and how many owners hold each.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::check::CheckKind;
use crate::model::name::Name;
use crate::model::target::{Target, TargetId};

/// Gives targets their numbers. A number is used again only after its last holder has released it.
#[derive(Debug, Default)]
pub struct TargetRegistry {
    by_target: HashMap<Arc<Target>, TargetId>,
    slots: Vec<Option<Slot>>,
    free: Vec<TargetId>,
    /// Numbers of names that were followed. A number stays with its kind: health forgets those of targets that are gone in its own time,
    /// and must not forget what is not its own.
    free_followed: Vec<TargetId>,
    followed: HashMap<Name, TargetId>,
}

#[derive(Debug)]
struct Slot {
    target: Arc<Target>,
    holders: u32,
}

impl TargetRegistry {
    /// The number of `target`, made if it is new; the caller holds it until [`TargetRegistry::release`].
    pub fn hold(&mut self, target: &Target) -> TargetId {
        if let Some(&id) = self.by_target.get(target) {
            if let Some(slot) = &mut self.slots[id.0 as usize] {
                slot.holders += 1;
            }
            return id;
        }
        let target = Arc::new(target.clone());
        let slot = Some(Slot { target: target.clone(), holders: 1 });
        let followed = followed(&target);
        let free = if followed.is_some() { &mut self.free_followed } else { &mut self.free };
        let id = match free.pop() {
            Some(id) => {
                self.slots[id.0 as usize] = slot;
                id
            }
            None => {
                self.slots.push(slot);
                // Two hundred octets and more a target: memory ends long before the numbers do.
                TargetId(u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX))
            }
        };
        if let Some(name) = followed {
            self.followed.insert(name.clone(), id);
        }
        self.by_target.insert(target, id);
        id
    }

    /// Gives up one hold. Returns true when it was the last: the board must then forget the number.
    pub fn release(&mut self, id: TargetId) -> bool {
        let Some(entry) = self.slots.get_mut(id.0 as usize) else { return false };
        let Some(slot) = entry else { return false };
        slot.holders -= 1;
        if slot.holders > 0 {
            return false;
        }
        self.by_target.remove(&slot.target);
        match followed(&slot.target) {
            Some(name) => {
                self.followed.remove(name);
                self.free_followed.push(id);
            }
            None => self.free.push(id),
        }
        *entry = None;
        true
    }

    /// The names whose verdicts others follow.
    pub fn followed(&self) -> &HashMap<Name, TargetId> {
        &self.followed
    }

    /// Every target with its number, for health: followed names are the keeper's own.
    pub fn list(&self) -> Vec<(TargetId, Arc<Target>)> {
        let numbered = self.slots.iter().enumerate();
        numbered
            .filter_map(|(i, slot)| slot.as_ref().map(|s| (TargetId(i as u32), s.target.clone())))
            .filter(|(_, target)| followed(target).is_none())
            .collect()
    }

    /// How many targets there are.
    pub fn len(&self) -> usize {
        self.by_target.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_target.is_empty()
    }
}

fn followed(target: &Target) -> Option<&Name> {
    match &target.check.kind {
        CheckKind::Name(name) => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::target::{Check, CheckKind};

    fn target(port: u16) -> Target {
        let check = Check {
            kind: CheckKind::Tcp,
            interval_ms: 1000,
            timeout_ms: 500,
            rise: 1,
            fall: 1,
            rules: Default::default(),
        };
        Target { address: ([192, 0, 2, 1], port).into(), check: Arc::new(check) }
    }

    #[test]
    fn equal_targets_share_a_number_until_the_last_holder_goes() {
        let mut registry = TargetRegistry::default();
        let (a, b) = (registry.hold(&target(1)), registry.hold(&target(2)));
        assert_ne!(a, b);
        assert_eq!(registry.hold(&target(1)), a);
        assert!(!registry.release(a));
        assert_eq!(registry.len(), 2);
        assert!(registry.release(a));
        assert!(!registry.release(a), "released already");
        assert_eq!(registry.list().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [b]);
        assert_eq!(registry.hold(&target(3)), a, "the number is used again");
        assert!(!registry.is_empty());
    }
}
