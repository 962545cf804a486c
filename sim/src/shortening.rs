//! Somebody shortens a log while no process has it, or removes its folder.
//!
//! Only so that the log's broker can notice: what is left ends before an offset that its checkpoints name. On the same
//! boot a broker trusts a log that ends beyond them: what it wrote since, within a second before it was killed or while
//! its disk was full, nobody has noted anywhere else. So the protocol does not promise to survive the loss of that.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use ottla_batch::Batches;
use ottla_log::checkpoints::{HIGH_WATERMARKS, RECOVERY_POINTS, read_offsets};

use crate::random::Random;
use crate::topics;

/// Shortens or removes one of the logs in the data directory `data`. False: nothing has changed, for its broker would
/// not notice.
pub(crate) fn shorten(data: &Path, random: &mut Random) -> Result<bool> {
    let there: Vec<usize> =
        (0..topics::MOST_ENTRIES).filter(|entry| data.join(topics::folder(*entry)).exists()).collect();
    let Some(entry) = random.pick(&there) else { return Ok(false) };
    let (folder, had) = (data.join(topics::folder(*entry)), had(data, *entry)?);
    if random.happens(300) {
        if had == 0 {
            return Ok(false);
        }
        fs::remove_dir_all(folder)?;
        return Ok(true);
    }
    let mut logs: Vec<PathBuf> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.sort();
    let Some(last) = logs.last() else { return Ok(false) };
    let noticed_below = end_of_batches_before(last, had)?;
    if noticed_below == 0 {
        return Ok(false);
    }
    fs::OpenOptions::new().write(true).open(last)?.set_len(random.below(noticed_below) as u64)?;
    Ok(true)
}

/// Before which offset the log's broker misses records.
fn had(data: &Path, entry: usize) -> Result<i64> {
    let (topic, number) = topics::named(entry);
    let key = (topic.to_owned(), number);
    let offset = |file: &str| Ok::<_, anyhow::Error>(read_offsets(&data.join(file))?.get(&key).copied().unwrap_or(0));
    Ok(offset(HIGH_WATERMARKS)?.max(offset(RECOVERY_POINTS)?))
}

/// Where in a segment the last batch ends that begins before `offset`: with any byte less the log ends before `offset`.
/// 0: there is no such batch.
fn end_of_batches_before(segment: &Path, offset: i64) -> Result<usize> {
    let bytes = fs::read(segment).with_context(|| segment.display().to_string())?;
    let batches = Batches::new(bytes.into()).map_while(|batch| batch.ok());
    Ok(batches.take_while(|batch| batch.header().base_offset < offset).map(|batch| batch.bytes().len()).sum())
}

#[cfg(test)]
mod tests {
    use ottla_batch::{BatchBuilder, Codec, NewRecord};
    use ottla_log::checkpoints::write_offsets;
    use ottla_log::{Files, Log, LogConfig, RecoveryHint};

    use super::*;

    fn open(data: &Path) -> Log {
        let (hint, files) = (RecoveryHint { intact: true, ..RecoveryHint::default() }, Files::new(4, 1 << 10));
        Log::open(&data.join(topics::folder(0)), LogConfig::default(), hint, &files, 0).unwrap().0
    }

    #[test]
    fn a_log_is_shortened_so_that_its_broker_misses_something_or_not_at_all() {
        for (had, seed) in [0, 1, 3, 4].into_iter().flat_map(|had| (0..40).map(move |seed| (had, seed))) {
            let dir = tempfile::tempdir().unwrap();
            let mut log = open(dir.path());
            for offset in 0..4 {
                let mut builder = BatchBuilder::new(Codec::None);
                builder.push(NewRecord { value: Some(b"value"), ..NewRecord::default() });
                log.append(&[builder.build().stamp(offset, 0, None)], 0).unwrap();
            }
            drop(log);
            let (topic, number) = topics::named(0);
            let offsets = [((topic.to_owned(), number), had)].into();
            write_offsets(&dir.path().join(RECOVERY_POINTS), &offsets).unwrap();
            let is_shorter = shorten(dir.path(), &mut Random::new(seed)).unwrap();
            assert_eq!(is_shorter, had > 0, "had {had}, seed {seed}");
            let end = open(dir.path()).log_end();
            assert!(if is_shorter { end < had } else { end == 4 }, "had {had}, seed {seed}: it ends at {end}");
        }
    }
}
