//! Reads a page of a list as it comes, with no more of it in memory than its window.
//!
//! Takes an open page; gives each object to whoever looks at it, the end, or why there is none.

use super::Context;
use super::gate::{ListGate, Wide};
use super::handover::{Halt, Patience};
use crate::api::{DecodeError, ObjectRef};
use crate::client::{Error, PageItem, PageReader};
use crate::health::Pulse;
use crate::lifecycle::Stop;
use std::time::Duration;

/// Why a page was not read to its end.
#[derive(Debug)]
pub(super) enum Broken {
    /// It failed.
    Failed(Error),
    /// Whoever looks at it wants no more of it.
    Halted(Halt),
}

/// How far a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageStep {
    /// The objects begin.
    Front,
    /// It goes on.
    Onward,
    /// It has come whole.
    End,
}

/// A page that is being read.
pub(super) struct Paging<'a> {
    pub(super) reader: PageReader<'a>,
    gate: ListGate,
    stop: Stop,
    pulse: Pulse,
    /// Held while the window is wider than those of others.
    wide: Option<Wide>,
}

/// For so long a server may wait with the rest of a page while its objects are handed over. API servers end a request after 60 s.
const UNREAD_MAX: Duration = Duration::from_secs(30);

impl<'a> Paging<'a> {
    pub(super) fn new(reader: PageReader<'a>, context: &Context) -> Self {
        let (gate, stop, pulse) = (context.gate.clone(), context.stop.clone(), context.pulse.clone());
        Self { reader, gate, stop, pulse, wide: None }
    }

    /// What comes next; an object is given to `look`, with how long it may wait.
    ///
    /// # Errors
    ///
    /// As the page fails, and as `look` does.
    pub(super) fn next(
        &mut self,
        look: impl FnOnce(&Result<ObjectRef<'_>, DecodeError>, Patience) -> Result<(), Halt>,
    ) -> Result<PageStep, Broken> {
        // The rest of the page keeps its server waiting, and a large object other lists.
        let unread = self.reader.unread_for();
        if unread.is_some_and(|unread| unread > UNREAD_MAX) {
            return Err(Broken::Halted(Halt::Slow));
        }
        let patience = if unread.is_some() || self.wide.is_some() { Patience::Limited } else { Patience::Unlimited };
        self.pulse.waiting();
        let item = self.reader.next_item();
        self.pulse.working();
        match item.map_err(Broken::Failed)? {
            PageItem::Front => return Ok(PageStep::Front),
            PageItem::End => return Ok(PageStep::End),
            PageItem::Wide => {
                self.widen()?;
                return Ok(PageStep::Onward);
            }
            PageItem::Object(object) => look(&object, patience).map_err(Broken::Halted)?,
        }
        if self.wide.is_some() {
            self.reader.narrow();
            self.wide = None;
        }
        Ok(PageStep::Onward)
    }

    fn widen(&mut self) -> Result<(), Broken> {
        if self.wide.is_none() {
            self.pulse.waiting();
            self.wide = Some(self.gate.widen(&self.stop).ok_or(Broken::Halted(Halt::Stop))?);
            self.pulse.working();
        }
        self.reader.widen();
        Ok(())
    }
}
