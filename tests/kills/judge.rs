//! What the book lacks of what was promised.

use super::book::{Book, Entry};
use super::load::{History, Load};
use std::collections::BTreeSet;
use std::fmt;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    accepted: usize,
    /// States that the server still had.
    events_missing: Vec<String>,
    deletes_missing: Vec<String>,
    last_states_missing: Vec<String>,
    /// A newer state was accepted for the first time before an older one.
    out_of_order: Vec<String>,
    repeats: usize,
    inferred: usize,
}

pub(crate) fn judge(load: &Load, book: &Book) -> Verdict {
    let by_uid = book.by_uid();
    let mut verdict =
        Verdict { accepted: book.lines(), last_states_missing: last_states_missing(load, book), ..Verdict::default() };
    for (uid, entries) in &by_uid {
        verdict.take(uid, entries);
    }
    for (uid, history) in &load.histories {
        let entries = by_uid.get(uid.as_str()).map_or(&[][..], Vec::as_slice);
        let versions: BTreeSet<u64> = entries.iter().map(|entry| entry.version).collect();
        let missing = history.required.iter().filter(|version| !versions.contains(version));
        verdict.events_missing.extend(missing.map(|version| format!("{} {uid} {version}", history.name)));
        if lacks_delete(history, entries) {
            verdict.deletes_missing.push(format!("{} {uid}", history.name));
        }
    }
    verdict
}

/// The objects whose last state, or delete, the book has not got.
pub(crate) fn last_states_missing(load: &Load, book: &Book) -> Vec<String> {
    let by_uid = book.by_uid();
    let is_missing = |(uid, history): &(&String, &History)| {
        let entries = by_uid.get(uid.as_str()).map_or(&[][..], Vec::as_slice);
        if history.is_deleted { lacks_delete(history, entries) } else { !has_version(entries, history.last_version) }
    };
    load.histories.iter().filter(is_missing).map(|(uid, history)| format!("{} {uid}", history.name)).collect()
}

/// Whether an object that the receiver knew is gone, and it does not know that.
fn lacks_delete(history: &History, entries: &[&Entry]) -> bool {
    let is_known = !entries.is_empty() || !history.required.is_empty();
    history.is_deleted && is_known && !entries.iter().any(|entry| entry.event_type == "DELETED")
}

fn has_version(entries: &[&Entry], version: u64) -> bool {
    entries.iter().any(|entry| entry.version == version)
}

impl Verdict {
    pub(crate) fn is_good(&self) -> bool {
        let lacking = [&self.events_missing, &self.deletes_missing, &self.last_states_missing, &self.out_of_order];
        lacking.iter().all(|lacking| lacking.is_empty())
    }

    /// Looks at the order in which the states of one object were accepted for the first time.
    fn take(&mut self, uid: &str, entries: &[&Entry]) {
        let mut seen = BTreeSet::new();
        for entry in entries {
            self.inferred += usize::from(entry.inferred);
            let is_deleted = entry.event_type == "DELETED";
            if !seen.insert((is_deleted, entry.version)) {
                self.repeats += 1;
            } else if seen.last() != Some(&(is_deleted, entry.version)) {
                self.out_of_order.push(format!("{uid} {entry:?}"));
            }
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} accepted, {} events missing, {} deletes missing, {} last states missing, {} out of order, {} repeats, {} inferred",
            self.accepted,
            self.events_missing.len(),
            self.deletes_missing.len(),
            self.last_states_missing.len(),
            self.out_of_order.len(),
            self.repeats,
            self.inferred,
        )
    }
}
