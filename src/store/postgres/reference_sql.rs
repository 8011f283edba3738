//! The statements about foreign keys to `attachments` and about policies that hide rows, as text.

/// The tables that hold a table's rows: itself, its partitions, the tables that inherit from it, and the
/// tables under it if it is a view.
macro_rules! holders {
    ($table:literal) => {
        concat!(
            "(
        with recursive holders as (
            select to_regclass('",
            $table,
            "')::oid as id
            union
            select below.id from holders h cross join lateral (
                select i.inhrelid as id from pg_inherits i where i.inhparent = h.id
                union all
                select d.refobjid
                from pg_rewrite r join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
                where r.ev_class = h.id and r.rulename = '_RETURN'
                  and d.refclassid = 'pg_class'::regclass and d.refobjid <> h.id) below)
        select id from holders)"
        )
    };
}

/// The condition that constraint `c` is a foreign key to attachments, wherever its rows are stored. Of one
/// that partitions inherit, only the root.
macro_rules! onto_attachments {
    () => {
        concat!(
            "c.contype = 'f' and c.confrelid in ",
            holders!("attachments"),
            " and not exists (
            select 1 from pg_constraint root
            where root.oid = c.conparentid and root.confrelid in ",
            holders!("attachments"),
            ")"
        )
    };
}

/// Whether the relation has all that receipts need of their own, unlike one that a view's condition alone names.
macro_rules! like_receipts {
    ($relation:literal) => {
        concat!(
            "(select count(*) = 3 from pg_attribute l where l.attrelid = ",
            $relation,
            " and l.attname in ('attachment_id', 'preview_attachment_id', 'is_deleted'))"
        )
    };
}

/// The condition that constraint `c` is of one of the two columns of receipts, wherever these are stored.
macro_rules! of_receipts {
    () => {
        concat!(
            "c.conrelid in ",
            holders!("receipts"),
            " and exists (
            select 1 from pg_attribute p
            where p.attrelid = c.conrelid and p.attnum = any(c.conkey)
              and p.attname in ('attachment_id', 'preview_attachment_id'))
            and (",
            like_receipts!("c.conrelid"),
            " or not exists (
                select 1 from ",
            holders!("receipts"),
            " h join pg_class stored on stored.oid = h.id
                where stored.relkind <> 'v' and ",
            like_receipts!("stored.oid"),
            "))"
        )
    };
}

/// Each foreign key onto attachments but the two of receipts, with names as SQL writes them and as people
/// do, and whether it is one of those two all the same: one that would drop receipts with their attachment; and whether it
/// leads from attachments themselves, and lets both rows go at once. Of a key over several columns the one onto `id`
/// stands for all.
pub(super) const LIST: &str = concat!(
    "
    select distinct on (c.oid) format('%I.%I', n.nspname, t.relname) as child, quote_ident(child.attname) as child_column,
           quote_ident(parent.attname) as parent_column, t.relname || '.' || child.attname as shown,
           of_receipts.are as drops_receipts, c.confdeltype <> 'r' and c.conrelid in ",
    holders!("attachments"),
    " and (
               select count(*) = 2 from pg_attribute i
               where i.attrelid = c.conrelid and i.attname in ('id', 'storage_path')) as ties
    from pg_constraint c
    join pg_class t on t.oid = c.conrelid
    join pg_namespace n on n.oid = t.relnamespace
    cross join lateral unnest(c.conkey, c.confkey) as k (child, parent)
    join pg_attribute child on child.attrelid = c.conrelid and child.attnum = k.child
    join pg_attribute parent on parent.attrelid = c.confrelid and parent.attnum = k.parent
    cross join lateral (
        select ",
    of_receipts!(),
    " as are) of_receipts
    where ",
    onto_attachments!(),
    " and (not of_receipts.are or c.confdeltype = 'c')
      and exists (
          select 1 from pg_attribute a
          where a.attrelid = to_regclass('attachments') and a.attname = parent.attname and not a.attisdropped)
    order by c.oid, parent.attname <> 'id'"
);

/// The foreign keys to attachments as one text, to detect changes.
pub(super) const FINGERPRINT: &str = concat!(
    "
    select coalesce(string_agg(c.oid::text, ' ' order by c.oid), '')
    from pg_constraint c
    where ",
    onto_attachments!()
);

/// Locks these attachments of the tenant until our commit, so that they cannot be linked, changed or deleted.
/// In the order of their ids.
pub(super) const HOLD: &str = "
    select a.id::bigint from attachments a
    where a.id = any((select $1::bigint[])::bigint[]) and a.business_id + 0 = $2
      and a.purpose in ('receipt_source', 'receipt_preview')
    order by a.id for update";

