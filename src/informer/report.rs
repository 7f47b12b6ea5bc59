//! What an informer tells people: log lines at changes of state, its condition, and its counts of restarts and relists.

use super::machine::{Detour, Note, Pause};
use super::outage::{Kind, Matter, Say};
use super::server::Seat;
use crate::api::{Status, Watch, WatchTarget};
use crate::chain::chain;
use crate::client::{Blotter, Error};
use crate::health::{Condition, Reason, WatchStatus};
use crate::metrics::{RelistReason, RestartReason, WatchMetrics};
use crate::seldom::Seldom;
use log::Level;
use std::fmt::{Arguments, Write};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One watch's words to people.
pub(super) struct Report {
    watch: Arc<Watch>,
    status: Arc<WatchStatus>,
    metrics: WatchMetrics,
    /// Its place among the watches of the server, which say together what they all meet.
    seat: Seat,
    /// Takes what Faro logs in with out of all that the server says.
    blotter: Blotter,
    /// What went wrong last, and its kind.
    cause: String,
    kind: Kind,
    /// The trouble that is not over.
    trouble: Option<(Condition, Kind)>,
    trouble_cause: String,
    /// It was said of this watch, so that its end is too.
    is_trouble_said: bool,
    /// That everything is listed again was logged.
    is_relist_said: bool,
    /// A note has just said what the next pause is for.
    is_said: bool,
    unreadable: Seldom,
    slow: Seldom,
    /// The last list held objects of which not even the names could be read: it counts as none.
    is_partial: bool,
    begun: Instant,
    synced: bool,
    /// A list has ended, or a watch that goes on from an earlier run has brought something.
    caught_up: bool,
}

impl Report {
    pub(super) fn new(watch: Arc<Watch>, status: Arc<WatchStatus>, metrics: WatchMetrics, seat: Seat, blotter: Blotter) -> Self {
        Self {
            watch,
            status,
            metrics,
            seat,
            blotter,
            cause: String::new(),
            kind: Kind::Ended,
            trouble_cause: String::new(),
            is_trouble_said: false,
            is_relist_said: false,
            trouble: None,
            is_said: false,
            unreadable: Seldom::default(),
            slow: Seldom::default(),
            is_partial: false,
            begun: Instant::now(),
            synced: false,
            caught_up: false,
        }
    }

    /// Remembers why a request failed.
    pub(super) fn failed(&mut self, error: &Error) {
        (self.cause, self.kind) = (self.blotter.blotted(chain(error)), Kind::of(error));
    }

    /// Remembers what cut a watch that went well.
    pub(super) fn cut(&mut self, error: &Error) {
        self.failed(error);
    }

    /// Remembers why a stream ended.
    pub(super) fn ended(&mut self, cause: impl Into<String>) {
        (self.cause, self.kind) = (self.blotter.blotted(cause.into()), Kind::Ended);
    }

    /// Remembers what the server said at the end of a stream.
    pub(super) fn error_line(&mut self, status: &Status) {
        self.cause = self.blotter.blotted(format!("{} {}: {}", status.code, status.reason, status.message));
        self.kind = Kind::of_status(status);
    }

