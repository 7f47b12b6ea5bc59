//! Whether events of one watch may still be told: the calls and exports that are under way, and whether the watch was removed.
//!
//! All of it is one word, so that no call begins after a removal that did not see it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Calls in the low half, exports in the high one, and the mark of a removed watch above both.
#[derive(Debug, Default)]
pub(super) struct Flow(AtomicU64);

const CALL: u64 = 1;

/// Calls are at most as many as lanes of all subscriptions, exports at most as many as credits: neither half overflows.
const EXPORT: u64 = 1 << 32;

const RETIRED: u64 = 1 << 63;

/// What ends may be waited for: the watch was removed meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) struct Awaited(pub(super) bool);

/// Why something does not begin: the watch was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Retired;

impl Flow {
    pub(super) fn is_retired(&self) -> bool {
        self.0.load(Ordering::Acquire) & RETIRED != 0
    }

    /// From here on nothing begins.
    pub(super) fn retire(&self) {
        self.0.fetch_or(RETIRED, Ordering::AcqRel);
    }

    /// An event is about to be given to a handler.
    pub(super) fn begin_call(&self) -> Result<(), Retired> {
        self.begin(CALL)
    }

    /// An event is about to be given to the export: the call lasts until that has it, the export until it was accepted.
    pub(super) fn begin_call_and_export(&self) -> Result<(), Retired> {
        self.begin(CALL + EXPORT)
    }

    /// What begins too late is taken back; who waits meanwhile is told by whoever gets the refusal.
    fn begin(&self, what: u64) -> Result<(), Retired> {
        if self.0.fetch_add(what, Ordering::AcqRel) & RETIRED == 0 {
            return Ok(());
        }
        self.0.fetch_sub(what, Ordering::AcqRel);
        Err(Retired)
    }

    pub(super) fn end_call(&self) -> Awaited {
        self.end(CALL)
    }

    pub(super) fn end_exports(&self, exports: u64) -> Awaited {
        self.end(exports * EXPORT)
    }

    fn end(&self, what: u64) -> Awaited {
        Awaited(self.0.fetch_sub(what, Ordering::AcqRel) & RETIRED != 0)
    }

    /// How many events are with handlers.
    pub(super) fn calls(&self) -> u64 {
        self.0.load(Ordering::Acquire) & (EXPORT - 1)
    }

    /// How many events are with the export.
    pub(super) fn exports(&self) -> u64 {
        (self.0.load(Ordering::Acquire) & !RETIRED) / EXPORT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_under_way_ends_and_nothing_begins_once_the_watch_is_removed() {
        let flow = Flow::default();
        assert_eq!((flow.begin_call(), flow.begin_call(), flow.begin_call_and_export()), (Ok(()), Ok(()), Ok(())));
        assert_eq!((flow.end_call(), flow.begin_call_and_export(), flow.end_call()), (Awaited(false), Ok(()), Awaited(false)));
        assert_eq!(flow.end_call(), Awaited(false));
        assert_eq!((flow.calls(), flow.exports(), flow.is_retired()), (1, 2, false));
        flow.retire();
        assert_eq!(flow.begin_call(), Err(Retired));
        assert_eq!(flow.begin_call_and_export(), Err(Retired));
        assert_eq!((flow.calls(), flow.exports(), flow.is_retired()), (1, 2, true));
        assert_eq!((flow.end_exports(2), flow.end_call()), (Awaited(true), Awaited(true)));
        assert_eq!((flow.calls(), flow.exports()), (0, 0));
    }
}
