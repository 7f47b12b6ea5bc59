//! Informers that are broken on purpose, each in one way, to see that the law catches them.
//!
//! Breaks what stands around a real informer: what it hears from the server, or what it says to its receiver.

use super::told::{key, state};
use super::world::Fate;
use faro::api::{Fault, ListPage, ObjectRef, ResourceVersion, WatchLine};
use faro::client::{
    Error, Interrupt, Line, ListWatch, PageRequest, PastPage, Proof, Served, ServerVersion, WatchLines, WatchStart,
};
use faro::event::{Credit, EventType, Mark, MatchedEvent, Outlet};
use faro::informer::Limits;
use faro::sim::{Fault as SimFault, Faults};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// One way to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutation {
    /// Whoever says 404 is believed, and all that was known is told as deleted.
    BelievesANotFound,
    /// Some `DELETED` are never told.
    ForgetsADelete,
    /// Where its kind had no namespaces for a while, an informer asks for all of them from then on, and tells what comes.
    ForgetsItsNamespace,
    /// A relist is not compared with what was known: no `DELETED` is inferred.
    ForgetsWhatAListLacks,
    /// After a bookmark of an older version the watch goes on from there.
    GoesBackWithABookmark,
    /// Of two events that come together the second is not heard.
    HearsOneOfTwo,
    /// A version that the server no longer has is left for the newest one, without a list.
    IgnoresGone,
    /// A line that cannot be read is passed over, and nothing is listed again for it.
    PassesOverUnreadableLines,
    /// A watch goes on behind a version that was never received.
    ResumesFromAWrongVersion,
    /// What should come again is taken to have come, and nothing is asked for it.
    SkipsTheProbe,
    /// No definition of the objects' group is believed to be gone, as if the group were built in.
    SeesNoAbsence,
    /// Two events of one object change places.
    SwapsTwoEvents,
    /// A new object under an old name is told as a change of the old one.
    TakesANamesakeForTheSame,
    /// An object of a list whose metadata cannot be read is taken to be gone.
    TakesUnreadableForGone,
    /// Some events are told again.
    TellsTwice,
    /// A list ends with its first page, and a streaming list where it is cut.
    TrustsHalfAList,
    /// Bytes that say nothing are a sign of life, for as long as they come.
    TrustsHeartbeats,
    /// A streaming list is waited for, however long it does not end.
    WaitsForTheEndOfAList,
}

impl Mutation {
    pub(super) const ALL: [Self; 17] = [
        Self::BelievesANotFound,
        Self::HearsOneOfTwo,
        Self::SeesNoAbsence,
        Self::TakesUnreadableForGone,
        Self::TrustsHeartbeats,
        Self::WaitsForTheEndOfAList,
        Self::ForgetsADelete,
        Self::ForgetsItsNamespace,
        Self::ForgetsWhatAListLacks,
        Self::IgnoresGone,
        Self::PassesOverUnreadableLines,
        Self::ResumesFromAWrongVersion,
        Self::SkipsTheProbe,
        Self::SwapsTwoEvents,
        Self::TakesANamesakeForTheSame,
        Self::TellsTwice,
        Self::TrustsHalfAList,
    ];

    /// Those that few worlds catch, so that many must be lived through: minutes, asked for with `SIM_RARE=1`.
    pub(super) const RARE: [Self; 1] = [Self::GoesBackWithABookmark];

    /// What goes wrong in its worlds: anything, but where other faults would heal what it does to the informer.
    pub(super) fn faults(self, seed: u64) -> Faults {
        match self {
            // Every list would find what a line hid that was passed over.
            Self::PassesOverUnreadableLines => Faults::only(&[SimFault::Cut, SimFault::Garbage]).seed(seed).one_in(2),
            Self::GoesBackWithABookmark => Faults::only(&[SimFault::OldBookmark]).seed(seed).one_in(2),
            Self::HearsOneOfTwo => Faults::only(&[SimFault::GluedEvents]).seed(seed).one_in(2),
            Self::TakesUnreadableForGone => {
                Faults::only(&[SimFault::UnreadableObject, SimFault::Gone, SimFault::Cut]).seed(seed).one_in(2)
            }
            Self::TrustsHeartbeats => Faults::only(&[SimFault::Heartbeats]).seed(seed).one_in(2),
            Self::WaitsForTheEndOfAList => Faults::only(&[SimFault::EndlessList]).seed(seed).one_in(2),
            Self::BelievesANotFound
            | Self::ForgetsADelete
            | Self::ForgetsItsNamespace
            | Self::ForgetsWhatAListLacks
            | Self::IgnoresGone
            | Self::ResumesFromAWrongVersion
            | Self::SeesNoAbsence
            | Self::SkipsTheProbe
            | Self::SwapsTwoEvents
            | Self::TakesANamesakeForTheSame
            | Self::TellsTwice
            | Self::TrustsHalfAList => Faults::seeded(seed),
        }
    }

