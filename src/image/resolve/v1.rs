//! Archives of Docker before 1.10: a folder for each layer, a chain of parents,
//! and `repositories`.
//!
//! Each layer was an image with a `json` of its own; an image is the chain from
//! it down to the one without a parent. A root is made of each image that has a
//! name, and of each that is no other's parent, so nothing in the archive is
//! passed over. The config is made once the diff IDs are known.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;

use crate::image::config::Config;
use crate::image::contents::{FoundConfig, FoundLayer, FoundManifest, ManifestKind, Root};
use crate::image::error::{Error, shown};
use crate::image::members::MemberKind;
use crate::image::reference::Reference;
use crate::image::resolve::oci::platform_of;
use crate::image::resolve::reader::{Reader, not_valid};
use crate::image::resolve::{Found, REPOSITORIES, State, v1_config};

const JSON: &str = "/json";
const LAYER: &str = "/layer.tar";

/// Names by repository, tag and ID.
type Repositories = BTreeMap<String, Option<BTreeMap<String, String>>>;

/// One layer, and the image that it is the top of.
struct Step<'b> {
    json: &'b [u8],
    parent: Option<String>,
}

/// Adds the images; `false` if this is no archive of that kind.
pub(super) fn add_images(
    reader: &Reader<'_, '_, '_>,
    repositories: Option<usize>,
    state: &mut State,
) -> Result<bool, Error> {
    let ids = ids(reader);
    if repositories.is_none() && ids.is_empty() {
        return Ok(false);
    }
    let names = match repositories {
        Some(place) => match reader.body("list of references", place)? {
            Some(bytes) => serde_json::from_slice(bytes)
                .map_err(not_valid("list of references", REPOSITORIES))?,
            None => Repositories::new(),
        },
        None => Repositories::new(),
    };
    let mut steps = HashMap::new();
    for &id in &ids {
        if let Some(step) = step(reader, id)? {
            steps.insert(id, step);
        }
    }
    if steps.len() < ids.len() {
        // Some are to be fetched.
        return Ok(true);
    }
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (repository, tags) in &names {
        for (tag, id) in tags.iter().flatten() {
            let reference = Reference::parse_tagged(&format!("{repository}:{tag}"))?;
            let at = if let Some(&at) = places.get(id.as_str()) {
                at
            } else {
                state.found.push(image(reader, &steps, id)?);
                state.found.len() - 1
            };
            places.insert(id, at);
            state.names.claim(&reference, at, &mut state.found, &mut state.warnings);
        }
    }
    let parents: HashSet<&str> = steps.values().filter_map(|step| step.parent.as_deref()).collect();
    for &id in ids.iter().filter(|&&id| !parents.contains(id) && !places.contains_key(id)) {
        state.found.push(image(reader, &steps, id)?);
    }
    match (state.found.is_empty(), ids.first()) {
        (false, _) => Ok(true),
        // Each is the parent of another.
        (true, Some(id)) => Err(Error::ParentCycle { id: shown(id) }),
        (true, None) => Err(Error::NoNames),
    }
}

/// The folders at the top that hold a `json` and a `layer.tar`, or are one that
/// an ID names, in the order of the archive, each once.
fn ids<'t>(reader: &Reader<'t, '_, '_>) -> Vec<&'t str> {
    let mut seen = HashSet::new();
    let id = |path: &'t str| path.strip_suffix(JSON).filter(|id| !id.contains('/'));
    let members = reader.tree.members().iter();
    members
        .filter(|member| matches!(member.kind, MemberKind::Regular | MemberKind::Link { .. }))
        .filter_map(|member| id(&member.path))
        .filter(|id| reader.tree.has(&format!("{id}{LAYER}")))
        .filter(|id| seen.insert(*id))
        .collect()
}

/// Reads the `json` of a layer; `None` if it is to be fetched.
fn step<'b>(reader: &Reader<'_, '_, 'b>, id: &str) -> Result<Option<Step<'b>>, Error> {
    #[derive(Deserialize)]
    struct View {
        #[serde(default)]
        parent: Option<String>,
    }
    let path = format!("{id}{JSON}");
    let place = reader.tree.find("config", &path)?;
    let Some(json) = reader.body("config", place)? else {
        return Ok(None);
    };
    v1_config::check(json).map_err(not_valid("config", &path))?;
    let view: View = serde_json::from_slice(json).map_err(not_valid("config", &path))?;
    Ok(Some(Step { json, parent: view.parent.filter(|parent| !parent.is_empty()) }))
}

/// The image whose top layer is `id`.
fn image(
    reader: &Reader<'_, '_, '_>,
    steps: &HashMap<&str, Step<'_>>,
    id: &str,
) -> Result<Found, Error> {
    let mut seen = HashSet::new();
    let (mut jsons, mut layers) = (Vec::new(), Vec::new());
    let (mut role, mut next) = ("image", Some(id));
    while let Some(id) = next {
        if !seen.insert(id) {
            return Err(Error::ParentCycle { id: shown(id) });
        }
        let step = steps
            .get(id)
            .ok_or_else(|| Error::Missing { role, path: shown(&format!("{id}{JSON}")) })?;
        let path = format!("{id}{LAYER}");
        let member = Some(reader.tree.find("layer", &path)?);
        reader.count(step.json.len() + path.len())?;
        layers.push(FoundLayer { path, descriptor: None, diff_id: None, member, foreign: false });
        jsons.push(step.json.to_vec());
        next = step.parent.as_deref();
        role = "parent image";
    }
    jsons.reverse();
    layers.reverse();
    let top = jsons.last().map_or(&[][..], Vec::as_slice);
    let config = Config::parse(top).map_err(not_valid("config", &format!("{id}{JSON}")))?;
    let manifest = FoundManifest {
        document: None,
        kind: ManifestKind::Image,
        platform: platform_of(&config),
        config: FoundConfig::V1(jsons),
        layers,
    };
    Ok(Found::new(Root {
        references: Vec::new(),
        descriptor: None,
        indexes: Vec::new(),
        manifests: vec![manifest],
        not_shipped: Vec::new(),
        referrers: Vec::new(),
        ancestors: Vec::new(),
    }))
}
