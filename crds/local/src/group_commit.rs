//! Writes on their way to the disk: those that come together are synced together.
//!
//! One thread at a time takes everything that waits, makes it durable, and only then shows it. While it waits for the
//! disk, the next group gathers. A write that fails is refused alone: each object is in a group at most once, because
//! the writes of one object take turns.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::folder::Folder;
use crate::status::Status;
use crate::store::{ObjectWrite, Objects, WriteOutcome};
use crate::turns::WriteTurn;

/// Writes in one group, at most. It bounds how long the first one waits for the others.
const GROUP: usize = 512;

/// A folder, and the writes that wait for it.
#[derive(Debug)]
pub(crate) struct GroupCommit {
    folder: Folder,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<QueuedWrite>,
    /// Whether a thread takes care of `waiting`.
    running: bool,
}

#[derive(Debug)]
struct QueuedWrite {
    write: ObjectWrite,
    /// Ends when the write is shown or refused, so that the next write of the object sees what became of this one.
    turn: WriteTurn,
    done: oneshot::Sender<Result<WriteOutcome, Status>>,
}

impl GroupCommit {
    pub(crate) fn new(folder: Folder) -> Self {
        Self { folder, queue: Mutex::default() }
    }

    /// Makes a write durable, then shows it. It takes place even if the caller goes away.
    ///
    /// # Errors
    /// When the disk refuses the write; nothing of it is shown.
    pub(crate) async fn write(
        self: &Arc<Self>,
        objects: &Arc<Objects>,
        write: ObjectWrite,
        turn: WriteTurn,
    ) -> Result<WriteOutcome, Status> {
        let (done, outcome) = oneshot::channel();
        let start = {
            let mut queue = self.queue.lock();
            queue.waiting.push(QueuedWrite { write, turn, done });
            !std::mem::replace(&mut queue.running, true)
        };
        if start {
            let (commit, objects) = (Arc::clone(self), Arc::clone(objects));
            // Not awaited: each write hears of its own end.
            drop(tokio::task::spawn_blocking(move || commit.run(&objects)));
        }
        outcome.await.map_err(Status::internal)?
    }

    /// Carries out what waits, group by group, until nothing does.
    fn run(&self, objects: &Objects) {
        while let Some(group) = self.next_group() {
            let writes: Vec<&ObjectWrite> = group.iter().map(|waiting| &waiting.write).collect();
            let outcomes = self.folder.persist(&writes);
            for (QueuedWrite { write, turn, done }, outcome) in group.into_iter().zip(outcomes) {
                let written = outcome.map(|()| objects.show(write)).map_err(Status::internal);
                drop(turn);
                // The caller may have gone away.
                let _ = done.send(written);
            }
        }
    }

    fn next_group(&self) -> Option<Vec<QueuedWrite>> {
        let mut queue = self.queue.lock();
        if queue.waiting.is_empty() {
            queue.running = false;
            return None;
        }
        let size = queue.waiting.len().min(GROUP);
        Some(queue.waiting.drain(..size).collect())
    }
}
