//! Objects, their versions and their history.

/// All that a cluster knows.
#[derive(Debug, Default)]
pub(crate) struct State;
