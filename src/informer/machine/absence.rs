//! A path that is not found: whether the kind is gone, moved to another version, or only out of sight.

use super::state::{Finding, State};
use super::{Fault, Machine, Note, Pause, RelistReason, Step, busy};
use crate::client::Served;

impl Machine {
    /// `before` is what discovery said the last time: only the second answer of a kind is believed, unless nothing was told
    /// yet that could be told as deleted by mistake.
    pub(super) fn looked_up(&mut self, before: Option<Finding>, served: Served) -> Step {
        match served {
            Served::Yes => self.returned(before),
            Served::Absent if self.untold || before == Some(Finding::NoVersion) => self.enter(State::Emptying),
            Served::Absent => self.pause(Pause::SecondLook, State::LookingUp { before: Some(Finding::NoVersion) }),
            Served::OtherVersions(versions) if self.untold || before == Some(Finding::OtherVersions) => {
                self.pause(Pause::VersionGone(versions), State::LookingUp { before: Some(Finding::OtherVersions) })
            }
            Served::OtherVersions(_) => self.pause(Pause::SecondLook, State::LookingUp { before: Some(Finding::OtherVersions) }),
            Served::Unknown(why) => self.pause(Pause::Unknown(why), State::LookingUp { before: None }),
        }
    }

    pub(super) fn look_up_failed(&mut self, before: Option<Finding>, fault: Fault) -> Step {
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
