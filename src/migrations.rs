//! The files that create and update our tables, as they are built into the program.

use std::borrow::Cow;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// A file's version, its description and its statements.
pub type File = (i64, &'static str, &'static str);

/// The migrations in `files`, which note what they have done in `table`. Sqlx would find the files by itself,
/// but for that it is built a second time with SQLite, for the compiler.
pub fn migrator(table: &'static str, files: &[File]) -> Migrator {
    let migration = |&(version, description, sql): &File| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    let migrations = files.iter().map(migration).collect();
    Migrator { table_name: Cow::Borrowed(table), ..Migrator::with_migrations(migrations) }
}

#[cfg(test)]
pub mod tests {
    use super::File;

    /// Fails unless `files` are those of `folder`, each under its own version and description.
    pub fn assert_complete(files: &[File], folder: &str) {
        let mut there: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| {
                let path = file.unwrap().path();
                let sql = std::fs::read_to_string(&path).unwrap();
                (path.file_stem().unwrap().to_str().unwrap().to_owned(), sql)
            })
            .collect();
        there.sort();
        let listed: Vec<_> = files
            .iter()
            .map(|(version, description, sql)| {
                (format!("{version:04}_{}", description.replace(' ', "_")), (*sql).to_owned())
            })
            .collect();
        assert_eq!(listed, there);
    }
}
