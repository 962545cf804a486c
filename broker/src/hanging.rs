//! Whether the disk hangs, for the Lease: the operator then has other in-sync replicas lead, as if the broker drained.
//!
//! A disk that hangs gives no error: threads wait, and nothing of what they wait for is lost. So the broker keeps what
//! it has, and takes part again when the disk has answered for a while.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ottla_log::under_way::{self, Longest};
use tokio::sync::watch;

use crate::env::{self, Instant};

/// How often the disk is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// A disk on which these waits take so long hangs. A write fills the page cache: if producers are faster than the disk,
/// the kernel slows each write down by some hundred milliseconds. A sync takes seconds on an ordinary slow disk.
const HANGS: Longest = Longest { write: Duration::from_secs(10), sync: Duration::from_secs(30) };
/// A disk that has hung is well while these waits are shorter …
const WELL: Longest = Longest { write: Duration::from_secs(1), sync: Duration::from_secs(5) };
/// … for so long: leaders do not go back and forth.
const WELL_FOR: Duration = Duration::from_secs(30);

/// Looks at the disk every second until the receiver is dropped.
pub(crate) async fn watch(data: PathBuf, hanging: watch::Sender<bool>) {
    let mut disk = Disk::default();
    while !hanging.is_closed() {
        env::sleep_until(env::now() + LOOK).await;
        let longest = under_way::longest(&data);
        if disk.look(longest, env::now()) {
            tell(&data, disk.hangs, longest);
            hanging.send_replace(disk.hangs);
        }
    }
}

fn tell(data: &Path, hangs: bool, Longest { write, sync }: Longest) {
    let data = data.display();
    if hangs {
        tracing::error!(%data, ?write, ?sync, "the disk hangs: the other in-sync replicas of its partitions are to lead \
            until it answers again; see the kernel log of the machine");
    } else {
        tracing::warn!(%data, "the disk has answered for {WELL_FOR:?}: this broker takes part again");
    }
}

/// What is known of the disk.
#[derive(Default)]
struct Disk {
    hangs: bool,
    /// When it was last not well.
    slow: Option<Instant>,
}

impl Disk {
    /// Takes in for how long threads have waited; true if it hangs now, or does not any more.
    fn look(&mut self, longest: Longest, now: Instant) -> bool {
        let before = self.hangs;
        if exceeds(longest, WELL) {
            self.slow = Some(now);
        }
        let is_well = self.slow.is_none_or(|slow| now.duration_since(slow) >= WELL_FOR);
        self.hangs = exceeds(longest, HANGS) || self.hangs && !is_well;
        self.hangs != before
    }
}

fn exceeds(longest: Longest, bounds: Longest) -> bool {
    longest.write >= bounds.write || longest.sync >= bounds.sync
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_hangs_from_a_long_wait_until_it_has_been_well_for_a_while() {
        let second = Duration::from_secs(1);
        let waits = |write: u32, sync: u32| Longest { write: second * write, sync: second * sync };
        // When it is looked at, what threads have waited for, and whether it hangs then.
        let story = [
            (0, waits(0, 0), false),
            (1, waits(9, 29), false),
            (2, waits(10, 0), true),
            (60, waits(68, 0), true),
            (61, waits(0, 0), true),
            (70, waits(0, 4), true),
            (80, waits(0, 5), true),
            (109, waits(0, 0), true),
            (110, waits(0, 4), false),
            (111, waits(9, 29), false),
            (112, waits(0, 30), true),
            (141, waits(0, 0), true),
            (142, waits(0, 0), false),
        ];
        let (mut disk, began) = (Disk::default(), env::now());
        for (at, longest, hangs) in story {
            let before = disk.hangs;
            assert_eq!(disk.look(longest, began + at * second), before != hangs, "after {at} s");
            assert_eq!(disk.hangs, hangs, "after {at} s");
        }
    }
}
