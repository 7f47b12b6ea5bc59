//! When to list again because events could not be read: soon, in one go for a burst, and rarely where it does not help.

use super::timing::Limits;
use std::mem;
use std::time::Instant;

/// What is known to be missing, as a date for the next list.
#[derive(Debug, Default)]
pub(super) struct Dirt {
    due: Option<Instant>,
    /// Something is missing of which nothing is known, so that no version may be resumed from.
    is_doubtful: bool,
    /// When the last list because of dirt began.
    last: Option<Instant>,
    /// How many lists in a row had objects that could not be read.
    unread_lists: u32,
}

/// How often the interval doubles at most while no list can be read whole: 60 s become 16 minutes.
const DOUBLINGS_MAX: u32 = 4;

impl Dirt {
    /// Something could not be read at `now`. Returns whether that is news.
    pub(super) fn found(&mut self, now: Instant, limits: &Limits) -> bool {
        self.look_again(now, limits);
        !mem::replace(&mut self.is_doubtful, true)
    }

    /// Something that is known by its name could not be read at `now`: a later list may give it.
    pub(super) fn look_again(&mut self, now: Instant, limits: &Limits) {
        if self.due.is_some() {
            return;
        }
        let interval = limits.dirty_interval * (1 << self.unread_lists.min(DOUBLINGS_MAX));
        let soon = now + limits.dirty_delay;
        self.due = Some(self.last.map_or(soon, |last| soon.max(last + interval)));
    }

    /// A list has begun, which will find what was missed.
    pub(super) fn list_began(&mut self, now: Instant) {
        self.is_doubtful = false;
        if self.due.take().is_some() {
            self.last = Some(now);
        }
    }

    /// A list has ended; `whole` when every object of it could be read.
    pub(super) fn list_ended(&mut self, whole: bool) {
        self.unread_lists = if whole { 0 } else { self.unread_lists + 1 };
    }

    /// Whether something is missing of which nothing is known.
    pub(super) fn is_doubtful(&self) -> bool {
        self.is_doubtful
    }

    /// Whether it is time to list again.
    pub(super) fn is_due(&self) -> bool {
        self.due.is_some_and(|due| due <= Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_next_list_comes_within_60_s_and_ever_later_while_lists_cannot_be_read() {
        let limits = Limits::default();
        let start = Instant::now();
        let mut dirt = Dirt::default();
        let mut now = start;
        let mut pauses = Vec::new();
        for whole in [true, true, false, false, false, true, true] {
            dirt.found(now, &limits);
            let due = dirt.due.expect("something was found");
            pauses.push((due - now).as_secs());
            dirt.list_began(due);
            dirt.list_ended(whole);
            now = due;
        }
        assert_eq!(pauses, [5, 60, 60, 120, 240, 480, 60]);
    }

    #[test]
    fn a_burst_is_one_piece_of_news() {
        let limits = Limits::default();
        let mut dirt = Dirt::default();
        let start = Instant::now();
        assert!(dirt.found(start, &limits));
        let due = dirt.due;
        assert!(!dirt.found(start + Duration::from_secs(1), &limits));
        assert_eq!(dirt.due, due);
    }
}