/// The relations that a query of the given ones reads, each with the role whose rights and policies count: ours, or beneath a
/// view its owner's unless it is a `security_invoker`. Partitions and what inherits are read under the policies of the
/// table that is named.
macro_rules! read {
    ($tables:expr) => {
        concat!(
            "(
        with recursive us as (select oid from pg_roles where rolname = current_user),
        read as (
            select named.id, us.oid as role from (",
            $tables,
            ") as named (id) cross join us
            union
            select d.refobjid, case when exists (
                       select 1 from pg_options_to_table(v.reloptions)
                       where option_name = 'security_invoker' and option_value::boolean) then us.oid else v.relowner end
            from read above
            join pg_class v on v.oid = above.id and v.relkind = 'v'
            join pg_rewrite r on r.ev_class = v.oid and r.rulename = '_RETURN'
            join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
                            and d.refclassid = 'pg_class'::regclass and d.refobjid <> v.oid
            cross join us)
        select id, role from read)"
        )
    };
}

/// Those of them whose row security binds that role.
macro_rules! bound {
    ($tables:expr) => {
        concat!(
            "(
        select t.oid, t.relname, read.role
        from ",
            read!($tables),
            " read join pg_class t on t.oid = read.id join pg_roles r on r.oid = read.role
        where t.relrowsecurity and not r.rolsuper and not r.rolbypassrls
          and (t.relforcerowsecurity or not pg_has_role(r.oid, t.relowner, 'usage')))"
        )
    };
}

/// The condition that the policy `p` is one of the relation and the role in `b`, as [`bound`] has them.
macro_rules! policy_of_b {
    () => {
        "p.polrelid = b.oid and exists (
            select 1 from unnest(p.polroles) as role where
            case when role = 0 then true else pg_has_role(b.role, role, 'usage') end)"
    };
}

/// Whether a policy of row security may hide rows of the given relations from us. A policy that shows all
/// rows does not.
macro_rules! hides {
    ($tables:expr) => {
        concat!(
            "
    select exists (
        select 1 from ",
            bound!($tables),
            " b
        where not (select coalesce(bool_or(p.permissive and p.all_rows), false)
                          and coalesce(bool_and(p.permissive or p.all_rows), true)
                   from (select polpermissive as permissive,
                                coalesce(pg_get_expr(polqual, polrelid), '') = 'true' as all_rows
                         from pg_policy p
                         where polcmd in ('r', '*') and ",
            policy_of_b!(),
            ") p))"
        )
    };
}

/// The relations whose hidden rows may need an attachment or its path.
macro_rules! judged {
    () => {
        concat!(
            "select to_regclass('receipts')::oid union select to_regclass('attachments')::oid
             union select c.conrelid from pg_constraint c where ",
            onto_attachments!(),
            " and (c.confdeltype = 'c' or not (",
            of_receipts!(),
            "))"
        )
    };
}

/// Whether row security lets this role see or change less than all rows of a table.
macro_rules! hides_some {
    ($table:literal) => {
        concat!(
            "row_security_active(", $table, ")
      and not (
          select (coalesce(bool_or(permissive and all_rows and command = '*'), false)
                  or count(distinct command) filter (where permissive and all_rows and command <> '*') = 4)
                 and coalesce(bool_and(permissive or all_rows), true)
          from (select polcmd as command, polpermissive as permissive,
                       (polcmd = 'a' or coalesce(pg_get_expr(polqual, polrelid), '') = 'true')
                       and coalesce(pg_get_expr(polwithcheck, polrelid),
                                    case when polcmd = 'a' then '' else 'true' end) = 'true' as all_rows
                from pg_policy
                where polrelid = ", $table, " and exists (
                    select 1 from unnest(polroles) as role where
                    case when role = 0 then true else pg_has_role(role, 'usage') end)) p)"
        )
    };
}

/// The policies that bind a batch in what it reads and changes, as a text, to detect changes.
macro_rules! bound_by {
    () => {
        concat!(
            "
    select coalesce(string_agg(concat(b.oid, ':', b.role, ':', (
               select string_agg(p.oid::text, ',' order by p.oid) from pg_policy p where ",
            policy_of_b!(),
            ")), ' ' order by b.oid, b.role), '')
    from ",
            bound!(concat!(
                judged!(),
                " union select to_regclass(name)::oid from unnest(array['background_jobs', 'tikkun_background_jobs',
                      'tikkun_set_aside', 'tikkun_cleanup_outbox']) as name"
            )),
            " b"
        )
    };
}
pub(super) use {
    bound, bound_by, hides, hides_some, holders, judged, like_receipts, of_receipts, onto_attachments,
    policy_of_b, read,
};
/// The same as a statement.
pub(super) const BOUND_BY: &str = bound_by!();

/// Whether rows may be hidden that need an attachment or its path; then no attachment can be judged.
pub(super) const HIDES: &str = hides!(judged!());
/// The reason why attachments cannot be judged.
pub(super) const HIDDEN: &str = "a policy of row security on receipts, attachments or a table that refers to them may hide what needs \
    them; `tikkun doctor` names it";

/// Locks deleted receipts, in the order of their ids, so that they cannot be revived before our commit.
pub(super) const LOCK_DEAD: &str =
    "select 1 from receipts where id = any((select $1::bigint[])::bigint[]) order by id for no key update";
