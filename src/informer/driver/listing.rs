//! Lists: asks for them in their turn, by streaming where the server does that, by pages where not.
//!
//! Takes the lists that the machine wants; gives what came of them. Promises that each has a place at the gate while it is asked
//! for, and none while it waits for anything but the server.

use super::{Driver, Outcome, STRANGERS, is_late};
use crate::api::{Fault, ResourceVersion};
use crate::client::{Error, PageRequest, WatchStart};
use crate::informer::cluster_check::Identified;
use crate::informer::gate::{Entrant, Permit, Turn};
use crate::informer::handover::{Halt, Handover, Patience};
use crate::informer::machine::{Input, Page};
use crate::informer::page_trail::PageTrail;
use crate::informer::paging::{Broken, PageStep, Paging};
use crate::informer::report::Report;
use crate::informer::stream::ListSilence;
use crate::informer::teller::{Phase, Teller};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How the last request of a list went, which decides how the next one waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LastList {
    /// It was answered, or none was made.
    Sound,
    /// It failed.
    Failed,
    /// The server was too busy to answer it.
    Busy,
}

/// `kind` of a list of which the server was asked for metadata only.
pub(super) const METADATA_LIST_KIND: &str = "PartialObjectMetadataList";

/// A page that came so quickly would come in time if it were twenty times as large, the largest step between two limits.
const PAGE_QUICK: Duration = Duration::from_secs(2);

/// And one so short would not be too long.
const PAGE_SHORT_BYTES: u64 = 8 * 1024 * 1024;

impl Driver {
    pub(super) fn stream_list(&mut self) -> Outcome {
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

    pub(super) fn page(&mut self, token: Option<&str>, limit: u32) -> Input {
        loop {
            // A later page waits for its turn too, when its list gave its place up to wait for the receivers.
            let may = if token.is_none() { self.begin_list() } else { self.acquire_permit(Turn::Live) };
            if !may {
                return Input::Stop;
            }
            if token.is_none() && self.machine.must_page() {
                // A server that came back as a newer one may stream the next list. What fails here fails the page as well.
                self.learn_version().unwrap_or_default();
            }
            let late = is_late(self.unheard_until());
            if late {
                self.suspicion.grave();
            }
            let asked = Instant::now();
            match self.read_page(&PageRequest { limit, token }) {
                Ok(mut page) => {
                    self.answered(asked);
                    (self.last_list, self.unheard) = (LastList::Sound, Some(Instant::now()));
                    if self.teller.is_scope_doubtful() {
                        self.report.ended(STRANGERS);
                        return Input::Failed(Fault::NotFound);
                    }
                    page.late = late;
                    return Input::Page(page);
                }
                Err(NoPage::OtherCluster | NoPage::Halted(Halt::Stop)) => return Input::Stop,
                Err(NoPage::Failed(error)) => {
                    let fault = self.failed(&error);
                    return self.list_failed(fault);
                }
                Err(NoPage::Unreadable(why)) => {
                    self.teller.out.context.metrics.decode_error();
                    self.report.ended(format!("the list cannot be read: {why}"));
                    return self.list_failed(Fault::Undecodable);
                }
                Err(NoPage::Unproven(fault)) => return self.list_failed(fault),
                // Without a connection, a place or any of the page, until there is room for more of it.
                Err(NoPage::Halted(Halt::Slow)) => {
                    self.end_of_list_work();
                    if self.teller.out.wait_for_credit(Patience::Unlimited).is_err() {
                        return Input::Stop;
                    }
                }
            }
        }
    }

    /// Asks for a page, and hands its objects over as they come.
    fn read_page(&mut self, request: &PageRequest<'_>) -> Result<Page, NoPage> {
        let Self { source, teller, report, suspicion, trail, .. } = self;
        teller.is_asked_everywhere = source.asks_everywhere();
        teller.out.context.pulse.waiting();
        let opened = source.list(request);
        teller.out.context.pulse.working();
        let reader = opened.map_err(NoPage::Failed)?;
        match suspicion.clear(&teller.out.context, report) {
            Identified::Same => {}
            Identified::Other => return Err(NoPage::OtherCluster),
            Identified::Unknown(error) => return Err(NoPage::Unproven(error.fault())),
        }
        report.answered();
        let mut page = Paging::new(reader, &teller.out.context);
        let told = tell_page(&mut page, trail, teller, report);
        teller.out.context.metrics.bytes_received(page.reader.bytes_received());
        teller.out.context.status.heard();
        let whole = told?;
        trail.follow(&page.reader).map_err(|why| NoPage::Unreadable(why.to_owned()))?;
        let version = page.reader.version().expect("a page that came whole has a version").clone();
        teller.page_ended(&version);
        let is_short = page.reader.bytes_received() < PAGE_SHORT_BYTES;
        let quick = page.reader.time_reading() < PAGE_QUICK && is_short;
        Ok(Page { version, next: page.reader.next_page().map(str::to_owned), whole, quick, late: false })
    }

    pub(super) fn end_list(&mut self, version: &ResourceVersion, whole: bool) -> Input {
        match self.teller.end_list(version, whole, Patience::Unlimited) {
            Ok(newest) => {
                self.end_of_list_work();
                self.report.listed(self.teller.store.len(), version.as_str(), whole);
                Input::ListEnded { newest }
            }
            Err(Halt::Slow | Halt::Stop) => Input::Stop,
        }
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
    pub(super) fn entrant(&self, turn: Turn) -> Entrant {
        let turn = if self.last_list == LastList::Sound { turn } else { Turn::Failed };
        // A server that is too busy gets no more requests on account of its slow answers.
        let keeps_place = self.last_list == LastList::Busy;
        Entrant { turn, received: Arc::clone(&self.received), keeps_place, interrupt: None }
    }

    /// The next list of this watch waits for others, and so does the rest of this one. Gives what came of the request.
    pub(super) fn list_failed(&mut self, fault: Fault) -> Input {
        let input = if self.is_withdrawn() { Input::Withdrawn } else { Input::Failed(fault) };
        let is_busy = matches!(fault, Fault::Busy { .. });
        self.last_list = if is_busy { LastList::Busy } else { LastList::Failed };
        self.teller.out.permit = None;
        input
    }

    /// The request of `asked` was answered.
    pub(super) fn answered(&self, asked: Instant) {
        if let Some(permit) = &self.teller.out.permit {
            permit.answered(asked.elapsed());
        }
    }

    pub(super) fn is_withdrawn(&self) -> bool {
        self.teller.out.permit.as_ref().is_some_and(Permit::is_withdrawn)
    }

    /// Lets others list.
    pub(super) fn end_of_list_work(&mut self) {
        self.teller.out.permit = None;
    }
}

/// Why there is nothing of a page. What was told of it stays told.
enum NoPage {
    /// The request failed, or the answer broke off.
    Failed(Error),
    /// It is no page that can be read, and why.
    Unreadable(String),
    /// The server is another cluster's.
    OtherCluster,
    /// Whose server it is cannot be told.
    Unproven(Fault),
    /// The receivers take no more, or Faro stops.
    Halted(Halt),
}

impl From<Broken> for NoPage {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Failed(Error::Undecodable { reason, .. }) => Self::Unreadable(reason),
            Broken::Failed(error) => Self::Failed(error),
            Broken::Halted(halt) => Self::Halted(halt),
        }
    }
}

