//! Whatever befalls Faro itself, its server and its disk: nothing lost, nothing doubled. `make chaos` runs these.

mod cost;
mod disk;
mod downtime;
mod field;
pub(super) mod kills;
mod many;
mod simulated;

pub(super) use super::history::{
    twenty_restored_and_overtaken_servers_are_found_by_the_next_start,
    twenty_restored_and_overtaken_servers_are_found_while_faro_runs,
};
pub(super) use cost::{the_state_costs_at_most_a_quarter_of_processor_time, what_a_hundred_thousand_known_pods_take};
pub(super) use disk::{
    nothing_is_lost_when_it_is_killed_while_the_disk_is_full, nothing_is_lost_when_the_disk_is_full_for_10_s,
    nothing_is_lost_when_the_disk_is_read_only, nothing_is_lost_when_the_output_folder_is_removed,
};
pub(super) use downtime::{
    what_happened_while_faro_was_down_is_told_change_by_change, what_happened_while_faro_was_down_is_told_once_after_a_compaction,
};
pub(super) use field::{Field, seed};
pub(super) use kills::nothing_is_lost_or_doubled_in_a_minute_of_kills_and_cuts;
pub(super) use many::{
    fifty_thousand_known_objects_are_not_told_again_by_a_real_server,
    fifty_thousand_known_objects_are_not_told_again_by_a_simulated_server,
};
pub(super) use simulated::nothing_is_lost_or_doubled_on_a_simulated_server_with_faults;
