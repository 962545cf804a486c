//! Who a client is: a principal of type `User`, the only type that Ottla has.

use std::fmt;

use ottla_wire::Str;

/// Who a client is, by its name: `User:orders` is the principal `orders`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal(Str);

impl Principal {
    /// Every client of a listener without authentication.
    pub const ANONYMOUS: Principal = Principal(Str::from_static("ANONYMOUS"));
    /// The type of every principal, before the colon.
    pub const TYPE: &str = "User";

    /// The principal of this name. `*` is a name that no client can have: rules for everybody have it.
    pub fn new(name: impl Into<Str>) -> Principal {
        Principal(name.into())
    }

    /// The name, without the type.
    pub fn name(&self) -> &Str {
        &self.0
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Principal::TYPE, self.0)
    }
}
