//! What can go wrong between a line and its disk, and what to do about it.

use std::io;
use std::path::PathBuf;

/// What a sink cannot do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// No events file can be made.
    #[error("cannot create an events file in {}; make it writable for the user that runs faro, or choose another output_dir", folder.display())]
    Create {
        /// The folder.
        folder: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Standard output is closed, or cannot be written.
    #[error("cannot write events to standard output: {reason}; open it for writing, or leave out --stdout and json_stdout")]
    NoStandardOutput {
        /// What is wrong with it.
        reason: String,
    },
    /// Standard output was closed by whoever read it.
    #[error("cannot write events to standard output; its reader must live as long as faro does")]
    StandardOutput {
        /// What the operating system says.
        source: io::Error,
    },
    /// A disk failed to keep lines that it had taken.
    #[error("cannot tell which lines of {} are on the disk, because it failed and they cannot be read back; start faro again: what its checkpoint does not hold is told again", path.display())]
    Lost {
        /// The file.
        path: PathBuf,
        /// Why they cannot be read back.
        source: io::Error,
    },
    /// What an earlier run wrote cannot be read back.
    #[error("cannot go on from the events in {}; make them readable and writable for the user that runs faro", path.display())]
    Recover {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// This build writes no lines.
    #[error("{}", crate::config::lacks("export", "say `json_export: false` and leave `json_stdout` out"))]
    Absent,
    /// The writing thread cannot be started.
    #[error("cannot start the thread that writes events")]
    Thread {
        /// What the operating system says.
        source: io::Error,
    },
}
