//! An error with its causes, on one line, as logs and probes show it.

use std::error::Error;

/// The error's text, and that of each cause after a colon. Where the error is the embedding program's own, this runs its code: see
/// `dispatch::contain`.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source()).take(CAUSES_MAX);
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// How much of a chain is told; a cyclic one, which a handler might give, would never end.
const CAUSES_MAX: usize = 16;
