//! `[[deletion]]`: deletions of other tables than `receipts`. Each is a table of its own, in files only.
//!
//! Only their form is checked here; whether they fit the tables, the database says.

use crate::config::keys::DELETIONS;
use crate::config::layers::{Entry, Origin};
use crate::config::nearest::nearest;
use crate::config::reader::Reader;
use crate::config::table::{Key, Unless};
use crate::job::{ChildRows, DescribedDeletion, ObjectKey, PointedRows, RowsEnd};

/// The keys of a deletion, as in `config/default.toml`.
pub(in crate::config) const KEYS: [Key; 9] = [
    Key { name: "name", unless_given: Unless::Refused },
    Key { name: "table", unless_given: Unless::Refused },
    Key { name: "tenant", unless_given: Unless::Free },
    Key { name: "id", unless_given: Unless::Refused },
    Key { name: "rows", unless_given: Unless::Is("remove") },
    Key { name: "only", unless_given: Unless::Free },
    Key { name: "existed", unless_given: Unless::Free },
    Key { name: "also", unless_given: Unless::Is("[]") },
    Key { name: "objects", unless_given: Unless::Is("[]") },
];
const MARK_KEYS: [&str; 3] = ["mark", "at", "touched"];
const CHILD_KEYS: [&str; 4] = ["table", "by", "also", "objects"];
const OWN_KEYS: [&str; 1] = ["key"];
const POINTED_KEYS: [&str; 5] = ["table", "from", "key", "tenant", "purpose"];

/// The most bytes of a name in PostgreSQL.
const NAME_BYTES: usize = 63;
/// The deletion that is built in.
const BUILT_IN: &str = "receipts";

const NAME: &str = "up to 63 letters, digits, `_` and `-`, but not `receipts`, which is built in";
const IDENTIFIER: &str = "a name in the database, of up to 63 bytes";
const EXPRESSION: &str = "one SQL expression";
const ROWS: &str = "`remove`, or `{ mark = \"is_deleted\", at = \"deleted_at\", touched = \"updated_at\" }`";

/// Reads all deletions.
pub(in crate::config) fn read_all(reader: &mut Reader<'_>) -> Vec<DescribedDeletion> {
    let mut deletions: Vec<DescribedDeletion> = Vec::new();
    for (number, (origin, table)) in reader.tables(DELETIONS).iter().enumerate() {
        let keys = KEYS.map(|key| key.name);
        let mut place = Place::new(format!("{DELETIONS}[{number}]"), origin, table, &keys);
        let deletion = read_one(&mut place);
        if deletions.iter().any(|other| !other.name.is_empty() && other.name == deletion.name) {
            place.refuse("name", "is that of another deletion: each needs a name of its own");
        }
        if place.problems.is_empty() {
            let value = toml::Value::Table(table.clone()).to_string();
            reader.entries.push(Entry { key: DELETIONS, value, origin: origin.clone() });
        }
        place.problems.into_iter().for_each(|problem| reader.refuse(problem));
        deletions.push(deletion);
    }
    deletions
}

fn read_one(place: &mut Place<'_>) -> DescribedDeletion {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let is_name = |name: &str| is_identifier(name) && name.chars().all(is_safe) && name != BUILT_IN;
    DescribedDeletion {
        name: place.needed("name", NAME, is_name),
        table: place.needed("table", IDENTIFIER, is_identifier),
        tenant: place.text("tenant", IDENTIFIER, is_identifier),
        id: place.needed("id", IDENTIFIER, is_identifier),
        rows: rows(place),
        only: place.text("only", EXPRESSION, is_text),
        existed: place.text("existed", IDENTIFIER, is_identifier),
        also: children(place),
        objects: objects(place),
    }
}

fn rows(place: &mut Place<'_>) -> RowsEnd {
    match place.table.get("rows") {
        None => RowsEnd::Remove,
        Some(toml::Value::String(word)) if word == "remove" => RowsEnd::Remove,
        Some(toml::Value::Table(table)) => {
            place.within("rows".to_owned(), table, &MARK_KEYS, |rows| RowsEnd::Mark {
                mark: rows.needed("mark", IDENTIFIER, is_identifier),
                at: rows.text("at", IDENTIFIER, is_identifier),
                touched: rows.text("touched", IDENTIFIER, is_identifier),
            })
        }
        Some(other) => {
            place.unusable("rows", other, ROWS);
            RowsEnd::Remove
        }
    }
}

fn children(place: &mut Place<'_>) -> Vec<ChildRows> {
    place.tables("also").into_iter().map(|(at, table)| place.within(at, table, &CHILD_KEYS, child)).collect()
}

