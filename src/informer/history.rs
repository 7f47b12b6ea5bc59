//! The histories of a cluster by their numbers, and the beginning of a replay.

use super::machine::{Close, Input, Line};
use super::report::Report;
use crate::api::{Anchor, HISTORY_FIRST, WatchLine};
use std::sync::{Arc, Mutex, PoisonError};

/// The number of the newest history of a cluster, shared by its watches. Each watch finds another history for itself, as kinds may
/// live in stores of their own; those that find the same one give it the same number.
#[derive(Clone, Debug)]
pub struct Histories(Arc<Mutex<u32>>);

impl Histories {
    /// The number of the newest history.
    pub fn newest(&self) -> u32 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is a history of this number, as an earlier run has found.
    pub fn come_to(&self, number: u32) {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = number.max(*newest);
    }

    /// The number of the history that comes after `number`, of which a watch has found the end.
    pub(super) fn after(&self, number: u32) -> u32 {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = (*newest).max(number.saturating_add(1));
        *newest
    }
}

impl Default for Histories {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(HISTORY_FIRST)))
    }
}

/// What the first line of a replay means: it must be `newest`, and is passed over then.
pub(super) fn replayed(bytes: &[u8], newest: &Anchor, report: &mut Report) -> Input {
    match WatchLine::parse(bytes) {
        Ok(WatchLine::Object { kind, object }) if newest.is(kind, &object) => {
            report.watching();
            Input::Line(Line::Replayed)
        }
        Ok(WatchLine::Error(status)) => {
            report.error_line(&status);
            Input::Close(Close::Error(status.fault(None)))
        }
        Ok(WatchLine::Object { object, .. }) => {
            let version = object.resource_version();
            not_replayed(newest, &format!("one of version {version} came"), report)
        }
        Ok(WatchLine::Bookmark { version, .. }) => not_replayed(newest, &format!("a bookmark of version {version} came"), report),
        Err(error) => not_replayed(newest, &error.to_string(), report),
    }
}

/// Something else came than `newest`, or nothing.
pub(super) fn not_replayed(newest: &Anchor, found: &str, report: &mut Report) -> Input {
    report.ended(format!("the event of version {} was to come again, and {found}", newest.version()));
    Input::Close(Close::NotReplayed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_find_the_same_history_give_it_the_same_number_and_a_later_one_a_higher() {
        let histories = Histories::default();
        let found: Vec<u32> = [1, 1, 2, 1, 3].into_iter().map(|own| histories.after(own)).collect();
        // The fourth was not there when the others found the third: to it that is the next.
        assert_eq!((found, histories.newest()), (vec![2, 2, 3, 3, 4], 4));
    }
}
