//! The proof by the past: what a server had at a version, against what was told up to it.
//!
//! Takes the version to resume from; opens a watch there and leaves it unread, so that nothing after it is lost, while pages of
//! the past are compared with the store. Reads the watch where they are the same.

use super::listing::{LastList, METADATA_LIST_KIND, acquire_permit};
use super::peeked::Peeked;
use super::{Driver, Outcome};
use crate::api::{Anchor, Fault, ResourceVersion, WatchLine};
use crate::client::{Error, PastPage, WatchLines, WatchStart};
use crate::informer::cluster_check::Identified;
use crate::informer::gate::Turn;
use crate::informer::handover::Halt;
use crate::informer::machine::{Close, Comparison, Input, Line as Heard};
use crate::informer::page_trail::PageTrail;
use crate::informer::paging::{Broken, PageStep, Paging};
use crate::informer::report::Report;
use crate::informer::stream::{Asked, Reading, Stream};
use crate::informer::teller::{Past, Teller};

/// Objects on a page, unless they turn out too large; as of any list.
const PAGE_LIMIT: u32 = 500;

/// How much smaller a page becomes when its answer was too long.
const PAGE_SHRINK: u32 = 10;

/// What opening a watch and comparing its past came to.
enum Compared {
    /// The server ended the watch before it had begun.
    Refused(Fault),
    /// The past is what was told, and the watch was read.
    Same(Reading),
    /// The past does not prove the history.
    Not(Comparison),
    /// Faro stops, or the server is another cluster's.
    Stopped,
}

impl Driver {
    /// `newest` is the newest event up to `version`, where there was one.
    pub(super) fn compare(&mut self, version: &ResourceVersion, newest: Option<&Anchor>) -> Outcome {
        if self.teller.is_ahead() {
            return Outcome::Happened(Input::Compared(Comparison::Ahead));
        }
        let asked = self.asked();
        let at = asked.at;
        let compared = self.open_and_compare(version, newest, asked);
        self.teller.out.permit = None;
        Outcome::Happened(match compared {
            Ok(Compared::Same(reading)) => return Outcome::Next(self.have_read(reading)),
            Ok(Compared::Not(comparison)) => {
                self.suspicion.grave();
                self.last_list = if matches!(comparison, Comparison::Failed(_)) { LastList::Failed } else { LastList::Sound };
                Input::Compared(comparison)
            }
            Ok(Compared::Refused(fault)) => {
                self.suspicion.grave();
                if fault == Fault::Expired {
                    self.source.renew();
                }
                Input::Close(Close::Error(fault))
            }
            Ok(Compared::Stopped) => Input::Stop,
            Err(error) => self.not_opened(&error, None, at, None),
        })
    }

    fn open_and_compare(&mut self, version: &ResourceVersion, newest: Option<&Anchor>, asked: Asked) -> Result<Compared, Error> {
        let entrant = self.entrant(Turn::Live);
        self.teller.out.context.pulse.waiting();
        let opened = self.source.watch(&WatchStart::After(version.clone()), asked.timeout).and_then(Peeked::of);
        self.teller.out.context.pulse.working();
        let mut lines = opened?;
        if let Some(fault) = refusal(&lines, &mut self.report) {
            return Ok(Compared::Refused(fault));
        }
        match self.suspicion.clear(&self.teller.out.context, &mut self.report) {
            Identified::Same => {}
            Identified::Other => return Ok(Compared::Stopped),
            Identified::Unknown(error) => return Err(error),
        }
        self.report.answered();
        // Not before: a silent watch is looked at for seconds, in which others may list.
        if !acquire_permit(&mut self.teller.out, entrant) {
            return Ok(Compared::Stopped);
        }
        if let Err(comparison) = compare_pages(&mut lines, (version, newest), &mut self.teller, &mut self.report) {
            return Ok(Compared::Not(comparison));
        }
        self.teller.out.permit = None;
        self.report.watching();
        let stream = Stream::new(Box::new(lines), asked, &mut self.machine, &mut self.teller, &mut self.report);
        Ok(Compared::Same(stream.read(Heard::Compared)))
    }
}

