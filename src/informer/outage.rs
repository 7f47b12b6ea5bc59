//! What is logged once for a whole server, however many watches meet it.
//!
//! Takes what each watch meets; gives whether that watch should say so itself. A server that goes is one line, and one that is back
//! another, with how many watches waited. What a single watch meets while the others go on it says itself, after a while, and of
//! many that meet the same at once only a few do. Never compares texts, which hold ports and ids of requests.

use super::machine::Detour;
use crate::api::Status;
use crate::client::Error;
use crate::health::Reason;
use crate::metrics::RelistReason;
use std::time::{Duration, Instant};

/// The kind of a failure: what two failures are the same by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An error answer with this code.
    Status(u16),
    /// The server is starting to serve a kind that was just defined.
    Starting,
    /// The connection could not be made, or broke.
    Connection,
    /// A page for people came.
    Page,
    /// An answer could not be understood, or was too long.
    Unreadable,
    /// No credentials could be had.
    Credentials,
    /// A stream ended in a way in which it should not, or none of these.
    Ended,
}

/// Something of which many watches may have to say the same at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Matter {
    Relist(RelistReason),
    Silent,
    Pages(Detour),
    Failing(Kind),
}

/// Whether a watch says something itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Say {
    /// It does.
    It,
    /// It does, and adds that others that meet the same do not.
    ItForAll,
    /// It does not.
    Nothing,
}

/// How one watch fails, as long as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failing {
    since: Instant,
    /// It was said of this watch.
    pub(super) is_said: bool,
}

/// The watches of a server, and how many of them fail.
#[derive(Debug, Default)]
pub(super) struct Watches {
    pub(super) count: usize,
    failing: usize,
    outage: Option<Outage>,
    /// What was said in the last minute: when that began, and how often it was asked for.
    said: Vec<(Matter, Instant, u32)>,
}

/// A server fails for most of its watches.
#[derive(Debug)]
struct Outage {
    since: Instant,
    /// When the first watch went on.
    back: Option<Instant>,
    /// How many went on.
    went_on: usize,
}

/// What became of a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    None,
    /// It fails for so many watches.
    Gone {
        failing: usize,
    },
    /// It has answered so many watches again, after so long.
    Back {
        watches: usize,
        after: Duration,
    },
}

impl Kind {
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::Status { status, .. } => Self::of_status(status),
            Error::Connection { .. } | Error::Stopped { .. } => Self::Connection,
            Error::Page { .. } => Self::Page,
            Error::Undecodable { .. } | Error::TooLong { .. } | Error::TooSlow { .. } => Self::Unreadable,
            Error::Credentials { .. } => Self::Credentials,
        }
    }

    /// As probes have it.
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::Status(code) => Reason::of_code(code),
            Self::Starting => Reason::Starting,
            Self::Connection => Reason::Unreachable,
            Self::Page | Self::Unreadable => Reason::Undecodable,
            Self::Credentials => Reason::NoCredentials,
            Self::Ended => Reason::Ended,
        }
    }

    pub(super) fn of_status(status: &Status) -> Self {
        // What the watch cache answers until it is filled (k8s.io/apiserver, pkg/storage/cacher/cacher.go).
        let is_starting = status.code == 429 && status.message.contains("storage is (re)initializing");
        if is_starting { Self::Starting } else { Self::Status(status.code) }
    }
}

impl Watches {
    /// A watch fails at `now`, as it may have done before. Returns whether it says so itself.
    pub(super) fn fails(&mut self, failing: &mut Option<Failing>, kind: Kind, now: Instant) -> (Say, News) {
        if failing.is_none() {
            self.failing += 1;
        }
        let this = failing.get_or_insert(Failing { since: now, is_said: false });
        let lasts = now.saturating_duration_since(this.since);
        if kind == Kind::Starting {
            // Of the server it says nothing.
            return (if lasts >= GRACE { self.once(this, kind, now) } else { Say::Nothing }, News::None);
        }
        let news = self.settle(now);
        if self.outage.is_some() {
            return (Say::Nothing, news);
        }
        if self.count > 1 && self.is_down() {
            self.outage = Some(Outage { since: now, back: None, went_on: 0 });
            return (Say::Nothing, News::Gone { failing: self.failing });
        }
        let may = self.count == 1 || lasts >= GRACE;
        (if may { self.once(this, kind, now) } else { Say::Nothing }, news)
    }

