//! The `manifest.json` of a docker archive.
//!
//! Reads it as Docker does: the first JSON value only, keys in any case, `null`
//! for empty lists, the last of two equal keys. Items are counted while they
//! are read, so a hostile document can't take much more memory than its size.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::digest::Digest;
use crate::image::manifest::Descriptor;
use crate::image::media_type;

/// The most images that one archive may list.
const MOST_IMAGES: usize = 10_000;

/// One image of the list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Item {
    /// Path of the config; empty only if `imgpkg`.
    pub(super) config: String,
    /// References, as written.
    pub(super) tags: Vec<String>,
    /// Paths of the layers, lowest first.
    pub(super) layers: Vec<String>,
    /// Image ID of the image that it was built on.
    pub(super) parent: Option<Digest>,
    /// Layers that are to be had from elsewhere, by diff ID.
    pub(super) foreign: HashMap<Digest, Descriptor>,
    /// Whether this is an item of imgpkg's own schema instead.
    pub(super) imgpkg: bool,
}

/// The items; none for `null`.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Item>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    Option::<List>::deserialize(&mut deserializer)
        .map(|list| list.map_or(Vec::new(), |list| list.0))
}

struct List(Vec<Item>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor;
        impl<'de> Visitor<'de> for ListVisitor {
            type Value = List;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of images")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    if items.len() == MOST_IMAGES {
                        let message = format!("more than {MOST_IMAGES} images");
                        return Err(A::Error::custom(message));
                    }
                    items.push(item);
                }
                Ok(List(items))
            }
        }
        deserializer.deserialize_seq(ListVisitor)
    }
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemVisitor;
        impl<'de> Visitor<'de> for ItemVisitor {
            type Value = Item;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an image with Config, RepoTags and Layers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
                let mut item = Item::default();
                let mut config = None;
                while let Some(key) = map.next_key::<String>()? {
                    match key.to_ascii_lowercase().as_str() {
                        "config" => config = map.next_value()?,
                        "repotags" => item.tags = list(&mut map)?,
                        "layers" => item.layers = list(&mut map)?,
                        "parent" => item.parent = parent(map.next_value()?),
                        "layersources" => item.foreign = foreign(map.next_value()?),
                        "image" | "imageindex" => {
                            item.imgpkg = true;
                            map.next_value::<IgnoredAny>()?;
                        }
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                item.imgpkg &= config.is_none();
                if config.is_none() && !item.imgpkg {
                    return Err(A::Error::custom("an image has no Config"));
                }
                item.config = config.unwrap_or_default();
                Ok(item)
            }
        }
        deserializer.deserialize_map(ItemVisitor)
    }
}

fn list<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Vec<String>, A::Error> {
    Ok(map.next_value::<Option<Vec<String>>>()?.unwrap_or_default())
}

/// An image ID; what is none is passed over.
fn parent(text: &RawValue) -> Option<Digest> {
    serde_json::from_str(text.get()).ok()
}

/// The foreign layers among `LayerSources`. The rest says nothing that the layers
/// don't say themselves, and what can't be understood is passed over, as by
/// engines.
fn foreign(sources: &RawValue) -> HashMap<Digest, Descriptor> {
    let sources: BTreeMap<String, &RawValue> =
        serde_json::from_str(sources.get()).unwrap_or_default();
    let read = |(diff_id, source): (String, &RawValue)| {
        let source: Descriptor = serde_json::from_str(source.get()).ok()?;
        let is_foreign = media_type::is_foreign(&source.media_type) && !source.urls.is_empty();
        is_foreign.then_some((diff_id.parse().ok()?, source))
    };
    sources.into_iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_as_docker_does() {
        let text = br#"[{"Config":"a.json","RepoTags":null,"Layers":["x","y"],"Parent":"p",
            "LayerSources":{"a":{}}},{"config":"b","REPOTAGS":["t"],"layers":null,"PARENT":
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}] [garbage"#;
        let expected = [
            Item {
                config: "a.json".into(),
                layers: vec!["x".into(), "y".into()],
                ..Item::default()
            },
            Item {
                config: "b".into(),
                tags: vec!["t".into()],
                parent: Some(Digest::of(b"")),
                ..Item::default()
            },
        ];
        assert_eq!(parse(text).unwrap(), expected);
        assert_eq!(parse(b"null").unwrap(), []);
        assert_eq!(parse(b" [] ").unwrap(), []);
    }

    #[test]
    fn knows_imgpkg() {
        assert!(parse(br#"[{"ImageIndex":null,"Image":{"Refs":[]}}]"#).unwrap()[0].imgpkg);
        assert!(!parse(br#"[{"Config":"c","Image":1}]"#).unwrap()[0].imgpkg);
    }

    #[test]
    fn refuses_what_is_no_list_of_images() {
        for (text, problem) in [
            ("{}", "expected a list of images"),
            ("[1]", "expected an image with"),
            ("[{}]", "an image has no Config"),
            ("[{\"Config\":1}]", "expected a string"),
            ("[", "EOF"),
            ("", "EOF"),
        ] {
            let message = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(message.contains(problem), "{text}: {message}");
        }
        let many = format!("[{}{{}}]", "{\"Config\":\"\"},".repeat(MOST_IMAGES));
        let message = parse(many.as_bytes()).unwrap_err().to_string();
        assert!(message.contains("an image has no Config"), "{message}");
        let many = many.replace("{}", "{\"Config\":\"\"}");
        let message = parse(many.as_bytes()).unwrap_err().to_string();
        assert!(message.contains("more than 10000 images"), "{message}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            drop(parse(&bytes));
        }
    }
}
