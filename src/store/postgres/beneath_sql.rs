//! The statements about what lies beneath `receipts` and `attachments` where one of them is a view, or a part of a wider
//! table, as text.

/// The relations to which these names lead, as one text: a trigger may change `search_path` in the middle of a batch.
macro_rules! names {
    () => {
        "select string_agg(concat(name, ' ', to_regclass(name)::oid), ' ' order by at)
    from unnest(array['background_jobs', 'receipts', 'attachments', 'tikkun_background_jobs', 'tikkun_set_aside',
                      'tikkun_cleanup_outbox']) with ordinality as t (name, at)"
    };
}

/// What a query of receipts or attachments reads (`named`): itself, what is beneath views, and the tables of which these are
/// partitions or from which they inherit; and whether it may have rows that are not shown under the name: 1 because of such a
/// table, 2 because of a view. Only a view whose text has neither of the two words surely shows all rows.
macro_rules! beneath {
    () => {
        "(
        with recursive beneath as (
            select name as named, to_regclass(name)::oid as id, 0 as wider
            from unnest(array['receipts', 'attachments']) as name
            union
            select b.named, further.id, greatest(b.wider, further.wider)
            from beneath b cross join lateral (
                select below.id, case when pg_get_viewdef(v.oid) ~ 'WHERE|ONLY' then 2 else 0 end as wider
                from pg_class v cross join lateral (
                    select distinct d.refobjid as id
                    from pg_rewrite r join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
                    where r.ev_class = v.oid and r.rulename = '_RETURN'
                      and d.refclassid = 'pg_class'::regclass and d.refobjid <> v.oid) below
                where v.oid = b.id and v.relkind = 'v'
                union all
                select i.inhparent, 1 from pg_inherits i where i.inhrelid = b.id) further)
        select named, id, wider from beneath)"
    };
}

/// The views among them whose rows nobody can lock, since `for update` of a union locks nothing, nor does one of groups.
/// Those can be locked that PostgreSQL updates by itself, whatever triggers they have. A rule that replaces a change
/// makes it say so of any view; then another change must be left to tell.
macro_rules! unlockable {
    () => {
        concat!(
            "(
        select distinct b.named, v.relname
        from ",
            beneath!(),
            " b join pg_class v on v.oid = b.id and v.relkind = 'v'
        where not exists (
            select 1 from unnest(array[2, 3, 4]) as change
            where pg_relation_is_updatable(v.oid, false) & (1 << change) <> 0
              and not exists (
                  select 1 from pg_rewrite r
                  where r.ev_class = v.oid and r.ev_type = change::text::\"char\" and r.is_instead and r.ev_qual = '<>')))"
        )
    };
}

/// The tables among them that may have more rows than are shown. Whether a view shows only a part; whether the columns that
/// may need an attachment or its object are there under their own names; and whether we see and may lock all rows.
macro_rules! wider {
    () => {
        concat!(
            "(
        select b.named, t.oid as id, n.nspname, t.relname, b.wider = 2 as viewed, not exists (
                   select 1
                   from unnest(case b.named when 'receipts' then array['attachment_id', 'preview_attachment_id', 'is_deleted']
                                            else array['id', 'storage_path'] end) as needed
                   where not exists (
                       select 1 from pg_attribute ours join pg_attribute theirs using (attname, atttypid)
                       where ours.attrelid = o.oid and theirs.attrelid = t.oid and ours.attname = needed)) as fits,
               has_schema_privilege(n.oid, 'usage') and has_table_privilege(t.oid, 'select')
               and (b.named = 'attachments' or has_any_column_privilege(t.oid, 'update'))
               and not row_security_active(t.oid) as open
        from (select named, id, max(wider) as wider from ",
            beneath!(),
            " beneath group by named, id) b
        join pg_class t on t.oid = b.id and t.relkind in ('r', 'p', 'f') join pg_namespace n on n.oid = t.relnamespace
        join pg_class o on o.oid = to_regclass(b.named)
        where b.wider > 0)"
        )
    };
}
pub(super) use {beneath, names, unlockable, wider};

/// The same as a statement.
pub(super) const NAMES: &str = names!();

/// Those tables, with names as SQL writes them and as people do.
pub(super) const WIDER: &str = concat!(
    "
    select named = 'receipts', format('%I.%I', nspname, relname), relname::text, viewed, fits, open
    from ",
    wider!(),
    " w order by named, id"
);

/// Those tables as one text, to detect changes.
pub(super) const WIDER_FINGERPRINT: &str = concat!(
    "
    select coalesce(string_agg(concat(named, id, viewed, fits, open), ' ' order by named, id), '') from ",
    wider!(),
    " w"
);
