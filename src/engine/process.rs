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

/// The most memory that this process ever had resident, in bytes; 0 where the system does not tell.
pub fn process_peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = peak.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse().ok());
    kibibytes.map_or(0, |kibibytes: u64| kibibytes << 10)
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn the_peak_keeps_what_was_given_back() {
        let block = std::hint::black_box(vec![1u8; 64 << 20]);
        let with = super::process_memory_bytes();
        drop(block);
        // Both are counted per processor and added up now and then.
        assert!(super::process_peak_bytes() + (4 << 20) >= with);
    }

    #[test]
    fn a_running_process_takes_some_memory() {
        assert!(super::process_memory_bytes() > 1 << 20);
    }
}