    /// A watch goes on at `now`, or is gone. Returns whether it was said that it failed.
    pub(super) fn goes_on(&mut self, failing: &mut Option<Failing>, now: Instant) -> (bool, News) {
        let Some(was) = failing.take() else { return (false, News::None) };
        self.failing -= 1;
        if let Some(outage) = &mut self.outage {
            outage.back.get_or_insert(now);
            outage.went_on += 1;
        }
        (was.is_said, self.settle(now))
    }

    /// Whether one of many watches says at `now` what others may have to say too.
    pub(super) fn may_say(&mut self, matter: Matter, now: Instant) -> Say {
        self.said.retain(|(_, began, _)| now.saturating_duration_since(*began) < SAME_FOR);
        let at = self.said.iter().position(|(said, ..)| *said == matter).unwrap_or_else(|| {
            self.said.push((matter, now, 0));
            self.said.len() - 1
        });
        let times = &mut self.said[at].2;
        *times = times.saturating_add(1);
        match *times {
            ..SAME_MAX => Say::It,
            SAME_MAX => Say::ItForAll,
            _ => Say::Nothing,
        }
    }

    fn once(&mut self, this: &mut Failing, kind: Kind, now: Instant) -> Say {
        if this.is_said {
            return Say::Nothing;
        }
        let say = self.may_say(Matter::Failing(kind), now);
        this.is_said = say != Say::Nothing;
        say
    }

    fn is_down(&self) -> bool {
        self.failing == self.count || (self.failing >= FAILING_MIN && self.failing * 2 > self.count)
    }

    /// Ends an outage when every watch goes on, or most do and those that fail have had time to find out.
    fn settle(&mut self, now: Instant) -> News {
        let Some(outage) = &self.outage else { return News::None };
        let is_settled = outage.back.is_some_and(|back| now.saturating_duration_since(back) >= SETTLED);
        if self.failing > 0 && (self.is_down() || !is_settled) {
            return News::None;
        }
        let (watches, after) = (outage.went_on, outage.back.unwrap_or(now).saturating_duration_since(outage.since));
        self.outage = None;
        News::Back { watches, after }
    }
}

/// How long a watch fails before it says so while others go on, for it may be the server, or over soon.
const GRACE: Duration = Duration::from_secs(10);

/// So many watches are some, and not one that has to do with another.
const FAILING_MIN: usize = 3;

/// So long after the first watch went on each other one has tried again.
const SETTLED: Duration = Duration::from_secs(35);

/// The same is said so often...
const SAME_MAX: u32 = 2;

