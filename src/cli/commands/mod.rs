//! One file for each verb: its arguments and one call.

pub(super) mod doctor;
pub(super) mod elsewhere;
pub(super) mod export;
pub(super) mod images;
pub(super) mod init;
pub(super) mod inspect;
pub(super) mod reindex;
pub(super) mod save;
pub(super) mod stats;

use orlop::image::Query;
use orlop::ops::resolve::{Resolved, resolve};
use orlop::store::Store;

use super::exit::Exit;
use super::failure::Failure;
use super::surroundings;

/// Finds the image that a user named.
fn find(store: &Store, name: &str) -> Result<Resolved, Failure> {
    let query = Query::parse(name).map_err(|error| Failure::new(error.to_string(), Exit::Usage))?;
    resolve(store, &query, &surroundings::parse_as_of).map_err(|error| {
        let failure = Failure::from(error);
        // It may be what an unreadable record says.
        if store.records_unreadable() > 0 { failure.in_damaged_store() } else { failure }
    })
}
