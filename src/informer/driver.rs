//! Carries out what the machine wants: requests, pauses, events; and tells it what came of them.
//!
//! Owns the clock: durations become inputs here and nowhere else.

mod comparing;

use super::backoff::Backoff;
use super::cluster_check::{Identified, Suspicion};
use super::gate::{Entrant, Member, Permit, Turn};
use super::handover::{Halt, Handover, Patience};
use super::held::Held;
use super::machine::{Action, Close, End, Input, Line as Heard, Machine, Page, Pause, Step};
use super::page_trail::PageTrail;
use super::replay::Replay;
use super::report::Report;
use super::store::Store;
use super::stream::{Asked, ListSilence, Reading, Stream};
use super::teller::{Phase, Teller};
use super::{Informer, Resume};
use crate::api::{Anchor, Fault, ListPage, ResourceVersion};
use crate::client::{Error, Interrupt, ListWatch, PageRequest, WatchStart};
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
    /// When the watch was cut or ended by the server, but for time that passed since then without a sign that the server was away.
    cut: Option<Instant>,
    /// Whether the server may be another cluster's by now.
    suspicion: Suspicion,
    member: Member,
    /// Where an earlier run has come to, until it is taken.
    resume: (Option<ResourceVersion>, Option<Anchor>),
    /// The page under way; empty outside lists.
    body: Vec<u8>,
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

/// How the last request of a list went, which decides how the next one waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastList {
    /// It was answered, or none was made.
    Sound,
    /// It failed.
    Failed,
    /// The server was too busy to answer it.
    Busy,
}

/// What carrying out an action led to.
enum Outcome {
    /// Something for the machine.
    Happened(Input),
    /// A stream was read, and the machine already said what comes next.
    Next(Step),
}

/// `kind` of a list of which the server was asked for metadata only.
const METADATA_LIST_KIND: &str = "PartialObjectMetadataList";

/// A page that came so quickly would come in time if it were twenty times as large, the largest step between two limits.
const PAGE_QUICK: Duration = Duration::from_secs(2);

/// And one so short would not be too long.
const PAGE_SHORT_BYTES: usize = 8 * 1024 * 1024;

/// What a server answers whose feature gate for streaming lists is off (`watch-list-streaming-switched-off.http`).
const UNPROCESSABLE: u16 = 422;

/// Why the scope of a kind is read again.
pub(super) const STRANGERS: &str = "objects came of a namespace that was not asked for: the kind may have another scope now";

/// With so many watches the reconnects of all are spread over the whole of the time allowed for it.
const WATCHES_MANY: f64 = 100.0;

