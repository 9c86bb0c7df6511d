//! The config of an image of Docker before 1.10, made as Docker itself makes it.
//!
//! Docker 1.10 and later turn the `json` of each layer into one config when
//! they load such an archive, and the digest of that config is the image ID. The
//! same bytes are made here, so the ID is the one that people know. What is kept
//! from a `json` is kept as it is written, but for blanks; the `json` of Docker
//! before 1.8.3 passes through the fields that Docker 20.10 knows. The output is
//! frozen: stored images are named by it.

mod fields;
mod go_json;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::digest::Digest;
use crate::image::error::Error;
use fields::{Fields, Time};

/// Docker before this one wrote `json` documents that are not kept as they are.
const KEPT_SINCE: [u64; 3] = [1, 8, 3];
/// What a config doesn't have.
const DROPPED: [&str; 6] = ["id", "parent", "Size", "parent_id", "layer_id", "throwaway"];

#[derive(Serialize)]
struct Rootfs<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    diff_ids: &'a [Digest],
}

#[derive(Serialize)]
struct History {
    created: Time,
    #[serde(skip_serializing_if = "String::is_empty")]
    author: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    created_by: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    comment: String,
}

/// The config of the image whose layers have these `json` documents and diff
/// IDs, lowest first.
///
/// # Errors
/// [`Error::Json`] for a document that is none, [`Error::LayerCount`] if there
/// are more of the one than of the other, [`Error::NoImages`] if there are none.
pub fn make_v1_config(jsons: &[Vec<u8>], diff_ids: &[Digest]) -> Result<Vec<u8>, Error> {
    let top = jsons.last().ok_or(Error::NoImages)?;
    if jsons.len() != diff_ids.len() {
        let (config, layers) = ("json".to_owned(), jsons.len());
        return Err(Error::LayerCount { config, diff_ids: diff_ids.len(), layers });
    }
    let mut history = Vec::new();
    for json in jsons {
        let fields = Fields::parse(json).map_err(not_valid)?;
        history.push(History {
            created_by: fields.command(),
            created: fields.created,
            author: fields.author,
            comment: fields.comment,
        });
    }
    let fields = Fields::parse(top).map_err(not_valid)?;
    let document: Cow<'_, [u8]> = if version(&fields.docker_version) < KEPT_SINCE {
        Cow::Owned(go_json::to_vec(&fields))
    } else {
        Cow::Borrowed(top)
    };
    let mut config: BTreeMap<String, Box<RawValue>> =
        serde_json::from_slice(&document).map_err(not_valid)?;
    for key in DROPPED {
        config.remove(key);
    }
    let rootfs = Rootfs { r#type: "layers", diff_ids };
    let rootfs = serde_json::value::to_raw_value(&rootfs).map_err(not_valid)?;
    let history = raw(&go_json::to_vec(&history)).map_err(not_valid)?;
    config.insert("rootfs".to_owned(), rootfs);
    config.insert("history".to_owned(), history);
    Ok(go_json::compact_map(&config))
}

fn raw(json: &[u8]) -> Result<Box<RawValue>, serde_json::Error> {
    serde_json::from_slice(json)
}

fn not_valid(source: serde_json::Error) -> Error {
    Error::Json { role: "config", path: "json".to_owned(), source }
}

/// The first three numbers of a version, as Docker compares them: what is no
/// number is 0.
fn version(text: &str) -> [u64; 3] {
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    [(); 3].map(|()| parts.next().unwrap_or(0))
}
