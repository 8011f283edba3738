//! The statements of a change of status that are specific to PostgreSQL.

use super::connection::Database;
use crate::store::sql::engine::Sql;
use crate::store::sql::status_sql::{StatusSql, move_row, note_start};

/// A text cut to what the application's column `last_error` holds: too long a reason would leave the row as it is.
macro_rules! fitting {
    ($error:literal) => {
        concat!(
            "left(",
            $error,
            ", (select case when atttypid in ('varchar'::regtype, 'bpchar'::regtype) and atttypmod > 4
                           then atttypmod - 4 else 2147483647 end
                from pg_attribute where attrelid = to_regclass('background_jobs') and attname = 'last_error'))"
        )
    };
}
pub(super) use fitting;

impl StatusSql for Database {
    const LOCK: Option<Sql> = Some("select 1 from background_jobs where id = $1 for no key update");

    // Where the column is never null, as applications have it whose texts are empty instead, it is empty.
    const MOVE: Sql = move_row!(
        fitting!("$4"),
        "(select '' from pg_attribute
          where attrelid = to_regclass('background_jobs') and attname = 'last_error' and attnotnull)"
    );

    // A row that has processed nothing has set nothing aside: what seems so is of an older row with its id, before the
    // table was emptied.
    const NOTE_START: Sql = note_start!(
        "with forgotten as (delete from tikkun_set_aside where background_job_id = $1 and $6 = 0) "
    );

    // `comparable`: both columns are in UTC by their default. It must be one that reads a clock and changes
    // nothing of it. For a type with a zone, it must not strip the zone either, because then the zone of the
    // session counts, as it does for times that the application sends without one. A default that reads no
    // clock only filled rows that existed before the column. Nor may a trigger or a rule fill the column when a
    // row is inserted; one that may put another row in the place of the inserted one counts as well.
    // `row_in_zone`: the database may have written its own zone's time into job rows. `by_day`: receipts have
    // only the day.
    const CLOCKS: Option<Sql> = Some(
        r"
    select count(*) = 2 and bool_and(in_utc and not filled_anew) as comparable,
           coalesce(bool_or(of_job and (filled_anew or (by_default and not in_utc))), false) as row_in_zone,
           coalesce(bool_or(not of_job and by_day), false) as by_day
    from (
        select a.attrelid = to_regclass('background_jobs') as of_job, d.adbin is not null as by_default,
               a.atttypid = 'date'::regtype or d.filled ~ 'current_date|date_trunc''day|::date' as by_day,
               coalesce(case a.atttypid
                   when 'timestamptz'::regtype then d.filled ~ ('^' || d.clock || '$')
                   when 'timestamp'::regtype then
                       d.filled ~ ('^(timezone' || d.utc || ', ' || d.clock || '|' || d.clock || ' at time zone ' || d.utc || ')$')
               end, false) as in_utc,
               exists (select 1 from pg_rewrite r where r.ev_class = a.attrelid and r.ev_type = '3')
               or exists (
                   select 1 from pg_trigger g join pg_proc f on f.oid = g.tgfoid join pg_language l on l.oid = f.prolang
                   where g.tgrelid in (
                       with recursive below (id) as (
                           select a.attrelid
                           union select i.inhrelid from pg_inherits i join below on i.inhparent = below.id)
                       select id from below)
                     and not g.tgisinternal and g.tgenabled in ('O', 'A') and g.tgtype::integer & 7 = 7
                     and (l.lanname <> 'plpgsql' or f.prosrc ~*
                          'created_at|\mnew\M\s*:?=|\minto\s+(strict\s+)?new\M|\mreturn\s+(?!(new|old|null)\M)')
               ) as filled_anew
        from pg_attribute a left join (
            select adrelid, adnum, adbin, '''(etc/)?utc''' as utc,
                   '(now|(clock|transaction|statement|current)_timestamp)' as clock,
                   regexp_replace(lower(pg_get_expr(adbin, adrelid)),
                       '::text|::timestamp([(][0-9][)])? without time zone$|[(][0-9][)]|[()]', '', 'g') as filled
            from pg_attrdef
        ) d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where a.attrelid in (to_regclass('background_jobs'), to_regclass('receipts'))
          and a.attname = 'created_at' and not a.attisdropped) columns",
    );

    const SEEN: Sql = "
    select seen.*, (select max(id)::bigint from receipts
                    where business_id = $1 and is_deleted is not true and id < seen.first_after) as before
    from (
        select count(*) as live,
               (min(id) filter (
                   where (created_at > $3 and created_at <= $4 or created_at > $7 and created_at <= $5)
                     and id >= coalesce((
                         select max(id)::bigint + 1 from receipts
                         where $7::timestamp is not null and business_id = $1 and is_deleted is not true
                           and id between $6 and $2 and created_at > $4 and created_at <= $7), $6)))::bigint as first_after,
               coalesce(bool_or(created_at > $4 and created_at <= $5), false) as other_clock,
               (max(created_at) filter (where created_at <= $5))::timestamp as latest,
               count(*) filter (where created_at > $5) as by_hand
        from receipts where business_id = $1 and is_deleted is not true and id between $6 and $2) seen";

    const COVERED: Sql = "
    select count(*) as receipts, max(id)::bigint as newest from receipts
    where business_id = $1 and is_deleted is not true and id <= $2
      and ($3::timestamp is null or created_at <= $3 or created_at > $5::timestamp or (created_at is null and $4))
      and (cardinality($6::bigint[]) = 0 or width_bucket(id::bigint, $6::bigint[]) % 2 = 1)";

    const SET_ASIDE_OF: Sql = "
    select count(*) as receipts, max(r.id)::bigint as newest
    from tikkun_set_aside s join receipts r on r.id = s.receipt_id
    where s.background_job_id = $2 and r.business_id = $1 and r.is_deleted is not true";
}
