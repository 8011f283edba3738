//! The SQL that differs between the databases.

use super::live::LiveColumn;

/// The language of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
}

/// Types of PostgreSQL whose values are ordered and written as text without a loss.
const ORDERED: [&str; 6] = ["smallint", "integer", "bigint", "uuid", "text", "character varying"];

impl Dialect {
    /// The type of a column that identifies rows or tenants, as SQL; `None` if such a column is not supported.
    pub(in crate::store) fn identifying(self, column: &LiveColumn) -> Option<String> {
        let declared = column.sql_type.to_ascii_lowercase();
        match self {
            Self::Postgres => ORDERED.contains(&declared.as_str()).then_some(declared),
            Self::Sqlite if declared.contains("int") => Some("integer".to_owned()),
            Self::Sqlite if ["char", "clob", "text"].iter().any(|word| declared.contains(word)) => {
                Some("text".to_owned())
            }
            Self::Sqlite => None,
        }
    }

    /// The types that identify rows, in words.
    pub(in crate::store) fn identifying_in_words(self) -> &'static str {
        match self {
            Self::Postgres => "smallint, integer, bigint, uuid, text or varchar",
            Self::Sqlite => "a type of whole numbers or of text",
        }
    }

    /// Whether a column holds times.
    pub(in crate::store) fn is_time(self, column: &LiveColumn) -> bool {
        let declared = column.sql_type.as_str();
        self == Self::Sqlite || declared.starts_with("timestamp") || declared == "date"
    }

    /// Whether a column holds truth values.
    pub(in crate::store) fn is_flag(self, column: &LiveColumn) -> bool {
        self == Self::Sqlite || column.sql_type == "boolean"
    }

    /// A value as text.
    pub(in crate::store) fn as_text(self, value: &str) -> String {
        match self {
            Self::Postgres => format!("({value})::text"),
            Self::Sqlite => format!("cast({value} as text)"),
        }
    }

    /// A text value `place`, such as `$1`, as a value of this type.
    pub(in crate::store) fn of_text(self, place: &str, sql_type: &str) -> String {
        match self {
            Self::Postgres => format!("{place}::text::{sql_type}"),
            Self::Sqlite => format!("cast({place} as {sql_type})"),
        }
    }

    /// The condition that a column has one of the texts in the list `place`. In PostgreSQL the list is a subselect and so
    /// unknown to the planner.
    pub(in crate::store) fn among(self, column: &str, sql_type: &str, place: &str) -> String {
        match self {
            Self::Postgres => format!("{column} = any((select {place}::text[]::{sql_type}[])::{sql_type}[])"),
            Self::Sqlite => format!("{column} in (select cast(value as {sql_type}) from json_each({place}))"),
        }
    }

    /// The rows of a list of texts, as a table with one column of this name.
    pub(in crate::store) fn listed(self, place: &str, table: &str, column: &str) -> String {
        match self {
            Self::Postgres => format!("unnest({place}::text[]) as {table} ({column})"),
            Self::Sqlite => format!("(select value as {column} from json_each({place})) as {table}"),
        }
    }

    /// A time value that can be compared with columns of every type of time: with and without a zone, in UTC.
    pub(in crate::store) fn moment(self, place: &str) -> String {
        match self {
            Self::Postgres => format!("({place}::timestamp at time zone 'UTC')"),
            Self::Sqlite => place.to_owned(),
        }
    }

    /// The time of a column, so that it can be compared; what is none is null.
    pub(in crate::store) fn time_of(self, column: &str) -> String {
        match self {
            Self::Postgres => column.to_owned(),
            Self::Sqlite => format!(
                "(case when {column} not glob '[0-9][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9]*' then null
                  when {column} glob '*:*[+-][0-9]*' and {column} not glob '*+00:00'
                  then strftime('%Y-%m-%d %H:%M:%f000', {column})
                  else replace(rtrim(replace({column}, 'T', ' '), 'Z'), '+00:00', '') end)"
            ),
        }
    }

    /// Ends a select of rows that nobody else may change until the commit.
    pub(in crate::store) fn locked(self, for_removal: bool) -> &'static str {
        match (self, for_removal) {
            (Self::Postgres, true) => " for update",
            (Self::Postgres, false) => " for no key update",
            (Self::Sqlite, _) => "",
        }
    }

    /// Statements that fail if an expression over the columns of a table is none, or is not one for each row. A row of
    /// theirs has the type `found` of a key.
    pub(in crate::store) fn trial(self, table: &str, expression: &str, is_key: bool) -> Vec<String> {
        let table = name(table);
        if !is_key {
            return vec![format!("select null as found from {table} where {expression} limit 0")];
        }
        let each = format!("select null as found from {table} where {expression} is null limit 0");
        match self {
            Self::Sqlite => vec![each],
            Self::Postgres => {
                let typed = format!(
                    "select pg_typeof(tikkun_x.tikkun_e)::text as found
                     from (select {expression} as tikkun_e from (select 1 as tikkun_n) as tikkun_o left join {table} on false) \
                     as tikkun_x"
                );
                vec![each, typed]
            }
        }
    }

    /// The statement that makes a missing index.
    pub(in crate::store) fn create_index(self, table: &str, columns: &[&str]) -> String {
        let named: Vec<_> = columns.iter().map(|column| name(column)).collect();
        let on = format!("on {} ({})", name(table), named.join(", "));
        match self {
            Self::Postgres => format!("create index concurrently {on};"),
            Self::Sqlite => {
                format!("create index {} {on};", name(&format!("idx_{table}_{}", columns.join("_"))))
            }
        }
    }
}

/// A name as a quoted identifier.
pub(in crate::store) fn name(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_quotes() {
        assert_eq!(name("a\"; drop table b; --"), "\"a\"\"; drop table b; --\"");
        let made = Dialect::Sqlite.create_index("a\"b", &["c"]);
        assert_eq!(made, "create index \"idx_a\"\"b_c\" on \"a\"\"b\" (\"c\");");
    }

    #[test]
    fn only_ordered_types_identify_rows() {
        let column =
            |sql_type: &str| LiveColumn { name: "id".into(), sql_type: sql_type.into(), is_never_null: true };
        for (sql_type, postgres, sqlite) in [
            ("bigint", true, true),
            ("uuid", true, false),
            ("text", true, true),
            ("character varying", true, true),
            ("numeric", false, false),
            ("timestamp without time zone", false, false),
            ("INTEGER", true, true),
            ("CHAR(32)", false, true),
        ] {
            assert_eq!(Dialect::Postgres.identifying(&column(sql_type)).is_some(), postgres, "{sql_type}");
            assert_eq!(Dialect::Sqlite.identifying(&column(sql_type)).is_some(), sqlite, "{sql_type}");
        }
    }
}
