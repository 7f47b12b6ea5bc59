//! How events are handed to handlers.

use std::time::Duration;

/// How events are handed to handlers, where their [`Subscription`](super::Subscription) says nothing else.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Threads for each subscription, 1 to [`LANES_MAX`]; they begin with the first watch that it wants anything of. Defaults to 4.
    pub lanes: usize,
    /// What happens to events that a handler refuses.
    pub retry: Retry,
    /// A handler that has an event for longer is named in the log, once a call. Defaults to 10 s.
    pub handler_warn_after: Duration,
    /// An object whose events are refused for longer becomes *owed*: its later events no longer hold anything back. So does one
    /// with [`PARKED_EVENTS_MAX`] events that wait, or when what is parked takes too much of its queue. Defaults to 60 s.
    pub owed_after: Duration,
    /// How many bytes of owed events are kept for each subscription. Beyond, states in between are skipped; the latest state and
    /// the delete of an object are always kept. Defaults to 64 MiB.
    pub parked_max_bytes: u64,
}

/// How often and when a handler is asked again.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Attempts in all, the first included, after which an event is given up; see [`give_up_after`](Self::give_up_after).
    /// Defaults to `None`: it is tried again for ever.
    pub attempts_max: Option<u32>,
    /// The pause after the first failure; it doubles with each. Defaults to 200 ms.
    pub pause_first: Duration,
    /// The longest pause. Defaults to 30 s.
    pub pause_max: Duration,
}

/// Most lanes of one subscription: more threads than that only wait for each other.
pub const LANES_MAX: usize = 64;

/// An object with so many events that wait is owed: more would only say later what its latest state is.
pub const PARKED_EVENTS_MAX: usize = 64;

impl Default for Settings {
    fn default() -> Self {
        Self {
            lanes: 4,
            retry: Retry::default(),
            handler_warn_after: Duration::from_secs(10),
            owed_after: Duration::from_secs(60),
            parked_max_bytes: 64 * 1024 * 1024,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts_max: None, pause_first: Duration::from_millis(200), pause_max: Duration::from_secs(30) }
    }
}

impl Retry {
    /// Gives an event up when its handler has refused it `attempts` times: **the event is lost for that handler**. It is counted,
    /// logged, given to [`on_gave_up`](super::Subscription::on_gave_up), and taken as accepted. One attempt is always made.
    #[must_use]
    pub fn give_up_after(attempts: u32) -> Self {
        Self { attempts_max: Some(attempts), ..Self::default() }
    }

    /// Whether an event that was refused so often is given up.
    pub(super) fn is_over(&self, failures: u32) -> bool {
        self.attempts_max.is_some_and(|attempts| failures >= attempts)
    }

    /// Doubles with each failure; the random part keeps many objects from coming back at once.
    pub(super) fn pause_after(&self, failures: u32) -> Duration {
        let doubled = self.pause_first.saturating_mul(1 << failures.saturating_sub(1).min(DOUBLINGS_MAX));
        doubled.min(self.pause_max).mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

/// Beyond this every pause has met its maximum.
const DOUBLINGS_MAX: u32 = 16;