    pub(super) fn note(&mut self, note: Note) {
        let (target, cause) = (&self.watch.target, &self.cause);
        self.is_said = matches!(note, Note::Relist(_) | Note::Pages(Detour::NoFirstByte | Detour::NoEnd | Detour::Cut));
        match note {
            Note::Relist(reason) => {
                // The server did not have what an earlier run would have gone on from.
                if !self.caught_up && mem::take(&mut self.synced) {
                    self.status.unsync();
                }
                self.metrics.relist(reason);
                let say = self.seat.may_say(Matter::Relist(reason), Instant::now());
                self.is_relist_said = say != Say::Nothing;
                said(say, Level::Warn, target, cause, format_args!("{}, listing again", relist_words(reason)));
            }
            Note::Restart(RestartReason::Ended) => {
                self.metrics.restart(RestartReason::Ended);
                log::debug!("{target}: watch ended, watching again");
            }
            Note::Restart(RestartReason::Slow) => {
                self.metrics.restart(RestartReason::Slow);
                if self.status.is_held() {
                    log::debug!("{target}: events wait for a disk, connection closed until it is there");
                } else if let Some(unlogged) = self.slow.may_be_said(Instant::now()) {
                    log::warn!(unlogged; "{target}: receivers are busy, connection closed until they have room");
                }
            }
            Note::Restart(RestartReason::Silent) => {
                self.metrics.restart(RestartReason::Silent);
                self.status.fell_silent();
                let say = self.seat.may_say(Matter::Silent, Instant::now());
                said(say, Level::Warn, target, cause, format_args!("watch is silent, watching again"));
            }
            // The pause or the probe that follows says more, or all is well again before anyone could act.
            Note::Restart(
                reason @ (RestartReason::Connection | RestartReason::Cut | RestartReason::Error | RestartReason::OldBookmark),
            ) => {
                self.metrics.restart(reason);
                log::debug!(cause:% = cause; "{target}: watch lost, watching again");
            }
            // So it is on every server before streaming lists, for every watch: nothing that anyone could act upon.
            Note::Pages(Detour::Refused) => log::debug!("{target}: {}, listing by pages", detour_words(Detour::Refused)),
            Note::Pages(detour @ (Detour::NoFirstByte | Detour::NoEnd | Detour::Cut)) => {
                let say = self.seat.may_say(Matter::Pages(detour), Instant::now());
                said(say, Level::Info, target, cause, format_args!("{}, listing by pages", detour_words(detour)));
            }
            Note::SmallerPages(limit) => {
                log::info!(cause:% = cause; "{target}: a page is too long or too slow, listing by pages of {limit}");
            }
        }
    }

    /// Says why nothing is asked for a while. `must_page`: the right to watch is not enough on this server.
    pub(super) fn pause(&mut self, pause: &Pause, length: Duration, must_page: bool) {
        // A note tells of a failure; what only people can end is always told itself.
        self.is_said &= matches!(pause, Pause::Backoff | Pause::Relist | Pause::Reconnect | Pause::After(_));
        let (condition, words) = match pause {
            // All is heard, if not in one stream.
            Pause::Brief | Pause::Cut => return,
            Pause::Backoff | Pause::Relist | Pause::Reconnect | Pause::After(_) => (Condition::Retrying, self.cause.clone()),
            Pause::SecondLook => {
                (Condition::Retrying, "not found on the server, looking again before that is believed".to_owned())
            }
            Pause::Unknown(why) => (Condition::Retrying, format!("not found, and discovery cannot tell why: {why}")),
            Pause::Refused => (Condition::Retrying, self.refused()),
            Pause::Forbidden => (Condition::Forbidden, self.forbidden(must_page)),
            Pause::Absent => (Condition::Absent, "not served by this server, waiting until it is".to_owned()),
            Pause::VersionGone(versions) => (Condition::VersionGone, self.version_gone(versions)),
        };
        let headline = if *pause == Pause::Refused { "refused" } else { condition_words(condition) };
        self.trouble(pause, condition, headline, words, length);
    }

    /// The very first list has begun.
    pub(super) fn listing(&mut self) {
        if !self.synced && self.trouble.is_none() {
            self.well();
        }
    }

    /// A list has ended with so many objects; `whole` when each of them was read, or is at least known by its name.
    pub(super) fn listed(&mut self, objects: usize, version: &str, whole: bool) {
        self.is_partial = !whole;
        if self.is_partial {
            self.trouble = None;
            self.well();
            return;
        }
        let first = !self.synced;
        if first {
            self.metrics.synced_after(self.begun.elapsed());
        }
        (self.synced, self.caught_up) = (true, true);
        // Of many watches that list again at once, those that did not say so do not say how it ended.
        let level = if first || mem::take(&mut self.is_relist_said) { Level::Info } else { Level::Debug };
        log::log!(level, objects, resource_version = version; "{}: listed, watching", self.watch.target);
        self.trouble = None;
        self.well();
    }

