//! Pages of a list that are newer than its first one.
//!
//! A list counts as what was there at the version of its first page, and the watch goes on from there. Where later pages are of
//! other versions, that watch tells again what they brought, state by state, and the deletes of what they lack. Takes the versions
//! of pages, their objects and of what the watch brings; says until when all of it is in doubt. Until then an object does not go
//! back, and neither deletes are inferred nor versions marked.

use crate::api::{Anchor, ResourceVersion};

/// What the list under way, or the last one, brought beyond its first page.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// The version of the first page, once that has come whole.
    first: Option<ResourceVersion>,
    /// The number of that version, while a page of another one, or of one that is not known yet, is told.
    beyond: Option<u64>,
    /// The version of the newest object beyond it.
    newest: Option<u64>,
    /// The list named everything there was, so that what it lacks is gone once the watch is there.
    pub(super) is_whole: bool,
    /// The newest event that came so far, or object of the first page's version.
    pub(super) anchor: Option<Anchor>,
}

impl Ahead {
    /// A page of this version begins. One that says its version behind its objects may be of any.
    pub(super) fn page(&mut self, version: Option<&ResourceVersion>) {
        self.beyond = match (&self.first, version) {
            (Some(first), version) if version != Some(first) => first.number(),
            (Some(_) | None, _) => None,
        };
    }

    /// A page of this version has come whole.
    pub(super) fn page_ended(&mut self, version: &ResourceVersion) {
        self.first.get_or_insert_with(|| version.clone());
    }

    /// Whether an object of the page under way is newer than the first page.
    pub(super) fn takes(&mut self, version: &ResourceVersion) -> bool {
        let (Some(number), Some(first)) = (version.number(), self.beyond) else { return false };
        let is_newer = number > first;
        if is_newer {
            self.newest = self.newest.max(Some(number));
        }
        is_newer
    }

    /// Whether the watch has yet to come to what the list brought.
    pub(super) fn is_open(&self) -> bool {
        self.newest.is_some()
    }

    /// Whether the watch comes to it with this version.
    pub(super) fn is_reached(&self, version: &ResourceVersion) -> bool {
        self.newest.is_some_and(|newest| version.number().is_some_and(|number| number >= newest))
    }
}
