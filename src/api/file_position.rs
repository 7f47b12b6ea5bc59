//! A place in the events files: which file, and how far into it.
//!
//! Everything before the place was written before it: names of events files sort by age.

use std::fmt;

/// A place between two lines of the events files. The older of two is the lesser.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FilePosition {
    /// The file's name in its folder; empty before the first file.
    pub file: String,
    /// Bytes from the file's begin.
    pub offset: u64,
}

impl fmt::Display for FilePosition {
    /// `events-20251110-143302.json at byte 81723`, for log lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.file, self.offset)
    }
}
