//! Whatever befalls Faro itself, its server and its disk: nothing lost, nothing doubled. `make chaos` runs these.

pub(super) mod kills;

pub(super) use kills::nothing_is_lost_or_doubled_in_a_minute_of_kills_and_cuts;
