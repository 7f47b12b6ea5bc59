//! What chaos scenarios are made of: a load whose every answer is kept, and a judge of the lines that were told of it.

pub(crate) mod judge;
pub(crate) mod story;
pub(crate) mod truth;
