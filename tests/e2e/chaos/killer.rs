//! Kills a daemon at random moments, and starts it again at once each time.

use crate::daemon::{Daemon, Setup};
use crate::wait::{SOON, eventually, pause};
use std::ops::RangeInclusive;
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
    /// From when until when it was ready, life by life.
    ready: Vec<RangeInclusive<Duration>>,
    /// When its state was first known to be of a time after it was ready, life by life.
    settled: Vec<Duration>,
    /// The longest time that passed between a start and its being ready, or being killed before that.
    pub(crate) slowest_start: Duration,
}

impl Killed {
    /// Until when its first list may be under way: only when its state has what that told does it go on from there.
    pub(crate) fn beginning(&self) -> Duration {
        let ready = || self.ready.first().map(|ready| *ready.start() + LATE);
        self.settled.first().copied().or_else(ready).unwrap_or_default()
    }

    /// The writes that it may not have heard of before the server forgot them at one time, until it answered again at another.
    pub(crate) fn forgotten(&self, lost: Duration, back: Duration) -> RangeInclusive<Duration> {
        let heard = self.ready.iter().filter(|ready| *ready.start() < lost).map(|ready| (*ready.end()).min(lost)).max();
        let settled = self.settled.iter().find(|settled| **settled > back + LATE);
        heard.unwrap_or_default().saturating_sub(LATE)..=settled.copied().unwrap_or(Duration::MAX)
    }
}

/// A daemon that is ready has told of everything older; and has noticed by then that its version is gone.
const LATE: Duration = Duration::from_secs(3);

/// A daemon that is started again whenever it ends.
pub(crate) struct Kept {
    setup: Setup,
    daemon: Option<Daemon>,
    began: Instant,
    /// Since when it is ready.
    ready: Option<Instant>,
    is_settled: bool,
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
        Self { setup, daemon, began, ready: None, is_settled: false, started: Instant::now(), killed: Killed::default() }
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
            self.ready.is_some()
        });
    }

    /// Waits a while for its state to have what it told; without state that never comes.
    pub(crate) fn wait_until_settled(&mut self) {
        let end = Instant::now() + SOON;
        while !self.is_settled && Instant::now() < end {
            self.keep_until(Instant::now() + LOOK);
        }
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
        if self.ready.is_none() {
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
        (self.ready, self.is_settled, self.started) = (None, false, Instant::now());
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
        } else if daemon.http("/ready").is_some_and(|(code, _)| code == 200) {
            let now = self.began.elapsed();
            if self.ready.is_none() {
                self.killed.slowest_start = self.killed.slowest_start.max(self.started.elapsed());
                self.killed.ready.push(now..=now);
            }
            let since = *self.ready.get_or_insert_with(Instant::now);
            let ready = self.killed.ready.last_mut().expect("one was just there");
            *ready = *ready.start()..=now;
            if !self.is_settled && checkpoint_age(daemon).is_some_and(|age| age + MARGIN < since.elapsed()) {
                self.is_settled = true;
                self.killed.settled.push(now);
            }
        }
    }
}

/// How old the state is, as the metrics have it; without state there is none.
fn checkpoint_age(daemon: &Daemon) -> Option<Duration> {
    let (_, metrics) = daemon.http("/metrics")?;
    let line = metrics.lines().find(|line| line.starts_with("faro_checkpoint_age_seconds "))?;
    line.rsplit(' ').next()?.parse().ok().map(Duration::from_secs_f64)
}

/// Two clocks are compared.
const MARGIN: Duration = Duration::from_millis(100);

const LOOK: Duration = Duration::from_millis(25);

/// As a supervisor would wait.
const BEFORE_NEXT_START: Duration = Duration::from_millis(200);
