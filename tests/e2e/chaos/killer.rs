//! Kills a daemon at random moments, and starts it again at once each time.

use crate::daemon::{Daemon, Setup};
use crate::wait::{SOON, eventually, pause};
use std::time::{Duration, Instant};

/// When to kill.
#[derive(Clone, Debug)]
pub(crate) struct Killing {
    pub(crate) kills: usize,
    /// The moments are spread at random over this.
    pub(crate) duration: Duration,
    pub(crate) seed: u64,
}

/// What was done to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Killed {
    pub(crate) kills: usize,
    /// Of these, within 100 ms of a start.
    pub(crate) early: usize,
    /// How often it could not start, because the server was away or refused, and was started again.
    pub(crate) failed_starts: usize,
    /// When it first said that it is ready.
    pub(crate) first_ready: Option<Duration>,
    /// The longest time that passed between a start and its being ready, or being killed before that.
    pub(crate) slowest_start: Duration,
}

/// A daemon that is started again whenever it ends.
pub(crate) struct Kept {
    setup: Setup,
    daemon: Option<Daemon>,
    began: Instant,
    is_ready: bool,
    started: Instant,
    pub(crate) killed: Killed,
}

impl Killing {
    /// Kills; the daemon runs when this returns.
    pub(crate) fn run(&self, kept: &mut Kept) {
        let start = Instant::now();
        let mut random = fastrand::Rng::with_seed(self.seed);
        for (moment, is_early) in self.moments(&mut random) {
            let end = if is_early { Instant::now() + moment } else { start + moment };
            kept.keep_until(end);
            kept.kill(is_early);
        }
        kept.keep_until(start + self.duration);
    }

    /// Moments from the begin on, in order, and between them those that follow the kill before by less than 100 ms.
    fn moments(&self, random: &mut fastrand::Rng) -> Vec<(Duration, bool)> {
        let early = self.kills / EARLY_ONE_IN;
        let mut late: Vec<Duration> = (early..self.kills).map(|_| self.duration.mul_f64(random.f64())).collect();
        late.sort();
        let mut moments: Vec<(Duration, bool)> = late.into_iter().map(|moment| (moment, false)).collect();
        for _ in 0..early {
            moments.insert(random.usize(0..=moments.len()), (EARLY.mul_f64(random.f64()), true));
        }
        moments
    }
}

/// One kill in so many comes within the first [`EARLY`] of a start.
const EARLY_ONE_IN: usize = 4;
const EARLY: Duration = Duration::from_millis(100);

impl Kept {
    /// Starts it; times are counted from `began`.
    pub(crate) fn start(setup: Setup, began: Instant) -> Self {
        let daemon = Some(setup.clone().start());
        Self { setup, daemon, began, is_ready: false, started: Instant::now(), killed: Killed::default() }
    }

    /// Lets it run until `end`, or a little longer; starts it again where it could not start.
    pub(crate) fn keep_until(&mut self, end: Instant) {
        loop {
            self.look();
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            pause(left.min(LOOK));
        }
    }

    /// Waits until it says that it is ready.
    pub(crate) fn wait_until_ready(&mut self) {
        eventually(SOON, "the daemon is ready", || {
            self.look();
            self.is_ready
        });
    }

    /// Kills it, lets `meanwhile` happen, and starts it again.
    pub(crate) fn stay_down(&mut self, meanwhile: impl FnOnce()) {
        self.killed.kills += 1;
        self.daemon.take().expect("a kept daemon is there between two calls").kill();
        meanwhile();
        self.start_again();
    }

    /// Kills it and starts it again.
    pub(crate) fn kill(&mut self, is_early: bool) {
        self.killed.kills += 1;
        self.killed.early += usize::from(is_early);
        if !self.is_ready {
            self.killed.slowest_start = self.killed.slowest_start.max(self.started.elapsed());
        }
        let daemon = self.daemon.take().expect("a kept daemon is there between two calls");
        daemon.kill();
        self.start_again();
    }

    /// What the daemon that runs now has said.
    pub(crate) fn log(&self) -> String {
        self.daemon.as_ref().map(Daemon::log).unwrap_or_default()
    }

    /// The daemon as it runs now.
    pub(crate) fn into_daemon(mut self) -> (Daemon, Killed) {
        let daemon = self.daemon.take().expect("a kept daemon is there between two calls");
        (daemon, self.killed)
    }

    fn start_again(&mut self) {
        self.daemon = Some(self.setup.clone().start());
        (self.is_ready, self.started) = (false, Instant::now());
    }

    /// Takes note of its being ready, or of its end.
    fn look(&mut self) {
        let daemon = self.daemon.as_mut().expect("a kept daemon is there between two calls");
        if let Some(code) = daemon.code() {
            // What a supervisor would start again: the server could not be reached.
            assert_eq!(code, Some(1), "the daemon ended by itself:\n{}", daemon.log());
            self.killed.failed_starts += 1;
            pause(BEFORE_NEXT_START);
            self.start_again();
        } else if !self.is_ready && daemon.http("/ready").is_some_and(|(code, _)| code == 200) {
            self.is_ready = true;
            self.killed.slowest_start = self.killed.slowest_start.max(self.started.elapsed());
            let ready = self.began.elapsed();
            self.killed.first_ready.get_or_insert(ready);
        }
    }
}

const LOOK: Duration = Duration::from_millis(25);

/// As a supervisor would wait.
const BEFORE_NEXT_START: Duration = Duration::from_millis(200);
