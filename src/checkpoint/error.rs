//! What can go wrong with the state, and the way out.

use std::io;
use std::path::PathBuf;

/// Why the state cannot be used. Texts name the file and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The state's folder cannot be made.
    #[error("cannot make the state folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The lock file cannot be made, written or locked.
    #[error("cannot lock the state folder with {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process uses the folder.
    #[error("state folder {} is in use by {holder}; stop it, or give this one its own state.dir", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// Who, as in `faro on web-1, pid 7, since 2025-11-10T14:33:02Z`.
        holder: String,
    },
    /// The folder, or files of it, were removed while this process used them. The next commit makes them again.
    #[error("the state folder {} was removed, or files of it; it is made again from what is still open", folder.display())]
    Removed {
        /// The folder.
        folder: PathBuf,
    },
    /// While this process used the file, another took its place.
    #[error("another file has taken the place of the state file {} while faro ran; start faro again, which goes on from what is there", path.display())]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// The file was never whole, was changed by something else, or is not ours.
    #[error("the state file {} is damaged ({reason}): restore it from a copy, or {RESET}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The file is of a format that this version does not know.
    #[error("the state file {} is of format {found}, and this faro knows format {known}: run the faro that wrote it, or {RESET}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What the file says.
        found: String,
        /// What this version knows.
        known: &'static str,
    },
    /// There is a file, and it cannot be opened or read.
    #[error("cannot open the state file {}: let this user read and write it, free the disk, restore it, or {RESET}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no file yet, and none can be made.
    #[error("cannot create the state file {}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A commit did not come to its end; whether it is in the file shows when the file is next opened.
    #[error("cannot write the state file {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is closed since a commit failed; the next commit opens it.
    #[error("the state file {} is closed since a commit failed: commit again before reading", path.display())]
    Closed {
        /// The file.
        path: PathBuf,
    },
    /// The key of what is redacted cannot be read or made.
    #[error("cannot use the key in {}; restore it, or remove it, after which every digest is another one", path.display())]
    RedactKey {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The state cannot be removed.
    #[error("cannot remove the state file {}", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// This build keeps no state.
    #[error("{}", crate::config::lacks("state", "say `state: {enabled: false}`"))]
    Absent,
}

/// The way out that is always there.
const RESET: &str = "start with --reset-state, which forgets what was told and tells everything anew";

impl StateError {
    /// Whether the same call may succeed later without anyone touching the file: a disk that is full or away comes back.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Open { .. } | Self::Create { .. } | Self::Write { .. } | Self::Closed { .. } => true,
            Self::Folder { .. } | Self::Lock { .. } | Self::Remove { .. } | Self::Removed { .. } => true,
            Self::RedactKey { .. } => false,
            Self::InUse { .. } | Self::Replaced { .. } | Self::Damaged { .. } | Self::Format { .. } | Self::Absent => false,
        }
    }
}
