//! A small file that holds one value behind its checksum.

use std::path::Path;

use ottla_log::{DiskError, disk};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Replaces a small file by a value behind its checksum.
///
/// # Errors
/// When the disk refuses.
pub fn write_checked(path: &Path, value: &impl Serialize) -> Result<(), DiskError> {
    disk::replace(path, checked(value).as_bytes())
}

/// The same for a value that only the broker's user may read.
///
/// # Errors
/// When the disk refuses.
pub fn write_checked_private(path: &Path, value: &impl Serialize) -> Result<(), DiskError> {
    disk::replace_private(path, checked(value).as_bytes())
}

/// A value behind its checksum: two lines.
pub fn checked(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).expect("our own values are JSON");
    format!("{:08x}\n{json}\n", checksum(&json))
}

/// The value in such a file; none when it is missing or not whole.
///
/// # Errors
/// When the disk refuses.
pub fn read_checked<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, DiskError> {
    let Some(bytes) = disk::read(path)? else { return Ok(None) };
    let value = std::str::from_utf8(&bytes).ok().and_then(first_checked);
    let value = value.filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value);
    if value.is_none() {
        tracing::warn!(path = %path.display(), "ignored an incomplete file");
    }
    Ok(value)
}

/// The first of several values behind their checksums, and the text of the others; none when it is not whole.
pub fn first_checked<T: DeserializeOwned>(text: &str) -> Option<(T, &str)> {
    let (sum, rest) = text.split_once('\n')?;
    let (json, rest) = rest.split_once('\n')?;
    let is_whole = u32::from_str_radix(sum, 16).ok()? == checksum(json);
    is_whole.then(|| serde_json::from_str(json).ok()).flatten().map(|value| (value, rest))
}

fn checksum(text: &str) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, text.as_bytes()) as u32
}