/// Whether everything that was there at `version` is what was told, where `newest` was the newest event.
fn compare_pages(
    lines: &mut Peeked<'_>,
    (version, newest): (&ResourceVersion, Option<&Anchor>),
    teller: &mut Teller,
    report: &mut Report,
) -> Result<(), Comparison> {
    let beyond = teller.begin_comparison();
    let (mut limit, mut token, mut trail) = (PAGE_LIMIT, None::<String>, PageTrail::default());
    loop {
        if teller.out.context.stop.is_requested() {
            return Err(Comparison::Failed(Fault::Stopped));
        }
        teller.out.context.pulse.waiting();
        let answer = lines.past(&PastPage { version, limit, token: token.as_deref() });
        teller.out.context.pulse.working();
        let compared = answer.map_err(Unlike::Failed).and_then(|reader| {
            let mut page = Paging::new(reader, &teller.out.context);
            let compared = compare_page(&mut page, version, teller, Past { newest, is_metadata: false, beyond: &beyond });
            teller.out.context.metrics.bytes_received(page.reader.bytes_received());
            compared?;
            trail.follow(&page.reader).map_err(|why| Unlike::Unreadable(why.to_owned()))?;
            Ok(page.reader.next_page().map(str::to_owned))
        });
        match compared {
            Ok(Some(next)) => token = Some(next),
            Ok(None) => break,
            Err(Unlike::Failed(error)) => {
                let fault = error.fault();
                if fault == Fault::TooLong && limit > 1 {
                    limit = (limit / PAGE_SHRINK).max(1);
                    continue;
                }
                report.failed(&error);
                return Err(Comparison::Failed(fault));
            }
            Err(Unlike::Stopped) => return Err(Comparison::Failed(Fault::Stopped)),
            Err(Unlike::Unreadable(why)) => {
                report.ended(format!("the list of the past cannot be read: {why}"));
                return Err(Comparison::Failed(Fault::Undecodable));
            }
            Err(Unlike::OtherVersion(other)) => {
                report.ended(format!("asked what was there at version {version}, the server answered with version {other}"));
                return Err(Comparison::OtherVersion);
            }
            Err(Unlike::Different(difference)) => {
                report.ended(format!("at version {version} the server had {difference}"));
                return Err(Comparison::Different);
            }
        }
    }
    match teller.missing_from_comparison(&beyond) {
        0 => Ok(()),
        missing => {
            report.ended(format!("at version {version} the server did not have {missing} of the objects that were told"));
            Err(Comparison::Different)
        }
    }
}

/// Why a page of the past does not prove anything.
enum Unlike {
    /// It did not come, or not whole.
    Failed(Error),
    /// It cannot be read, and why.
    Unreadable(String),
    /// It is of this version.
    OtherVersion(ResourceVersion),
    /// It holds this, which was not told.
    Different(String),
    /// Faro stops.
    Stopped,
}

impl From<Broken> for Unlike {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Failed(Error::Undecodable { reason, .. }) => Self::Unreadable(reason),
            Broken::Failed(error) => Self::Failed(error),
            // Looking at an object waits for nobody.
            Broken::Halted(Halt::Stop | Halt::Slow) => Self::Stopped,
        }
    }
}

fn compare_page(page: &mut Paging<'_>, version: &ResourceVersion, teller: &mut Teller, mut past: Past<'_>) -> Result<(), Unlike> {
    loop {
        let mut difference = None;
        let step = page.next(|object, _| {
            difference = teller.difference(object, past);
            Ok(())
        })?;
        if step == PageStep::Front {
            past.is_metadata = page.reader.kind() == Some(METADATA_LIST_KIND);
        }
        if let (PageStep::Front | PageStep::End, Some(other)) = (step, page.reader.version())
            && other != version
        {
            return Err(Unlike::OtherVersion(other.clone()));
        }
        if let Some(difference) = difference {
            return Err(Unlike::Different(difference));
        }
        if step == PageStep::End {
            return Ok(());
        }
    }
}

/// Why the server ends the watch before it has begun.
fn refusal(lines: &Peeked<'_>, report: &mut Report) -> Option<Fault> {
    let Ok(WatchLine::Error(status)) = WatchLine::parse(lines.first()) else { return None };
    report.error_line(&status);
    Some(status.fault(None))
}
