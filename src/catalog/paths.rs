//! Which layer last had content under a path, in the catalog.
//!
//! Keys are 64-bit hashes of paths, so a find is only a hint, and a wrong one
//! costs a poor base and nothing else. The value is the place of the layer's
//! recipe.

use rusqlite::{OptionalExtension, params};

use super::packs::{Place, encode_place};
use super::{Catalog, Result};
use crate::digest::Id;

impl Catalog {
    /// The recipe of the layer that last had this path.
    pub fn layer_with_path(&self, key: i64) -> Result<Option<Place>> {
        let mut query = self.connection.prepare_cached(
            "SELECT pack.id, path.recipe & 0xffffff FROM path
             JOIN pack ON pack.number = path.recipe >> 24 WHERE path.key = ?1",
        )?;
        let place = query.query_row([key], |row| {
            Ok(Place { pack: Id::from_bytes(row.get(0)?), position: row.get(1)? })
        });
        Ok(place.optional()?)
    }

    /// Notes that these paths were last seen in the layer with this recipe. Call
    /// in a transaction.
    pub fn put_paths(&self, recipe: Place, keys: &mut Vec<i64>) -> Result<()> {
        let query = "SELECT number FROM pack WHERE id = ?1";
        let mut query = self.connection.prepare_cached(query)?;
        let number: Option<i64> =
            query.query_row([recipe.pack.as_bytes()], |row| row.get(0)).optional()?;
        let Some(number) = number else { return Ok(()) };
        let value = encode_place(number, recipe.position);
        // In the order of the tree, each once.
        keys.sort_unstable();
        keys.dedup();
        let mut put = self.connection.prepare_cached(
            "INSERT INTO path VALUES (?1, ?2)
             ON CONFLICT (key) DO UPDATE SET recipe = excluded.recipe",
        )?;
        for key in keys.iter() {
            put.execute(params![key, value])?;
        }
        Ok(())
    }
}
