//! Whether the server is still that of the cluster which is watched, before anything is emitted that it says after a gap.

use super::Context;
use super::report::Report;
use crate::client::Error;
use std::fmt;
use std::time::Instant;

/// Knows the cluster that is watched, and asks the server which one it is of. Shared by all informers of a cluster.
pub trait ClusterCheck: Send + Sync + fmt::Debug {
    /// Whether the server was of this cluster at some time after `since`. Once it was not, it is so for good: whoever answers sees
    /// to it that all informers end.
    ///
    /// # Errors
    ///
    /// When the server does not say.
    ///
    /// # Blocking
    ///
    /// Asks the server, but where another informer's question was answered since then.
    fn is_same(&self, since: Instant) -> Result<bool, Error>;
}

/// What reason an informer has to ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// It has none.
    #[default]
    None,
    /// A connection ended as proxies end them. A server that does not say is trusted.
    Slight,
    /// The server was away, or says something else than before.
    Grave,
}

/// What came of asking.
#[derive(Debug)]
pub(super) enum Identified {
    /// The cluster is the same, as far as anyone may know.
    Same,
    /// It is another one: nothing it says is emitted.
    Other,
    /// The server does not say for now.
    Unknown(Error),
}

impl Suspicion {
    /// A connection has ended in a way in which it may also end when another cluster takes the place of this one.
    pub(super) fn slight(&mut self) {
        if *self == Self::None {
            *self = Self::Slight;
        }
    }

    /// The server was away or contradicts itself.
    pub(super) fn grave(&mut self) {
        *self = Self::Grave;
    }

    /// Asks, where there is reason to, once an answer has come and before anything of it is emitted. What the server said of itself
    /// before that, to whomever, says nothing: this informer may have waited since, for its turn to list or for the server.
    pub(super) fn clear(&mut self, context: &Context, report: &mut Report) -> Identified {
        let may_pass = match *self {
            Self::None => return Identified::Same,
            Self::Slight => true,
            Self::Grave => false,
        };
        let Some(check) = &context.cluster else {
            *self = Self::None;
            return Identified::Same;
        };
        context.pulse.waiting();
        let same = check.is_same(Instant::now());
        context.pulse.working();
        match same {
            Ok(false) => Identified::Other,
            Err(error) if !may_pass => {
                report.failed(&error);
                Identified::Unknown(error)
            }
            Ok(true) | Err(_) => {
                *self = Self::None;
                Identified::Same
            }
        }
    }
}
