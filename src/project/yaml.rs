//! YAML, and JSON as a part of it, as a tree whose nodes know their line.
//!
//! Owns the YAML package. Aliases and merge keys are resolved, a key that comes
//! twice is an error. Files are a user's own, but may have been copied from
//! anywhere: size, depth, and what aliases come to are bounded. Of tags only
//! `!reset` and `!override` are kept, which Compose files have. Knows nothing of
//! what the tree means.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Error, Spanned, Tagged};

use crate::project::error::{Place, ProjectError};

/// Most bytes of a file.
pub(super) const MOST_BYTES: u64 = 16 << 20;
/// Most levels of lists and mappings within each other.
const MOST_DEPTH: usize = 64;
/// Most nodes of a file, when its aliases are resolved.
const MOST_NODES: usize = 1_000_000;
/// Most bytes of its texts, when its aliases are resolved.
const MOST_TEXT: usize = 32 << 20;

/// A part of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub value: Value,
    pub tag: Tag,
    /// Where it is written, from 1; 0 if nobody knows.
    pub line: u32,
}

/// What a part of a document is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// A number or a truth value, which nobody here looks at.
    Other,
    Text(String),
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<(String, Node)>),
}

/// What Compose files say about merging.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    None,
    /// `!reset`: takes away what an earlier file says.
    Reset,
    /// `!override`: stands in the place of what an earlier file says.
    Override,
}

impl Node {
    /// What a mapping has under a key; `null` is as good as nothing.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let (_, node) = self.entries().iter().find(|(name, _)| name == key)?;
        (node.value != Value::Null || node.tag != Tag::None).then_some(node)
    }

    /// The entries of a mapping; of everything else none.
    pub(super) fn entries(&self) -> &[(String, Self)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; of everything else none.
    pub(super) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// How many nodes it is, with all within it.
    pub(super) fn count(&self) -> usize {
        let items = self.items().iter().map(Self::count).sum::<usize>();
        1 + items + self.entries().iter().map(|(_, node)| node.count()).sum::<usize>()
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Reads the documents of a file, without the empty ones.
pub(super) fn parse(file: &Path, bytes: &[u8]) -> Result<Vec<Node>, ProjectError> {
    let place = |line| Place { file: PathBuf::from(file), line };
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.iter().take(error.valid_up_to()).filter(|&&byte| byte == b'\n').count();
        let line = u32::try_from(before + 1).unwrap_or(0);
        ProjectError::Yaml { place: place(line), problem: "it is not UTF-8".to_owned() }
    })?;
    serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| {
        let line = error.location().map_or(0, |location| location.line());
        let line = u32::try_from(line).unwrap_or(0);
        ProjectError::Yaml { place: place(line), problem: problem(&error) }
    })
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MOST_DEPTH,
            flow_nesting_limit: MOST_DEPTH,
            max_events: 4 * MOST_NODES,
            max_nodes: MOST_NODES,
            max_recorded_anchor_events: MOST_NODES,
            max_recorded_anchor_bytes: MOST_TEXT,
            max_total_scalar_bytes: MOST_TEXT,
            max_documents: 100_000,
            // One anchor for all that services have in common is how it is done.
            enforce_alias_anchor_ratio: false,
        },
        // `yes` and `on` are texts, as they are for those who run these files.
        strict_booleans: true,
        with_snippet: false,
        null_as_string: true,
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::PassThrough,
    }
}

/// What the parser says, on one line and without the place, which we say.
fn problem(error: &Error) -> String {
    let text = error.without_snippet().to_string();
    let text = text.lines().next().unwrap_or_default();
    text.split(" at line ").next().unwrap_or_default().chars().take(200).collect()
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Tagged<Value>>::deserialize(deserializer)?;
        let Tagged(value, tag) = spanned.value;
        let tag = match tag.as_deref() {
            Some("!reset") => Tag::Reset,
            Some("!override") => Tag::Override,
            _ => Tag::None,
        };
        let line = u32::try_from(spanned.defined.line()).unwrap_or(0);
        Ok(Self { value, tag, line })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Value::Map(map))
    }
}
