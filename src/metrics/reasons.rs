//! Why a watch was opened again, and why everything was listed again: the closed sets of the label `reason`.

/// Why a watch was opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RestartReason {
    /// It lasted its time: the server ended it, or Faro where the server did not.
    Ended,
    /// The connection could not be made, or broke at once.
    Connection,
    /// The connection broke after the watch had lasted or brought something, as proxies do.
    Cut,
    /// No event, bookmark or end for longer than allowed.
    Silent,
    /// The receivers were busy for too long; Faro closed it.
    Slow,
    /// The server answered with an error.
    Error,
    /// A bookmark came from before what the watch had come to.
    OldBookmark,
}

/// Why everything is listed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RelistReason {
    /// The server no longer has the version (410).
    Expired,
    /// The server does not show that it still has the history that was told.
    Unproven,
    /// The server has another history than the one that was told, as after a restore from a backup.
    OtherHistory,
    /// The watch ended at once, or with an error, again and again from the same version.
    Stuck,
    /// An event could not be read, so a change may have been missed.
    Dirty,
    /// The list itself was interrupted.
    Interrupted,
    /// The kind was gone and came back, or was forbidden and is allowed again.
    Returned,
}

impl RestartReason {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 7] =
        [Self::Ended, Self::Connection, Self::Cut, Self::Silent, Self::Slow, Self::Error, Self::OldBookmark];

    /// The value of the label `reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Connection => "connection",
            Self::Cut => "cut",
            Self::Silent => "silent",
            Self::Slow => "slow",
            Self::Error => "error",
            Self::OldBookmark => "old_bookmark",
        }
    }
}

impl RelistReason {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 7] =
        [Self::Expired, Self::Unproven, Self::OtherHistory, Self::Stuck, Self::Dirty, Self::Interrupted, Self::Returned];

    /// The value of the label `reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Unproven => "unproven",
            Self::OtherHistory => "other_history",
            Self::Stuck => "stuck",
            Self::Dirty => "dirty",
            Self::Interrupted => "interrupted",
            Self::Returned => "returned",
        }
    }
}
