//! Carries out what the machine wants: requests, pauses, events; and tells it what came of them.
//!
//! Owns the clock: durations become inputs here and nowhere else.

mod comparing;
mod listing;
mod peeked;

use super::backoff::Backoff;
use super::cluster_check::{Identified, Suspicion};
use super::gate::Member;
use super::handover::{Halt, Handover, Patience};
use super::held::Held;
use super::machine::{Action, Close, End, Input, Line as Heard, Machine, Pause, Step};
use super::page_trail::PageTrail;
use super::replay::Replay;
use super::report::Report;
use super::store::Store;
use super::stream::{Asked, ListSilence, Reading, Stream};
use super::teller::Teller;
use super::{Informer, Limits, Resume};
use crate::api::{Anchor, Fault, ResourceVersion};
use crate::client::{Error, Interrupt, ListWatch, Proof, Served, WatchLines, WatchStart};
use crate::lifecycle::Stop;
use listing::LastList;
use peeked::Peeked;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

/// One informer at work.
pub(super) struct Driver {
    source: Box<dyn ListWatch>,
    machine: Machine,
    teller: Teller,
    report: Report,
    backoff: Backoff,
    /// Of its own, so that a relist after an outage does not wait for as long as the last attempts to connect did.
    relists: Backoff,
    /// Of its own, so that a kind that goes is found gone as soon as the server's documents agree about it.
    looks: Backoff,
    held: Held,
    /// When the watch was over, or a page was read that another page or a watch follows, but for time that passed since then without
    /// a sign that the server was away.
    unheard: Option<Instant>,
    /// Whether the server may be another cluster's by now.
    suspicion: Suspicion,
    member: Member,
    /// Where an earlier run has come to, until it is taken.
    resume: (Option<ResourceVersion>, Option<Anchor>),
    /// Where the pages of this list led.
    trail: PageTrail,
    /// Counts the bytes of lists.
    received: Arc<AtomicU64>,
    /// Ends a request that is withdrawn.
    interrupter: Option<Interrupt>,
    /// How the last request of a list went.
    last_list: LastList,
    /// The server's version was asked for in vain.
    is_version_withheld: bool,
    /// How often the server's version had changed when the machine heard of it last.
    server_changes: u64,
}

/// What carrying out an action led to.
enum Outcome {
    /// Something for the machine.
    Happened(Input),
    /// A stream was read, and the machine already said what comes next.
    Next(Step),
}

/// What a server answers whose feature gate for streaming lists is off (`watch-list-streaming-switched-off.http`).
const UNPROCESSABLE: u16 = 422;

/// Why the scope of a kind is read again.
pub(super) const STRANGERS: &str = "objects came of a namespace that was not asked for: the kind may have another scope now";

/// With so many watches the reconnects of all are spread over the whole of the time allowed for it.
const WATCHES_MANY: f64 = 100.0;

impl Driver {
    pub(super) fn new(informer: Informer) -> Self {
        let Informer { watch, source, outlet, context, resume, random } = informer;
        let Resume { known, version, anchor, history, told, lacking, hashes, listed_before } = resume;
        let store = Store::of(known, context.server.texts());
        let (status, metrics, seat) = (Arc::clone(&context.status), context.metrics.clone(), context.server.join());
        let report = Report::new(Arc::clone(&watch), status, metrics, seat, source.blotter());
        let (mut random, limits) = (random, &context.limits);
        let relists = Backoff::new(random.fork(), limits);
        let looks = Backoff::new(random.fork(), limits);
        let backoff = Backoff::new(random, limits);
        let member = context.gate.join();
        context.metrics.tracked_changed(i64::try_from(store.len()).expect("fewer objects than 2^63"));
        let machine = Machine::new(listed_before, store.len() > 0);
        let replay = Replay::new(told, lacking, version.as_ref()).with_hashes(hashes);
        let teller = Teller::new(Handover::new(watch, outlet, context, history), store, replay, version.clone());
        let (resume, received, last_list) = ((version, anchor), source.received(), LastList::Sound);
        let (trail, is_version_withheld, server_changes) = (PageTrail::default(), false, member.streaming().changes());
        let (held, unheard, interrupter) = (Held::default(), None, source.interrupter());
        Self {
            source,
            machine,
            teller,
            report,
            backoff,
            relists,
            looks,
            held,
            unheard,
            suspicion: Suspicion::None,
            member,
            resume,
            trail,
            received,
            interrupter,
            last_list,
            is_version_withheld,
            server_changes,
        }
    }

