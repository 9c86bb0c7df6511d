//! The catalog: an SQLite database that says what is where.
//!
//! It is a cache without a fact of its own: whatever is in it was read from
//! packs and records, and it may be thrown away at any time. It owns SQLite,
//! which does its own file access, so the `fs` seam can't fail it: its
//! durability doesn't matter, only that it never says something untrue, and WAL
//! with its checksums sees to that. It knows ids, digests and names, and
//! deliberately neither packs' bytes nor records' JSON.

mod actions;
pub mod images;
pub mod packs;
mod paths;

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, TransactionBehavior};

pub use actions::{ActionRow, GivenRow, Marks, RevisionPlace, TagRow};
pub use images::{ReferenceRow, RevisionRow};
pub use packs::{BlobRow, PackRow, Place};

/// Changes with every change of the schema; another number means: rebuild.
const SCHEMA: i64 = 5;
/// "orlp" in ASCII: marks the file as ours.
const APPLICATION: i64 = 0x6f72_6c70;
/// How long to wait for another process that writes to the catalog.
const BUSY: Duration = Duration::from_mins(2);
/// A file of more bytes isn't written anew: SQLite does that in memory.
const SHRINK_MAX: u64 = 64 << 20;
/// What a row of a chunk takes, in bytes.
const CHUNK_BYTES: u64 = 20;
/// It is written anew where rows of this part of it were deleted.
const SHRINK_PART: u64 = 16;
/// How long to wait where SQLite doesn't.
const PAUSE: Duration = Duration::from_millis(5);