    /// What happens once in each of its worlds, where little else would show it.
    pub(super) fn fate(self) -> Option<Fate> {
        (self == Self::ForgetsItsNamespace).then_some(Fate::Redefined)
    }

    /// How long the informer waits for what.
    pub(super) fn limits(self, limits: Limits) -> Limits {
        match self {
            Self::TrustsHeartbeats => Limits { silence_margin: FOR_EVER, ..limits },
            Self::WaitsForTheEndOfAList => Limits { initial_events_end: FOR_EVER, ..limits },
            Self::BelievesANotFound
            | Self::ForgetsADelete
            | Self::ForgetsItsNamespace
            | Self::ForgetsWhatAListLacks
            | Self::GoesBackWithABookmark
            | Self::HearsOneOfTwo
            | Self::IgnoresGone
            | Self::PassesOverUnreadableLines
            | Self::ResumesFromAWrongVersion
            | Self::SeesNoAbsence
            | Self::SkipsTheProbe
            | Self::SwapsTwoEvents
            | Self::TakesANamesakeForTheSame
            | Self::TakesUnreadableForGone
            | Self::TellsTwice
            | Self::TrustsHalfAList => limits,
        }
    }

    /// A source that lets the informer hear what it would make of the truth.
    pub(super) fn source(self, source: impl ListWatch + 'static) -> Box<dyn ListWatch> {
        Box::new(Mishearing { mutation: self, source, gone: false, back: None, page: Vec::new(), last: (0, Vec::new()) })
    }

    /// An outlet that tells what a broken informer would.
    pub(super) fn outlet(self, outlet: impl Outlet + 'static, seed: u64) -> Box<dyn Outlet> {
        let random = fastrand::Rng::with_seed(seed);
        Box::new(Misspeaking { mutation: self, outlet, random, held: None, flushes: 0, deleted: HashMap::new() })
    }
}

/// How seldom a mistake is made that could be made with each event.
const MISTAKE_ONE_IN: u8 = 8;

/// No world lasts so long.
const FOR_EVER: Duration = Duration::from_secs(3600);

struct Mishearing<S> {
    mutation: Mutation,
    source: S,
    /// The server said that it no longer has the version.
    gone: bool,
    /// An old bookmark said to go back to here.
    back: Option<ResourceVersion>,
    page: Vec<u8>,
    /// The line that came last, by its version.
    last: (u64, Vec<u8>),
}

