//! What the control groups of this process leave it, of version 1 and 2, on Linux.
//!
//! A group's limits hold for all groups in it, so the tightest from the process's own group up to
//! the mounted root counts. In a container the root is often the process's own group.

use std::path::{Path, PathBuf};

/// Limits above this are none: version 1 writes its largest number of whole pages.
const UNLIMITED_BYTES: u64 = 1 << 60;

/// The tightest limits; `None` where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct GroupLimits {
    pub(super) memory_bytes: Option<u64>,
    /// What is left of the tightest, page cache counted as free: it goes when memory is wanted.
    pub(super) memory_free_bytes: Option<u64>,
    /// Whole cores that the processor time is worth, at least one.
    pub(super) cores: Option<usize>,
}

/// A mounted hierarchy and the process's place in it.
struct Hierarchy {
    version: Version,
    /// The process's own group.
    group: PathBuf,
    mounted: PathBuf,
}

#[derive(Clone, Copy, PartialEq)]
enum Version {
    One,
    Two,
}

impl GroupLimits {
    /// Reads them below `root`: `/`, or a folder with recorded files.
    pub(super) fn read(root: &Path) -> GroupLimits {
        let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap_or_default();
        let (groups, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
        let hierarchies = mounts.lines().filter_map(|line| hierarchy(line, &groups));
        let mut limits = GroupLimits::default();
        for hierarchy in hierarchies {
            let groups = hierarchy.group.ancestors();
            for group in groups.take_while(|group| group.starts_with(&hierarchy.mounted)) {
                let group = root.join(group.strip_prefix("/").unwrap_or(group));
                limits = limits.and(GroupLimits::of(&group, hierarchy.version));
            }
        }
        limits
    }

    /// The limits of one group.
    fn of(group: &Path, version: Version) -> GroupLimits {
        let read = |name: &str| std::fs::read_to_string(group.join(name)).ok();
        let number = |name: &str| read(name).and_then(|text| text.trim().parse::<u64>().ok());
        let (limit, usage) = match version {
            Version::One => (number("memory.limit_in_bytes"), number("memory.usage_in_bytes")),
            Version::Two => (number("memory.max"), number("memory.current")),
        };
        let memory_bytes = limit.filter(|&bytes| bytes < UNLIMITED_BYTES);
        let memory_free_bytes = memory_bytes.map(|limit| {
            let cached = read("memory.stat").map_or(0, |stat| cached_bytes(&stat, version));
            limit.saturating_sub(usage.unwrap_or(0).saturating_sub(cached))
        });
        let quota = match version {
            // −1 is no number without a sign: no limit.
            Version::One => number("cpu.cfs_quota_us").zip(number("cpu.cfs_period_us")),
            Version::Two => read("cpu.max").and_then(|text| {
                let (quota, period) = text.trim().split_once(' ')?;
                Some((quota.parse().ok()?, period.parse().ok()?))
            }),
        };
        let cores = quota
            .and_then(|(quota, period): (u64, u64)| quota.checked_div(period))
            .map(|cores| usize::try_from(cores.max(1)).unwrap_or(usize::MAX));
        GroupLimits { memory_bytes, memory_free_bytes, cores }
    }

    /// The tighter of each.
    fn and(self, other: GroupLimits) -> GroupLimits {
        let least = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
        GroupLimits {
            memory_bytes: least(self.memory_bytes, other.memory_bytes),
            memory_free_bytes: least(self.memory_free_bytes, other.memory_free_bytes),
            cores: self.cores.into_iter().chain(other.cores).min(),
        }
    }
}

/// The hierarchy that a line of `mountinfo` mounts (man 5 proc: `… root point options … - type
/// source options`), if the process has a place in it.
fn hierarchy(line: &str, groups: &str) -> Option<Hierarchy> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(3);
    let (root, mounted) = (unescape(mount.next()?), unescape(mount.next()?));
    let mut filesystem = filesystem.split(' ');
    let version = match filesystem.next()? {
        "cgroup" => Version::One,
        "cgroup2" => Version::Two,
        _ => return None,
    };
    let options = filesystem.nth(1).unwrap_or_default();
    let mut own = groups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let is_mounted = match version {
            Version::Two => controllers.is_empty(),
            Version::One => controllers.split(',').any(|name| {
                matches!(name, "memory" | "cpu") && options.split(',').any(|option| option == name)
            }),
        };
        is_mounted.then_some(path)
    });
    // What lies outside of what is mounted cannot be read: then the mounted root is the best there
    // is. So it is in containers that see the paths of their host.
    let below = Path::new(own.next()?).strip_prefix(&root).map(Path::to_path_buf);
    let below = below.ok().filter(|path| path.components().all(is_named)).unwrap_or_default();
    let mounted = PathBuf::from(mounted);
    Some(Hierarchy { version, group: mounted.join(below), mounted })
}

fn is_named(component: std::path::Component<'_>) -> bool {
    matches!(component, std::path::Component::Normal(_))
}

/// Spaces and the like are written as three octal digits.
fn unescape(path: &str) -> String {
    let mut parts = path.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => plain.extend([char::from(code)].into_iter().chain(part[3..].chars())),
            None => plain.extend(['\\'].into_iter().chain(part.chars())),
        }
    }
    plain
}

