//! What the process may use: open files, and memory by its cgroup.
//!
//! The standard library counts the CPUs: it reads the cgroup's quota, of version 1 and 2.

use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit, setrlimit};

/// Where cgroups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";
/// Requests that are being read may use one part of so many of the memory: the page cache, which counts too, needs
/// most.
const REQUEST_PART: u64 = 4;
/// More than this would only let clients queue.
const MOST_REQUEST_MEMORY: u64 = 1 << 30;

/// A connection and a segment are a descriptor each, and the usual soft limit is 1,024.
pub fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "failed to raise the limit of open files");
    }
}

/// The memory that the process may use, in bytes: its cgroup's, or the machine's where that is less.
pub fn memory() -> u64 {
    let machine = rustix::system::sysinfo();
    let machine = machine.totalram.saturating_mul(u64::from(machine.mem_unit));
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = memory_limit_files(&own).into_iter().filter_map(|file| std::fs::read_to_string(file).ok());
    limits.filter_map(|text| parse_limit(&text)).fold(machine, u64::min)
}

/// Memory for requests that are being read, in bytes.
pub fn request_memory(memory: u64) -> usize {
    usize::try_from((memory / REQUEST_PART).min(MOST_REQUEST_MEMORY)).unwrap_or(usize::MAX)
}

/// The files that may hold a limit, by what `/proc/self/cgroup` says: of the process's cgroup and of all above it, for
/// each limits those below. In a container the mount often begins at the container's own cgroup, so that only the last
/// is there.
fn memory_limit_files(own: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (mount, file) = match controllers {
            "" => (PathBuf::from(CGROUPS), "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                (Path::new(CGROUPS).join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // A path with `..` leads out of what this process may see.
        let path = if path.contains("..") { Path::new("") } else { Path::new(path.trim_start_matches('/')) };
        files.extend(path.ancestors().map(|cgroup| mount.join(cgroup).join(file)));
    }
    files
}

/// What a limit's file says: version 2 says `max` where there is none, version 1 a number near 2^63.
fn parse_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| *limit < 1 << 62)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_may_stand_at_the_processes_cgroup_or_above() {
        let cases: [(&str, &str, &[&str]); 6] = [
            ("version 2 in a container", "0::/\n", &["/sys/fs/cgroup/memory.max"]),
            (
                "version 2 on a node",
                "0::/kubepods/pod1\n",
                &[
                    "/sys/fs/cgroup/kubepods/pod1/memory.max",
                    "/sys/fs/cgroup/kubepods/memory.max",
                    "/sys/fs/cgroup/memory.max",
                ],
            ),
            (
                "version 1",
                "5:cpu,cpuacct:/a\n4:memory:/a\n1:name=systemd:/a\n",
                &["/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"],
            ),
            (
                "both",
                "4:memory,hugetlb:/\n0::/\n",
                &["/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max"],
            ),
            ("out of sight", "0::/../../other\n", &["/sys/fs/cgroup/memory.max"]),
            ("nothing that we know", "\nnonsense\n7:cpu:/\n", &[]),
        ];
        for (story, own, expected) in cases {
            let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(memory_limit_files(own), expected, "{story}");
        }
    }

    #[test]
    fn a_limit_is_a_number_of_bytes_and_no_limit_is_none() {
        let cases = [
            ("1073741824\n", Some(1 << 30)),
            ("max\n", None),
            ("9223372036854771712\n", None),
            ("", None),
            ("-1\n", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_limit(text), expected, "{text:?}");
        }
        assert!(memory() > 0);
    }

    #[test]
    fn a_quarter_is_for_requests_and_no_more_than_a_gigabyte() {
        assert_eq!(request_memory(512 << 20), 128 << 20);
        assert_eq!(request_memory(64 << 30), 1 << 30);
    }
}
