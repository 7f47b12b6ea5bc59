//! Where lines are: logical positions of this run, and the files they lie in.
//!
//! The writer begins files and publishes how far it is; the checkpoint asks which file a position lies in, and says what
//! nobody will ask for any more.

use crate::api::FilePosition;
use crate::files::FileName;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How much this run has written: the bytes of all lines before a place, over all files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// This run's files, from the oldest that is still asked for.
#[derive(Debug)]
pub(super) struct Positions {
    /// Somebody asks for places, and says what they will not ask for any more.
    is_asked: bool,
    /// Each with the position of its first byte.
    files: Mutex<VecDeque<(FileName, u64)>>,
    /// Everything before it is written and completed.
    written: AtomicU64,
}

impl Positions {
    pub(super) fn new(is_asked: bool) -> Self {
        Self { is_asked, files: Mutex::default(), written: AtomicU64::new(0) }
    }

    /// A file begins, whose first byte is at `start`. What was to lie in the file before from there on does not.
    pub(super) fn begin(&self, name: FileName, start: u64) {
        let mut files = self.files();
        if !self.is_asked {
            files.clear();
        }
        files.push_back((name, start));
    }

    pub(super) fn publish(&self, written: u64) {
        self.written.store(written, Ordering::Release);
    }

    pub(super) fn written(&self) -> Position {
        Position(self.written.load(Ordering::Acquire))
    }

    /// The place of a position that was not forgotten; `None` where no file is written.
    pub(super) fn locate(&self, position: Position) -> Option<FilePosition> {
        let files = self.files();
        let (name, start) = files.iter().rev().find(|(_, start)| *start <= position.0).or(files.front())?;
        Some(FilePosition { file: name.to_string(), offset: position.0.saturating_sub(*start) })
    }

    /// Nobody asks for what lies in files before `first`.
    pub(super) fn forget_before(&self, first: &FileName) {
        let mut files = self.files();
        while files.len() > 1 && files[0].0.is_before(first) {
            files.pop_front();
        }
    }

    fn files(&self) -> MutexGuard<'_, VecDeque<(FileName, u64)>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_found_in_its_file_until_it_is_forgotten() {
        let positions = Positions::new(true);
        assert_eq!(positions.locate(Position(0)), None);
        let names = [0, 1, 2].map(|second| FileName::parse(&format!("events-20251110-14330{second}.json")).unwrap());
        // The second is begun anew, as after a sync that failed, at a place that the first had reached.
        for (name, start) in names.into_iter().zip([0, 100, 250]) {
            positions.begin(name, start);
        }
        let check = |position, file: usize, offset| {
            let expected = FilePosition { file: names[file].to_string(), offset };
            assert_eq!(positions.locate(Position(position)), Some(expected), "{position}");
        };
        check(0, 0, 0);
        check(99, 0, 99);
        check(100, 1, 0);
        check(250, 2, 0);
        check(900, 2, 650);
        positions.forget_before(&names[1]);
        check(120, 1, 20);
        positions.forget_before(&FileName::parse("events-29990101-000000.json").unwrap());
        check(260, 2, 10);
        let unasked = Positions::new(false);
        names.iter().for_each(|name| unasked.begin(*name, 0));
        assert_eq!(unasked.files().len(), 1);
    }
}
