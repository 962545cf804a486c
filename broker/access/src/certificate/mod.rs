//! Who a certificate is for.
//!
//! | module | its job |
//! |---|---|
//! | [`holder`] | certificates of the cluster's own authorities: a URI names the holder |
//! | [`subject`] | certificates of other authorities: the subject as text, as Java writes it |
//! | [`mapping`] | from that text to the name of a principal, by `principalMappingRules` |

pub mod holder;
pub mod mapping;
pub mod subject;

pub use holder::{Certified, Holder, not_after};
pub use mapping::MappingRules;
pub use subject::subject;