fn child(place: &mut Place<'_>) -> ChildRows {
    ChildRows {
        table: place.needed("table", IDENTIFIER, is_identifier),
        by: place.needed("by", IDENTIFIER, is_identifier),
        also: children(place),
        objects: objects(place),
    }
}

fn objects(place: &mut Place<'_>) -> Vec<ObjectKey> {
    let tables = place.tables("objects").into_iter();
    let objects = tables.map(|(at, table)| match table.contains_key("table") {
        true => place.within(at, table, &POINTED_KEYS, pointed),
        false => {
            place.within(at, table, &OWN_KEYS, |own| ObjectKey::Own(own.needed("key", EXPRESSION, is_text)))
        }
    });
    objects.collect()
}

fn pointed(place: &mut Place<'_>) -> ObjectKey {
    ObjectKey::Pointed(PointedRows {
        table: place.needed("table", IDENTIFIER, is_identifier),
        from: place.names("from", IDENTIFIER, true),
        key: place.needed("key", EXPRESSION, is_text),
        tenant: place.text("tenant", IDENTIFIER, is_identifier),
        purpose: place.names("purpose", "words, as in `[\"recording\"]`", false),
    })
}

fn is_text(text: &str) -> bool {
    !text.trim().is_empty()
}

fn is_identifier(name: &str) -> bool {
    is_text(name) && name.len() <= NAME_BYTES && !name.contains(char::is_control)
}

/// A table of a description while it is read, with its place for messages, such as `deletion[1].also[0]`.
struct Place<'a> {
    path: String,
    origin: &'a Origin,
    table: &'a toml::Table,
    problems: Vec<String>,
}

impl<'a> Place<'a> {
    fn new(path: String, origin: &'a Origin, table: &'a toml::Table, keys: &[&str]) -> Self {
        let mut place = Self { path, origin, table, problems: Vec::new() };
        for unknown in table.keys().filter(|given| !keys.contains(&given.as_str())) {
            let hint = match nearest(unknown, keys.iter().copied()) {
                Some(found) => format!("did you mean `{found}`?"),
                None => format!("its keys are {}", keys.join(", ")),
            };
            place.refuse(unknown, &format!("is an unknown key; {hint}"));
        }
        place
    }

