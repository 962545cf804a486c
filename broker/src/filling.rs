//! Whether the disk fills up, for the Lease: the operator then gives this broker no new replica.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;

use crate::disk_space::DiskSpace;
use crate::env;

/// How often the disk is looked at.
const LOOK: Duration = Duration::from_secs(15);
/// From this part of the disk on it fills up.
const FILLS: f64 = 0.85;
/// Below this part it does not any more: far enough from the other that replicas do not come and go.
const HAS_SPACE: f64 = 0.80;

/// Measures the disk every 15 seconds until the receiver is dropped.
pub(crate) async fn watch(data: PathBuf, filling: watch::Sender<bool>) {
    while !filling.is_closed() {
        let folder = data.clone();
        // A disk that hangs must not hold up what else the thread does.
        let Ok(space) = env::blocking(move || DiskSpace::of(&folder)).await else { return };
        match space {
            Ok(disk) => {
                filling.send_if_modified(|filling| {
                    let before = std::mem::replace(filling, fills(*filling, disk.used_part()));
                    before != *filling
                });
            }
            Err(error) => tracing::warn!(%error, "failed to see how full the disk is"),
        }
        env::sleep_until(env::now() + LOOK).await;
    }
}

/// Whether a disk of which this part is used fills up; `before`: whether it did.
fn fills(before: bool, used: f64) -> bool {
    used >= if before { HAS_SPACE } else { FILLS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_fills_up_until_it_has_clearly_more_space() {
        for (before, used, expected) in
            [(false, 0.84, false), (false, 0.85, true), (true, 0.84, true), (true, 0.80, true), (true, 0.79, false)]
        {
            assert_eq!(fills(before, used), expected, "{used} after {before}");
        }
    }
}
