//! What is known of one server's streaming lists, shared by its watches.
//!
//! Takes the server's version, its refusals and what its lists did; says whether a streaming list is worth asking for.
//! Promises that a server that is older than streaming lists is never asked for one, and that a refusal holds for as long as
//! the server's version does.

use crate::client::ServerVersion;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// One server's streaming lists.
#[derive(Debug, Default)]
pub(super) struct Streaming {
    known: Mutex<Known>,
    /// How often the version changed. Read without the lock, since every watch asks with each step.
    changes: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    version: Version,
    /// When it was read.
    read: Option<Instant>,
    /// It answered 422, as one whose feature gate is off.
    is_refused: bool,
    /// The API groups whose streaming lists do not end.
    endless: HashSet<String>,
}

/// What the server says that it is.
#[derive(Debug, Default, PartialEq, Eq)]
enum Version {
    #[default]
    Unasked,
    /// It may not be read, or is not one.
    Unreadable,
    Read(ServerVersion),
}

impl Streaming {
    /// When the server's version was read last. A server that was out of reach since may have come back as another.
    pub(super) fn version_read(&self) -> Option<Instant> {
        self.lock().read
    }

    /// Takes what the server answered when it was asked at `now`; `None` for a version that cannot be read. Another version than before is another
    /// server, of which nothing is known.
    pub(super) fn learn(&self, version: Option<ServerVersion>, now: Instant) {
        let version = version.map_or(Version::Unreadable, Version::Read);
        let mut known = self.lock();
        known.read = Some(now);
        if known.version != version {
            let is_first = known.version == Version::Unasked;
            *known = Known { version, read: Some(now), ..Known::default() };
            self.changes.fetch_add(u64::from(!is_first), Ordering::Relaxed);
        }
    }

    /// The server says that it has no streaming lists.
    pub(super) fn refuse(&self) {
        self.lock().is_refused = true;
    }

    /// A streaming list of this API group did not end.
    pub(super) fn give_up(&self, group: &str) {
        self.lock().endless.insert(group.to_owned());
    }

    /// Whether a kind of this API group may be listed by streaming.
    pub(super) fn is_usable(&self, group: &str) -> bool {
        let known = self.lock();
        let has_it = match &known.version {
            Version::Unasked | Version::Unreadable => false,
            Version::Read(version) => version.has_streaming_lists(),
        };
        has_it && !known.is_refused && !known.endless.contains(group)
    }

    /// How often the server's version has changed.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learns(streaming: &Streaming, git: &str) {
        streaming.learn(ServerVersion::parse(git, "", ""), Instant::now());
    }

    #[test]
    fn a_server_is_asked_for_streaming_lists_once_its_version_says_that_it_has_them() {
        let streaming = Streaming::default();
        assert!(streaming.version_read().is_none() && !streaming.is_usable("apps"));
        for (text, usable) in [("v1.26.15", false), ("v1.27.0", true), ("unreadable", false), ("v1.36.0", true)] {
            learns(&streaming, text);
            assert_eq!((streaming.version_read().is_some(), streaming.is_usable("apps")), (true, usable), "{text}");
        }
    }

    #[test]
    fn a_refusal_holds_until_the_version_changes() {
        let streaming = Streaming::default();
        learns(&streaming, "v1.31.4");
        streaming.refuse();
        learns(&streaming, "v1.31.4");
        assert_eq!((streaming.is_usable(""), streaming.changes()), (false, 0));
        learns(&streaming, "v1.32.0");
        assert_eq!((streaming.is_usable(""), streaming.changes()), (true, 1));
    }

    #[test]
    fn a_list_without_end_speaks_of_its_group_alone() {
        let streaming = Streaming::default();
        learns(&streaming, "v1.36.0");
        streaming.give_up("metrics.k8s.io");
        assert!(!streaming.is_usable("metrics.k8s.io") && streaming.is_usable("apps"));
        learns(&streaming, "v1.37.0");
        assert!(streaming.is_usable("metrics.k8s.io"));
    }
}
