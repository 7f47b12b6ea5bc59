//! How long to wait before the next try: growing ceilings, and a random pause below each.

use super::timing::Limits;
use std::time::{Duration, Instant};

/// The pauses of one informer.
#[derive(Debug)]
pub(super) struct Backoff {
    random: fastrand::Rng,
    first: Duration,
    ceiling: Duration,
    /// When the last pause was to end.
    last_end: Option<Instant>,
}

impl Backoff {
    /// Begins with the shortest ceiling. `random` decides every pause.
    pub(super) fn new(random: fastrand::Rng, limits: &Limits) -> Self {
        Self { random, first: limits.backoff_first, ceiling: limits.backoff_first, last_end: None }
    }

    /// The pause after a failure at `now`, at most `cap`.
    pub(super) fn next(&mut self, now: Instant, cap: Duration, limits: &Limits) -> Duration {
        if self.last_end.is_some_and(|end| now.saturating_duration_since(end) > limits.backoff_calm) {
            self.ceiling = self.first;
        }
        let pause = self.up_to(self.ceiling.min(cap));
        self.ceiling = self.ceiling.saturating_mul(FACTOR).min(limits.backoff_max.max(limits.forbidden_max));
        self.last_end = Some(now + pause);
        pause
    }

    /// All is well again: the next pause is a short one.
    pub(super) fn reset(&mut self) {
        self.last_end = None;
        self.ceiling = self.first;
    }

    /// A random duration, `limit` at most: full jitter keeps many watches from coming back at one moment.
    pub(super) fn up_to(&mut self, limit: Duration) -> Duration {
        limit.mul_f64(self.random.f64())
    }

    /// A random duration from `min` to `max`.
    pub(super) fn between(&mut self, min: Duration, max: Duration) -> Duration {
        min + self.up_to(max.saturating_sub(min))
    }
}

/// How much each ceiling is above the one before.
const FACTOR: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest of many pauses after `failures` failures in a row, a second apart.
    fn ceiling_after(failures: u32, cap: Duration) -> f64 {
        let limits = Limits::default();
        let start = Instant::now();
        (0..200)
            .map(|seed| {
                let mut backoff = Backoff::new(fastrand::Rng::with_seed(seed), &limits);
                let pauses = (0..=failures).map(|n| backoff.next(start + Duration::from_secs(n.into()), cap, &limits));
                pauses.last().expect("at least one failure").as_secs_f64()
            })
            .fold(0.0, f64::max)
    }

    #[test]
    fn ceilings_double_from_0_8_s_to_the_cap() {
        for (failures, cap_secs, expected) in
            [(0, 30, 0.8), (1, 30, 1.6), (4, 30, 12.8), (6, 30, 30.0), (20, 30, 30.0), (20, 60, 60.0)]
        {
            let found = ceiling_after(failures, Duration::from_secs(cap_secs));
            assert!(
                found <= expected && found > expected * 0.9,
                "{failures} failures: {found} s, expected just under {expected} s"
            );
        }
    }

    #[test]
    fn a_watch_that_went_well_makes_the_next_pause_a_short_one() {
        let limits = Limits::default();
        let (mut backoff, now) = (Backoff::new(fastrand::Rng::with_seed(1), &limits), Instant::now());
        (0..10).for_each(|_| _ = backoff.next(now, limits.backoff_max, &limits));
        backoff.reset();
        assert!(backoff.next(now, limits.backoff_max, &limits) <= limits.backoff_first);
    }

    #[test]
    fn two_minutes_of_calm_begin_anew() {
        let limits = Limits::default();
        let mut backoff = Backoff::new(fastrand::Rng::with_seed(1), &limits);
        let start = Instant::now();
        let last = (0..10).map(|_| backoff.next(start, limits.backoff_max, &limits)).last().expect("ten pauses");
        assert!(backoff.ceiling > limits.backoff_max);
        backoff.next(start + last + limits.backoff_calm, limits.backoff_max, &limits);
        assert!(backoff.ceiling > limits.backoff_max, "calm was not longer than two minutes yet");
        let pause = backoff.next(start + Duration::from_secs(600), limits.backoff_max, &limits);
        assert!(pause <= limits.backoff_first, "{pause:?}");
    }
}