impl<S: ListWatch> ListWatch for Mishearing<S> {
    fn list(&mut self, page: &PageRequest<'_>, body: &mut Vec<u8>) -> Result<(), Error> {
        self.source.list(page, body)?;
        if self.mutation == Mutation::TrustsHalfAList {
            // The same bytes under another name: whoever looks for the token finds none.
            let text = String::from_utf8_lossy(body).replace(r#""continue":"#, r#""unheard":"#);
            *body = text.into_bytes();
        }
        if self.mutation == Mutation::TakesUnreadableForGone {
            leave_unreadable_out(body);
        }
        Ok(())
    }

    fn watch(&mut self, start: &WatchStart, timeout: Duration) -> Result<Box<dyn WatchLines + '_>, Error> {
        let start = match (start, self.mutation) {
            (WatchStart::After(version), Mutation::ResumesFromAWrongVersion) => WatchStart::After(next(version)),
            (WatchStart::After(version), Mutation::GoesBackWithABookmark) => {
                WatchStart::After(self.back.take().unwrap_or_else(|| version.clone()))
            }
            (WatchStart::After(_), Mutation::IgnoresGone) if self.gone => WatchStart::After(self.newest()?),
            (WatchStart::After(_) | WatchStart::InitialEvents, _) => start.clone(),
        };
        if let (WatchStart::After(version), Mutation::SkipsTheProbe) = (&start, self.mutation) {
            let is_replay = version.number().is_some_and(|number| number + 1 == self.last.0);
            let start = if is_replay { WatchStart::After(next(version)) } else { start.clone() };
            let lines = self.source.watch(&start, timeout)?;
            return Ok(Box::new(Credulous { lines, last: &mut self.last, is_replay }));
        }
        let half = start == WatchStart::InitialEvents && self.mutation == Mutation::TrustsHalfAList;
        let lines = match self.source.watch(&start, timeout) {
            Ok(lines) => lines,
            Err(error) if self.mutation == Mutation::IgnoresGone && error.fault() == Fault::Expired => {
                self.gone = true;
                return Ok(Box::new(Nothing));
            }
            Err(error) => return Err(error),
        };
        self.gone = false;
        Ok(match self.mutation {
            Mutation::GoesBackWithABookmark => Box::new(Backward { lines, newest: 0, back: &mut self.back }),
            Mutation::HearsOneOfTwo => Box::new(HalfDeaf { lines, line: Vec::new() }),
            Mutation::IgnoresGone => Box::new(DeafToGone { lines, gone: &mut self.gone }),
            Mutation::PassesOverUnreadableLines => Box::new(DeafToGarbage { lines }),
            Mutation::TrustsHalfAList if half => Box::new(Hasty { lines, newest: 0, line: Vec::new(), ended: false }),
            Mutation::BelievesANotFound
            | Mutation::ForgetsADelete
            | Mutation::ForgetsItsNamespace
            | Mutation::ForgetsWhatAListLacks
            | Mutation::ResumesFromAWrongVersion
            | Mutation::SeesNoAbsence
            | Mutation::SkipsTheProbe
            | Mutation::SwapsTwoEvents
            | Mutation::TakesANamesakeForTheSame
            | Mutation::TakesUnreadableForGone
            | Mutation::TellsTwice
            | Mutation::TrustsHalfAList
            | Mutation::TrustsHeartbeats
            | Mutation::WaitsForTheEndOfAList => lines,
        })
    }

    fn lookup(&mut self, proof: Proof) -> Result<Served, Error> {
        match (self.mutation, self.source.lookup(proof)) {
            (Mutation::BelievesANotFound, _) => Ok(Served::Absent),
            (Mutation::SeesNoAbsence, Ok(Served::Absent)) => Ok(Served::Unknown("the group is built in".to_owned())),
            (_, found) => found,
        }
    }

    fn version(&mut self) -> Result<Option<ServerVersion>, Error> {
        self.source.version()
    }

    fn asks_everywhere(&self) -> bool {
        self.mutation != Mutation::ForgetsItsNamespace && self.source.asks_everywhere()
    }

    fn received(&self) -> Arc<AtomicU64> {
        self.source.received()
    }

    fn renew(&mut self) {
        self.source.renew();
    }

    fn interrupter(&self) -> Option<Interrupt> {
        self.source.interrupter()
    }
}

impl<S: ListWatch> Mishearing<S> {
    /// The version of the server's last change.
    fn newest(&mut self) -> Result<ResourceVersion, Error> {
        self.source.list(&PageRequest { limit: 1, token: None }, &mut self.page)?;
        Ok(ListPage::parse(&self.page).unwrap().version)
    }
}

/// One change further than what was received: what came between is never heard of.
fn next(version: &ResourceVersion) -> ResourceVersion {
    let version: u64 = version.as_str().parse().unwrap();
    ResourceVersion::new(&(version + 1).to_string()).unwrap()
}

/// Says itself what the server was asked to say again.
struct Credulous<'a> {
    lines: Box<dyn WatchLines + 'a>,
    last: &'a mut (u64, Vec<u8>),
    is_replay: bool,
}

impl WatchLines for Credulous<'_> {
    fn next(&mut self) -> Result<Line<'_>, Error> {
        if std::mem::take(&mut self.is_replay) {
            return Ok(Line::Whole(&self.last.1));
        }
        let line = self.lines.next()?;
        if let Line::Whole(text) = line
            && let Ok(WatchLine::Object { object, .. }) = WatchLine::parse(text)
        {
            *self.last = (version_of(&object), text.to_vec());
        }
        Ok(line)
    }

    fn past(&mut self, page: &PastPage<'_>, body: &mut Vec<u8>) -> Result<(), Error> {
        self.lines.past(page, body)
    }
}

/// A page without the objects whose uid is no text.
fn leave_unreadable_out(page: &mut Vec<u8>) {
    let Ok(mut list) = serde_json::from_slice::<serde_json::Value>(page) else { return };
    if let Some(items) = list["items"].as_array_mut()
        && items.iter().any(|item| item["metadata"]["uid"].is_number())
    {
        items.retain(|item| !item["metadata"]["uid"].is_number());
        *page = list.to_string().into_bytes();
    }
}

