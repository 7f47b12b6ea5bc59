//! What the watches of one server know together: whether many were cut at once, whether it failed, what holds its answers back.
//! Logs what is said once for all of them.
//!
//! Takes what each watch meets, gives what follows for the others. Shared by all informers of a server, as the gate is.

use super::TextBudget;
use super::outage::{Failing, Kind, Matter, News, Say, Watches};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One server, as its watches see it. Clones share what they know.
#[derive(Clone, Debug)]
pub struct Server(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    texts: TextBudget,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// When the cuts began that are counted together, and how many they are.
    cuts: Option<(Instant, usize)>,
    /// When a request failed last.
    failed: Option<Instant>,
    /// When something was last seen to hold answers back.
    held: Option<Instant>,
    /// That something does so was logged.
    is_held_logged: bool,
    watches: Watches,
}

/// One watch among those of a server; no longer counted when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    server: Server,
    failing: Option<Failing>,
}

impl Server {
    /// The server of this name, or URL, without any credentials.
    pub fn new(name: impl Into<String>) -> Self {
        Self(Arc::new(Inner { name: name.into(), texts: TextBudget::default(), seen: Mutex::default() }))
    }

    /// How much its watches remember in memory.
    pub(super) fn texts(&self) -> &TextBudget {
        &self.0.texts
    }

    /// Counts one more watch.
    pub(super) fn join(&self) -> Seat {
        self.lock().watches.count += 1;
        Seat { server: self.clone(), failing: None }
    }

    /// Counts a cut at `now`. Returns whether so many came at once that coming back at once would be a burden.
    pub(super) fn was_cut(&self, now: Instant) -> bool {
        let mut seen = self.lock();
        let (began, count) = match seen.cuts {
            Some((began, count)) if now.saturating_duration_since(began) <= CUTS_TOGETHER => (began, count + 1),
            Some(_) | None => (now, 1),
        };
        seen.cuts = Some((began, count));
        count >= CUTS_MANY
    }

    /// A request failed at `now`, in a way in which a server fails that is away or starts.
    pub(super) fn has_failed(&self, now: Instant) {
        self.lock().failed = Some(now);
    }

    /// Whether a request of any watch failed since `then`.
    pub(super) fn has_failed_since(&self, then: Instant) -> bool {
        self.lock().failed.is_some_and(|failed| failed >= then)
    }

    /// At `now` an answer was held back until it ended. Logs it the first time.
    pub(super) fn is_held_back(&self, now: Instant, late: Duration) {
        let mut seen = self.lock();
        seen.held = Some(now);
        if !std::mem::replace(&mut seen.is_held_logged, true) {
            log::warn!(
                "{}: something on the way holds answers back, so that changes come up to {late:?} late: switch its buffering off \
                 (nginx: `proxy_buffering off`, or an answer's header `X-Accel-Buffering: no`)",
                self.0.name
            );
        }
    }

    /// Whether answers are held back, as far as is known at `now`.
    pub(super) fn holds_back(&self, now: Instant) -> bool {
        self.lock().held.is_some_and(|held| now.saturating_duration_since(held) < HELD_FOR)
    }

    fn log(&self, news: &News, watches: usize, cause: &str) {
        let name = &self.0.name;
        match news {
            News::None => {}
            News::Gone { failing } => {
                log::warn!(
                    "{name} fails for {failing} of {watches} watches, trying again; no single one is logged until it is back: {cause}"
                );
            }
            News::Back { watches, after } => {
                log::info!("{name} answers again after {:.1} s: {watches} watches go on", after.as_secs_f64());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// The watch fails at `now`. Returns whether it says so itself.
    pub(super) fn fails(&mut self, kind: Kind, cause: &str, now: Instant) -> Say {
        let mut seen = self.server.lock();
        let ((say, news), watches) = (seen.watches.fails(&mut self.failing, kind, now), seen.watches.count);
        drop(seen);
        self.server.log(&news, watches, cause);
        say
    }

    /// The watch is answered at `now`. Returns whether it was said that it failed.
    pub(super) fn goes_on(&mut self, now: Instant) -> bool {
        if self.failing.is_none() {
            return false;
        }
        let mut seen = self.server.lock();
        let ((was_said, news), watches) = (seen.watches.goes_on(&mut self.failing, now), seen.watches.count);
        drop(seen);
        self.server.log(&news, watches, "");
        was_said
    }

    /// Whether the watch says at `now` what others may have to say too.
    pub(super) fn may_say(&self, matter: Matter, now: Instant) -> Say {
        self.server.lock().watches.may_say(matter, now)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.goes_on(Instant::now());
        self.server.lock().watches.count -= 1;
    }
}

/// So many cuts at once are the end of a proxy or a server, not of a connection.
const CUTS_MANY: usize = 10;

/// Cuts within this time come at once.
const CUTS_TOGETHER: Duration = Duration::from_secs(1);

/// For so long it is believed without a new sign that answers are held back: some twenty answers of an idle watch.
const HELD_FOR: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_than_ten_cuts_at_once_are_no_burden() {
        let (server, start) = (Server::new("test"), Instant::now());
        let check = |millis, expected| assert_eq!(server.was_cut(start + Duration::from_millis(millis)), expected, "{millis}");
        (0..9).for_each(|n| check(n * 10, false));
        check(100, true);
        check(900, true);
        check(3000, false);
    }

    #[test]
    fn what_holds_answers_back_is_known_to_all_watches_for_a_while() {
        let (server, start) = (Server::new("test"), Instant::now());
        assert!(!server.holds_back(start));
        server.clone().is_held_back(start, Duration::from_secs(25));
        assert!(server.holds_back(start + HELD_FOR / 2));
        assert!(!server.holds_back(start + HELD_FOR));
    }

    #[test]
    fn a_failure_of_one_watch_is_known_to_the_others() {
        let (server, start) = (Server::new("test"), Instant::now());
        assert!(!server.has_failed_since(start));
        server.clone().has_failed(start + Duration::from_secs(1));
        assert!(server.has_failed_since(start));
        assert!(!server.has_failed_since(start + Duration::from_secs(2)));
    }
}
