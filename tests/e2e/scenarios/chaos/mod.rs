//! Whatever befalls Faro itself, its server and its disk: nothing lost, nothing doubled. `make chaos` runs these.

mod field;
pub(super) mod kills;
mod simulated;

pub(super) use kills::nothing_is_lost_or_doubled_in_a_minute_of_kills_and_cuts;
pub(super) use simulated::nothing_is_lost_or_doubled_on_a_simulated_server_with_faults;
