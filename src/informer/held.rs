//! Whether something on the way holds answers back until they end.
//!
//! A proxy that buffers passes nothing on, not even the head, before its buffer is full or the answer has ended. Nothing is lost
//! that way, but everything is late. Takes how each answer came, gives the `timeoutSeconds` that bounds the delay.

use super::timing::Limits;
use crate::client::READ_TICK;
use std::mem;
use std::time::Duration;

/// What one watch has seen of such a proxy.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// An answer came as if it had been held back.
    suspected: bool,
    /// How many answers in a row ended with events that may have been held back.
    bursts: u8,
}

/// So many in a row are no chance: a change may well come just before the end.
const BURSTS_MIN: u8 = 3;

/// How an answer came: all times since it was asked for, without those in which Faro did not read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Course {
    /// When the head was there.
    pub(super) head: Duration,
    /// When the bytes began to come that came without a pause, and for how long nothing had come before them.
    burst: Option<(Duration, Duration)>,
    /// An event was among those bytes.
    pub(super) has_event: bool,
    /// For how long no byte has come.
    pub(super) calm: Duration,
    /// How long it is open, or was when it ended.
    pub(super) end: Duration,
}

impl Held {
    /// The time to ask for: short enough that what is held back is not late, once something seems to be, here or in another watch
    /// of the server.
    pub(super) fn timeout(&mut self, usual: Duration, elsewhere: bool, limits: &Limits) -> Duration {
        self.suspected |= elsewhere;
        if self.suspected { limits.held_timeout } else { usual }
    }

    /// No head came in time. Whether that may be a proxy's doing: the second time in a row it is not, for the answer had time to end.
    pub(super) fn no_head(&mut self) -> bool {
        !mem::replace(&mut self.suspected, true)
    }

    /// An answer has ended by itself. Returns whether it is certain that something holds answers back.
    pub(super) fn ended(&mut self, course: &Course, limits: &Limits) -> bool {
        let (has_late_head, has_late_events) = (course.has_late_head(limits), course.has_late_events(limits));
        self.bursts = if has_late_events { self.bursts.saturating_add(1) } else { 0 };
        let was_suspected = mem::replace(&mut self.suspected, has_late_head || has_late_events);
        was_suspected && has_late_head || self.bursts >= BURSTS_MIN
    }

    /// The request failed, or the answer had no end.
    pub(super) fn failed(&mut self) {
        (self.suspected, self.bursts) = (false, 0);
    }
}

impl Course {
    /// An answer whose head has just come.
    pub(super) fn new(head: Duration) -> Self {
        Self { head, end: head, ..Self::default() }
    }

    /// A read took so long, and brought nothing where it is quiet.
    pub(super) fn read(&mut self, took: Duration, is_quiet: bool) {
        let took = if is_quiet { took.max(READ_TICK) } else { took };
        self.end += took;
        self.calm += took;
        if !is_quiet {
            let calm = mem::take(&mut self.calm);
            if calm >= READ_TICK {
                (self.burst, self.has_event) = (Some((self.end, calm)), false);
            }
        }
    }

    /// Whether the head came together with the end, after a long calm.
    fn has_late_head(&self, limits: &Limits) -> bool {
        self.head >= limits.held_calm && self.came_with_end(self.head, limits)
    }

    /// Whether events came together with the end, after a long calm.
    fn has_late_events(&self, limits: &Limits) -> bool {
        self.burst.is_some_and(|(at, calm)| self.has_event && calm >= limits.held_calm && self.came_with_end(at, limits))
    }

    fn came_with_end(&self, at: Duration, limits: &Limits) -> bool {
        self.end.saturating_sub(at) <= limits.held_together
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer whose head came after so many seconds, then for so many nothing and then something, and so on, and then its end.
    fn course(head: u64, calms: &[u64], has_event: bool) -> Course {
        let mut course = Course::new(Duration::from_secs(head));
        for calm in calms {
            (0..calm / 5).for_each(|_| course.read(Duration::ZERO, true));
            course.read(Duration::from_secs(calm % 5), false);
            course.has_event |= has_event;
        }
        course
    }

    fn check(head: u64, calms: &[u64], has_event: bool, expected: bool) {
        let course = course(head, calms, has_event);
        let limits = Limits::default();
        assert_eq!(course.has_late_head(&limits) || course.has_late_events(&limits), expected, "{course:?}");
    }

    #[test]
    fn what_comes_with_the_end_after_a_long_calm_was_held_back() {
        check(25, &[], false, true);
        check(25, &[0], true, true);
        check(0, &[60, 160], true, true);
        // As a server does by itself: a bookmark before the end, or changes all along.
        check(0, &[60, 160], false, false);
        check(0, &[60, 160, 1], true, false);
        check(0, &[60, 160, 5], true, false);
        check(0, &[3, 3, 3, 3, 1], true, false);
        check(0, &[], false, false);
        check(0, &[220], false, false);
    }

    #[test]
    fn it_is_certain_when_the_short_answer_was_held_back_too_and_forgotten_when_not() {
        let limits = Limits::default();
        let usual = limits.watch_timeout_min;
        let (late, prompt) = (course(25, &[], false), course(0, &[25], false));
        let mut held = Held::default();
        assert_eq!(held.timeout(usual, false, &limits), usual);
        assert!(held.no_head());
        assert_eq!(held.timeout(usual, false, &limits), limits.held_timeout);
        assert!(held.ended(&late, &limits));
        assert!(held.ended(&late, &limits));
        assert!(!held.ended(&prompt, &limits));
        assert_eq!(held.timeout(usual, false, &limits), usual);
        assert!(!held.ended(&late, &limits), "once may be chance");
        assert!(held.ended(&late, &limits));
        assert!(!held.no_head(), "a server that gives nothing though it had to end is not there");
    }

    #[test]
    fn events_just_before_the_end_are_a_sign_only_when_they_come_so_again_and_again() {
        let (limits, with_end) = (Limits::default(), course(0, &[20], true));
        let mut held = Held::default();
        assert_eq!([(); 4].map(|()| held.ended(&with_end, &limits)), [false, false, true, true]);
    }
}