    /// Runs until the machine stops.
    pub(super) fn run(mut self) {
        let (resume, anchor) = mem::take(&mut self.resume);
        let mut step = self.machine.step(Input::Start { resume, anchor });
        loop {
            if let Some(note) = step.note {
                self.report.note(note);
            }
            if self.teller.out.context.stop.is_requested() || step.action == Action::Stop {
                break;
            }
            let outcome = self.perform(step.action);
            let changes = self.member.streaming().changes();
            if mem::replace(&mut self.server_changes, changes) != changes {
                self.machine.server_changed();
            }
            step = match outcome {
                Outcome::Happened(input) => self.machine.step(input),
                Outcome::Next(step) => step,
            };
        }
        let known = i64::try_from(self.teller.store.len()).expect("fewer objects than 2^63");
        self.teller.out.context.metrics.tracked_changed(-known);
        self.teller.out.context.pulse.ended();
    }

    fn perform(&mut self, action: Action) -> Outcome {
        self.teller.out.flush();
        match action {
            Action::Watch(_) | Action::Page { token: Some(_), .. } => {}
            Action::EndList { .. } | Action::Pause(_) | Action::AwaitCredit | Action::Read | Action::Stop => {}
            // What is asked now looks at the history, or at everything.
            Action::StreamList
            | Action::Page { token: None, .. }
            | Action::Replay { .. }
            | Action::Compare { .. }
            | Action::BeginHistory
            | Action::LookUp(_)
            | Action::TellAllDeleted => self.unheard = None,
        }
        Outcome::Happened(match action {
            Action::StreamList => return self.stream_list(),
            Action::Watch(version) => return self.watch(version),
            Action::Page { token, limit } => self.page(token.as_deref(), limit),
            Action::EndList { version, whole } => self.end_list(&version, whole),
            Action::Replay { from, newest } => {
                let asked = Asked { replay: Some(newest), ..self.asked() };
                return self.stream(&WatchStart::After(from), asked);
            }
            Action::Compare { version, newest } => return self.compare(&version, newest.as_ref()),
            Action::BeginHistory => {
                self.suspicion.grave();
                self.teller.out.begin_history();
                Input::HistoryBegun
            }
            Action::LookUp(proof) => self.look_up(proof),
            Action::TellAllDeleted => match self.teller.tell_all_deleted() {
                Ok(()) => Input::Emptied,
                Err(Halt::Slow | Halt::Stop) => Input::Stop,
            },
            Action::Pause(pause) => self.pause(&pause),
            Action::AwaitCredit => {
                self.end_of_list_work();
                self.teller.out.wait_for_credit(Patience::Unlimited).map_or(Input::Stop, |()| Input::Credited)
            }
            Action::Read | Action::Stop => unreachable!("only an open stream is read, and a stop ends the loop"),
        })
    }

    fn watch(&mut self, version: ResourceVersion) -> Outcome {
        let asked = self.asked();
        self.stream(&WatchStart::After(version), asked)
    }

    /// What is asked of a watch.
    fn asked(&mut self) -> Asked {
        let limits = &self.teller.out.context.limits;
        let usual = self.backoff.between(limits.watch_timeout_min, limits.watch_timeout_max);
        let at = Instant::now();
        let holds_back = self.teller.out.context.server.holds_back(at);
        Asked { at, timeout: self.held.timeout(usual, holds_back, limits), list: None, replay: None }
    }

    /// What is asked of a streaming list.
    fn asked_list(&mut self, list: ListSilence) -> Asked {
        let limits = &self.teller.out.context.limits;
        let usual = self.backoff.between(limits.watch_timeout_min, limits.watch_timeout_max);
        // A list that takes long must not be ended by the server first.
        let timeout = usual.max(list.end_after(self.teller.store.len() as u64) + limits.silence_margin);
        Asked { at: Instant::now(), timeout, list: Some(list), replay: None }
    }