/// Bytes of files that the group's memory holds and can let go.
fn cached_bytes(stat: &str, version: Version) -> u64 {
    let names = match version {
        Version::One => ["total_active_file", "total_inactive_file"],
        Version::Two => ["active_file", "inactive_file"],
    };
    let of = |name: &str| {
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<u64>().ok();
        stat.lines().find_map(value).unwrap_or(0)
    };
    names.into_iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const V1_MOUNTS: &str = "\
25 30 0:23 / /sys rw,nosuid shared:7 - sysfs sysfs rw
31 25 0:27 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
40 31 0:35 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:15 - cgroup cgroup rw,cpu,cpuacct
41 31 0:36 / /sys/fs/cgroup/memory rw,nosuid shared:16 - cgroup cgroup rw,memory
";
    const V2_MOUNT: &str = "\
30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
";

    /// The limits read from files as they were recorded: (path, contents).
    fn recorded(files: &[(&str, &str)]) -> GroupLimits {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (path, contents) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("in a folder")).expect("made");
            std::fs::write(path, contents).expect("written");
        }
        GroupLimits::read(folder.path())
    }

    #[test]
    fn a_service_of_version_two_has_its_own_limits() {
        let limits = recorded(&[
            ("proc/self/cgroup", "0::/system.slice/hearth.service\n"),
            ("proc/self/mountinfo", V2_MOUNT),
            ("sys/fs/cgroup/system.slice/memory.max", "max\n"),
            ("sys/fs/cgroup/system.slice/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/system.slice/hearth.service/memory.max", "4294967296\n"),
            ("sys/fs/cgroup/system.slice/hearth.service/memory.current", "2147483648\n"),
            (
                "sys/fs/cgroup/system.slice/hearth.service/memory.stat",
                "anon 1073741824\nfile 1073741824\ninactive_file 536870912\nactive_file 536870912\n",
            ),
            ("sys/fs/cgroup/system.slice/hearth.service/cpu.max", "250000 100000\n"),
        ]);
        let (memory_bytes, memory_free_bytes) = (Some(4 * GIB), Some(3 * GIB));
        assert_eq!(limits, GroupLimits { memory_bytes, memory_free_bytes, cores: Some(2) });
    }

    #[test]
    fn the_tightest_ancestor_wins() {
        let limits = recorded(&[
            ("proc/self/cgroup", "0::/tenant.slice/app.slice/hearth.service\n"),
            ("proc/self/mountinfo", V2_MOUNT),
            ("sys/fs/cgroup/tenant.slice/memory.max", "2147483648\n"),
            ("sys/fs/cgroup/tenant.slice/memory.current", "1610612736\n"),
            ("sys/fs/cgroup/tenant.slice/cpu.max", "400000 100000\n"),
            ("sys/fs/cgroup/tenant.slice/app.slice/memory.max", "8589934592\n"),
            ("sys/fs/cgroup/tenant.slice/app.slice/memory.current", "1073741824\n"),
            ("sys/fs/cgroup/tenant.slice/app.slice/cpu.max", "50000 100000\n"),
            ("sys/fs/cgroup/tenant.slice/app.slice/hearth.service/memory.max", "max\n"),
        ]);
        let (memory_bytes, memory_free_bytes) = (Some(2 * GIB), Some(GIB / 2));
        // Half a core is still one thread.
        assert_eq!(limits, GroupLimits { memory_bytes, memory_free_bytes, cores: Some(1) });
    }

    #[test]
    fn a_group_of_version_one_is_read_controller_by_controller() {
        let limits = recorded(&[
            (
                "proc/self/cgroup",
                "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n",
            ),
            ("proc/self/mountinfo", V1_MOUNTS),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "3221225472\n"),
            ("sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes", "2147483648\n"),
            (
                "sys/fs/cgroup/memory/docker/abc/memory.stat",
                "inactive_file 7\ntotal_inactive_file 1073741824\ntotal_active_file 0\n",
            ),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "600000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n"),
        ]);
        let (memory_bytes, memory_free_bytes) = (Some(3 * GIB), Some(2 * GIB));
        assert_eq!(limits, GroupLimits { memory_bytes, memory_free_bytes, cores: Some(6) });
    }

    #[test]
    fn a_container_that_sees_its_hosts_paths_reads_its_own_mount() {
        // The group's own folder is what is mounted; its path is the host's.
        let limits = recorded(&[
            ("proc/self/cgroup", "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n"),
            (
                "proc/self/mountinfo",
                "41 31 0:36 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
                 40 31 0:35 /elsewhere /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct\n",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "300000\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ]);
        let (memory_bytes, memory_free_bytes) = (Some(GIB), Some(GIB));
        assert_eq!(limits, GroupLimits { memory_bytes, memory_free_bytes, cores: Some(3) });
        // A namespace of groups that was entered from outside.
        let limits = recorded(&[
            ("proc/self/cgroup", "0::/../other\n"),
            ("proc/self/mountinfo", V2_MOUNT),
            ("sys/fs/cgroup/memory.max", "1073741824\n"),
            ("sys/fs/other/memory.max", "1\n"),
        ]);
        assert_eq!(limits.memory_bytes, Some(GIB));
    }

    #[test]
    fn without_groups_and_with_nonsense_there_is_no_limit() {
        assert_eq!(recorded(&[]), GroupLimits::default());
        let limits = recorded(&[
            ("proc/self/cgroup", "nonsense\n0::/a b\n"),
            ("proc/self/mountinfo", "1 2 3\n30 23 0:26 / /sys/fs/c\\040g rw - cgroup2 c rw\n - \n"),
            ("sys/fs/c g/a b/memory.max", "-5\n"),
            ("sys/fs/c g/a b/cpu.max", "100000 0\n"),
            ("sys/fs/c g/cpu.max", "200000 100000\n"),
        ]);
        assert_eq!(limits, GroupLimits { cores: Some(2), ..GroupLimits::default() });
    }
}