    /// A watch is open: everything up to where it goes on from was told, in this run or in an earlier one.
    pub(super) fn watching(&mut self) {
        if self.is_partial {
            return;
        }
        if !self.synced {
            self.metrics.synced_after(self.begun.elapsed());
            self.synced = true;
            log::info!("{}: going on from where the last run has come to", self.watch.target);
            self.well();
        }
    }

    /// The watch has brought an event or a bookmark: it does go on from where it was opened.
    pub(super) fn told(&mut self) {
        self.caught_up = true;
    }

    /// The server answered as it should.
    pub(super) fn answered(&mut self) {
        self.status.answered();
        self.is_said = false;
        let was_said = self.seat.goes_on(Instant::now()) | mem::take(&mut self.is_trouble_said);
        if self.trouble.take().is_some() {
            let (target, after) = (&self.watch.target, mem::take(&mut self.trouble_cause));
            let level = if was_said { Level::Info } else { Level::Debug };
            log::log!(level, after:%; "{target}: the server answers again");
            self.well();
        }
    }

    /// An event could not be read.
    pub(super) fn unreadable(&mut self, why: &str) {
        let Some(unlogged) = self.unreadable.may_be_said(Instant::now()) else { return };
        let why = self.blotter.blotted(why.to_owned());
        log::warn!(cause:% = why, unlogged; "{}: an object cannot be read and is passed over, everything will be listed again", self.watch.target);
    }

    fn well(&self) {
        if self.is_partial {
            return self.status.set(Condition::Retrying, Reason::UnreadableObjects, PARTIAL);
        }
        self.status.set(if self.synced { Condition::Synced } else { Condition::Listing }, Reason::None, "");
    }

    /// Logs trouble once, at its beginning; the same trouble again is a step, not a change.
    fn trouble(&mut self, pause: &Pause, condition: Condition, headline: &str, words: String, length: Duration) {
        let now = Instant::now();
        let is_known = self.trouble == Some((condition, self.kind));
        let is_said = mem::take(&mut self.is_said);
        let say = match pause {
            Pause::Backoff | Pause::Reconnect | Pause::After(_) => {
                // Also where a note has said it: the server counts who fails.
                let say = self.seat.fails(self.kind, &words, now);
                if is_said { Say::Nothing } else { say }
            }
            // The server answers; what it says is of this watch.
            Pause::Forbidden | Pause::Refused | Pause::Absent | Pause::VersionGone(_) => {
                self.seat.goes_on(now);
                if is_known { Say::Nothing } else { Say::It }
            }
            Pause::SecondLook | Pause::Unknown(_) if !is_known => self.seat.may_say(Matter::Failing(self.kind), now),
            Pause::Relist if !is_known && !is_said => Say::It,
            Pause::Relist | Pause::SecondLook | Pause::Unknown(_) | Pause::Brief | Pause::Cut => Say::Nothing,
        };
        let (target, retry_after) = (&self.watch.target, format!("{:.1}s", length.as_secs_f64()));
        self.is_trouble_said |= say != Say::Nothing;
        let level = if say == Say::Nothing { Level::Debug } else { Level::Warn };
        log::log!(level, cause:% = words, retry_after:%; "{target}: {headline}{}", others(say));
        if !is_known {
            self.trouble = Some((condition, self.kind));
            self.trouble_cause.clone_from(&words);
        }
        self.status.set(condition, self.reason(pause), words);
    }

    /// Why it pauses, as probes have it.
    fn reason(&self, pause: &Pause) -> Reason {
        match pause {
            Pause::Brief | Pause::Cut => Reason::None,
            Pause::Backoff | Pause::Relist | Pause::Reconnect | Pause::After(_) => self.kind.reason(),
            Pause::SecondLook | Pause::Unknown(_) => Reason::NotFound,
            Pause::Refused => Reason::Refused,
            Pause::Forbidden => Reason::Forbidden,
            Pause::Absent => Reason::NotServed,
            Pause::VersionGone(_) => Reason::VersionGone,
        }
    }

