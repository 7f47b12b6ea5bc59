//! Informers that are broken on purpose, each in one way, to see that the law catches them.
//!
//! Breaks what stands around a real informer: what it hears from the server, or what it says to its receiver.

mod hearing;
mod speaking;

use super::world::Fate;
use faro::client::ListWatch;
use faro::event::Outlet;
use faro::informer::{Limits, Resume};
use faro::sim::{Fault as SimFault, Faults};
use hearing::Mishearing;
use speaking::Misspeaking;
use std::time::Duration;

/// One way to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mutation {
    /// Whoever says 404 is believed, and all that was known is told as deleted.
    BelievesANotFound,
    /// Some `DELETED` are never told.
    ForgetsADelete,
    /// Where its kind had no namespaces for a while, an informer asks for all of them from then on, and tells what comes.
    ForgetsItsNamespace,
    /// A relist is not compared with what was known: no `DELETED` is inferred.
    ForgetsWhatAListLacks,
    /// After a bookmark of an older version the watch goes on from there.
    GoesBackWithABookmark,
    /// Of two events that come together the second is not heard.
    HearsOneOfTwo,
    /// A version that the server no longer has is left for the newest one, without a list.
    IgnoresGone,
    /// A line that cannot be read is passed over, and nothing is listed again for it.
    PassesOverUnreadableLines,
    /// A watch goes on behind a version that was never received.
    ResumesFromAWrongVersion,
    /// What should come again is taken to have come, and nothing is asked for it.
    SkipsTheProbe,
    /// No definition of the objects' group is believed to be gone, as if the group were built in.
    SeesNoAbsence,
    /// Two events of one object change places.
    SwapsTwoEvents,
    /// A new object under an old name is told as a change of the old one.
    TakesANamesakeForTheSame,
    /// An object of a list whose metadata cannot be read is taken to be gone.
    TakesUnreadableForGone,
    /// Some events are told again.
    TellsTwice,
    /// Nobody asks whose server it is that answers.
    TrustsAnotherCluster,
    /// A list ends with its first page, and a streaming list where it is cut.
    TrustsHalfAList,
    /// Bytes that say nothing are a sign of life, for as long as they come.
    TrustsHeartbeats,
    /// After a list the watch goes on from the version of its last page, not of its first.
    TrustsTheLastPage,
    /// That the newest object of a list comes again proves the history, as if nothing could have been deleted since.
    TrustsTheNewestListed,
    /// A streaming list is waited for, however long it does not end.
    WaitsForTheEndOfAList,
}

impl Mutation {
    pub(super) const ALL: [Self; 21] = [
        Self::BelievesANotFound,
        Self::HearsOneOfTwo,
        Self::SeesNoAbsence,
        Self::TakesUnreadableForGone,
        Self::TrustsHeartbeats,
        Self::WaitsForTheEndOfAList,
        Self::ForgetsADelete,
        Self::ForgetsItsNamespace,
        Self::ForgetsWhatAListLacks,
        Self::GoesBackWithABookmark,
        Self::IgnoresGone,
        Self::PassesOverUnreadableLines,
        Self::ResumesFromAWrongVersion,
        Self::SkipsTheProbe,
        Self::SwapsTwoEvents,
        Self::TakesANamesakeForTheSame,
        Self::TellsTwice,
        Self::TrustsAnotherCluster,
        Self::TrustsHalfAList,
        Self::TrustsTheLastPage,
        Self::TrustsTheNewestListed,
    ];