const TABLES: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
-- durable: whether its name is known to be
CREATE TABLE record (
    id BLOB PRIMARY KEY, saved_at INTEGER NOT NULL, sequence INTEGER NOT NULL,
    durable INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX record_not_durable ON record (durable) WHERE durable = 0;
-- records that are no saves; body: as they are
CREATE TABLE action (
    saved_at INTEGER NOT NULL, sequence INTEGER NOT NULL, record BLOB NOT NULL,
    kind TEXT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (saved_at, sequence, record)
) WITHOUT ROWID;
-- which packs a record names, whether they are there or not
CREATE TABLE named (
    pack BLOB NOT NULL, record BLOB NOT NULL, PRIMARY KEY (pack, record)
) WITHOUT ROWID;
CREATE TABLE pack (
    number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, kind INTEGER NOT NULL,
    size INTEGER NOT NULL, directory BLOB NOT NULL, recorded INTEGER NOT NULL
);
CREATE INDEX pack_by_directory ON pack (directory);
-- place: pack number * 2^24 + position in its directory
CREATE TABLE chunk (
    key INTEGER NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (key, place)
) WITHOUT ROWID;
-- of several packs with a recipe of the blob, some may have no record
CREATE TABLE blob (
    digest BLOB NOT NULL, place INTEGER NOT NULL, size INTEGER NOT NULL,
    PRIMARY KEY (digest, place)
) WITHOUT ROWID;
-- pieces of directories that outlive their packs
CREATE TABLE directory (
    id BLOB NOT NULL, start INTEGER NOT NULL, place INTEGER NOT NULL,
    PRIMARY KEY (id, start, place)
) WITHOUT ROWID;
-- recipe: place of the recipe of the layer that last had content there
CREATE TABLE path (key INTEGER PRIMARY KEY, recipe INTEGER NOT NULL);
CREATE TABLE revision (
    record BLOB NOT NULL, position INTEGER NOT NULL,
    saved_at INTEGER NOT NULL, sequence INTEGER NOT NULL,
    root BLOB NOT NULL, root_type TEXT NOT NULL, root_size INTEGER NOT NULL,
    image_id BLOB NOT NULL, platform TEXT NOT NULL,
    created TEXT, layers INTEGER NOT NULL, size INTEGER NOT NULL, added INTEGER NOT NULL,
    removed INTEGER NOT NULL, pinned INTEGER NOT NULL,
    PRIMARY KEY (saved_at, sequence, record, position)
) WITHOUT ROWID;
CREATE INDEX revision_by_image ON revision (image_id);
CREATE INDEX revision_by_root ON revision (root);
-- the images of those revisions that are an image index
CREATE TABLE indexed (
    saved_at INTEGER NOT NULL, sequence INTEGER NOT NULL,
    record BLOB NOT NULL, position INTEGER NOT NULL,
    manifest BLOB NOT NULL, image_id BLOB NOT NULL,
    PRIMARY KEY (saved_at, sequence, record, position, manifest)
) WITHOUT ROWID;
CREATE INDEX indexed_by_image ON indexed (image_id);
CREATE INDEX indexed_by_manifest ON indexed (manifest);
-- the record that gave the name, and of_...: the revision that has it
CREATE TABLE reference (
    repository TEXT NOT NULL, tag TEXT NOT NULL,
    saved_at INTEGER NOT NULL, sequence INTEGER NOT NULL,
    record BLOB NOT NULL, position INTEGER NOT NULL,
    of_saved_at INTEGER NOT NULL, of_sequence INTEGER NOT NULL,
    of_record BLOB NOT NULL, of_position INTEGER NOT NULL, removed INTEGER NOT NULL,
    PRIMARY KEY (repository, tag, saved_at, sequence, record, position)
) WITHOUT ROWID;
CREATE INDEX reference_by_revision ON reference (of_record, of_position);
";

const DROP: &str = "
DROP TABLE IF EXISTS meta; DROP TABLE IF EXISTS record; DROP TABLE IF EXISTS pack;
DROP TABLE IF EXISTS chunk; DROP TABLE IF EXISTS blob; DROP TABLE IF EXISTS revision;
DROP TABLE IF EXISTS reference; DROP TABLE IF EXISTS path; DROP TABLE IF EXISTS indexed;
DROP TABLE IF EXISTS action; DROP TABLE IF EXISTS named;
DROP TABLE IF EXISTS directory;
";

/// The catalog could not be used.
#[derive(Debug, thiserror::Error)]
#[error("the catalog failed")]
pub struct CatalogError(#[from] rusqlite::Error);

impl CatalogError {
    /// Whether the file is damaged, no database, or one whose parts don't belong
    /// together, so that a new one helps.
    pub fn is_damage(&self) -> bool {
        use rusqlite::Error;
        match &self.0 {
            Error::SqliteFailure(error, _) => match error.code {
                ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::ConstraintViolation
                | ErrorCode::TypeMismatch => true,
                // A table or a column is missing, and our queries are right.
                ErrorCode::Unknown => error.extended_code == rusqlite::ffi::SQLITE_ERROR,
                _ => false,
            },
            Error::SqlInputError { .. }
            | Error::InvalidColumnType(..)
            | Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnName(_)
            | Error::InvalidColumnIndex(_)
            | Error::QueryReturnedNoRows
            | Error::Utf8Error(..) => true,
            _ => false,
        }
    }
}

/// The result of a query.
pub type Result<T> = std::result::Result<T, CatalogError>;

/// What an opened catalog was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// This store's.
    Usable,
    /// There was none, or an empty one.
    Nothing,
    /// Of another store, or of another schema: what it said was thrown away.
    Foreign,
}

/// An open catalog.
#[derive(Debug)]
pub struct Catalog {
    connection: Connection,
    /// Rows of chunks that were deleted since it was made smaller.
    deleted: Cell<u64>,
}

impl Catalog {
    /// Opens or makes the catalog at `path` for the store with this id. Fails
    /// where the file can't be written, or isn't a database.
    pub fn open(path: &Path, store: &str) -> Result<(Self, Found)> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        if connection.is_readonly(MAIN_DB)? {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY);
            return Err(rusqlite::Error::SqliteFailure(code, None).into());
        }
        Self::prepare(connection, store)
    }

    /// Opens the catalog at `path` and empties it, however damaged it is.
    pub fn open_emptied(path: &Path, store: &str) -> Result<(Self, Found)> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        reset(&connection)?;
        Self::prepare(connection, store)
    }

    /// Empties it, however damaged it is. Others who have it open see it become
    /// empty.
    pub fn empty(&self, store: &str) -> Result<()> {
        self.connection.flush_prepared_statement_cache();
        reset(&self.connection)?;
        self.clear(store)
    }

    /// A catalog in memory, for a store on a medium that can't be written where
    /// no other folder can be either.
    pub fn in_memory(store: &str) -> Result<Self> {
        Ok(Self::prepare(Connection::open_in_memory()?, store)?.0)
    }

    fn prepare(connection: Connection, store: &str) -> Result<(Self, Found)> {
        connection.busy_timeout(BUSY)?;
        use_wal(&connection)?;
        // Commits needn't be durable: what is lost is read again from records.
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "cache_size", -32_768)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update(None, "trusted_schema", false)?;
        // Otherwise statements are prepared again for each value bound to them.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        connection.set_prepared_statement_cache_capacity(32);
        let catalog = Self { connection, deleted: Cell::new(0) };
        let mut found = catalog.identify(store)?;
        if found != Found::Usable {
            found = catalog.atomically(|| {
                // Another process may have done it while we waited.
                let found = catalog.identify(store)?;
                if found != Found::Usable {
                    catalog.recreate(store)?;
                }
                Ok::<_, CatalogError>(found)
            })?;
        }
        Ok((catalog, found))
    }

    fn identify(&self, store: &str) -> Result<Found> {
        let pragma = |name| self.connection.pragma_query_value(None, name, |row| row.get(0));
        let (application, schema): (i64, i64) =
            (pragma("application_id")?, pragma("user_version")?);
        if (application, schema) == (0, 0) {
            return Ok(Found::Nothing);
        }
        if (application, schema) != (APPLICATION, SCHEMA) {
            return Ok(Found::Foreign);
        }
        let query = "SELECT value FROM meta WHERE key = 'store'";
        let of: String = self.connection.query_row(query, [], |row| row.get(0))?;
        Ok(if of == store { Found::Usable } else { Found::Foreign })
    }

    /// Throws everything away. Other processes see the old or the new state.
    pub fn clear(&self, store: &str) -> Result<()> {
        self.atomically(|| self.recreate(store))
    }

    fn recreate(&self, store: &str) -> Result<()> {
        self.connection.execute_batch(DROP)?;
        self.connection.execute_batch(TABLES)?;
        self.connection.execute("INSERT INTO meta VALUES ('store', ?1)", [store])?;
        self.connection.pragma_update(None, "application_id", APPLICATION)?;
        self.connection.pragma_update(None, "user_version", SCHEMA)?;
        Ok(())
    }

    /// Writes the file anew, and smaller, where rows were deleted through this
    /// connection that took a good part of it.
    pub fn shrink(&self) -> Result<()> {
        let pragma = |name| self.connection.pragma_query_value(None, name, |row| row.get(0));
        let (pages, page): (i64, i64) = (pragma("page_count")?, pragma("page_size")?);
        let bytes = pages.cast_unsigned() * page.cast_unsigned();
        if bytes <= SHRINK_MAX && self.deleted.take() * CHUNK_BYTES * SHRINK_PART >= bytes {
            self.connection.flush_prepared_statement_cache();
            self.connection.busy_timeout(Duration::ZERO)?;
            let shrunk = self.connection.execute_batch("VACUUM");
            self.connection.busy_timeout(BUSY)?;
            shrunk?;
        }
        Ok(())
    }

    /// Carries out `act` in one transaction; nothing of it remains if it fails.
    /// Inside another transaction it is a part of that one.
    pub fn atomically<T, E: From<CatalogError>>(
        &self,
        act: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        if !self.connection.is_autocommit() {
            return act();
        }
        let begin = || {
            rusqlite::Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)
                .map_err(CatalogError::from)
        };
        let transaction = begin()?;
        let value = act()?;
        transaction.commit().map_err(CatalogError::from)?;
        Ok(value)
    }
}

/// Sets the journal mode. Unlike elsewhere SQLite doesn't wait here for another
/// process that does the same.
fn use_wal(connection: &Connection) -> Result<()> {
    for _ in 0..BUSY.as_millis() / PAUSE.as_millis() {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                std::thread::sleep(PAUSE);
            }
            result => return Ok(result?),
        }
    }
    Ok(connection.pragma_update(None, "journal_mode", "WAL")?)
}

/// SQLite's own way to make a damaged database an empty one.
fn reset(connection: &Connection) -> Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_RESET_DATABASE, true)?;
    let emptied = connection.execute_batch("VACUUM");
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_RESET_DATABASE, false)?;
    Ok(emptied?)
}
