//! Names and small values that everything else is keyed by.
//!
//! Ids own their text: a lock outlives the request's frame, so it must not keep views into one.

use std::fmt;
use std::sync::Arc;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(Arc<str>);

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                $name(Arc::from(text))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// A share group's name.
    GroupId
}
text_id! {
    /// A member's id, which the member draws itself (KIP-1082).
    MemberId
}

/// A record's place in its partition.
pub type Offset = i64;

/// A client's connection, by a number that its host gives to no other one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(pub u64);
