//! Archives as `docker save` writes them, made from the bytes of their layers.
//!
//! Layers may be any bytes. The same arguments always give the same archive. Made
//! by the tar crate, and not by what is being tested.

#![expect(clippy::unwrap_used, reason = "a test stops where something is wrong")]

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A docker archive with these images: a name with its tag, and the layers.
pub(crate) fn archive(images: &[(&str, &[Vec<u8>])]) -> Vec<u8> {
    archive_with(images, "")
}

/// The same, with this comment in each config.
pub(crate) fn archive_with(images: &[(&str, &[Vec<u8>])], comment: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut written = std::collections::HashSet::new();
    let mut put = |name: String, bytes: &[u8]| {
        if written.insert(name.clone()) {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append_data(&mut header, &name, bytes).unwrap();
        }
        name
    };
    let mut manifest = Vec::new();
    for (name, layers) in images {
        let ids: Vec<String> = layers.iter().map(|layer| sha256(layer)).collect();
        let config = config(&ids, comment).to_string();
        let paths: Vec<String> = ids
            .iter()
            .zip(layers.iter())
            .map(|(id, layer)| put(format!("{id}/layer.tar"), layer))
            .collect();
        let config = put(format!("{}.json", sha256(config.as_bytes())), config.as_bytes());
        manifest.push(json!({"Config": config, "RepoTags": [name], "Layers": paths}));
    }
    put("manifest.json".to_owned(), Value::Array(manifest).to_string().as_bytes());
    tar.into_inner().unwrap()
}

fn config(ids: &[String], comment: &str) -> Value {
    let ids: Vec<String> = ids.iter().map(|id| format!("sha256:{id}")).collect();
    json!({
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "comment": comment,
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": ids},
    })
}

/// The SHA-256 of these bytes in hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
