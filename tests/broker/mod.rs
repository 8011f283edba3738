//! The contract suite of the port `Broker`, run on every back end.

use crate::servers::redis as redis_server;
mod attempts;
mod bystanders;
mod delivery;
pub mod embedded;
mod exchange;
mod foreign_workers;
pub mod ground;
mod leases;
mod looking;
mod lost;
mod odd;
mod own_words;
mod owners;
mod pauses;
mod refused;
mod releasing;
mod requeue;
pub mod rq;
mod same_id;
mod shared;
mod spoiled;
mod time;
mod unique;
mod upkeep;
mod verdicts;

/// Runs every claim on one back end: `$open` makes a fresh, empty one.
macro_rules! on_backend {
    ($backend:ident, $fresh:expr; $($part:ident: $($claim:ident),* $(,)?;)*) => {
        mod $backend {
            $(mod $part {
                $(#[tokio::test]
                async fn $claim() {
                    crate::broker::$part::$claim(&$fresh).await;
                })*
            })*
        }
    };
}

/// The list of claims.
macro_rules! claims {
    ($backend:ident, $fresh:expr) => {
        on_backend! { $backend, $fresh;
            delivery:
                jobs_come_in_order_and_the_head_comes_first,
                odd_names_of_queues_are_names,
                two_fetchers_share_out_every_job_exactly_once,
                a_job_is_delivered_as_it_was_enqueued,
                heavy_arguments_stay_folded_until_they_are_asked_for,
                an_id_that_is_there_is_not_enqueued_again,
                a_process_without_a_lease_gets_nothing,
                waiting_ends_at_once_when_there_is_work,
                an_enqueue_by_another_wakes_the_waiter,
                an_enqueue_by_the_same_wakes_the_waiter,
                a_job_given_back_wakes_the_waiter,
                waiting_ends_after_its_patience,
                a_fetch_nobody_hears_loses_no_job,
                a_process_can_ask_what_it_holds,
                everything_is_there_after_reopening;
            verdicts:
                an_acknowledged_job_is_finished_and_keeps_its_result,
                a_retry_counts_a_failure_costs_a_retry_and_waits,
                a_retry_without_delay_waits_behind_the_others,
                a_buried_job_is_failed_and_keeps_its_error,
                a_long_error_is_whole_alone_and_short_in_a_list,
                a_job_that_asks_is_run_again_and_spends_no_retry,
                a_job_that_asks_goes_where_it_says,
                a_job_that_asks_too_often_has_failed,
                a_job_given_back_loses_nothing,
                a_rescued_job_counts_its_orphaning_and_comes_next,
                a_stopped_job_has_failed_whatever_retries_are_left,
                a_forwarded_job_waits_elsewhere_as_it_was,
                keeping_for_no_time_drops_at_once,
                an_older_execution_settles_nothing,
                settling_twice_counts_once,
                a_slice_is_answered_in_its_order;
            exchange:
                what_is_settled_may_come_again_in_the_same_call,
                either_half_may_be_empty,
                a_process_without_a_lease_settles_and_gets_nothing,
                what_nobody_hears_counts_once_and_loses_no_job;
            leases:
                deliveries_of_a_lease_that_ran_out_are_orphans,
                deliveries_under_a_live_lease_are_no_orphans,
                a_killed_process_of_this_host_leaves_orphans_at_once,
                ending_a_lease_orphans_what_is_unsettled,
                orphans_are_listed_until_one_settles_them,
                a_renewal_after_the_loss_says_so,
                processes_are_listed_while_their_lease_holds,
                a_process_that_lives_without_a_lease_is_told_from_a_dead_one,
                only_one_leads_until_it_resigns,
                leadership_runs_out,
                a_lost_process_leads_no_more;
            time:
                a_delayed_job_is_promoted_only_when_due,
                a_promoted_job_enters_at_its_end,
                promotion_and_expiry_respect_their_limit,
                an_ended_job_is_dropped_after_its_time,
                what_is_kept_for_ever_stays;
            pauses:
                nothing_comes_from_a_paused_queue,
                a_pause_holds_for_all_and_survives_reopening,
                a_waiter_sleeps_through_a_pause_and_wakes_on_resume,
                a_resume_by_another_wakes_the_waiter;
            requeue:
                failed_and_canceled_jobs_wait_again_behind_the_others,
                jobs_that_have_not_failed_stay_where_they_are,
                of_two_requeues_of_one_job_one_counts,
                a_job_that_comes_back_takes_its_key_unless_another_has_it,
                a_job_that_comes_back_wakes_the_waiter;
            unique:
                an_open_job_holds_its_key,
                a_key_is_free_once_its_job_has_ended,
                a_key_is_held_for_its_period,
                a_key_is_free_after_its_period,
                of_one_key_in_one_call_the_first_is_enqueued,
                of_many_processes_one_gets_the_key;
            upkeep:
                kept_jobs_beyond_the_budget_go_oldest_first,
                a_budget_of_zero_keeps_all_and_counts_per_queue,
                a_step_enqueues_and_moves_its_mark_together,
                a_step_from_an_older_mark_changes_nothing,
                of_two_leaders_one_takes_the_step,
                a_due_job_wakes_the_waiter;
            looking:
                canceling_takes_out_only_what_waits,
                open_jobs_are_found_under_both_names,
                counts_follow_every_step,
                jobs_are_filtered_newest_first,
                every_job_is_listed_once_however_many_there_are,
                a_check_succeeds;
            attempts:
                every_attempt_keeps_its_error_and_its_times,
                a_job_that_a_person_runs_again_keeps_the_attempt_before,
                of_many_attempts_the_newest_are_kept_and_go_with_their_job,
                a_running_job_is_asked_to_stop_and_its_process_hears_it;
        }
    };
}

claims!(on_sqlite, crate::broker::embedded::Folder::new());
claims!(on_redis, crate::broker::rq::Prefix::new());
