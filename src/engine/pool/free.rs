//! What of the machine is free for a model that is to come.

use super::{Shared, Slot, State};
use crate::machine::Facts;
use crate::placement::DeviceChoice;

impl Shared {
    /// The machine's resources without what models at work have: idle ones make room. Of a cache
    /// that is not full yet more is counted as coming back than was taken, never more than there
    /// is in all.
    pub(super) fn facts_emptied(&self) -> Facts {
        let state = self.lock();
        let mut facts = self.facts_left(&state);
        for slot in state.slots.values() {
            let Slot::Loaded { model, .. } = slot else { continue };
            if !model.is_idle() {
                continue;
            }
            let (device, bytes) = (model.info().device, model.info().memory_bytes);
            match gpu_of(device) {
                None => {
                    let free = facts.memory_free_bytes.saturating_add(bytes);
                    facts.memory_free_bytes = free.min(facts.memory_bytes);
                }
                Some(index) => {
                    for gpu in facts.gpus.iter_mut().filter(|gpu| gpu.index == index) {
                        let free = gpu.memory_free_bytes.saturating_add(bytes);
                        gpu.memory_free_bytes = free.min(gpu.memory_bytes);
                    }
                }
            }
        }
        facts
    }

    /// The machine's resources without what models have or are about to take. Free memory alone
    /// would not do: pages of a cache are the system's until they are first written.
    pub(super) fn facts_left(&self, state: &State) -> Facts {
        let mut facts = self.machine.facts();
        let taken = |wanted: fn(DeviceChoice) -> Option<usize>, index: Option<usize>| -> u64 {
            let placements = state.slots.values().filter_map(Slot::placement);
            let here = placements.filter(|(device, _)| wanted(*device) == index);
            here.map(|(_, bytes)| bytes).sum()
        };
        let host = taken(gpu_of, None);
        let promised = facts.memory_bytes.saturating_sub(host);
        facts.memory_free_bytes = match self.machine.is_live() {
            true => facts.memory_free_bytes.min(promised),
            false => facts.memory_free_bytes.saturating_sub(host),
        };
        for gpu in &mut facts.gpus {
            let used = taken(gpu_of, Some(gpu.index));
            gpu.memory_free_bytes = match self.machine.is_live() {
                true => gpu.memory_free_bytes.min(gpu.memory_bytes.saturating_sub(used)),
                false => gpu.memory_free_bytes.saturating_sub(used),
            };
        }
        facts
    }
}

fn gpu_of(device: DeviceChoice) -> Option<usize> {
    match device {
        DeviceChoice::Cuda(index) => Some(index),
        DeviceChoice::Cpu | DeviceChoice::Metal => None,
    }
}
