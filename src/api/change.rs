//! What one event changes in what is remembered of its watch: the inventory, and what a replay would tell twice.

use super::Identity;
use std::borrow::Borrow;

/// One step from what was remembered of a watch to what is; steps of the same key or id replace each other, in order.
#[derive(Clone, Debug)]
pub enum Change {
    /// The object was told and is there, in the place of what was known under its key.
    Known(Identity),
    /// The object with this [`Identity::key`] was told as deleted.
    Gone(Box<str>),
    /// The event is in the files, though the version that the watch resumes from is older: a replay skips it.
    Told(ToldId),
    /// The replay of a told event was skipped; it cannot come again.
    Replayed(ToldId),
}

impl Change {
    /// How many changes it counts as where many wait: one, and one more for each KiB of labels and annotations.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Known(identity) => 1 + identity.maps_bytes() / 1024,
            Self::Gone(_) | Self::Told(_) | Self::Replayed(_) => 1,
        }
    }
}

/// Names one event of a watch that a server may send again: the object's uid, its version, and whether it was deleted.
///
/// As a key of a hash table it is looked up by the text that [`ToldId::write`] makes, without an allocation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ToldId(Box<str>);

impl ToldId {
    /// The id of an event. `uid_json` is JSON text without its quotes, as [`ObjectRef::uid_json`](super::ObjectRef::uid_json)
    /// gives it.
    pub fn new(uid_json: &str, version: &str, deleted: bool) -> Self {
        let mut text = String::with_capacity(uid_json.len() + version.len() + 2);
        Self::write(&mut text, uid_json, version, deleted);
        Self(text.into())
    }

    /// Writes into `text` what [`as_text`](Self::as_text) of that id would be, in the place of what it held.
    pub fn write(text: &mut String, uid_json: &str, version: &str, deleted: bool) {
        text.clear();
        text.push(if deleted { 'D' } else { 'P' });
        text.push_str(uid_json);
        // JSON text holds no control character unescaped, so that no uid can reach into the version.
        text.push('\0');
        text.push_str(version);
    }

    /// The uid of its object, as JSON text without its quotes.
    pub fn uid_json(&self) -> &str {
        self.0[1..].split('\0').next().unwrap_or_default()
    }

    /// The version of the event.
    pub fn version(&self) -> &str {
        self.0.split_once('\0').map_or("", |(_, version)| version)
    }

    /// The whole id as one text, for storing.
    pub fn as_text(&self) -> &str {
        &self.0
    }

    /// Reads back what [`as_text`](Self::as_text) gave; `None` when it is no such text.
    pub fn from_text(text: &str) -> Option<Self> {
        let is_whole = text.starts_with(['D', 'P']) && text.split_once('\0').is_some_and(|(_, version)| !version.is_empty());
        is_whole.then(|| Self(text.into()))
    }
}

impl Borrow<str> for ToldId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_told_event_is_found_by_uid_version_and_whether_it_was_deleted() {
        let told = HashSet::from([ToldId::new("u", "7", false), ToldId::new("v", "7", true)]);
        let mut text = String::from("reused");
        for (uid, version, deleted, expected) in [
            ("u", "7", false, true),
            ("u", "7", true, false),
            ("u", "07", false, false),
            ("v", "7", true, true),
            ("v", "7", false, false),
            ("", "7", false, false),
        ] {
            ToldId::write(&mut text, uid, version, deleted);
            assert_eq!(told.contains(text.as_str()), expected, "{uid} {version} {deleted}");
        }
    }

    #[test]
    fn its_text_reads_back_as_the_same_and_nothing_else_does() {
        for id in [ToldId::new("u", "7", false), ToldId::new("", "7", true)] {
            assert_eq!(ToldId::from_text(id.as_text()), Some(id));
        }
        for wrong in ["", "P", "Pu", "Pu\0", "u\x007", "Xu\x007"] {
            assert_eq!(ToldId::from_text(wrong), None, "{wrong:?}");
        }
    }
}
