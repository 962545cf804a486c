//! `#[derive(Message)]`: turns the attributes of a message's fields into its codec.
//!
//! A derived struct gets `Default` (with Kafka's defaults) and `ottla_wire::codec::Wire`. All that is known of a field
//! stands beside it, in Kafka's own notation for versions (`"3"`, `"3+"`, `"0-12"`):
//!
//! | on a field | meaning |
//! |---|---|
//! | `versions = "3+"` | exists in these versions; everywhere if not said |
//! | `nullable = "7+"`, or just `nullable` | may be null in these versions, or in all; the field is an `Option` |
//! | `tag = 0` | written among the tagged fields, and only when it differs from its default |
//! | `default = -1` | the value when it is absent; `Default::default()` if not said |
//!
//! | on a struct | meaning |
//! |---|---|
//! | nothing | a part of a message |
//! | `request = Produce, versions = "3-13", flexible = "9+"` | the request of `ApiKey::Produce` |
//! | `response = Produce` | the response to `ProduceRequest`, with the same versions; says its `throttle_time_ms` |
//! | `versions = "0-4", flexible = "4+"` | a message that stands alone, such as a record's value |

mod attributes;
mod expand;
#[cfg(test)]
mod tests;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// See the crate's documentation for the attributes.
#[proc_macro_derive(Message, attributes(wire))]
pub fn derive_message(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::message(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}
