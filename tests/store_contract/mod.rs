//! The contract suite of every store, run on each database.

use crate::servers::postgres as server;
mod attempts;
mod certificates;
mod concurrency;
mod coverage;
mod deletion;
mod described;
mod model;
mod outbox;
mod people;
mod pooler_later;
mod postgres_server;
mod postgres_views;
mod refusals;
mod requests;
pub mod rig;
mod sessions;
mod sqlite_file;

/// Makes a test of each claim on one backend.
macro_rules! on {
    ($backend:ident: $($claims:ident { $($claim:ident)* })*) => {
        mod $backend {
            $(mod $claims {
                $(#[tokio::test]
                async fn $claim() {
                    crate::store_contract::$claims::$claim(&crate::store_contract::rig::$backend().await).await;
                })*
            })*
        }
    };
}

/// All claims, on the backends named in the last line.
macro_rules! contract {
    ($($backend:ident),*) => {$(
        on! { $backend:
            deletion {
                whole_deletion_counts_exactly_and_spares_what_others_need
                receipts_above_the_upper_id_are_untouched
                a_late_low_id_is_found_by_the_sweep
                a_null_deletion_mark_counts_as_live
                an_older_attempt_commits_nothing
                a_row_cancelled_by_the_web_application_stops_the_batch
                an_unknown_table_keeps_its_attachment_and_is_reported
                an_attachment_that_refers_to_another_goes_along_with_it
                a_table_made_between_batches_is_heeded
                keys_of_others_stay_in_the_cursor
                a_row_without_a_key_leaves_no_object
                attachments_that_share_a_path_go_together_with_their_object
                a_path_that_something_live_shares_keeps_all_its_rows
                a_shared_path_goes_with_the_last_row_that_the_database_lets_go
                the_row_shows_the_batchs_progress
                a_cursor_without_an_upper_id_is_named
            }
            refusals {
                one_bad_receipt_among_fifty_is_set_aside
                several_bad_receipts_are_set_aside
                all_receipts_bad_still_moves_the_cursor
                the_sweep_passes_over_what_was_set_aside
                an_attachment_that_cannot_be_dropped_is_kept_and_reported
                a_trigger_that_breaks_off_the_transaction_breaks_nothing_for_the_next
                a_receipt_that_a_trigger_keeps_without_an_error_is_set_aside
                a_receipt_whose_mark_is_taken_back_at_once_is_set_aside
                a_receipt_that_is_kept_without_an_error_is_set_aside_in_the_sweep_too
                receipts_that_are_all_kept_without_an_error_end_both_passes
                an_attachment_that_a_trigger_keeps_without_an_error_keeps_its_object
                an_attachment_that_comes_back_at_once_keeps_its_object
                a_job_row_that_does_not_move_is_a_fault_and_nothing_happened
                an_attachment_whose_pointer_a_trigger_keeps_stays
                an_object_that_a_copy_of_its_attachment_takes_over_stays
                a_live_receipt_that_a_trigger_links_to_an_attachment_keeps_it
                a_cursor_that_a_trigger_keeps_is_a_fault_and_nothing_happened
                a_status_that_a_trigger_keeps_is_a_fault_and_nothing_happened
                a_receipt_that_a_later_mark_revives_is_not_counted_as_deleted
                an_attachment_whose_end_revives_a_receipt_stays
                attachments_that_a_trigger_drops_with_their_receipts_leave_no_object
                objects_that_a_trigger_keeps_from_being_noted_are_reported
                what_may_keep_rows_is_named
                newest_keys_are_those_of_the_last_attachments_that_have_one
                a_completed_row_says_what_is_missing_or_nothing
                a_receipt_that_is_unique_among_the_deleted_is_set_aside
                a_receipt_that_its_mark_takes_out_of_the_table_is_deleted
                an_attachment_that_an_archive_of_receipts_refers_to_stays_and_is_reported
                a_receipt_that_its_mark_gives_to_another_tenant_alive_is_set_aside
                attachments_of_one_path_whose_pointers_a_trigger_clears_are_reported
                attachments_of_one_path_whose_receipts_are_archived_are_reported
            }
            attempts {
                an_attempt_whose_end_is_refused_has_not_died
                a_row_that_can_neither_begin_nor_fail_is_known_from_one_that_can_fail
                a_row_with_the_id_of_an_earlier_one_inherits_nothing_of_it
                a_queued_row_starts_once_and_is_covered
                a_null_creation_time_counts_as_existing
                a_row_without_a_creation_time_covers_everything
                rows_at_rest_do_not_begin
                a_missing_row_does_not_begin
                a_second_queue_job_is_a_duplicate_while_the_first_lives
                a_silent_row_is_taken_over_and_the_old_attempt_fenced_off
                the_same_queue_job_continues_after_a_crash
                attempts_that_die_at_one_place_are_poison
                a_good_batch_ends_the_count_of_barren_attempts
                ends_are_idempotent_and_fenced
                a_continuation_begins_again
                an_attempt_that_pauses_waits_for_a_person_and_says_who
                the_stale_rule_is_undone_once_until_a_good_batch
                a_persons_cancel_and_a_newer_row_are_not_revived
                beats_move_ours_and_name_the_lost
                watching_writes_only_for_the_newest_attempt
                a_row_that_is_refused_hinders_no_other
                two_beginnings_at_once_share_no_attempt
                a_broken_cursor_is_named
            }
            coverage {
                the_first_look_bounds_a_row_whoever_begins_it
                late_receipts_stay_whatever_one_of_them_says_of_its_time
                the_rest_of_a_late_request_spares_what_that_left_alone
                receipts_that_are_dated_ahead_by_hand_go_with_a_request_that_was_seen_soon
                a_receipt_that_comes_late_under_a_low_id_stays
                a_receipt_that_comes_late_under_a_low_id_is_of_no_request_through_us
                a_row_with_the_time_of_a_zone_gives_no_late_receipt_away
                a_clock_that_is_set_back_after_the_request_gives_no_late_receipt_away
                an_import_that_began_before_the_request_stays_if_nobody_saw_its_receipts
                a_total_of_the_application_that_is_too_low_becomes_that_of_what_is_covered
                a_cursor_that_another_worker_wrote_anew_gives_no_late_receipt_away
                a_row_with_the_cursor_of_an_earlier_one_covers_what_was_there_at_its_own_request
                a_row_that_the_application_puts_back_covers_what_was_there_at_its_own_request
                the_rest_of_a_request_that_was_never_looked_at_leaves_out_what_came_later
                a_request_that_was_paused_before_it_was_looked_at_gives_no_late_receipt_away
                a_row_that_is_moved_to_another_tenant_deletes_nothing_of_that_one
                what_was_looked_at_for_another_tenant_bounds_nothing
            }
            requests {
                two_clocks_in_one_column_give_no_late_receipt_away
                an_id_that_is_given_out_late_is_of_no_request_through_us_whatever_its_time
                the_rest_of_a_request_through_us_leaves_out_ids_that_were_given_out_late
                a_row_that_is_queued_again_and_dated_anew_is_a_new_request
                a_row_that_is_queued_again_under_its_own_date_is_the_same_request
                a_database_that_dates_rows_anew_by_itself_makes_no_new_request
                a_save_of_old_columns_during_the_run_takes_nothing_back
                a_save_of_the_old_status_leaves_the_attempt_its_row
                a_cancel_that_is_saved_with_old_columns_is_heeded
            }
            people {
                a_request_twice_is_active
                a_request_covers_what_exists_and_needs_something
                a_row_that_was_not_enqueued_blocks_nothing
                a_row_that_cannot_go_on_fails_unless_a_person_paused_it
                wishes_follow_the_table
                another_tenants_row_is_not_there
                the_latest_row_is_an_active_one_first
                active_rows_come_oldest_first
                newest_rows_come_newest_first_whatever_became_of_them
                a_row_of_ours_stays_among_the_newest_behind_very_many_others
                a_broken_row_hides_no_other_active_one
                a_new_carrier_is_noted
                the_rest_of_a_request_leaves_out_what_came_later
                what_was_set_aside_is_requested_alone
                an_earlier_request_of_another_tenant_is_not_there
            }
            outbox {
                a_claimed_object_is_nobody_elses
                fresh_objects_are_held_for_their_batch
                a_postponed_object_waits_longer_each_time
                objects_put_off_before_the_clock_was_set_back_are_due
                a_refused_object_is_counted_until_it_is_tried_with_another_end
                confirmed_objects_are_gone_and_the_summary_says_so
                a_claim_takes_only_its_store_and_its_job
                a_parked_object_is_left_alone_until_it_is_put_back
                the_list_tells_all_of_each_object_oldest_first
                an_object_whose_path_an_attachment_has_again_stays
            }
            certificates {
                each_deletion_that_ends_has_one_however_it_ends
                it_counts_what_is_gone_owed_and_kept_and_becomes_final
                an_object_whose_path_is_needed_again_is_not_counted_as_deleted
                a_deletion_that_goes_on_after_its_certificate_has_one_more
                what_another_program_did_without_counting_says_so
                a_row_with_the_id_of_an_earlier_one_counts_from_nothing
                two_processes_make_one_chain
                a_deletion_whose_row_cannot_be_read_hinders_no_other
            }
            sessions {
                an_ended_session_is_known_until_its_time_has_passed
            }
            described {
                rows_go_with_their_children_and_objects_and_shared_objects_stay
                key_that_only_deleted_rows_share_goes_once
                object_that_receipts_have_stays
                uuid_ids_are_bounded_by_the_time_of_creation
                text_ids_are_bounded_by_the_time_of_creation
                whole_numbers_are_in_the_order_of_numbers
                rows_above_the_bound_of_the_request_stay
                row_that_commits_late_under_a_low_id_is_found_by_the_sweep
                condition_is_that_of_the_moment_of_the_request
                table_without_a_tenant_is_deleted_as_a_whole
                tenant_must_be_a_value_of_its_column
                rows_pointed_to_go_when_nothing_points_to_them_any_more
                marked_rows_stay_and_lose_what_they_point_to
                row_that_is_refused_is_set_aside_with_all_that_is_its_own
                row_that_is_kept_without_an_error_is_set_aside
                row_that_something_undescribed_refers_to_is_set_aside
                row_with_very_many_children_goes_in_portions
                older_attempt_and_a_row_that_a_person_cancelled_commit_nothing
                request_is_carried_by_one_queue_job_at_a_time
                attempt_goes_on_from_the_cursor
                foreign_key_that_is_made_between_batches_stops_them
                sql_in_any_field_is_refused_and_changes_nothing
                bad_descriptions_are_named_with_their_place
                missing_index_is_told_with_the_statement_that_makes_it
                cycles_and_undescribed_cascades_are_refused
                bad_description_leaves_the_others_usable
                mark_of_a_description_out_of_use_lets_no_object_go
                trigger_on_a_described_table_is_told
            }
            concurrency {
                a_link_made_during_the_deletion_keeps_its_attachment
                two_batches_at_once_delete_each_receipt_once
                a_dropped_batch_leaves_a_usable_store
            }
            model {
                random_graphs_end_as_the_model_says
                a_plan_says_what_the_deletion_then_does
                a_plan_knows_how_fast_the_tenant_was_last
            }
        }
    )*};
}

contract!(sqlite, postgres);