/// Hands the objects of a page over. Gives whether each was read, or could be spared by its name.
fn tell_page(page: &mut Paging<'_>, trail: &PageTrail, teller: &mut Teller, report: &mut Report) -> Result<bool, NoPage> {
    let mut whole = true;
    loop {
        let step = page.next(|object, patience| {
            let Some(unread) = teller.page_object(object, patience)? else { return Ok(()) };
            report.unreadable(&unread.why);
            if unread.is_named {
                teller.spared();
            } else {
                whole = false;
                teller.skipped();
            }
            Ok(())
        })?;
        match step {
            PageStep::End => return Ok(whole),
            PageStep::Onward => {}
            PageStep::Front => {
                // What is said behind the objects is not known yet: they may be whole, and of any version.
                let is_whole = teller.out.context.content_is_metadata && page.reader.kind() != Some(METADATA_LIST_KIND);
                if teller.refuses(is_whole) {
                    let why = "whole objects came where only metadata was asked for";
                    return Err(NoPage::Unreadable(why.to_owned()));
                }
                trail.look(&page.reader).map_err(|why| NoPage::Unreadable(why.to_owned()))?;
                teller.page(page.reader.version());
            }
        }
    }
}

/// Waits for a place. `false` on stop.
pub(super) fn acquire_permit(out: &mut Handover, entrant: Entrant) -> bool {
    if out.permit.is_none() {
        out.context.pulse.waiting();
        out.permit = out.context.gate.acquire(&out.context.stop, entrant);
        out.context.pulse.working();
    }
    out.permit.is_some()
}
