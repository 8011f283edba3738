//! What follows removed rows: rows that they pointed to, and objects, unless something else needs them.

use std::collections::BTreeSet;

use super::described_had::{DescribedScope, Had, Removed};
use super::described_rows::Composed;
use super::described_schema::DescribedSql;
use super::engine::Value;
use super::outbox::condemned;
use crate::job::RowsEnd;
use crate::store::deletion::{CLEANUP_HOLD, LEFT_AS_IT_WAS, StepFault};
use crate::store::described::FittedPointer;
use crate::store::described::dialect::name;
use crate::store::described::live::ForeignKey;
use crate::store::keep_rules::text;
use crate::store::row::Cells as _;

/// The keys and pointers of removed rows.
pub(super) struct Objects<'a, 'b> {
    pub(super) scope: &'b DescribedScope<'a>,
    pub(super) had: &'b Had<'a>,
}

impl Objects<'_, '_> {
    /// Removes the rows that nothing points to any more, and writes objects that no other row has to the outbox.
    pub(super) async fn settle<E: DescribedSql>(
        &self,
        tx: &mut E::Connection,
        removed: &mut Removed,
    ) -> Result<(), StepFault> {
        let mut keys = self.had.keys.clone();
        for (pointer, ids) in &self.had.pointed {
            let ids: Vec<String> = ids.iter().cloned().collect();
            let held = self.held::<E>(tx, pointer, &ids).await?;
            let free = self.free::<E>(tx, pointer, (&held, &mut *removed)).await?;
            if !free.is_empty() {
                self.unlink::<E>(tx, pointer, &free).await?;
                self.drop_pointed::<E>(tx, pointer, (&free, &mut keys)).await?;
                removed.others += free.len() as u64;
            }
        }
        let keys: Vec<String> = keys.into_iter().collect();
        self.condemn::<E>(tx, &keys, removed).await
    }

    /// Locks the rows pointed to that may go. Whoever points to one later waits for our commit at the foreign key.
    async fn held<E: DescribedSql>(
        &self,
        tx: &mut E::Connection,
        pointer: &FittedPointer,
        ids: &[String],
    ) -> Result<Vec<String>, StepFault> {
        let mut sql = Composed::new("");
        let (table, id) = (name(&pointer.table), name(&pointer.id.name));
        let place = sql.value(Value::Texts(ids));
        let mut these = E::DIALECT.among(&id, &pointer.id.sql_type, &place);
        if let (Some(column), Some(tenant)) = (&pointer.tenant, self.scope.tenant) {
            let place = sql.value(tenant);
            these +=
                &format!(" and {} = {}", name(&column.name), E::DIALECT.of_text(&place, &column.sql_type));
        }
        if !pointer.purpose.is_empty() {
            let place = sql.value(Value::Texts(&pointer.purpose));
            let purpose = E::DIALECT.as_text(&name("purpose"));
            these += &format!(" and {}", E::DIALECT.among(&purpose, "text", &place));
        }
        sql.sql = format!(
            "select {} as id from {table} where {these} order by {table}.{id}{}",
            E::DIALECT.as_text(&id),
            E::DIALECT.locked(true)
        );
        let rows = sql.rows(tx, "lock the rows that deleted ones point to").await?;
        rows.iter().map(|row| Ok(row.text("id")?.unwrap_or_default())).collect()
    }

    /// Those to which nothing points any more. A reference that no description has is counted.
    async fn free<E: DescribedSql>(
        &self,
        tx: &mut E::Connection,
        pointer: &FittedPointer,
        (held, removed): (&[String], &mut Removed),
    ) -> Result<Vec<String>, StepFault> {
        if held.is_empty() {
            return Ok(Vec::new());
        }
        let (table, id) = (name(&pointer.table), name(&pointer.id.name));
        let neighbours = &self.scope.deletion.neighbours;
        let described = neighbours.pointers.iter().filter(|(.., to)| *to == pointer.table);
        let shared = described.map(|(from, column, _)| {
            let live = neighbours.marks.get(from).map(|mark| format!(" and tikkun_r.{} is not true", name(mark)));
            let (from, column, live) = (name(from), name(column), live.unwrap_or_default());
            format!("when exists (select 1 from {from} tikkun_r where tikkun_r.{column} = {table}.{id}{live}) then ''")
        });
        let is_described = |key: &&ForeignKey| {
            let named = |(from, column, _): &(String, String, String)| key.is_on(from, column);
            neighbours.pointers.iter().any(named)
        };
        let keys = self.scope.deletion.foreign_keys.iter().filter(|key| key.to_table == pointer.table);
        let others = keys.filter(|key| !is_described(key)).map(|key| {
            let pairs = key.columns.iter().zip(&key.to_columns);
            let same = pairs.map(|(from, to)| format!("tikkun_r.{} = {table}.{}", name(from), name(to)));
            let same = same.collect::<Vec<_>>().join(" and ");
            format!(
                "when exists (select 1 from {} tikkun_r where {same}) then {}",
                key.table_sql,
                text(&key.shown())
            )
        });
        let cases: String = shared.chain(others).collect::<Vec<_>>().join(" ");
        let kept = if cases.is_empty() { "null".to_owned() } else { format!("case {cases} end") };
        let mut sql = Composed::new("");
        let place = sql.value(Value::Texts(held));
        let among = E::DIALECT.among(&format!("{table}.{id}"), &pointer.id.sql_type, &place);
        sql.sql = format!(
            "select {} as id, {} as kept from {table} where {among}",
            E::DIALECT.as_text(&format!("{table}.{id}")),
            E::DIALECT.as_text(&kept)
        );
        let mut free = Vec::new();
        for row in sql.rows(tx, "look for references to rows that may go").await? {
            match row.text("kept")? {
                None => free.push(row.text("id")?.unwrap_or_default()),
                Some(reference) if reference.is_empty() => {}
                Some(reference) => *removed.kept_for.entry(reference).or_default() += 1,
            }
        }
        Ok(free)
    }

