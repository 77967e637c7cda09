//! What the machine has: cores, memory, GPUs.

mod control_group;

use std::path::Path;
use std::sync::Mutex;

use nvml_wrapper::Nvml;
use serde::{Deserialize, Serialize};
use sysinfo::{MemoryRefreshKind, System};

use crate::placement::DeviceChoice;
use control_group::GroupLimits;

/// The machine's resources at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// These and memory: of this process's control groups, where that is less than the machine's.
    pub cores: usize,
    pub memory_bytes: u64,
    pub memory_free_bytes: u64,
    pub gpus: Vec<Gpu>,
}

impl Facts {
    /// Free memory of one device.
    pub(crate) fn free_on(&self, device: DeviceChoice) -> u64 {
        match device {
            DeviceChoice::Cpu | DeviceChoice::Metal => self.memory_free_bytes,
            DeviceChoice::Cuda(index) => {
                let gpu = self.gpus.iter().find(|gpu| gpu.index == index);
                gpu.map_or(0, |gpu| gpu.memory_free_bytes)
            }
        }
    }
}

/// One GPU at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// The number by which CUDA knows it.
    pub index: usize,
    pub name: String,
    pub memory_bytes: u64,
    pub memory_free_bytes: u64,
}

/// Where facts come from.
#[derive(Debug)]
pub struct Machine {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Live(Box<Live>),
    Recorded(Facts),
}

#[derive(Debug)]
struct Live {
    /// `None` on systems that cannot be asked; nothing is free there.
    system: Mutex<Option<System>>,
    /// `None` without a driver.
    nvml: Option<Nvml>,
}

impl Machine {
    /// This machine. Without a driver of NVIDIA there are no GPUs, which is no error.
    pub fn detect() -> Machine {
        let nvml = Nvml::init().ok();
        let system = Mutex::new(System::new().ok());
        Machine { source: Source::Live(Box::new(Live { system, nvml })) }
    }

    /// A machine that always has these resources, before what the engine itself has loaded.
    pub fn recorded(facts: Facts) -> Machine {
        Machine { source: Source::Recorded(facts) }
    }

    /// The resources now.
    pub fn facts(&self) -> Facts {
        match &self.source {
            Source::Recorded(facts) => facts.clone(),
            Source::Live(live) => {
                let mut system =
                    live.system.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                live_facts(system.as_mut(), live.nvml.as_ref())
            }
        }
    }

    /// Whether facts change as models load.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.source, Source::Live(_))
    }
}

fn live_facts(system: Option<&mut System>, nvml: Option<&Nvml>) -> Facts {
    let limits = GroupLimits::read(Path::new("/"));
    let (memory_bytes, memory_free_bytes) = system.map_or((0, 0), |system| {
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        let within = |bytes: u64, limit: Option<u64>| bytes.min(limit.unwrap_or(u64::MAX));
        (
            within(system.total_memory(), limits.memory_bytes),
            within(system.available_memory(), limits.memory_free_bytes),
        )
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cores = cores.min(limits.cores.unwrap_or(usize::MAX));
    Facts { cores, memory_bytes, memory_free_bytes, gpus: nvml.map_or_else(Vec::new, gpus) }
}

/// The GPUs that answer; one that does not is left out.
fn gpus(nvml: &Nvml) -> Vec<Gpu> {
    let count = nvml.device_count().unwrap_or(0);
    (0..count)
        .filter_map(|index| {
            let device = nvml.device_by_index(index).ok()?;
            let memory = device.memory_info().ok()?;
            let name = device.name().unwrap_or_else(|_| "GPU".to_string());
            let (memory_bytes, memory_free_bytes) = (memory.total, memory.free);
            Some(Gpu { index: index as usize, name, memory_bytes, memory_free_bytes })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_cores_and_memory() {
        let facts = Machine::detect().facts();
        assert!(facts.cores >= 1);
        assert!(facts.memory_free_bytes > 0 && facts.memory_free_bytes <= facts.memory_bytes);
    }
}
