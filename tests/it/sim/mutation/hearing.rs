//! Informers that hear something else than the server says.

use super::Mutation;
use crate::sim::told::state;
use faro::api::{Fault, ListPage, ObjectRef, ResourceVersion, WatchLine};
use faro::client::{
    Error, Interrupt, Line, ListWatch, PageReader, PageRequest, PastPage, Proof, Served, ServerVersion, WatchLines, WatchStart,
};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// A source that says something else than the server does.
pub(super) struct Mishearing<S> {
    mutation: Mutation,
    source: S,
    /// The server said that it no longer has the version.
    gone: bool,
    /// An old bookmark said to go back to here.
    back: Option<ResourceVersion>,
    /// The line that came last, by its version.
    last: (u64, Vec<u8>),
    /// The versions of the first and the last page of the list that came last.
    pages: Option<(ResourceVersion, ResourceVersion)>,
}

impl<S> Mishearing<S> {
    pub(super) fn new(mutation: Mutation, source: S) -> Self {
        Self { mutation, source, gone: false, back: None, last: (0, Vec::new()), pages: None }
    }
}

impl<S: ListWatch> ListWatch for Mishearing<S> {
    fn list(&mut self, page: &PageRequest<'_>) -> Result<PageReader<'_>, Error> {
        let mut body = self.source.list(page)?.into_body()?;
        if self.mutation == Mutation::TrustsHalfAList {
            // The same bytes under another name: whoever looks for the token finds none.
            let text = String::from_utf8_lossy(&body).replace(r#""continue":"#, r#""unheard":"#);
            body = text.into_bytes();
        }
        if self.mutation == Mutation::TrustsTheLastPage
            && let Ok(ListPage { version, .. }) = ListPage::parse(&body)
        {
            let first = self.pages.take().filter(|_| page.token.is_some()).map(|(first, _)| first);
            self.pages = Some((first.unwrap_or_else(|| version.clone()), version));
        }
        if self.mutation == Mutation::TakesUnreadableForGone {
            leave_unreadable_out(&mut body);
        }
        Ok(PageReader::of(body))
    }

    fn watch(&mut self, start: &WatchStart, timeout: Duration) -> Result<Box<dyn WatchLines + '_>, Error> {
        let start = match (start, self.mutation) {
            (WatchStart::After(version), Mutation::ResumesFromAWrongVersion) => WatchStart::After(next(version)),
            (WatchStart::After(version), Mutation::GoesBackWithABookmark) => {
                WatchStart::After(self.back.take().unwrap_or_else(|| version.clone()))
            }
            (WatchStart::After(_), Mutation::IgnoresGone) if self.gone => WatchStart::After(self.newest()?),
            (WatchStart::After(version), Mutation::TrustsTheLastPage) => {
                let pages = self.pages.take().filter(|(first, _)| first == version);
                WatchStart::After(pages.map_or_else(|| version.clone(), |(_, last)| last))
            }
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
            | Mutation::TrustsAnotherCluster
            | Mutation::TrustsHeartbeats
            | Mutation::TrustsTheLastPage
            | Mutation::TrustsTheNewestListed
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
        let page = self.source.list(&PageRequest { limit: 1, token: None })?.into_body()?;
        Ok(ListPage::parse(&page).unwrap().version)
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

    fn past(&mut self, page: &PastPage<'_>) -> Result<PageReader<'_>, Error> {
        self.lines.past(page)
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

    fn past(&mut self, page: &PastPage<'_>) -> Result<PageReader<'_>, Error> {
        self.lines.past(page)
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

    fn past(&mut self, page: &PastPage<'_>) -> Result<PageReader<'_>, Error> {
        self.lines.past(page)
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

    fn past(&mut self, page: &PastPage<'_>) -> Result<PageReader<'_>, Error> {
        self.lines.past(page)
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

    fn past(&mut self, page: &PastPage<'_>) -> Result<PageReader<'_>, Error> {
        self.lines.past(page)
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

    fn past(&mut self, page: &PastPage<'_>) -> Result<PageReader<'_>, Error> {
        self.lines.past(page)
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