    /// Rows that were marked stay, and lose their pointers to what goes.
    async fn unlink<E: DescribedSql>(
        &self,
        tx: &mut E::Connection,
        pointer: &FittedPointer,
        free: &[String],
    ) -> Result<(), StepFault> {
        let root = &self.scope.deletion.rows;
        let is_of_root = root.pointed.iter().any(|own| std::ptr::eq(own, pointer));
        if self.scope.deletion.description.rows == RowsEnd::Remove || !is_of_root {
            return Ok(());
        }
        for from in &pointer.from {
            let (table, from) = (name(&root.table), name(from));
            let mut sql = Composed::new("");
            let place = sql.value(Value::Texts(free));
            let among = E::DIALECT.among(&from, &pointer.id.sql_type, &place);
            sql.sql = format!("update {table} set {from} = null where {among} returning 1 as unlinked");
            sql.rows(tx, "clear the pointers of marked rows").await?;
        }
        Ok(())
    }

    async fn drop_pointed<E: DescribedSql>(
        &self,
        tx: &mut E::Connection,
        pointer: &FittedPointer,
        (free, keys): (&[String], &mut BTreeSet<String>),
    ) -> Result<(), StepFault> {
        let mut sql = Composed::new("");
        let place = sql.value(Value::Texts(free));
        let among = E::DIALECT.among(&name(&pointer.id.name), &pointer.id.sql_type, &place);
        let key = E::DIALECT.as_text(&pointer.object);
        sql.sql = format!("delete from {} where {among} returning {key} as key_0", name(&pointer.table));
        let gone = sql.rows(tx, "remove rows that nothing points to").await?;
        if gone.len() != free.len() {
            return Err(StepFault::Refused(LEFT_AS_IT_WAS.to_owned()));
        }
        for row in &gone {
            keys.extend(row.text("key_0")?.filter(|key| !key.is_empty()));
        }
        Ok(())
    }

    /// Writes objects to the outbox that no row has any more, of whatever description.
    async fn condemn<E: DescribedSql>(
        &self,
        tx: &mut E::Connection,
        keys: &[String],
        removed: &mut Removed,
    ) -> Result<(), StepFault> {
        if keys.is_empty() {
            return Ok(());
        }
        let (order, now) = (self.scope.order, self.scope.now);
        let neighbours = &self.scope.deletion.neighbours;
        let needed = neighbours.keys.iter().map(|(table, key)| {
            let live = neighbours.marks.get(table).map(|mark| format!(" and {} is not true", name(mark)));
            let live = live.unwrap_or_default();
            format!(
                " and not exists (select 1 from {} where {key} = tikkun_keys.tikkun_key{live})",
                name(table)
            )
        });
        let needed: String = needed.collect();
        let tenant = self.scope.tenant.and_then(|tenant| tenant.parse::<i64>().ok());
        let mut sql = Composed::new("");
        let [id, tenant] = [sql.value(order.id), sql.value(tenant.unwrap_or_default())];
        let driver = sql.value(order.target.driver.as_str());
        let bucket = sql.value(order.target.bucket.as_str());
        let (at, until) = (sql.value(now), sql.value(now + CLEANUP_HOLD));
        let place = sql.value(Value::Texts(keys));
        sql.sql = format!(
            "insert into tikkun_cleanup_outbox
                (deletion_id, background_job_id, business_id, driver, bucket, key, condemned_at, next_try_at)
             select {id}, 0, {tenant}, {driver}, {bucket}, tikkun_keys.tikkun_key, {at}, {until}
             from {} where true{needed}
             returning id, key",
            E::DIALECT.listed(&place, "tikkun_keys", "tikkun_key")
        );
        let rows = sql.rows(tx, "write objects to the outbox").await?;
        removed.condemned.extend(condemned(&rows)?);
        Ok(())
    }
}
