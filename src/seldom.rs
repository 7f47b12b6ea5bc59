//! What may come in numbers is said now and then, with how often it was not said.

use std::mem;
use std::time::{Duration, Instant};

/// One thing to say: at most once a minute.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    said: Option<Instant>,
    unsaid: u64,
}

/// What may come in numbers is said at most so often.
const SELDOM: Duration = Duration::from_secs(60);

impl Seldom {
    /// Whether it may be said at `now`, and if so, how often it was not said before.
    pub(crate) fn may_be_said(&mut self, now: Instant) -> Option<u64> {
        if self.said.is_some_and(|said| now.saturating_duration_since(said) < SELDOM) {
            self.unsaid += 1;
            return None;
        }
        self.said = Some(now);
        Some(mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_said_at_once_and_then_once_a_minute_with_how_often_it_was_not() {
        let (mut seldom, start) = (Seldom::default(), Instant::now());
        let mut check =
            |seconds, expected| assert_eq!(seldom.may_be_said(start + Duration::from_secs(seconds)), expected, "{seconds}");
        check(0, Some(0));
        check(0, None);
        check(59, None);
        check(60, Some(2));
        check(61, None);
        check(500, Some(1));
        check(560, Some(0));
    }
}