/// Hears an old bookmark, takes it for the newest version, and ends.
struct Backward<'a> {
    lines: Box<dyn WatchLines + 'a>,
    newest: u64,
    back: &'a mut Option<ResourceVersion>,
}

impl WatchLines for Backward<'_> {
    fn next(&mut self) -> Result<Line<'_>, Error> {
        let line = self.lines.next()?;
        if let Line::Whole(text) = line {
            match WatchLine::parse(text) {
                Ok(WatchLine::Object { object, .. }) => self.newest = version_of(&object),
                Ok(WatchLine::Bookmark { version, .. }) if version.number().is_some_and(|number| number < self.newest) => {
                    *self.back = Some(version);
                    return Ok(Line::Partial);
                }
                Ok(WatchLine::Bookmark { .. } | WatchLine::Error(_)) | Err(_) => {}
            }
        }
        Ok(line)
    }

    fn past(&mut self, page: &PastPage<'_>, body: &mut Vec<u8>) -> Result<(), Error> {
        self.lines.past(page, body)
    }
}

/// Passes over the event that is there already when one was read.
struct HalfDeaf<'a> {
    lines: Box<dyn WatchLines + 'a>,
    line: Vec<u8>,
}

impl WatchLines for HalfDeaf<'_> {
    fn next(&mut self) -> Result<Line<'_>, Error> {
        match self.lines.next()? {
            Line::Whole(line) => self.line = line.to_vec(),
            Line::TooLong(bytes) => return Ok(Line::TooLong(bytes)),
            Line::Broken(bytes) => return Ok(Line::Broken(bytes)),
            Line::Partial => return Ok(Line::Partial),
            Line::Quiet => return Ok(Line::Quiet),
            Line::End => return Ok(Line::End),
        }
        if self.lines.is_ready() {
            self.lines.next()?;
        }
        Ok(Line::Whole(&self.line))
    }

    fn past(&mut self, page: &PastPage<'_>, body: &mut Vec<u8>) -> Result<(), Error> {
        self.lines.past(page, body)
    }
}

/// A watch that ends at once.
struct Nothing;

impl WatchLines for Nothing {
    fn next(&mut self) -> Result<Line<'_>, Error> {
        Ok(Line::End)
    }
}

/// Takes the server's word that a version is gone for an end like any other.
struct DeafToGone<'a> {
    lines: Box<dyn WatchLines + 'a>,
    gone: &'a mut bool,
}

impl WatchLines for DeafToGone<'_> {
    fn next(&mut self) -> Result<Line<'_>, Error> {
        let line = self.lines.next()?;
        if matches!(line, Line::Whole(line) if is_gone(line)) {
            *self.gone = true;
            return Ok(Line::End);
        }
        Ok(line)
    }

    fn past(&mut self, page: &PastPage<'_>, body: &mut Vec<u8>) -> Result<(), Error> {
        self.lines.past(page, body)
    }
}

/// Hears nothing of lines that cannot be read.
struct DeafToGarbage<'a> {
    lines: Box<dyn WatchLines + 'a>,
}

impl WatchLines for DeafToGarbage<'_> {
    fn next(&mut self) -> Result<Line<'_>, Error> {
        let line = self.lines.next()?;
        Ok(match line {
            Line::Whole(text) if WatchLine::parse(text).is_err() => Line::Partial,
            Line::TooLong(_) | Line::Broken(_) => Line::Partial,
            Line::Whole(_) | Line::Partial | Line::Quiet | Line::End => line,
        })
    }

    fn past(&mut self, page: &PastPage<'_>, body: &mut Vec<u8>) -> Result<(), Error> {
        self.lines.past(page, body)
    }
}

fn is_gone(line: &[u8]) -> bool {
    matches!(WatchLine::parse(line), Ok(WatchLine::Error(status)) if status.fault(None) == Fault::Expired)
}

/// Takes any end of a streaming list for the end of the list.
struct Hasty<'a> {
    lines: Box<dyn WatchLines + 'a>,
    /// The newest version that came.
    newest: u64,
    line: Vec<u8>,
    ended: bool,
}

