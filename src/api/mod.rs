//! The words every station speaks: names, versions, metadata and statuses as an API server means them.
//!
//! Nothing here does I/O, keeps time or logs.

mod anchor;
mod change;
mod field_selector;
mod file_position;
mod gvr;
mod hash;
mod identity;
mod json_text;
mod known;
mod label_selector;
mod list_page;
mod mend;
mod object;
mod scan;
mod status;
mod string_map;
mod table;
mod target;
mod version;
mod watch_line;

#[cfg(test)]
mod decode_tests;

/// Longest label and field selector of a watch, in bytes as they stand in a URL. Servers take URLs of 1 MiB (Go's
/// `DefaultMaxHeaderBytes`) and the library that sends them 64 KiB; the rest is room for the path and a list's token.
pub(crate) const SELECTOR_BYTES_MAX: usize = 60 * 1024;

pub use anchor::{ANCHOR_TEXTS, Anchor, HISTORY_FIRST, Unhashed};
pub use change::{Change, ToldId};
pub use field_selector::{FieldSelector, FieldSelectorError};
pub use file_position::FilePosition;
pub use gvr::{GroupVersionResource, GvrError};
pub use identity::Identity;
pub(crate) use json_text::{escape, unescape};
pub use known::{Known, KnownObject};
pub use label_selector::{LabelSelector, LabelSelectorError};
pub use list_page::ListPage;
pub(crate) use list_page::{ListMetadata, read_part};
pub(crate) use mend::mended;
pub use object::{DecodeError, Object, ObjectRef};
#[cfg(test)]
pub(crate) use scan::COPY_ENDS;
pub(crate) use scan::{Scanner, compact};
pub use status::{Fault, Status};
pub use string_map::StringMap;
pub(crate) use string_map::{close_entries, push_entry};
pub use table::{Keyer, TextKey};
pub(crate) use table::{Record, Table};
pub use target::{Scope, Watch, WatchId, WatchTarget};
pub use version::ResourceVersion;
pub use watch_line::{WatchKind, WatchLine};
