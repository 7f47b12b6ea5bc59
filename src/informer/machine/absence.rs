//! A path that is not found: whether the kind is gone, moved to another version, or only out of sight.

use super::state::{Finding, State};
use super::{Fault, Machine, Note, Pause, RelistReason, Step, busy};
use crate::client::{Proof, Served};

impl Machine {
    /// `before` is what discovery said the last time: only the second answer of a kind is believed, unless nothing was told
    /// yet that could be told as deleted by mistake.
    pub(super) fn looked_up(&mut self, before: Option<Finding>, served: Served) -> Step {
        match (served, before) {
            (Served::Yes, _) => self.returned(before),
            (Served::Absent, Some(Finding::Gone)) => self.pause(Pause::Absent, State::LookingUp { before }),
            (Served::Absent, Some(Finding::NoVersion)) => self.enter(State::Emptying),
            (Served::Absent, Some(Finding::OtherVersions) | None) if self.untold => self.enter(State::Emptying),
            (Served::Absent, Some(Finding::OtherVersions) | None) => {
                self.pause(Pause::SecondLook, State::LookingUp { before: Some(Finding::NoVersion) })
            }
            (Served::OtherVersions(versions), before) => {
                let is_believed = self.untold || matches!(before, Some(Finding::OtherVersions | Finding::Gone));
                let pause = if is_believed { Pause::VersionGone(versions) } else { Pause::SecondLook };
                self.pause(pause, State::LookingUp { before: Some(Finding::OtherVersions) })
            }
            (Served::Unknown(why), before) => self.pause(Pause::Unknown(why), State::LookingUp { before: in_doubt(before) }),
        }
    }

    pub(super) fn look_up_failed(&mut self, before: Option<Finding>, fault: Fault) -> Step {
        let before = in_doubt(before);
        match fault {
            Fault::Busy { retry_after } => self.pause(busy(retry_after), State::LookingUp { before }),
            Fault::Stopped => self.enter(State::Stopped),
            Fault::Expired
            | Fault::UnknownVersion
            | Fault::Refused
            | Fault::Unauthorized
            | Fault::Forbidden
            | Fault::NotFound
            | Fault::Server
            | Fault::Connection
            | Fault::Undecodable
            | Fault::TooLong => self.pause(Pause::Backoff, State::LookingUp { before }),
        }
    }

    /// The kind is served. A watch that was open before may belong to an earlier kind of the same name, so everything is listed.
    fn returned(&mut self, before: Option<Finding>) -> Step {
        let list = self.new_list();
        // A path that is not found although its kind is served must not be asked for in a tight loop.
        let step = if before.is_some() { self.enter(list) } else { self.pause(Pause::Backoff, list) };
        if self.untold { step } else { step.noting(Note::Relist(RelistReason::Returned)) }
    }
}

/// What must speak for it before the kind is believed to be absent. Once it is, nothing more depends on the answer, and many
/// watches that wait must not cost the server many documents.
pub(super) fn proof_after(before: Option<Finding>) -> Proof {
    match before {
        None | Some(Finding::NoVersion | Finding::OtherVersions) => Proof::Server,
        Some(Finding::Gone) => Proof::Documents,
    }
}

/// What is left of a finding when nothing could be concluded: two looks in a row must agree, but what is gone stays gone.
fn in_doubt(before: Option<Finding>) -> Option<Finding> {
    before.filter(|before| *before == Finding::Gone)
}
