//! What was told and accepted, kept on disk: for each watch its version and inventory, and the place in the events files.
//!
//! Takes [`Commit`]s, each one transaction that is durable when it returns, and gives back what the last of them left. One
//! folder belongs to one process at a time. A state that cannot be read is an error that says what to do, never a new begin.
//!
//! The file is a [redb](https://docs.rs/redb) database of two tables: `state`, a few short rows, and `log`, the changes of all
//! watches in the order they came, many to a row. Rows of a log are cheap where an object a row is not: redb writes pages of
//! 4 KiB, and an inventory's changes hit another page each. What is still true in the oldest rows is moved to the end as the
//! log grows, so that it stays in proportion to what is true.

mod commit;
mod database;
mod entry;
mod error;
mod folder;
mod frames;
mod index;
mod journal;
mod lock;
mod log;
mod record;
mod redact_key;
mod rows;
mod spill;
mod store;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod journal_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod sim_disk;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod testing;

pub use commit::{ClusterIdentity, Commit, Handed, OwedEvent, Progress, Record, Skipped, StoredWatch, WatchCommit};
pub use error::StateError;
pub use folder::reset;
pub use journal::{Batch, Journal};
pub use redact_key::redact_key;
pub use spill::{Owed, Spill};
pub use store::StateStore;
