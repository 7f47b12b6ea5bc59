//! From events to JSON lines: the record, the batch that workers fill, and the one thread that writes it.
//!
//! Takes events as the [`Export`](crate::dispatch::Export) of the dispatcher; gives lines to a file in `output_dir`, to
//! standard output, or to both. Promises:
//!
//! - An event is complete only when its whole line was written. Lines are never torn, lost or doubled, however writes fail.
//! - One `write` for what is ready. `fsync` at stop, and when [`Writer::sync`] asks for it; never a line.
//! - [`JsonMiddleware`] sees each record before it is a line, under no lock; what it does to one record hurts no other.
//! - A disk that is full, read-only or gone is waited for: said once, shown in [`Health`](crate::health::Health), and pushed
//!   back to the watches through the bounded batch.

mod batch;
mod entries;
mod error;
mod events_file;
mod extra_fields;
mod json_record;
mod middleware;
mod output;
mod positions;
mod record;
mod recover;
mod rescue;
mod told_line;
mod writer;
mod writing;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod middleware_tests;
#[cfg(test)]
mod recover_tests;
#[cfg(test)]
mod rotation_tests;
#[cfg(test)]
mod tests;

pub use error::SinkError;
pub use json_record::{ADDED_BYTES_MAX, FIELD_NAME_BYTES_MAX, FIELDS_MAX, JsonRecord, RecordError};
pub use middleware::{JsonMiddleware, Verdict, with_objects};
pub use positions::Position;
pub use recover::recover;
pub use told_line::ToldLine;
pub use writer::{SinkSettings, Writer};
