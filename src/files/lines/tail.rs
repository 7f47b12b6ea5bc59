//! Where the last so many lines begin: found from the newest file backwards, without reading what lies before them.
//!
//! Only places are remembered, never lines. A plain file is read in growing pieces from its end; a compressed one as a whole.

use super::Lines;
use super::cursor::{Cursor, Step};
use crate::config::Compression;
use crate::files::FileName;
use std::collections::VecDeque;
use std::fs;
use std::io;

/// How much of a file's end is looked at first. Room for a hundred usual lines.
const FIRST_BYTES: u64 = 64 * 1024;

/// How much more is looked at next: so that looking again costs little beside the last look.
const GROWTH: u64 = 16;

impl Lines {
    /// Goes to where the last `count` lines begin that `passes` takes, of those that are there now. With a `count` of 0 only what is
    /// written from now on comes. To be called before the first [`next`](Self::next); in between come lines that `passes` does
    /// not take, too.
    ///
    /// # Blocking
    ///
    /// While the ends of the files are read, as far back as so many lines are found.
    pub fn seek_last(&mut self, count: usize, mut passes: impl FnMut(&[u8]) -> bool) {
        let mut missing = count;
        for index in (0..self.queue.len()).rev() {
            // What is damaged or gone is told when it is read.
            let Ok(found) = self.last_in(self.queue[index], missing, &mut passes) else { continue };
            if found.places.len() == missing {
                self.queue.drain(..index);
                self.skip = found.places.front().copied().unwrap_or(found.end);
                return;
            }
            missing -= found.places.len();
        }
    }

    /// The last lines of a file that pass, `count` at most.
    fn last_in(&self, name: FileName, count: usize, passes: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<Last> {
        let is_plain = name.compression() == Compression::None;
        let length = || fs::metadata(self.folder.join(name.to_string())).map_or(0, |metadata| metadata.len());
        let bytes = if is_plain { length() } else { 0 };
        let mut wanted = FIRST_BYTES;
        loop {
            let begin = bytes.saturating_sub(wanted);
            let Some(mut file) = self.open_file(name, begin.saturating_sub(1))? else { return Ok(Last::default()) };
            let last = Last::read(&mut file.cursor, begin > 0, count, passes);
            if begin == 0 || (last.is_any_line && last.places.len() == count) {
                return Ok(last);
            }
            wanted *= GROWTH;
        }
    }
}

/// The last lines of a part of a file.
#[derive(Default)]
struct Last {
    /// Where each of those begins that pass.
    places: VecDeque<u64>,
    /// Where the last whole line ends.
    end: u64,
    is_any_line: bool,
}

impl Last {
    /// Reads to the end; the first line is left out where it may lack its begin.
    fn read(cursor: &mut Cursor, is_cut: bool, count: usize, passes: &mut dyn FnMut(&[u8]) -> bool) -> Self {
        let mut last = Self { end: cursor.at(), ..Self::default() };
        let mut is_cut = is_cut;
        loop {
            match cursor.next() {
                Ok(Step::Line(line)) => {
                    last.is_any_line = true;
                    last.end = cursor.at();
                    let begin = last.end - line.len() as u64;
                    if !std::mem::take(&mut is_cut) && count > 0 && passes(cursor.bytes(line)) {
                        if last.places.len() == count {
                            last.places.pop_front();
                        }
                        last.places.push_back(begin);
                    }
                }
                // The end of such a line does not come as a line.
                Ok(Step::TooLong) => is_cut = false,
                Ok(Step::End { .. }) | Err(_) => return last,
            }
        }
    }
}
