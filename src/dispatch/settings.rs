//! How events are handed to handlers.

use std::time::Duration;

/// How events are handed to handlers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Threads for each gvr where handlers are registered, 1 to 64; where there are none, there is no need of any. Defaults to 4.
    pub lanes_per_gvr: usize,
    /// What happens to events that a handler refuses.
    pub retry: Retry,
    /// A handler that has an event for longer is named in the log, once a call. Defaults to 10 s.
    pub handler_warn_after: Duration,
}

/// How often and when a handler is asked again.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Attempts in all, the first included. Defaults to 5.
    pub attempts_max: u32,
    /// The pause after the first failure; it doubles with each. Defaults to 200 ms.
    pub pause_first: Duration,
    /// The longest pause. Defaults to 10 s.
    pub pause_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { lanes_per_gvr: 4, retry: Retry::default(), handler_warn_after: Duration::from_secs(10) }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts_max: 5, pause_first: Duration::from_millis(200), pause_max: Duration::from_secs(10) }
    }
}

impl Retry {
    /// Doubles with each failure; the random part keeps many objects from coming back at once.
    pub(super) fn pause_after(&self, failures: u32) -> Duration {
        let doubled = self.pause_first.saturating_mul(1 << failures.saturating_sub(1).min(DOUBLINGS_MAX));
        doubled.min(self.pause_max).mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

/// Beyond this every pause has met its maximum.
const DOUBLINGS_MAX: u32 = 16;
