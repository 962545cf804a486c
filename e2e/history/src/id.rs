//! Which record it is, readable from its bytes.

use std::fmt;

/// The bytes after the id; an odd number of them, so that a shifted payload does not look right.
const FILLING: &[u8] = b"abcdefghijklmnopqrstuvwxyz.";

/// A record's name: no two records of a test have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Who sends it. A client that starts again is another producer.
    pub producer: u32,
    /// The how manieth of that producer's records it is, from 0.
    pub sequence: u32,
}

impl Id {
    /// A record's value of about `size` bytes, all of which follow from the id. Text, so that any tool shows it.
    pub fn payload(self, size: usize) -> Vec<u8> {
        let mut payload = format!("{self} ").into_bytes();
        let filling = FILLING.iter().cycle().skip(self.sequence as usize % FILLING.len());
        payload.extend(filling.take(size.saturating_sub(payload.len())));
        payload
    }

    /// The id in a record's value; none where a single byte is not as it was sent.
    pub fn read(payload: &[u8]) -> Option<Id> {
        let end = payload.iter().position(|byte| *byte == b' ')?;
        let (producer, sequence) = std::str::from_utf8(payload.get(..end)?).ok()?.split_once('-')?;
        let id = Id { producer: producer.parse().ok()?, sequence: sequence.parse().ok()? };
        (id.payload(payload.len()) == payload).then_some(id)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.producer, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_names_its_record_or_nothing() {
        let id = Id { producer: 12, sequence: 345 };
        for size in [0, 7, 8, 100] {
            let payload = id.payload(size);
            assert_eq!(payload.len(), size.max("12-345 ".len()));
            assert_eq!(Id::read(&payload), Some(id));
            for at in 0..payload.len() {
                let mut flipped = payload.clone();
                flipped[at] ^= 1;
                assert_ne!(Id::read(&flipped), Some(id), "byte {at} of {size}");
            }
        }
        for garbage in [&b""[..], b" ", b"1-", b"1-2", b"-1 ", b"+1-2 ", b"99999999999-1 ", b"\xff-1 "] {
            assert_eq!(Id::read(garbage), None, "{garbage:?}");
        }
    }
}
