//! What is shown, one function each; its name says what.

mod access;
mod between;
mod changes;
mod chaos;
mod check;
mod crds;
mod examples;
mod faults;
mod harness;
mod history;
mod judging;
mod library;
mod load;
mod operator;
mod samples;
mod stopping;
mod watches;
mod wrong_input;

use crate::runner::{Needs, Scenario};
use chaos::kills;

/// Lists functions as scenarios, under the names they have.
macro_rules! scenarios {
    ($needs:ident: $($module:ident::$name:ident),+ $(,)?) => {
        [$(Scenario { name: concat!(stringify!($module), "::", stringify!($name)), needs: Needs::$needs, run: $module::$name }),+]
    };
}

/// Every scenario; those that take longest first.
pub(crate) fn all() -> Vec<Scenario> {
    let mut all = Vec::new();
    all.extend(scenarios!(OwnControlPlane:
        faults::every_delete_is_told_once_after_a_compaction,
        faults::nothing_is_lost_when_the_api_server_is_killed_and_restarted,
        faults::a_restore_from_a_backup_is_found_and_every_difference_told,
        between::no_state_is_skipped_between_two_servers_whose_connections_are_cut,
        between::changes_come_through_an_nginx_that_buffers,
        history::a_restored_and_overtaken_server_is_found_while_faro_runs,
        history::a_restored_and_overtaken_server_is_found_by_the_next_start,
        history::an_object_whose_delete_was_only_listed_past_is_found_by_the_next_start,
        kills::nothing_is_lost_or_doubled_in_15_s_of_kills,
    ));
    all.extend(scenarios!(Cluster:
        changes::nothing_is_lost_while_the_receiver_stands_still_for_60_s,
        access::a_forbidden_watch_harms_no_other_and_says_what_it_lacks,
        crds::a_version_that_stops_being_served_deletes_nothing,
        crds::a_custom_resource_whose_definition_is_deleted,
        crds::a_custom_resource_defined_5_s_after_the_start,
        crds::a_custom_resource_defined_before_the_start,
        changes::three_hundred_changes_to_thirty_objects_one_by_one,
        access::a_role_with_watch_only_is_heard_or_told_that_list_is_missing,
        access::a_service_account_token_logs_in,
        access::a_token_file_logs_in,
        access::an_exec_plugin_logs_in,
        examples::dynamic_discovery_watches_what_is_defined_while_it_runs,
        examples::library_usage_tells_each_change_once_also_when_it_is_run_again,
        examples::worker_dispatcher_gives_each_kind_to_its_worker_and_tells_what_a_worker_gave_up,
        examples::workload_monitor_writes_what_happens_in_namespaces_that_come_and_go,
        operator::every_manifest_and_overlay_is_taken_by_the_server,
        operator::its_account_may_read_what_it_watches_and_no_secrets,
        operator::its_pod_captures_and_answers_its_probes_and_is_denied_secrets,
        library::a_workload_controller_follows_namespaces_that_come_and_go,
        library::dynamic_discovery_watches_a_kind_that_was_just_defined,
        library::vanilla_use_tells_a_handler_and_the_file,
        watches::a_line_carries_what_the_server_has,
        watches::all_namespaces_are_one_watch,
        watches::an_object_recreated_under_its_name_is_two_objects,
        watches::cluster_scoped_by_label,
        watches::cluster_scoped_by_name,
        watches::each_watch_of_one_resource_tells_its_own_lines,
        watches::jobs_of_the_batch_group,
        watches::namespace_centric_by_field,
        watches::namespace_centric_by_label,
        watches::namespace_centric_by_name,
        watches::of_secrets_only_metadata_is_told,
        watches::resource_centric_by_field,
        watches::resource_centric_by_label,
        watches::resource_centric_by_name,
        watches::several_namespaces_each_tell_their_own,
    ));
    all.extend(scenarios!(OwnControlPlane:
        access::a_client_certificate_logs_in,
        access::a_token_logs_in,
        check::the_printed_rights_are_all_that_is_needed,
        samples::the_namespace_centric_sample,
        samples::the_resource_centric_sample,
        harness::a_restored_server_forgets_what_was_written_since,
    ));
    all.extend(in_no_need_of_rights());
    all.extend(of_the_judge());
    all.extend(scenarios!(Quiet:
        stopping::auto_shutdown_exits_after_5_s_with_everything_written,
        stopping::twenty_idle_watches_stop_within_a_second,
    ));
    all.extend(of_chaos());
    all.extend(scenarios!(OwnControlPlane: load::twenty_thousand_pods_in_little_memory_and_time));
    all
}

fn in_no_need_of_rights() -> [Scenario; 12] {
    scenarios!(Cluster:
        wrong_input::a_context_that_is_missing,
        wrong_input::a_gvr_without_version,
        wrong_input::a_kubeconfig_that_is_missing,
        wrong_input::a_label_selector_that_is_none,
        wrong_input::a_port_that_is_in_use,
        wrong_input::a_resource_that_is_not_served,
        wrong_input::a_server_that_cannot_be_reached,
        wrong_input::a_token_that_the_server_refuses,
        wrong_input::an_authority_that_did_not_sign_the_server,
        wrong_input::an_output_dir_that_cannot_be_written,
        wrong_input::an_unknown_key,
        wrong_input::no_configuration,
    )
}

fn of_the_judge() -> [Scenario; 8] {
    scenarios!(Cluster:
        judging::the_judge_finds_a_watch_that_changed_its_name,
        judging::the_judge_finds_what_is_doubled,
        judging::the_judge_finds_what_is_lost,
        judging::the_judge_finds_what_is_out_of_order,
        judging::the_judge_finds_what_is_torn,
        judging::the_judge_finds_what_never_was,
        judging::the_judge_lets_comparison_stand_in_for_what_was_forgotten,
        judging::the_judge_passes_a_whole_story,
    )
}

fn of_chaos() -> Vec<Scenario> {
    scenarios!(Alone:
        chaos::nothing_is_lost_or_doubled_in_a_minute_of_kills_and_cuts,
        chaos::nothing_is_lost_or_doubled_on_a_simulated_server_with_faults,
        chaos::what_happened_while_faro_was_down_is_told_change_by_change,
        chaos::what_happened_while_faro_was_down_is_told_once_after_a_compaction,
        chaos::fifty_thousand_known_objects_are_not_told_again_by_a_simulated_server,
        chaos::fifty_thousand_known_objects_are_not_told_again_by_a_real_server,
        chaos::nothing_is_lost_when_the_disk_is_full_for_10_s,
        chaos::nothing_is_lost_when_it_is_killed_while_the_disk_is_full,
        chaos::nothing_is_lost_when_the_output_folder_is_removed,
        chaos::nothing_is_lost_when_the_disk_is_read_only,
        chaos::the_state_costs_at_most_a_quarter_of_processor_time,
        chaos::what_a_hundred_thousand_known_pods_take,
        chaos::twenty_restored_and_overtaken_servers_are_found_while_faro_runs,
        chaos::twenty_restored_and_overtaken_servers_are_found_by_the_next_start,
    )
    .into()
}
