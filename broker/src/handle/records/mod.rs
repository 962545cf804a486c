//! Records: produced, fetched, looked up by time, deleted; and the ids of idempotent producers.

pub(super) mod delete_records;
pub(super) mod fetch;
pub(super) mod init_producer_id;
pub(super) mod list_offsets;
pub(super) mod offset_for_leader_epoch;
pub(super) mod produce;
pub(super) mod refusals;
pub(super) mod transactional;