    /// Trying again will not help: what to change.
    fn refused(&self) -> String {
        let target = &self.watch.target;
        let cure = match (&target.label_selector, &target.field_selector) {
            (None, None) => "check what is configured for it",
            (Some(_), None) => "correct its label_selector",
            (None, Some(_)) => "correct its field_selector or name_selector",
            (Some(_), Some(_)) => "correct its selectors",
        };
        format!("the server does not accept this list and will not later; {cure}: {}", self.cause)
    }

    /// Which right is missing, and how to get it.
    fn forbidden(&self, must_page: bool) -> String {
        let target = &self.watch.target;
        let verb = forbidden_verb(&self.cause);
        let mut words = format!("the server does not allow to {verb} {}", target.gvr.resource());
        match &target.namespace {
            Some(namespace) => _ = write!(words, " in namespace {namespace}"),
            None => words.push_str(" in all namespaces"),
        }
        if must_page && verb == "list" {
            words.push_str(", and it has no streaming lists, for which the verb watch would be enough");
        }
        let (kind, place) = match &target.namespace {
            Some(namespace) => ("Role", format!(" in namespace {namespace}")),
            None => ("ClusterRole", String::new()),
        };
        let (resource, group) = (target.gvr.resource(), target.gvr.group());
        _ = write!(words, "; bind a {kind} with verbs list and watch on {resource} (apiGroup \"{group}\"){place}");
        _ = write!(words, ": {}", self.cause);
        words
    }

    fn version_gone(&self, versions: &[String]) -> String {
        let gvr = &self.watch.target.gvr;
        let prefix = if gvr.group().is_empty() { String::new() } else { format!("{}/", gvr.group()) };
        let served: Vec<String> = versions.iter().map(|version| format!("{prefix}{version}/{}", gvr.resource())).collect();
        format!("{gvr} is no longer served; watch {} instead", served.join(" or "))
    }
}

/// Why a list that has ended counts as none.
const PARTIAL: &str = "the list holds objects that cannot be read, not even their names; listed again before long";

/// Logs what one watch meets, as far as it says so itself.
fn said(say: Say, level: Level, target: &WatchTarget, cause: &str, words: Arguments<'_>) {
    let level = if say == Say::Nothing { Level::Debug } else { level };
    log::log!(level, cause; "{target}: {words}{}", others(say));
}

/// What is added where others do not say the same.
fn others(say: Say) -> &'static str {
    match say {
        Say::ItForAll => "; other watches that meet the same are not logged for a minute",
        Say::It | Say::Nothing => "",
    }
}

/// The verb that the server's message refuses.
fn forbidden_verb(message: &str) -> &'static str {
    // As in: User "u" cannot watch resource "secrets" in API group "" in the namespace "demo"
    if message.contains("cannot list resource") {
        "list"
    } else if message.contains("cannot watch resource") {
        "watch"
    } else {
        "list and watch"
    }
}

fn relist_words(reason: RelistReason) -> &'static str {
    match reason {
        RelistReason::Expired => "the server no longer has the version to go on from",
        RelistReason::Unproven => "the server does not show that it still has what was told",
        RelistReason::OtherHistory => {
            "the server has another history than the one that was told, as after a restore from a backup"
        }
        RelistReason::Stuck => "the watch fails again and again from the same version",
        RelistReason::Dirty => "events could not be read",
        RelistReason::Interrupted => "the list was interrupted",
        RelistReason::Returned => "the kind is served again",
    }
}

fn detour_words(detour: Detour) -> &'static str {
    match detour {
        Detour::Refused => "the server has no streaming lists",
        Detour::NoFirstByte => "the streaming list gives no byte",
        Detour::NoEnd => "the streaming list does not say that it has ended",
        Detour::Cut => "the streaming list was cut",
    }
}

fn condition_words(condition: Condition) -> &'static str {
    match condition {
        Condition::Starting | Condition::Listing | Condition::Synced | Condition::Retrying => "trying again",
        Condition::Forbidden => "forbidden",
        Condition::Absent => "absent",
        Condition::VersionGone => "version gone",
    }
}