    /// Reads a table in this one.
    fn within<T>(
        &mut self,
        at: String,
        table: &'a toml::Table,
        keys: &[&str],
        read: impl Fn(&mut Place<'a>) -> T,
    ) -> T {
        let mut inner = Place::new(format!("{}.{at}", self.path), self.origin, table, keys);
        let value = read(&mut inner);
        self.problems.append(&mut inner.problems);
        value
    }

    /// The tables of a list, each with its place in this one.
    fn tables(&mut self, key: &str) -> Vec<(String, &'a toml::Table)> {
        let Some(given) = self.table.get(key) else { return Vec::new() };
        let tables: Option<Vec<_>> =
            given.as_array().and_then(|items| items.iter().map(toml::Value::as_table).collect());
        let Some(tables) = tables else {
            self.unusable(key, given, "a list of tables, as in `[{ … }, { … }]`");
            return Vec::new();
        };
        tables.into_iter().enumerate().map(|(at, table)| (format!("{key}[{at}]"), table)).collect()
    }

    /// A text that must be given.
    fn needed(&mut self, key: &str, expected: &str, fits: impl Fn(&str) -> bool) -> String {
        if !self.table.contains_key(key) {
            self.refuse(key, &format!("is missing, expected {expected}"));
        }
        self.text(key, expected, fits).unwrap_or_default()
    }

    /// A text, if it is given.
    fn text(&mut self, key: &str, expected: &str, fits: impl Fn(&str) -> bool) -> Option<String> {
        let given = self.table.get(key)?;
        let text = given.as_str().filter(|text| fits(text));
        if text.is_none() {
            self.unusable(key, given, expected);
        }
        text.map(str::to_owned)
    }

    /// A list of names; one by itself may be given as text.
    fn names(&mut self, key: &str, expected: &str, needed: bool) -> Vec<String> {
        let items: Option<Vec<_>> = match self.table.get(key) {
            None => Some(Vec::new()),
            Some(toml::Value::String(one)) => Some(vec![one.as_str()]),
            Some(given) => given.as_array().and_then(|items| items.iter().map(toml::Value::as_str).collect()),
        };
        let names = items.filter(|names| names.iter().all(|name| is_identifier(name)));
        match (names, self.table.get(key)) {
            (Some(names), _) if !names.is_empty() || !needed => {
                return names.into_iter().map(str::to_owned).collect();
            }
            (_, Some(given)) => self.unusable(key, given, expected),
            (_, None) => self.refuse(key, &format!("is missing, expected {expected}")),
        }
        Vec::new()
    }

    fn unusable(&mut self, key: &str, given: &toml::Value, expected: &str) {
        let text = given.as_str().map_or_else(|| given.to_string(), str::to_owned);
        let shown: String = text.chars().filter(|c| !c.is_control()).take(80).collect();
        self.refuse(key, &format!("is `{shown}`, expected {expected}"));
    }

    fn refuse(&mut self, key: &str, said: &str) {
        let key: String = key.chars().filter(|c| !c.is_control()).take(NAME_BYTES).collect();
        self.problems.push(format!("`{}.{key}` (from {}) {said}", self.path, self.origin));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::MANUAL;

    fn load(text: &str) -> Result<Vec<DescribedDeletion>, Vec<String>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let sources =
            crate::config::Sources { file: Some(file.path().to_owned()), ..crate::config::Sources::none() };
        match crate::config::Settings::load(&sources) {
            Ok(loaded) => Ok(loaded.settings.deletions),
            Err(error) => {
                let origin = format!(" (from file {})", file.path().display());
                Err(error.problems().iter().map(|problem| problem.text.replace(&origin, "")).collect())
            }
        }
    }

    #[test]
    fn manual_explains_every_key_of_a_deletion_with_its_default() {
        let lines: Vec<&str> = MANUAL.lines().skip_while(|line| *line != "#[[deletion]]").collect();
        for key in KEYS {
            let at = lines.iter().position(|line| line.starts_with(&format!("#{} = ", key.name)));
            let at = at.unwrap_or_else(|| panic!("the manual has no example of `{}`", key.name));
            let comment = lines[..at].iter().rev().take_while(|line| line.starts_with("# "));
            let comment = comment.copied().collect::<String>();
            let said = match key.unless_given {
                Unless::Is(value) => format!("Default: {value}."),
                Unless::Free => "Default: none".to_owned(),
                Unless::Refused => "Needed.".to_owned(),
            };
            assert!(comment.contains(&said), "`{}` should say: {said}", key.name);
        }
    }

    #[test]
    fn every_part_of_a_description_is_read() {
        let text = r#"
            [[deletion]]
            name = "recordings"
            table = "recordings"
            tenant = "business_id"
            id = "id"
            rows = { mark = "is_deleted", at = "deleted_at" }
            only = "created_at < :requested_at"
            existed = "created_at"
            also = [{ table = "transcripts", by = "recording_id", objects = [{ key = "audio_key" }], also = [
                      { table = "words", by = "transcript_id" }] }]
            objects = [{ table = "attachments", from = ["file_id"], key = "storage_path", purpose = ["recording"] }]
        "#;
        let [one] = load(text).unwrap().try_into().unwrap();
        let mark = RowsEnd::Mark { mark: "is_deleted".into(), at: Some("deleted_at".into()), touched: None };
        assert_eq!(one.rows, mark);
        let words =
            ChildRows { table: "words".into(), by: "transcript_id".into(), also: vec![], objects: vec![] };
        assert_eq!(one.also[0].also, [words]);
        assert_eq!(one.also[0].objects, [ObjectKey::Own("audio_key".into())]);
        let pointed = PointedRows {
            table: "attachments".into(),
            from: vec!["file_id".into()],
            key: "storage_path".into(),
            tenant: None,
            purpose: vec!["recording".into()],
        };
        assert_eq!(one.objects, [ObjectKey::Pointed(pointed)]);
    }

    #[test]
    fn every_problem_names_its_place() {
        let text = r#"
            [[deletion]]
            name = "recordings"
            table = "recordings"
            id = "id"
            [[deletion]]
            name = "recordings"
            table = ""
            ident = "id"
            rows = "drop"
            also = [{ table = "transcripts", also = [{ by = 7 }], objects = "key" }]
            objects = [{ key = "a", tabel = "b" }, { table = "files", key = "path", from = [] }]
        "#;
        let problems = load(text).unwrap_err();
        let expected = [
            "`deletion[1].ident` is an unknown key; its keys are name, table, tenant, id, rows, only, existed, also, objects",
            "`deletion[1].table` is ``, expected a name in the database, of up to 63 bytes",
            "`deletion[1].id` is missing, expected a name in the database, of up to 63 bytes",
            "`deletion[1].rows` is `drop`, expected `remove`, or",
            "`deletion[1].also[0].by` is missing",
            "`deletion[1].also[0].also[0].table` is missing",
            "`deletion[1].also[0].also[0].by` is `7`",
            "`deletion[1].also[0].objects` is `key`, expected a list of tables",
            "`deletion[1].objects[0].tabel` is an unknown key",
            "`deletion[1].objects[1].from` is `[]`",
            "`deletion[1].name` is that of another deletion",
        ];
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.starts_with(expected), "{problem}\n{expected}");
        }
    }
}
