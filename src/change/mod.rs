//! What of an object may be written as it is: keyed digests, the annotations that hold copies of objects, and JSON Pointers.
//!
//! Takes JSON that was checked; gives it with values replaced by [digests](DigestKey). Does no I/O and keeps no state: where the key
//! comes from, and where the result goes, is for others to say.

mod copies;
mod digest;
mod pointer;
mod redaction;
mod stored;

pub use copies::COPIES;
pub use digest::DigestKey;
pub use pointer::{Pattern, PatternError, redact};
pub use redaction::{ANNOTATION_VALUE_BYTES_MAX, Redaction};
pub use stored::STORED_BYTES_MAX;
