//! The statements of a change of status that are specific to SQLite.

use super::connection::Database;
use super::list::there;
use super::moment::{dated, made};
use crate::store::sql::engine::Sql;
use crate::store::sql::status_sql::{StatusSql, move_row, note_start};

impl StatusSql for Database {
    const LOCK: Option<Sql> = None;

    const MOVE: Sql = move_row!("$4", "null");

    const NOTE_START: Sql = note_start!("");

    // All tables are ours, and their defaults are in UTC.
    const CLOCKS: Option<Sql> = None;

    const SEEN: Sql = concat!(
        "select seen.*, (select max(id) from receipts
            where business_id = $1 and is_deleted is not true and id < seen.first_after) as before
     from (select count(*) as live,
            min(id) filter (where (made > $3 and made <= $4 or made > $7 and made <= $5)
                and id >= coalesce((select max(id) + 1 from receipts
                    where $7 is not null and business_id = $1 and is_deleted is not true and id between $6 and $2
                      and ",
        made!(),
        " > $4 and ",
        made!(),
        " <= $7), $6)) as first_after,
            coalesce(max(made > $4 and made <= $5), 0) as other_clock,
            strftime('%Y-%m-%d %H:%M:%f000', max(made) filter (where made <= $5)) as latest,
            count(*) filter (where made > $5) as by_hand
     from (select id, ",
        made!(),
        " as made from receipts
           where business_id = $1 and is_deleted is not true and id between $6 and $2)) seen"
    );

    const COVERED: Sql = concat!(
        "select count(*) as receipts, max(id) as newest from receipts
     where business_id = $1 and is_deleted is not true and id <= $2
       and ($3 is null or ",
        dated!("$3", "$4", "$5"),
        ") and ",
        there!("$6")
    );

    const SET_ASIDE_OF: Sql = "
    select count(*) as receipts, max(r.id) as newest
    from tikkun_set_aside s cross join receipts r on r.id = s.receipt_id
    where s.background_job_id = $2 and +r.business_id = $1 and r.is_deleted is not true";
}
