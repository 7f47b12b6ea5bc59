//! What chaos scenarios are made of: a load whose every answer is kept, hands that kill and cut, and a judge of the lines.

pub(crate) mod aftermath;
pub(crate) mod doctor;
pub(crate) mod hand;
pub(crate) mod judge;
pub(crate) mod killer;
pub(crate) mod load;
pub(crate) mod mount;
pub(crate) mod simulator;
pub(crate) mod story;
pub(crate) mod truth;