    /// Opens a stream and reads it.
    fn stream(&mut self, start: &WatchStart, asked: Asked) -> Outcome {
        let (at, list) = (asked.at, asked.list);
        let is_proven = list.is_none() && asked.replay.is_none();
        let until = self.unheard_until();
        let (limits, stop) = (&self.teller.out.context.limits, &self.teller.out.context.stop);
        self.teller.out.context.pulse.waiting();
        self.teller.is_asked_everywhere = self.source.asks_everywhere();
        let opened = self.source.watch(start, asked.timeout).map(|lines| opened_by(until, lines, &asked, limits, stop));
        self.teller.out.context.pulse.working();
        if let (Ok(_), Some(permit)) = (&opened, &self.teller.out.permit) {
            permit.answered(at.elapsed());
        }
        if matches!(opened, Ok((_, Heard::OpenedLate))) {
            self.suspicion.slight();
        }
        let opened = opened.and_then(|opened| match self.suspicion.clear(&self.teller.out.context, &mut self.report) {
            Identified::Same => Ok(Some(opened)),
            Identified::Other => Ok(None),
            Identified::Unknown(error) => Err(error),
        });
        let read = opened.map(|opened| {
            let (lines, opened) = opened?;
            self.report.answered();
            if is_proven {
                self.report.watching();
            }
            Some(Stream::new(lines, asked, &mut self.machine, &mut self.teller, &mut self.report).read(opened))
        });
        match read {
            Ok(Some(read)) => Outcome::Next(self.have_read(read)),
            Ok(None) => Outcome::Happened(Input::Stop),
            Err(error) => Outcome::Happened(self.not_opened(&error, list, at, until)),
        }
    }

    /// Until when what goes on from what was heard last meets the server that was there before.
    fn unheard_until(&self) -> Option<Instant> {
        self.unheard.map(|since| since + self.teller.out.context.limits.unchecked)
    }

    /// What it means that a watch or a streaming list, asked for at `at`, did not open. `until`: as of
    /// [`unheard_until`](Self::unheard_until).
    fn not_opened(&mut self, error: &Error, list: Option<ListSilence>, at: Instant, until: Option<Instant>) -> Input {
        if self.is_withdrawn() {
            return Input::Failed(error.fault());
        }
        if list.is_none() && error.is_unanswered() && self.held.no_head() {
            self.suspicion.grave();
            return Input::Close(Close::HeldHead { late: is_late(until) });
        }
        self.held.failed();
        let fault = self.failed(error);
        if list.is_some() && matches!(error, Error::Status { status, .. } if status.code == UNPROCESSABLE) {
            self.member.streaming().refuse();
        }
        if fault == Fault::Expired {
            self.source.renew();
        }
        // Not even the head came in time: something on the way waits for the end of an answer before it gives any of it.
        let is_held_back = fault == Fault::Connection && list.is_some_and(|list| at.elapsed() >= list.first_byte);
        if is_held_back {
            self.held.no_head();
            return Input::Close(Close::NoFirstByte);
        }
        Input::Failed(fault)
    }

    /// Learns from a stream that was read, and gives what the machine wants next.
    fn have_read(&mut self, read: Reading) -> Step {
        let (limits, server) = (&self.teller.out.context.limits, &self.teller.out.context.server);
        if read.is_sound {
            self.backoff.reset();
        }
        self.unheard = Some(Instant::now());
        match read.close {
            Some(Close::Ended(end)) => {
                if self.held.ended(&read.course, limits) {
                    server.is_held_back(Instant::now(), limits.held_timeout);
                }
                // As a server ends its watches that is stopped in order.
                if end != End::InTime {
                    self.suspicion.slight();
                }
            }
            Some(Close::Cut { .. }) => self.suspicion.slight(),
            // What was told may lead nowhere because it is another cluster's.
            Some(Close::Error(fault)) => {
                if fault == Fault::Expired {
                    self.source.renew();
                }
                self.suspicion.grave();
            }
            // The list whose end waits for the receivers was read; they may take so long that another list finds another cluster.
            Some(Close::Slow) => self.suspicion.grave(),
            // What holds answers back gives them with their end.
            Some(Close::Overdue | Close::Silent) => {
                self.held.failed();
                self.suspicion.grave();
            }
            Some(Close::NoFirstByte) => {
                _ = self.held.no_head();
                self.suspicion.grave();
            }
            // Nothing says how long ago the server was still there.
            Some(Close::HeldHead { .. } | Close::NoInitialEventsEnd | Close::NotReplayed) | None => self.suspicion.grave(),
        }
        read.step
    }

    /// Asks discovery why a path is not found. A server that does not find it may be another cluster's, and so may one that finds it
    /// again.
    fn look_up(&mut self, proof: Proof) -> Input {
        self.suspicion.grave();
        match self.asking(|source| source.lookup(proof)) {
            Err(fault) => Input::Failed(fault),
            Ok(served @ Served::Unknown(_)) => match self.suspicion.clear(&self.teller.out.context, &mut self.report) {
                Identified::Other => Input::Stop,
                Identified::Same | Identified::Unknown(_) => Input::LookedUp(served),
            },
            Ok(served @ (Served::Yes | Served::Absent | Served::OtherVersions(_))) => Input::LookedUp(served),
        }
    }

