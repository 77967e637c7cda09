//! What this process itself takes.

use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

/// Resident memory of this process, in bytes; 0 where the system does not tell.
pub fn process_memory_bytes() -> u64 {
    let Ok(id) = sysinfo::get_current_pid() else { return 0 };
    let Ok(mut system) = System::new() else { return 0 };
    let what = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[id]), false, what);
    system.process(id).map_or(0, sysinfo::Process::memory)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_running_process_takes_some_memory() {
        assert!(super::process_memory_bytes() > 1 << 20);
    }
}
