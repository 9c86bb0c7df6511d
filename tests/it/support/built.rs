//! Archives of images that were built on one another, as `docker save` writes them.
//!
//! The same arguments always give the same archive. Made by the tar crate, and not by
//! what is being tested.

#![expect(clippy::unwrap_used, reason = "a test stops where something is wrong")]

use std::collections::HashSet;

use serde_json::{Value, json};

use super::docker::sha256;

/// An image.
pub(crate) struct Built<'a> {
    pub(crate) tags: &'a [&'a str],
    /// Each is one file with this name and content.
    pub(crate) layers: &'a [&'a str],
    /// How it came about; a step that makes no layer begins with `#`.
    pub(crate) steps: &'a [&'a str],
    /// The place of the image that it was built on.
    pub(crate) on: Option<usize>,
}

/// The archive, and the IDs of its images.
pub(crate) fn archive(images: &[Built<'_>]) -> (Vec<u8>, Vec<String>) {
    let mut tar = tar::Builder::new(Vec::new());
    let mut written = HashSet::new();
    let mut put = |name: String, bytes: &[u8]| {
        if written.insert(name.clone()) {
            append(&mut tar, &name, bytes);
        }
        name
    };
    let (mut list, mut ids) = (Vec::new(), Vec::<String>::new());
    for image in images {
        let layers: Vec<Vec<u8>> = image.layers.iter().map(|name| layer(name)).collect();
        let diff_ids = layers.iter().map(|layer| format!("sha256:{}", sha256(layer)));
        let steps = image.steps.iter().map(|step| {
            json!({"created": "2026-01-01T00:00:00Z", "created_by": step,
                "empty_layer": step.starts_with('#')})
        });
        let config = json!({"architecture": "amd64", "os": "linux", "config": {},
            "created": "2026-01-01T00:00:00Z", "history": steps.collect::<Vec<_>>(),
            "rootfs": {"type": "layers", "diff_ids": diff_ids.collect::<Vec<_>>()}});
        let config = config.to_string();
        let id = sha256(config.as_bytes());
        let paths = layers.iter().map(|it| put(format!("{}/layer.tar", sha256(it)), it));
        let paths: Vec<String> = paths.collect();
        let config = put(format!("{id}.json"), config.as_bytes());
        let tags = Some(image.tags).filter(|tags| !tags.is_empty());
        ids.push(format!("sha256:{id}"));
        list.push((json!({"Config": config, "RepoTags": tags, "Layers": paths}), image.on));
    }
    let items = list.into_iter().map(|(mut item, on): (Value, Option<usize>)| {
        if let Some(place) = on {
            item["Parent"] = ids[place].clone().into();
        }
        item
    });
    let items = Value::Array(items.collect()).to_string();
    append(&mut tar, "manifest.json", items.as_bytes());
    (tar.into_inner().unwrap(), ids)
}

/// Two images of the same base, which was built in two steps. The IDs are those of
/// `built:1`, `built:2`, the second step and the first.
pub(crate) fn two() -> (Vec<u8>, Vec<String>) {
    let image = |tags, layers, steps, on| Built { tags, layers, steps, on };
    archive(&[
        image(&["built:1"], &["base", "one"], &["base", "#env", "one"], Some(2)),
        image(&["built:2"], &["base", "two"], &["base", "#env", "two"], Some(2)),
        image(&[], &["base"], &["base", "#env"], Some(3)),
        image(&[], &["base"], &["base"], None),
    ])
}

fn layer(name: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, name, name.repeat(3000).as_bytes());
    tar.into_inner().unwrap()
}

fn append(tar: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append_data(&mut header, name, bytes).unwrap();
}
