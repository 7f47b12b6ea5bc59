//! One line of a watch.
//!
//! Takes the bytes of a line as the server sent it; gives what it says, borrowed from it. Promises to read no further than
//! the metadata where `type` comes first and `object` last, as every API server sends them.

use super::scan::{Scanner, is_space};
use super::{DecodeError, ObjectRef, ResourceVersion, Status};

/// What a line of a watch says.
#[derive(Clone, Debug)]
pub enum WatchLine<'a> {
    /// An object came, changed, or left this watch.
    Object {
        /// Which of the three.
        kind: WatchKind,
        /// The object as it is now; for `DELETED` as it was last.
        object: ObjectRef<'a>,
    },
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

/// The annotation of the bookmark that ends the initial events, from `k8s.io/apimachinery` (`InitialEventsAnnotationKey`).
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

impl<'a> WatchLine<'a> {
    /// Reads a line, no further than its metadata where the rest is not needed.
    ///
    /// Where `type` comes first, the object is taken to run to the last brace but one of the line.
    ///
    /// # Errors
    ///
    /// When the line is no watch event, its type is unknown, or its object cannot be scanned.
    pub fn parse(line: &'a [u8]) -> Result<Self, DecodeError> {
        let mut scanner = Scanner::new(line);
        let mut event_type = None;
        let mut object = None;
        scanner.open_object()?;
        let mut first = true;
        while let Some(key) = scanner.next_key(&mut first)? {
            match (&*key, event_type) {
                (b"type", None) => event_type = Some(&line[scanner.text()?]),
                (b"object", Some(event_type)) if object.is_none() => {
                    scanner.peek();
                    return Self::of(event_type, scanner.at(), rest_object(line, scanner.at())?);
                }
                (b"object", None) if object.is_none() => {
                    scanner.peek();
                    let start = scanner.at();
                    scanner.skip_value()?;
                    object = Some((start, &line[start..scanner.at()]));
                }
                _ => scanner.skip_value()?,
            }
        }
        match (event_type, object) {
            (Some(event_type), Some((start, object))) => Self::of(event_type, start, object),
            (None, _) => Err(DecodeError::new("the watch event has no type", 0)),
            (_, None) => Err(DecodeError::new("the watch event has no object", 0)),
        }
    }

    fn of(event_type: &[u8], start: usize, object: &'a [u8]) -> Result<Self, DecodeError> {
        let kind = match event_type {
            b"ADDED" => WatchKind::Added,
            b"MODIFIED" => WatchKind::Modified,
            b"DELETED" => WatchKind::Deleted,
            b"BOOKMARK" => return Self::bookmark(object).map_err(|error| error.moved(start)),
            b"ERROR" => return Self::error(object).map_err(|error| error.moved(start)),
            _ => return Err(DecodeError::new("the watch event's type is unknown", 0)),
        };
        let object = ObjectRef::scan(object).map_err(|error| error.moved(start))?;
        Ok(Self::Object { kind, object })
    }

    fn bookmark(object: &'a [u8]) -> Result<Self, DecodeError> {
        let bookmark = ObjectRef::scan_any(object)?;
        let initial_events_end = bookmark.annotations().get(INITIAL_EVENTS_END).is_some_and(|value| value == "true");
        Ok(Self::Bookmark { version: bookmark.resource_version(), initial_events_end })
    }

    fn error(object: &[u8]) -> Result<Self, DecodeError> {
        let status = serde_json::from_slice(object);
        status.map(Self::Error).map_err(|error| DecodeError::new(format!("the ERROR event holds no Status: {error}"), 0))
    }
}

/// The object that begins at `start` and is the last thing in the line but for the line's own brace.
fn rest_object(line: &[u8], start: usize) -> Result<&[u8], DecodeError> {
    let before_brace = |bytes: &[u8]| {
        let end = bytes.iter().rposition(|&byte| !is_space(byte))?;
        (bytes[end] == b'}').then_some(end)
    };
    let line_end = before_brace(line).filter(|&end| end > start);
    let object_end = line_end.and_then(|end| before_brace(&line[start..end]));
    object_end.map(|end| &line[start..=start + end]).ok_or_else(|| DecodeError::new("the line ends too early", line.len()))
}