/// ...in this time.
const SAME_FOR: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    /// Some watches of one server, and what was said.
    struct Scene {
        watches: Watches,
        failing: Vec<Option<Failing>>,
        start: Instant,
        said: Vec<String>,
    }

    impl Scene {
        fn new(count: usize) -> Self {
            let watches = Watches { count, ..Watches::default() };
            Self { watches, failing: vec![None; count], start: Instant::now(), said: Vec::new() }
        }

        fn fails(&mut self, at: u64, watch: usize, kind: Kind) {
            let now = self.start + Duration::from_secs(at);
            let (say, news) = self.watches.fails(&mut self.failing[watch], kind, now);
            self.note(watch, say != Say::Nothing, &news);
        }

        fn goes_on(&mut self, at: u64, watch: usize) {
            let now = self.start + Duration::from_secs(at);
            let (was_said, news) = self.watches.goes_on(&mut self.failing[watch], now);
            self.note(watch, was_said, &news);
        }

        fn note(&mut self, watch: usize, is_said: bool, news: &News) {
            match news {
                News::None => {}
                News::Gone { failing } => self.said.push(format!("gone for {failing}")),
                News::Back { watches, after } => self.said.push(format!("back for {watches} after {after:?}")),
            }
            if is_said {
                self.said.push(format!("watch {watch}"));
            }
        }
    }

    #[test]
    fn an_outage_of_the_server_is_two_lines_however_many_watches_it_has() {
        let mut scene = Scene::new(500);
        for round in 0..4 {
            (0..500).for_each(|watch| scene.fails(round * 5, watch, Kind::Status(502)));
        }
        (0..500).for_each(|watch| scene.goes_on(20, watch));
        assert_eq!(scene.said, ["gone for 251", "back for 500 after 20s"]);
    }

    #[test]
    fn one_watch_says_itself_what_it_meets_while_others_go_on() {
        let mut scene = Scene::new(5);
        for at in [0, 1, 4, 9, 11, 20, 40] {
            scene.fails(at, 2, Kind::Status(500));
        }
        scene.goes_on(70, 2);
        assert_eq!(scene.said, ["watch 2", "watch 2"], "after a while, and when it is over");
        scene.fails(100, 2, Kind::Connection);
        scene.goes_on(101, 2);
        assert_eq!(scene.said.len(), 2, "what is over at once is not worth a word");
    }

    #[test]
    fn a_watch_alone_says_at_once_what_it_meets() {
        let mut scene = Scene::new(1);
        scene.fails(0, 0, Kind::Connection);
        scene.fails(1, 0, Kind::Connection);
        scene.goes_on(2, 0);
        assert_eq!(scene.said, ["watch 0", "watch 0"]);
    }

    #[test]
    fn of_many_watches_that_meet_the_same_while_others_go_on_a_few_say_so() {
        let mut scene = Scene::new(100);
        for at in [0, 12] {
            (0..40).for_each(|watch| scene.fails(at, watch, Kind::Status(503)));
        }
        assert_eq!(scene.said, ["watch 0", "watch 1"]);
    }

    #[test]
    fn a_watch_that_goes_on_failing_does_not_hide_that_the_server_is_back() {
        let mut scene = Scene::new(4);
        (0..4).for_each(|watch| scene.fails(0, watch, Kind::Connection));
        (0..3).for_each(|watch| scene.goes_on(10, watch));
        scene.fails(20, 3, Kind::Status(500));
        scene.fails(50, 3, Kind::Status(500));
        assert_eq!(scene.said, ["gone for 3", "back for 3 after 10s", "watch 3"]);
    }

    #[test]
    fn a_kind_that_was_just_defined_may_take_ten_seconds_to_start() {
        for count in [1, 3] {
            let mut scene = Scene::new(count);
            (0..10).for_each(|at| scene.fails(at, 0, Kind::Starting));
            assert_eq!(scene.said.len(), 0, "{:?}", scene.said);
            scene.fails(10, 0, Kind::Starting);
            assert_eq!(scene.said, ["watch 0"]);
        }
        let words = "storage is (re)initializing";
        let status = |code: u16, words: &str| Status::from_body(code, words.as_bytes());
        assert_eq!(Kind::of_status(&status(429, words)), Kind::Starting);
        assert_eq!(Kind::of_status(&status(429, "too many requests")), Kind::Status(429));
    }

    #[test]
    fn the_same_is_said_twice_in_a_minute_and_other_things_too() {
        let (mut watches, start) = (Watches::default(), Instant::now());
        let mut check = |at, matter, expected| assert_eq!(watches.may_say(matter, start + Duration::from_secs(at)), expected);
        let expired = Matter::Relist(RelistReason::Expired);
        check(0, expired, Say::It);
        check(1, expired, Say::ItForAll);
        check(2, expired, Say::Nothing);
        check(3, Matter::Silent, Say::It);
        check(61, expired, Say::It);
    }
}
