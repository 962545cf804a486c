//! Random messages, for tests and fuzzing (feature `arbitrary`).
//!
//! A message holds only what its version can carry, so it comes out of the wire as it went in.
#![warn(missing_docs)]

use crate::codec::{Str, Version};
use crate::error_code::ErrorCode;
use crate::frame::Records;
use bytes::Bytes;
use uuid::Uuid;

/// Bytes chosen by proptest or a fuzzer, which can then shrink them; zeros follow, and make the simplest message.
#[derive(Debug)]
pub struct Entropy<'a>(pub &'a [u8]);

/// What can be made up.
pub trait Arbitrary: Sized {
    /// Makes one up.
    fn arbitrary(entropy: &mut Entropy<'_>, version: Version) -> Self;
}

impl Entropy<'_> {
    fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = N.min(self.0.len());
        let (front, rest) = self.0.split_at(taken);
        array[..taken].copy_from_slice(front);
        self.0 = rest;
        array
    }

    /// Mostly short, sometimes past the lengths at which the encoding changes.
    fn length(&mut self) -> usize {
        match self.byte() {
            short @ 0..=239 => usize::from(short % 12),
            long => usize::from(long - 239) * 100,
        }
    }
}

pub(crate) fn option<T: Arbitrary>(entropy: &mut Entropy<'_>, nullable: bool, version: Version) -> Option<T> {
    (!nullable || !entropy.byte().is_multiple_of(4)).then(|| T::arbitrary(entropy, version))
}

macro_rules! numbers {
    ($($type:ident)*) => {$(
        impl Arbitrary for $type {
            fn arbitrary(entropy: &mut Entropy<'_>, _: Version) -> Self {
                // Half of them small: there are the defaults, and the numbers that mean something.
                match entropy.byte() % 2 {
                    0 => Self::from(entropy.byte() as i8 / 16),
                    _ => Self::from_be_bytes(entropy.array()),
                }
            }
        }
    )*};
}

numbers!(i8 i16 i32 i64);

impl Arbitrary for u16 {
    fn arbitrary(entropy: &mut Entropy<'_>, version: Version) -> Self {
        i16::arbitrary(entropy, version).cast_unsigned()
    }
}

impl Arbitrary for f64 {
    fn arbitrary(entropy: &mut Entropy<'_>, version: Version) -> Self {
        // Never NaN, which is not equal to itself.
        i64::arbitrary(entropy, version) as f64 / 64.0
    }
}

impl Arbitrary for bool {
    fn arbitrary(entropy: &mut Entropy<'_>, _: Version) -> Self {
        entropy.byte() % 2 == 1
    }
}

impl Arbitrary for ErrorCode {
    fn arbitrary(entropy: &mut Entropy<'_>, version: Version) -> Self {
        Self(i16::arbitrary(entropy, version))
    }
}

impl Arbitrary for Uuid {
    fn arbitrary(entropy: &mut Entropy<'_>, _: Version) -> Self {
        Self::from_bytes(entropy.array())
    }
}

impl Arbitrary for Str {
    fn arbitrary(entropy: &mut Entropy<'_>, _: Version) -> Self {
        const LETTERS: [char; 4] = ['a', '0', 'é', '𝄞'];
        let letter = LETTERS[usize::from(entropy.byte() % 4)];
        (0..entropy.length()).map(|_| letter).collect::<String>().into()
    }
}

impl Arbitrary for Bytes {
    fn arbitrary(entropy: &mut Entropy<'_>, _: Version) -> Self {
        vec![entropy.byte(); entropy.length()].into()
    }
}

impl Arbitrary for Records {
    fn arbitrary(entropy: &mut Entropy<'_>, version: Version) -> Self {
        Bytes::arbitrary(entropy, version).into()
    }
}

impl<T: Arbitrary> Arbitrary for Vec<T> {
    fn arbitrary(entropy: &mut Entropy<'_>, version: Version) -> Self {
        (0..entropy.byte() % 4).map(|_| T::arbitrary(entropy, version)).collect()
    }
}