    fn pause(&mut self, pause: &Pause) -> Input {
        self.end_of_list_work();
        let length = self.length(pause);
        self.report.pause(pause, length, self.machine.must_page());
        let context = &self.teller.out.context;
        context.pulse.waiting();
        let stopped = context.stop.wait(length);
        context.pulse.working();
        // Time that Faro let pass to spare the server is none in which that server was away, unless another watch saw it so.
        if let Some(since) = &mut self.unheard
            && !context.server.has_failed_since(*since)
        {
            *since = Instant::now();
        }
        if stopped { Input::Stop } else { Input::Waited }
    }

    fn length(&mut self, pause: &Pause) -> Duration {
        let limits = &self.teller.out.context.limits;
        let now = Instant::now();
        match pause {
            Pause::Backoff => self.backoff.next(now, limits.backoff_max, limits),
            Pause::Unknown(_) => self.looks.next(now, limits.backoff_max, limits),
            Pause::Relist => self.relists.next(now, limits.backoff_max, limits),
            Pause::Brief => self.backoff.up_to(limits.backoff_first),
            Pause::Cut if self.teller.out.context.server.was_cut(now) => self.spread(),
            Pause::Cut => Duration::ZERO,
            Pause::Reconnect => {
                let pause = self.backoff.next(now, limits.backoff_max, limits);
                pause.max(self.spread())
            }
            // A server that says "at once" gets a pause all the same.
            Pause::After(length) => (*length).min(limits.retry_after_max).max(self.backoff.next(now, limits.backoff_max, limits)),
            Pause::Forbidden | Pause::Refused => self.backoff.next(now, limits.forbidden_max, limits),
            Pause::SecondLook => limits.second_look,
            Pause::Absent | Pause::VersionGone(_) => self.backoff.between(limits.absent_check / 2, limits.absent_check),
        }
    }

    /// The pause that spreads what all watches of the server ask at once.
    fn spread(&mut self) -> Duration {
        let share = (self.member.watches() as f64 / WATCHES_MANY).min(1.0);
        self.backoff.up_to(self.teller.out.context.limits.reconnect_spread.mul_f64(share))
    }

    /// Asks the source, and remembers why it failed when it did.
    fn asking<T>(&mut self, ask: impl FnOnce(&mut dyn ListWatch) -> Result<T, Error>) -> Result<T, Fault> {
        self.teller.out.context.pulse.waiting();
        let answer = ask(self.source.as_mut());
        self.teller.out.context.pulse.working();
        answer.map_err(|error| self.failed(&error))
    }

    /// Remembers why a request failed, for this watch and, where it may be the server's doing, for the others.
    fn failed(&mut self, error: &Error) -> Fault {
        let fault = error.fault();
        if self.is_withdrawn() {
            return fault;
        }
        self.report.failed(error);
        match fault {
            Fault::Connection | Fault::Server | Fault::Busy { .. } | Fault::Unauthorized => {
                self.suspicion.grave();
                self.teller.out.context.server.has_failed(Instant::now());
            }
            Fault::Expired | Fault::UnknownVersion => self.suspicion.grave(),
            Fault::Refused | Fault::Forbidden | Fault::NotFound | Fault::Undecodable | Fault::TooLong | Fault::Stopped => {}
        }
        fault
    }
}

/// The lines of an answer, and whether its head came `until` then. One that is held back until its end may have been on its way
/// since it was asked for: where it ends when it was asked to, so it was.
fn opened_by<'a>(
    until: Option<Instant>,
    lines: Box<dyn WatchLines + 'a>,
    asked: &Asked,
    limits: &Limits,
    stop: &Stop,
) -> (Box<dyn WatchLines + 'a>, Heard) {
    let Some(until) = until.filter(|_| is_late(until)) else { return (lines, Heard::Opened) };
    if asked.timeout != limits.held_timeout {
        return (lines, Heard::OpenedLate);
    }
    let mut lines = Peeked::new(lines);
    let is_held_back = lines.ends_by(until + asked.timeout, stop) && asked.is_over(asked.at.elapsed(), limits);
    (Box::new(lines), if is_held_back { Heard::Opened } else { Heard::OpenedLate })
}

/// Whether the server may have become another since something was heard of it, until when it was the same.
fn is_late(until: Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() > until)
}
