//! The image config, as far as orlop looks into it.
//!
//! The bytes are the truth: an image ID is their digest, and they are stored
//! and given back as they are. What stands here is a view beside them; unknown
//! fields are ignored, and nothing is ever serialised from it. The view takes
//! little more memory than the bytes, whatever they say.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};

use crate::digest::Digest;

/// A view of an image config (OCI image specification, config.md).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Config {
    /// When the image was made, RFC 3339, as written.
    #[serde(default)]
    pub created: Option<String>,
    /// CPU architecture by Go's name, such as `amd64`.
    #[serde(default)]
    pub architecture: Option<String>,
    /// Operating system by Go's name, such as `linux`.
    #[serde(default)]
    pub os: Option<String>,
    /// Version of the operating system (Windows).
    #[serde(default, rename = "os.version")]
    pub os_version: Option<String>,
    /// Variant of the architecture, such as `v8`.
    #[serde(default)]
    pub variant: Option<String>,
    /// The layers, lowest first. Configs of artifacts have none.
    #[serde(default)]
    pub rootfs: Option<Rootfs>,
    /// How the layers came about, oldest first.
    #[serde(default, deserialize_with = "bounded_history")]
    pub history: Vec<History>,
}

/// The layers of a config.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Rootfs {
    /// Digests of the uncompressed layer tars, lowest first.
    #[serde(default, deserialize_with = "super::manifest::null_as_empty")]
    pub diff_ids: Vec<Digest>,
}

/// One step of a config's history.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct History {
    /// When, RFC 3339, as written.
    #[serde(default)]
    pub created: Option<String>,
    /// The command or build instruction.
    #[serde(default)]
    pub created_by: Option<String>,
    /// Who made it.
    #[serde(default)]
    pub author: Option<String>,
    /// What the author said about it.
    #[serde(default)]
    pub comment: Option<String>,
    /// Whether this step made no layer.
    #[serde(default)]
    pub empty_layer: bool,
}

impl Config {
    /// Reads the view from the bytes. Invalid UTF-8 inside strings is replaced
    /// in the view, as engines do; the bytes keep it.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_str(&String::from_utf8_lossy(bytes))
    }

    /// The diff IDs, lowest layer first; none where there is no `rootfs`.
    pub fn diff_ids(&self) -> &[Digest] {
        self.rootfs.as_ref().map_or(&[], |rootfs| &rootfs.diff_ids)
    }

    /// Whether the image of this config can have been built on that of `parent` in one
    /// step: it has the parent's layers at the bottom, and one step more in its history.
    /// Where neither has a history, it must have more layers. Engines that keep such
    /// links fail on others. No image follows itself, by whatever way.
    pub fn follows(&self, parent: &Self) -> bool {
        let (steps, before) = (&self.history, &parent.history);
        let layers = self.diff_ids().starts_with(parent.diff_ids());
        if steps.is_empty() && before.is_empty() {
            return layers && self.diff_ids().len() > parent.diff_ids().len();
        }
        layers && steps.len() == before.len() + 1 && steps.starts_with(before)
    }
}

/// What a layer and all below it are called: `below` is what those are (OCI image
/// specification, config.md).
pub fn chain_id(below: Option<Digest>, diff_id: Digest) -> Digest {
    below.map_or(diff_id, |below| Digest::of(format!("{below} {diff_id}").as_bytes()))
}

/// The most steps of a history; images have at most 127 layers and seldom more
/// than a hundred steps without one.
const MOST_HISTORY: usize = 10_000;

/// Reads a history or `null`, counting as it goes: an empty step is short in
/// JSON and large in memory.
fn bounded_history<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<History>, D::Error> {
    struct HistoryVisitor;
    impl<'de> Visitor<'de> for HistoryVisitor {
        type Value = Vec<History>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of history steps")
        }

        fn visit_unit<E>(self) -> Result<Vec<History>, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<History>, A::Error> {
            let mut steps = Vec::new();
            while let Some(step) = seq.next_element()? {
                if steps.len() == MOST_HISTORY {
                    let message = format!("more than {MOST_HISTORY} history steps");
                    return Err(A::Error::custom(message));
                }
                steps.push(step);
            }
            Ok(steps)
        }
    }
    deserializer.deserialize_any(HistoryVisitor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_knows_and_ignores_the_rest() {
        let bytes = br#"{"created":"2024-01-02T03:04:05Z","architecture":"arm64","os":"linux",
            "variant":"v8","config":{"Env":["A=\ud800"]},"rootfs":{"type":"layers","diff_ids":[
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},
            "history":[{"created_by":"RUN x"},{"empty_layer":true,"comment":"c"}]}"#;
        let config = Config::parse(bytes).unwrap();
        assert_eq!(config.created.as_deref(), Some("2024-01-02T03:04:05Z"));
        assert_eq!(config.variant.as_deref(), Some("v8"));
        assert_eq!(config.diff_ids(), [Digest::of(b"")]);
        assert_eq!(config.history[0].created_by.as_deref(), Some("RUN x"));
        assert!(config.history[1].empty_layer);
    }

    #[test]
    fn null_lists_and_missing_rootfs() {
        let config = Config::parse(br#"{"rootfs":{"diff_ids":null},"history":null}"#).unwrap();
        assert_eq!((config.diff_ids(), config.history.len()), (&[][..], 0));
        assert_eq!(Config::parse(b"{}").unwrap().rootfs, None);
        assert!(Config::parse(br#"{"rootfs":{"diff_ids":["md5:1"]}}"#).is_err());
    }

    #[test]
    fn invalid_utf8_is_tolerated() {
        let config = Config::parse(b"{\"architecture\":\"\xff\",\"rootfs\":{}}").unwrap();
        assert_eq!(config.architecture.as_deref(), Some("\u{fffd}"));
    }

    #[test]
    fn a_history_has_an_end() {
        let config = |steps: usize| format!("{{\"history\":[{}{{}}]}}", "{},".repeat(steps - 1));
        let parsed = Config::parse(config(MOST_HISTORY).as_bytes()).unwrap();
        assert_eq!(parsed.history.len(), MOST_HISTORY);
        let error = Config::parse(config(MOST_HISTORY + 1).as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("more than 10000 history steps"), "{error}");
    }
}
