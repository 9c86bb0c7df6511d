//! OCI image layouts, made piece by piece: any manifests, indexes and blobs, and
//! any of them left out.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::docker::sha256;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A layout that is being made.
#[derive(Debug, Default, Clone)]
pub(crate) struct Layout {
    /// By SHA-256 in hex.
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    /// What `index.json` lists.
    pub(crate) listed: Vec<Value>,
    /// Other members, such as `manifest.json`.
    pub(crate) others: Vec<(String, Vec<u8>)>,
}

/// A layer: its tar, and how it stands in the layout.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) tar: Vec<u8>,
    pub(crate) blob: Vec<u8>,
    /// What follows `LAYER` in its media type.
    pub(crate) suffix: &'static str,
}

impl Layer {
    pub(crate) fn plain(tar: &[u8]) -> Self {
        Self { tar: tar.to_vec(), blob: tar.to_vec(), suffix: "" }
    }

    pub(crate) fn gzip(tar: &[u8], blob: Vec<u8>) -> Self {
        Self { tar: tar.to_vec(), blob, suffix: "+gzip" }
    }

    pub(crate) fn zstd(tar: &[u8], blob: Vec<u8>) -> Self {
        Self { tar: tar.to_vec(), blob, suffix: "+zstd" }
    }
}

/// The digest in a descriptor.
pub(crate) fn digest_of(descriptor: &Value) -> String {
    descriptor["digest"].as_str().unwrap().to_owned()
}

impl Layout {
    /// Adds a blob; returns its descriptor.
    pub(crate) fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let hex = sha256(bytes);
        self.blobs.insert(hex.clone(), bytes.to_vec());
        json!({"mediaType": media_type, "digest": format!("sha256:{hex}"), "size": bytes.len()})
    }

    /// Adds a document as no program of ours would write it.
    pub(crate) fn document(&mut self, media_type: &str, value: &Value) -> Value {
        self.blob(media_type, format!("{value:#}\n ").as_bytes())
    }

    /// Adds an image; returns the descriptor of its manifest.
    pub(crate) fn image(&mut self, architecture: &str, layers: &[Layer]) -> Value {
        let ids: Vec<String> =
            layers.iter().map(|layer| format!("sha256:{}", sha256(&layer.tar))).collect();
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": ids},
        });
        let config = self.document(CONFIG, &config);
        let blobs: Vec<Value> = layers
            .iter()
            .map(|layer| self.blob(&format!("{LAYER}{}", layer.suffix), &layer.blob))
            .collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": blobs,
        });
        let mut descriptor = self.document(MANIFEST, &manifest);
        descriptor["platform"] = json!({"architecture": architecture, "os": "linux"});
        descriptor
    }

    /// Adds an index of these.
    pub(crate) fn index(&mut self, manifests: &[Value]) -> Value {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        self.document(INDEX, &index)
    }

    /// Lists it in `index.json`, under a name if there is one.
    pub(crate) fn list(&mut self, descriptor: &Value, name: Option<&str>) {
        let mut descriptor = descriptor.clone();
        if let Some(name) = name {
            descriptor["annotations"] = json!({"io.containerd.image.name": name});
        }
        self.listed.push(descriptor);
    }

    /// Leaves a blob out.
    pub(crate) fn leave_out(&mut self, descriptor: &Value) {
        self.blobs.remove(&digest_of(descriptor)["sha256:".len()..]);
    }

    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.listed});
        let mut files: Vec<(String, Vec<u8>)> = self
            .blobs
            .iter()
            .map(|(hex, bytes)| (format!("blobs/sha256/{hex}"), bytes.clone()))
            .collect();
        files.push(("index.json".to_owned(), index.to_string().into_bytes()));
        files.push(("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
        files.extend(self.others.iter().cloned());
        files
    }

    /// The layout as a tar.
    pub(crate) fn tar(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, bytes) in self.files() {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o640);
            header.set_mtime(1_234_567_890);
            tar.append_data(&mut header, path, bytes.as_slice()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    /// The layout as a folder.
    pub(crate) fn write(&self, folder: &Path) {
        for (path, bytes) in self.files() {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
}