    /// What goes wrong in its worlds: anything, but where other faults would heal what it does to the informer.
    pub(super) fn faults(self, seed: u64) -> Faults {
        match self {
            // Every list would find what a line hid that was passed over.
            Self::PassesOverUnreadableLines => Faults::only(&[SimFault::Cut, SimFault::Garbage]).seed(seed).one_in(2),
            Self::GoesBackWithABookmark => Faults::only(&[SimFault::OldBookmark]).seed(seed).one_in(2),
            Self::HearsOneOfTwo => Faults::only(&[SimFault::GluedEvents]).seed(seed).one_in(2),
            Self::IgnoresGone => Faults::only(&[SimFault::Gone, SimFault::Cut]).seed(seed).one_in(2),
            Self::TrustsTheLastPage => Faults::only(&[SimFault::NewerPage]).seed(seed).one_in(2),
            Self::TakesUnreadableForGone => {
                Faults::only(&[SimFault::UnreadableObject, SimFault::Gone, SimFault::Cut]).seed(seed).one_in(2)
            }
            Self::TrustsHeartbeats => Faults::only(&[SimFault::Heartbeats]).seed(seed).one_in(2),
            Self::WaitsForTheEndOfAList => Faults::only(&[SimFault::EndlessList]).seed(seed).one_in(2),
            Self::BelievesANotFound
            | Self::ForgetsADelete
            | Self::ForgetsItsNamespace
            | Self::ForgetsWhatAListLacks
            | Self::ResumesFromAWrongVersion
            | Self::SeesNoAbsence
            | Self::SkipsTheProbe
            | Self::SwapsTwoEvents
            | Self::TakesANamesakeForTheSame
            | Self::TellsTwice
            | Self::TrustsAnotherCluster
            | Self::TrustsHalfAList
            | Self::TrustsTheNewestListed => Faults::seeded(seed),
        }
    }

    /// What happens once in each of its worlds, where little else would show it, or too much would hide it.
    pub(super) fn fate(self) -> Option<Fate> {
        match self {
            Self::ForgetsItsNamespace => Some(Fate::Redefined),
            Self::TrustsAnotherCluster => Some(Fate::Another),
            Self::TrustsTheNewestListed => Some(Fate::ListedPast),
            Self::GoesBackWithABookmark | Self::IgnoresGone | Self::TrustsTheLastPage => Some(Fate::Plain),
            Self::BelievesANotFound
            | Self::ForgetsADelete
            | Self::ForgetsWhatAListLacks
            | Self::HearsOneOfTwo
            | Self::PassesOverUnreadableLines
            | Self::ResumesFromAWrongVersion
            | Self::SeesNoAbsence
            | Self::SkipsTheProbe
            | Self::SwapsTwoEvents
            | Self::TakesANamesakeForTheSame
            | Self::TakesUnreadableForGone
            | Self::TellsTwice
            | Self::TrustsHalfAList
            | Self::TrustsHeartbeats
            | Self::WaitsForTheEndOfAList => None,
        }
    }

    /// How long its informers wait for what.
    pub(super) fn limits(self, limits: Limits) -> Limits {
        match self {
            Self::TrustsHeartbeats => Limits { silence_margin: FOR_EVER, ..limits },
            Self::WaitsForTheEndOfAList => Limits { initial_events_end: FOR_EVER, ..limits },
            // A look at the history would heal it.
            Self::GoesBackWithABookmark | Self::IgnoresGone | Self::TrustsTheLastPage => Limits { unchecked: FOR_EVER, ..limits },
            Self::BelievesANotFound
            | Self::ForgetsADelete
            | Self::ForgetsItsNamespace
            | Self::ForgetsWhatAListLacks
            | Self::HearsOneOfTwo
            | Self::PassesOverUnreadableLines
            | Self::ResumesFromAWrongVersion
            | Self::SeesNoAbsence
            | Self::SkipsTheProbe
            | Self::SwapsTwoEvents
            | Self::TakesANamesakeForTheSame
            | Self::TakesUnreadableForGone
            | Self::TellsTwice
            | Self::TrustsAnotherCluster
            | Self::TrustsHalfAList
            | Self::TrustsTheNewestListed => limits,
        }
    }

    /// What its informer takes an earlier one to have stored.
    pub(super) fn resume(self, resume: Resume) -> Resume {
        if self != Self::TrustsTheNewestListed {
            return resume;
        }
        // A list is taken to be of the version of its newest object.
        let anchor = resume.anchor.as_ref().map(|anchor| anchor.clone().of_list(anchor.version()));
        Resume { anchor, ..resume }
    }

    /// A source that lets the informer hear what it would make of the truth.
    pub(super) fn source(self, source: impl ListWatch + 'static) -> Box<dyn ListWatch> {
        Box::new(Mishearing::new(self, source))
    }

    /// An outlet that tells what a broken informer would.
    pub(super) fn outlet(self, outlet: impl Outlet + 'static, seed: u64) -> Box<dyn Outlet> {
        Box::new(Misspeaking::new(self, outlet, seed))
    }
}

/// No world lasts so long.
const FOR_EVER: Duration = Duration::from_secs(3600);