impl WatchLines for Hasty<'_> {
    fn next(&mut self) -> Result<Line<'_>, Error> {
        let line = match self.lines.next() {
            Ok(Line::Whole(line)) => line,
            Ok(Line::End) | Err(_) if !self.ended && self.newest > 0 => {
                self.ended = true;
                self.line = end_of_list(self.newest);
                return Ok(Line::Whole(&self.line));
            }
            other => return other,
        };
        match WatchLine::parse(line) {
            Ok(WatchLine::Object { object, .. }) => self.newest = self.newest.max(version_of(&object)),
            Ok(WatchLine::Bookmark { .. }) => self.ended = true,
            Ok(WatchLine::Error(_)) | Err(_) => {}
        }
        Ok(Line::Whole(line))
    }

    fn past(&mut self, page: &PastPage<'_>, body: &mut Vec<u8>) -> Result<(), Error> {
        self.lines.past(page, body)
    }
}

fn version_of(object: &ObjectRef<'_>) -> u64 {
    state(object).1.parse().unwrap()
}

fn end_of_list(version: u64) -> Vec<u8> {
    let annotations = r#"{"k8s.io/initial-events-end":"true"}"#;
    format!(r#"{{"type":"BOOKMARK","object":{{"metadata":{{"resourceVersion":"{version}","annotations":{annotations}}}}}}}"#)
        .into_bytes()
}

struct Misspeaking<O> {
    mutation: Mutation,
    outlet: O,
    random: fastrand::Rng,
    /// Waits for an event to change places with.
    held: Option<MatchedEvent>,
    /// How often since then nothing more came for the time being.
    flushes: u8,
    /// Not told so far, by object.
    deleted: HashMap<String, MatchedEvent>,
}

impl<O: Outlet> Outlet for Misspeaking<O> {
    fn wait_for_credit(&mut self, limit: Duration) -> Credit {
        self.outlet.wait_for_credit(limit)
    }

    fn send(&mut self, mut event: MatchedEvent) {
        let is_delete = event.event_type == EventType::Deleted;
        let errs = self.random.u8(0..MISTAKE_ONE_IN) == 0;
        match self.mutation {
            Mutation::ForgetsADelete if is_delete && errs => {}
            Mutation::ForgetsWhatAListLacks if is_delete && event.inferred => {}
            Mutation::SwapsTwoEvents => self.swap(event),
            Mutation::TakesANamesakeForTheSame => {
                let key = key(&event.metadata());
                if is_delete {
                    self.deleted.insert(key, event);
                } else {
                    if self.deleted.remove(&key).is_some() {
                        event.event_type = EventType::Updated;
                    }
                    self.outlet.send(event);
                }
            }
            Mutation::TellsTwice if errs => {
                self.outlet.send(event.clone());
                self.outlet.send(event);
            }
            Mutation::BelievesANotFound
            | Mutation::ForgetsADelete
            | Mutation::ForgetsItsNamespace
            | Mutation::ForgetsWhatAListLacks
            | Mutation::GoesBackWithABookmark
            | Mutation::HearsOneOfTwo
            | Mutation::IgnoresGone
            | Mutation::PassesOverUnreadableLines
            | Mutation::ResumesFromAWrongVersion
            | Mutation::SeesNoAbsence
            | Mutation::SkipsTheProbe
            | Mutation::TakesUnreadableForGone
            | Mutation::TellsTwice
            | Mutation::TrustsHalfAList
            | Mutation::TrustsHeartbeats
            | Mutation::WaitsForTheEndOfAList => self.outlet.send(event),
        }
    }

    fn mark(&mut self, mark: Mark) {
        self.outlet.mark(mark);
    }

    /// Whatever waited for its like in vain is told after all.
    fn flush(&mut self) {
        self.flushes = self.flushes.saturating_add(1);
        let held = if self.flushes > FLUSHES_HELD { self.held.take() } else { None };
        held.into_iter().chain(self.deleted.drain().map(|(_, event)| event)).for_each(|event| self.outlet.send(event));
        self.outlet.flush();
    }
}

impl<O: Outlet> Misspeaking<O> {
    fn swap(&mut self, event: MatchedEvent) {
        match self.held.take() {
            Some(held) if key(&held.metadata()) == key(&event.metadata()) => {
                self.outlet.send(event);
                self.outlet.send(held);
            }
            held => {
                held.into_iter().for_each(|held| self.outlet.send(held));
                (self.held, self.flushes) = (Some(event), 0);
            }
        }
    }
}

/// An event that changes places is held for so long: the next one seldom comes with the same read.
const FLUSHES_HELD: u8 = 3;