impl Driver {
    pub(super) fn new(informer: Informer) -> Self {
        let Informer { watch, source, outlet, context, resume, random } = informer;
        let Resume { known, version, anchor, history, told, lacking, listed_before } = resume;
        let store = Store::of(known);
        let report = Report::new(Arc::clone(&watch), Arc::clone(&context.status), context.metrics.clone(), context.server.join());
        let (mut random, limits) = (random, &context.limits);
        let relists = Backoff::new(random.fork(), limits);
        let looks = Backoff::new(random.fork(), limits);
        let backoff = Backoff::new(random, limits);
        let member = context.gate.join();
        context.metrics.tracked_changed(i64::try_from(store.len()).expect("fewer objects than 2^63"));
        let machine = Machine::new(listed_before, store.len() > 0);
        let teller =
            Teller::new(Handover::new(watch, outlet, context, history), store, Replay::new(told, lacking), version.clone());
        let (resume, received, body, last_list) = ((version, anchor), source.received(), Vec::new(), LastList::Sound);
        let (trail, is_version_withheld, server_changes) = (PageTrail::default(), false, member.streaming().changes());
        let (held, cut, interrupter) = (Held::default(), None, source.interrupter());
        Self {
            source,
            machine,
            teller,
            report,
            backoff,
            relists,
            looks,
            held,
            cut,
            suspicion: Suspicion::None,
            member,
            resume,
            body,
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
        if !matches!(action, Action::Watch(_) | Action::Pause(_)) {
            // What is asked now looks at the history, or at everything.
            self.cut = None;
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
            Action::Compare(version) => return self.compare(&version),
            Action::BeginHistory => {
                self.suspicion.grave();
                self.teller.out.begin_history();
                Input::HistoryBegun
            }
            Action::LookUp(proof) => self.asking(|source| source.lookup(proof)).map_or_else(Input::Failed, Input::LookedUp),
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

    fn stream_list(&mut self) -> Outcome {
        if !self.begin_list() {
            return Outcome::Happened(Input::Stop);
        }
        match self.may_stream() {
            Ok(true) => {}
            // As the server itself would say.
            Ok(false) => return Outcome::Happened(Input::Failed(Fault::Refused)),
            Err(fault) => return Outcome::Happened(self.list_failed(fault)),
        }
        let limits = &self.teller.out.context.limits;
        let (first_byte, end, step) = (limits.first_byte, limits.initial_events_end, limits.initial_events_step);
        let asked = self.asked_list(ListSilence { first_byte, end, step });
        let outcome = self.stream(&WatchStart::InitialEvents, asked);
        if self.machine.streams_without_end() {
            self.member.streaming().give_up(self.group());
        }
        match outcome {
            // Nothing is wrong with a server that has no streaming lists; pages are asked for in the same place.
            Outcome::Happened(Input::Failed(Fault::Refused)) => {}
            Outcome::Happened(Input::Failed(fault)) => return Outcome::Happened(self.list_failed(fault)),
            // The end of a list gives the place back, and so does a list that waits for its receivers.
            Outcome::Happened(_) | Outcome::Next(_) if self.teller.out.permit.is_some() => {
                _ = self.list_failed(Fault::Connection);
            }
            Outcome::Happened(_) | Outcome::Next(_) => self.last_list = LastList::Sound,
        }
        outcome
    }

    /// Whether a streaming list is worth asking for.
    fn may_stream(&mut self) -> Result<bool, Fault> {
        self.learn_version()?;
        Ok(self.member.streaming().is_usable(self.group()))
    }

    /// Reads the server's version where nobody has, or where the server may be another by now. Fails as a server does that
    /// answers nothing. One that answers all but this goes on as what it was before.
    fn learn_version(&mut self) -> Result<(), Fault> {
        let (server, now) = (&self.teller.out.context.server, Instant::now());
        if self.member.streaming().version_read().is_some_and(|read| !server.has_failed_since(read)) {
            return Ok(());
        }
        match self.asking(|source| source.version()) {
            Ok(version) => {
                self.answered(now);
                self.member.streaming().learn(version, now);
            }
            Err(fault) if self.is_withdrawn() => return Err(fault),
            Err(fault @ (Fault::Busy { .. } | Fault::Stopped)) => return Err(fault),
            Err(fault @ (Fault::Connection | Fault::Server | Fault::Unauthorized | Fault::UnknownVersion)) => {
                if !mem::replace(&mut self.is_version_withheld, true) {
                    return Err(fault);
                }
            }
            Err(Fault::Expired | Fault::Refused | Fault::Forbidden | Fault::NotFound | Fault::Undecodable | Fault::TooLong) => {
                self.member.streaming().learn(None, now);
            }
        }
        self.is_version_withheld = false;
        Ok(())
    }

    fn group(&self) -> &str {
        self.teller.out.watch.target.gvr.group()
    }

    /// The next list of this watch waits for others, and so does the rest of this one. Gives what came of the request.
    fn list_failed(&mut self, fault: Fault) -> Input {
        let input = if self.is_withdrawn() { Input::Withdrawn } else { Input::Failed(fault) };
        let is_busy = matches!(fault, Fault::Busy { .. });
        self.last_list = if is_busy { LastList::Busy } else { LastList::Failed };
        self.teller.out.permit = None;
        input
    }

    /// The request of `asked` was answered.
    fn answered(&self, asked: Instant) {
        if let Some(permit) = &self.teller.out.permit {
            permit.answered(asked.elapsed());
        }
    }

    fn is_withdrawn(&self) -> bool {
        self.teller.out.permit.as_ref().is_some_and(Permit::is_withdrawn)
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
        let until = self.cut.take().map(|cut| cut + self.teller.out.context.limits.unchecked);
        self.teller.out.context.pulse.waiting();
        self.teller.is_asked_everywhere = self.source.asks_everywhere();
        let opened = self.source.watch(start, asked.timeout);
        self.teller.out.context.pulse.working();
        if let (Ok(_), Some(permit)) = (&opened, &self.teller.out.permit) {
            permit.answered(at.elapsed());
        }
        let opened = opened.and_then(|lines| match self.suspicion.clear(&self.teller.out.context, &mut self.report) {
            Identified::Same => Ok(Some(lines)),
            Identified::Other => Ok(None),
            Identified::Unknown(error) => Err(error),
        });
        let read = opened.map(|lines| {
            let lines = lines?;
            self.report.answered();
            if is_proven {
                self.report.watching();
            }
            let is_late = until.is_some_and(|until| Instant::now() > until);
            let opened = if is_late { Heard::OpenedLate } else { Heard::Opened };
            Some(Stream::new(lines, asked, &mut self.machine, &mut self.teller, &mut self.report).read(opened))
        });
        match read {
            Ok(Some(read)) => Outcome::Next(self.have_read(read)),
            Ok(None) => Outcome::Happened(Input::Stop),
            Err(error) => Outcome::Happened(self.not_opened(&error, list, at)),
        }
    }

    /// What it means that a watch or a streaming list, asked for at `at`, did not open.
    fn not_opened(&mut self, error: &Error, list: Option<ListSilence>, at: Instant) -> Input {
        if self.is_withdrawn() {
            return Input::Failed(error.fault());
        }
        if list.is_none() && error.is_unanswered() && self.held.no_head() {
            return Input::Close(Close::HeldHead);
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
        match read.close {
            Some(Close::Ended(end)) => {
                if self.held.ended(&read.course, limits) {
                    server.is_held_back(Instant::now(), limits.held_timeout);
                }
                // As a server ends its watches that is stopped in order.
                self.cut = (end != End::InTime).then(Instant::now);
                if end != End::InTime {
                    self.suspicion.slight();
                }
            }
            Some(Close::Cut { .. }) => {
                self.cut = Some(Instant::now());
                self.suspicion.slight();
            }
            Some(Close::Error(Fault::Expired)) => {
                self.source.renew();
                self.suspicion.grave();
            }
            Some(Close::Slow) => self.suspicion.slight(),
            // What holds answers back gives them with their end.
            Some(Close::Overdue | Close::Silent) => {
                self.held.failed();
                self.suspicion.grave();
            }
            Some(Close::NoFirstByte) => _ = self.held.no_head(),
            Some(Close::Error(_) | Close::HeldHead | Close::NoInitialEventsEnd | Close::NotReplayed) | None => {}
        }
        read.step
    }

    fn page(&mut self, token: Option<&str>, limit: u32) -> Input {
        // A later page waits for its turn too, when its list gave its place up to wait for the receivers.
        let may = if token.is_none() { self.begin_list() } else { self.acquire_permit(Turn::Live) };
        if !may {
            return Input::Stop;
        }
        if token.is_none() && self.machine.must_page() {
            // A server that came back as a newer one may stream the next list. What fails here fails the page as well.
            self.learn_version().unwrap_or_default();
        }
        let mut body = mem::take(&mut self.body);
        let request = PageRequest { limit, token };
        let asked = Instant::now();
        self.teller.is_asked_everywhere = self.source.asks_everywhere();
        let input = match self.asking(|source| source.list(&request, &mut body)) {
            Ok(()) => {
                match self.suspicion.clear(&self.teller.out.context, &mut self.report) {
                    Identified::Same => {}
                    Identified::Other => return Input::Stop,
                    Identified::Unknown(error) => return self.list_failed(error.fault()),
                }
                self.report.answered();
                self.answered(asked);
                self.last_list = LastList::Sound;
                self.tell_page(&body, asked.elapsed() < PAGE_QUICK && body.len() < PAGE_SHORT_BYTES)
            }
            Err(fault) => self.list_failed(fault),
        };
        self.body = body;
        input
    }

    fn tell_page(&mut self, body: &[u8], quick: bool) -> Input {
        let context = &self.teller.out.context;
        context.metrics.bytes_received(body.len() as u64);
        context.status.heard();
        let page = match ListPage::parse(body) {
            Ok(page) => page,
            Err(error) => return self.unreadable_page(&error.to_string()),
        };
        let is_whole = context.content_is_metadata && page.kind != METADATA_LIST_KIND;
        if self.teller.refuses(is_whole) {
            return self.unreadable_page("whole objects came where only metadata was asked for");
        }
        if let Err(why) = self.trail.follow(&page) {
            return self.unreadable_page(why);
        }
        let mut whole = true;
        for object in page.objects() {
            match self.teller.page_object(&object) {
                Ok(None) => {}
                Ok(Some(unread)) => {
                    self.report.unreadable(&unread.why);
                    if unread.is_named {
                        self.teller.spared();
                    } else {
                        whole = false;
                        self.teller.skipped();
                    }
                }
                Err(Halt::Slow | Halt::Stop) => return Input::Stop,
            }
        }
        if self.teller.is_scope_doubtful() {
            self.report.ended(STRANGERS);
            return Input::Failed(Fault::NotFound);
        }
        Input::Page(Page { version: page.version, next: page.next, whole, quick })
    }

    fn unreadable_page(&mut self, why: &str) -> Input {
        self.teller.out.context.metrics.decode_error();
        self.report.ended(format!("the list cannot be read: {why}"));
        Input::Failed(Fault::Undecodable)
    }

    fn end_list(&mut self, version: &ResourceVersion, whole: bool) -> Input {
        match self.teller.end_list(version, whole, Patience::Unlimited) {
            Ok(newest) => {
                self.end_of_list_work();
                self.report.listed(self.teller.store.len(), version.as_str(), whole);
                Input::ListEnded { newest }
            }
            Err(Halt::Slow | Halt::Stop) => Input::Stop,
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
        if let Some(cut) = &mut self.cut
            && !context.server.has_failed_since(*cut)
        {
            *cut = Instant::now();
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

    /// Waits for the turn of this list and begins it. `false` on stop.
    fn begin_list(&mut self) -> bool {
        let turn = if self.machine.in_first_list() { Turn::First } else { Turn::Live };
        if !self.acquire_permit(turn) {
            return false;
        }
        self.trail = PageTrail::default();
        self.report.listing();
        self.teller.begin_list(if self.machine.in_first_list() { Phase::FirstList } else { Phase::Relist });
        true
    }

    /// `turn` is that of a list about which nothing is wrong.
    fn acquire_permit(&mut self, turn: Turn) -> bool {
        let interrupt = self.interrupter.clone();
        let entrant = Entrant { interrupt, ..self.entrant(turn) };
        acquire_permit(&mut self.teller.out, entrant)
    }

    /// How it asks for a place among those who list: one whose answer is not awaited so long that it must be ended.
    fn entrant(&self, turn: Turn) -> Entrant {
        let turn = if self.last_list == LastList::Sound { turn } else { Turn::Failed };
        // A server that is too busy gets no more requests on account of its slow answers.
        let keeps_place = self.last_list == LastList::Busy;
        Entrant { turn, received: Arc::clone(&self.received), keeps_place, interrupt: None }
    }

    /// Lets others list, and gives the memory of a page back.
    fn end_of_list_work(&mut self) {
        self.teller.out.permit = None;
        self.body = Vec::new();
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
            Fault::Expired
            | Fault::UnknownVersion
            | Fault::Refused
            | Fault::Forbidden
            | Fault::NotFound
            | Fault::Undecodable
            | Fault::TooLong
            | Fault::Stopped => {}
        }
        fault
    }
}

fn acquire_permit(out: &mut Handover, entrant: Entrant) -> bool {
    if out.permit.is_none() {
        out.context.pulse.waiting();
        out.permit = out.context.gate.acquire(&out.context.stop, entrant);
        out.context.pulse.working();
    }
    out.permit.is_some()
}
