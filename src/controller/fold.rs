//! The lines that were written after the last checkpoint: taken into the state before anything else, so that nothing is told
//! twice.
//!
//! Takes [`ToldLine`]s from the events files; gives the [`StateStore`] one commit, in which each watch knows what its lines
//! say, and which of them a server may send again.

use super::recovery::Recovery;
use crate::api::{Change, FilePosition, HISTORY_FIRST, ToldId, WatchId};
use crate::change::Redaction;
use crate::checkpoint::{Commit, StateStore, StoredWatch, WatchCommit};
use crate::controller::ControllerError;
use crate::event::EventType;
use crate::sink::{self, ToldLine};
use std::collections::HashMap;
use std::path::Path;

/// Takes in what the events files in `folder` hold beyond the state. A new state takes in nothing: what is there was told
/// before it began.
pub(super) fn take_in(
    store: &mut StateStore,
    folder: &Path,
    redaction: &Redaction,
    recovery: &mut Recovery,
) -> Result<(), ControllerError> {
    let since = match store.position()? {
        Some(position) => Some(position),
        None if store.is_new() => None,
        // Lines were never written with this state, so that all there are came after it.
        None => Some(FilePosition::default()),
    };
    let mut fold = Fold::new(store.watches()?);
    let end = sink::recover(folder, since.as_ref(), &mut |mut line| {
        // A line has all that was written.
        line.identity = redaction.fitted(line.identity);
        // Of what the journal knows nothing is in the state before all have it.
        if !recovery.line(&line) {
            fold.line(&line);
        }
    })?;
    if fold.lines > 0 {
        log::info!(lines = fold.lines; "taking in what was written after the last checkpoint");
    }
    let position = Some(end.unwrap_or_default());
    Ok(store.commit(&fold.into_commit(position))?)
}

/// What the lines say, watch by watch.
struct Fold {
    watches: HashMap<WatchId, WatchCommit>,
    lines: usize,
}

/// So many lines of one watch are remembered as told; where there are more, as with a state that was restored from an old
/// copy, everything is listed and compared instead.
const TOLD_MAX: usize = 100_000;

impl Fold {
    fn new(stored: Vec<StoredWatch>) -> Self {
        Self { watches: stored.into_iter().map(|watch| (watch.id, commit_of(watch))).collect(), lines: 0 }
    }

    fn line(&mut self, line: &ToldLine) {
        self.lines += 1;
        let watch = self.watches.entry(line.watch).or_insert_with(|| unknown(line.watch));
        // A list was under way: what it told is newer than the version, and nothing of it comes again. Or an event was dropped
        // between two that were told: a replay would tell it after the second.
        watch.listing |= line.initial || line.inferred || line.after_drop || watch.changes.len() >= 2 * TOLD_MAX;
        let identity = &line.identity;
        watch.changes.push(match line.event_type {
            EventType::Added | EventType::Updated => Change::Known(identity.clone()),
            EventType::Deleted => Change::Gone(identity.key().into()),
        });
        if !watch.listing {
            let deleted = line.event_type == EventType::Deleted;
            watch.changes.push(Change::Told(ToldId::new(identity.uid_json(), identity.version(), deleted)));
        }
    }

    fn into_commit(self, position: Option<FilePosition>) -> Commit {
        let touched = self.watches.into_values().filter(|watch| !watch.changes.is_empty());
        let watches = touched.map(|mut watch| {
            if watch.listing {
                watch.clear_told = true;
                watch.changes.retain(|change| !matches!(change, Change::Told(_)));
            }
            watch
        });
        Commit { cluster: None, position, watches: watches.collect() }
    }
}

fn commit_of(watch: StoredWatch) -> WatchCommit {
    let StoredWatch { id, target, version, listing, anchor, history, sequence, .. } = watch;
    WatchCommit { id, target, version, listing, anchor, history, sequence, changes: Vec::new(), clear_told: false }
}

/// A watch of which there are lines and no checkpoint yet.
fn unknown(id: WatchId) -> WatchCommit {
    let (target, version, anchor, changes) = (String::new(), None, None, Vec::new());
    let (history, sequence) = (HISTORY_FIRST, 0);
    WatchCommit { id, target, version, listing: true, anchor, history, sequence, changes, clear_told: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Identity;

    fn line(version: u64, after_drop: bool) -> ToldLine {
        let identity = Identity::from_text(&format!("shop\0web-0\0u\0{version}\0\0")).unwrap();
        let (initial, inferred, event_type) = (false, false, EventType::Updated);
        ToldLine { watch: WatchId::from_text("0000000000c0ffee").unwrap(), event_type, initial, inferred, after_drop, identity }
    }

    fn folded(lines: &[ToldLine]) -> WatchCommit {
        let mut watch = unknown(lines[0].watch);
        watch.listing = false;
        let mut fold = Fold { watches: HashMap::from([(watch.id, watch)]), lines: 0 };
        lines.iter().for_each(|line| fold.line(line));
        fold.into_commit(None).watches.remove(0)
    }

    #[test]
    fn what_was_told_around_a_dropped_event_is_listed_and_compared_and_not_replayed() {
        let told = |watch: &WatchCommit| watch.changes.iter().filter(|change| matches!(change, Change::Told(_))).count();
        let whole = folded(&[line(5, false), line(6, false)]);
        assert_eq!((whole.listing, whole.clear_told, told(&whole)), (false, false, 2));
        let holed = folded(&[line(5, false), line(7, true), line(8, false)]);
        assert_eq!((holed.listing, holed.clear_told, told(&holed)), (true, true, 0));
        let Some(Change::Known(last)) = holed.changes.last() else { panic!("{:?}", holed.changes) };
        assert_eq!(last.version(), "8");
    }
}
