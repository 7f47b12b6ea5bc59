//! One line of a watch.

use super::{DecodeError, ObjectRef, ResourceVersion, Status};

/// What a line of a watch says.
#[derive(Clone, Debug)]
pub enum WatchLine<'a> {
    /// An object came, changed, or left this watch.
    Object { kind: WatchKind, object: ObjectRef<'a> },
    /// A newer version without an object.
    Bookmark {
        /// The version to resume from.
        version: ResourceVersion,
        /// Annotated `k8s.io/initial-events-end`: ends the initial events of a streaming list.
        initial_events_end: bool,
    },
    /// The server ends the watch, and why.
    Error(Status),
}

/// The type of a line that carries an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchKind {
    /// `ADDED`: new, or newly matching.
    Added,
    /// `MODIFIED`.
    Modified,
    /// `DELETED`: left this watch; the object may live on.
    Deleted,
}

impl<'a> WatchLine<'a> {
    /// Reads a line, no further than its metadata where the rest is not needed.
    ///
    /// # Errors
    ///
    /// When the line is no watch event, its type is unknown, or its object cannot be scanned.
    pub fn parse(line: &'a [u8]) -> Result<Self, DecodeError> {
        todo!()
    }
}
