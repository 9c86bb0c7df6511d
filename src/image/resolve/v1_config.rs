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

/// Whether [`make_v1_config`] can take this document in.
pub(super) fn check(json: &[u8]) -> Result<(), serde_json::Error> {
    Fields::parse(json).map(drop)
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

#[cfg(test)]
mod tests {
    use super::*;

    const LOWEST: &str = r##"{"id":"I0","created":"2015-10-31T22:22:54.690000000Z","container":"c1",
        "container_config":{"Hostname":"h","Cmd":["/bin/sh","-c","#(nop) ADD file:a <in> / & more"],
        "Image":"","Volumes":null},"docker_version":"VERSION","architecture":"amd64","os":"linux",
        "Size":12}"##;
    /// `~` stands for a letter that isn't ASCII.
    const UPPER: &str = r#"{"id":"I1","parent":"I0","created":
        "2015-10-31T22:22:55.613815829+02:00","author":"A <a@b.c>","comment":"c\u00e4\t",
        "container_config":{"Hostname":"h","Domainname":"","User":"","AttachStdin":false,
        "PortSpecs":null,"ExposedPorts":{"80/tcp":{}},"Memory":0,"Tty":false,
        "Env":["A=<\u0026~>"],"Cmd":"one word","Volumes":{"/b":{},"/a":{}},"Entrypoint":null,
        "OnBuild":[],"Labels":{"k":"v\u2028"}},"config":{"Hostname":"h","Env":["A=<\u0026~>"],
        "Cmd":["/bin/sh"],"Image":"I0","WorkingDir":"/w","Labels":null,"NetworkDisabled":true,
        "MacAddress":"","OnBuild":null,"Memory":5,"StopSignal":"SIGX"},"docker_version":"VERSION",
        "architecture":"amd64","os":"linux","unknown":{"a" : [1.50, 2]},"throwaway":true,
        "Size":0}"#;
    const DIFF_IDS: [&str; 3] = [
        "6c9e5f16eac6d663c9f0f8b88789f726cb944cd356a24c5802e14cdd18121ec5",
        "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
        "94bff913b1539b2f49adfd40493cb8b1180a580f6d0160ceb18b465235a85b2c",
    ];

    fn config(jsons: &[&str], diff_ids: &[&str], version: &str) -> String {
        // The image that the engine was given had its parent's ID here.
        let parent = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b";
        let fill = |json: &&str| {
            let json = json.replace("VERSION", version).replace("I0", parent);
            json.replace('~', "\u{e4}").into_bytes()
        };
        let jsons: Vec<Vec<u8>> = jsons.iter().map(fill).collect();
        let diff_ids: Vec<Digest> =
            diff_ids.iter().map(|hex| Digest::from_hex(hex).unwrap()).collect();
        String::from_utf8(make_v1_config(&jsons, &diff_ids).unwrap()).unwrap()
    }

    fn id(config: &str) -> String {
        Digest::of(config.as_bytes()).hex()
    }

    /// Image IDs that Docker 20.10.24 gave to archives with these documents.
    #[test]
    fn image_ids_are_those_that_docker_gives() {
        let three = [LOWEST, UPPER, UPPER];
        for (jsons, version, expected) in [
            // Kept as they are written.
            (
                &three[..1],
                "1.9.1",
                "1144e499dba7cdf671ce73d287f0ac14572ed35e91ecf1e9a10af499ec3eb5af",
            ),
            (&three, "1.9.1", "988c00b1c10ed5e9fb2d628585fc123a0e86dd854f7043f7694ef4d65017d7b7"),
            // Through the fields that Docker knows.
            (
                &three[..1],
                "1.6.2",
                "a90428ac502765eb1cd11e2ac08a058cab44cea4b90fe31c962513e009885fb8",
            ),
            (&three, "1.6.2", "446817b49746d1dca2ac271760b744fd6e15dbe01061375c755786337907dbd9"),
            (
                &three[..1],
                "1.8.2-fc",
                "a7fbdea4a3b39b4870c328617c5a89eeba4baedef71c38299440fb62b978d186",
            ),
        ] {
            let made = config(jsons, &DIFF_IDS[..jsons.len()], version);
            assert_eq!(id(&made), expected, "{version}: {made}");
        }
        let one = "0a277077434e68195c90a6ef8567e0dfb5402a372ca20187b25835442567b097";
        let made = config(&[r#"{"id":"x","os":"linux"}"#], &[one], "");
        let expected = "7b9f8ddd51f4ab7f2e92f1f099f05de45883cc0dea8574d6230108264d03c9bc";
        assert_eq!(id(&made), expected, "{made}");
    }

    #[test]
    fn a_made_config_is_this() {
        let empty = Digest::of(b"").hex();
        let made = config(&[r#"{"id":"x","docker_version":"1.8.3"}"#], &[&empty], "");
        let expected = format!(
            "{{\"docker_version\":\"1.8.3\",\"history\":[{{\"created\":\"0001-01-01T00:00:00Z\"}}],\
             \"rootfs\":{{\"type\":\"layers\",\"diff_ids\":[\"sha256:{empty}\"]}}}}"
        );
        assert_eq!(made, expected);
        // Docker 20.10.24 gave it this ID.
        assert_eq!(id(&made), "0c400fb575a0a44f1c0b0b9770dceb8e8a1c2573656e7aefb9064efb974ca5da");
    }

    #[test]
    fn what_can_not_be_one_is_refused() {
        let refused = |jsons: &[&str], count: usize| {
            let jsons: Vec<Vec<u8>> = jsons.iter().map(|json| json.as_bytes().to_vec()).collect();
            make_v1_config(&jsons, &vec![Digest::of(b""); count]).unwrap_err()
        };
        assert!(matches!(refused(&[], 0), Error::NoImages));
        assert!(matches!(refused(&["{}"], 2), Error::LayerCount { diff_ids: 2, layers: 1, .. }));
        for json in
            ["", "1", "[]", "{\"created\":1}", "{\"author\":[]}", "{\"config\":{\"Env\":1}}"]
        {
            assert!(matches!(refused(&[json, "{}"], 2), Error::Json { .. }), "{json}");
        }
    }

    #[test]
    fn versions_are_compared_by_number() {
        for (text, kept) in [
            ("1.8.3", true),
            ("1.10.0", true),
            ("17.03.0-ce", true),
            ("1.9", true),
            ("1.8.2", false),
            ("1.8", false),
            ("1.8.3-rc1", false),
            ("dev", false),
            ("", false),
        ] {
            assert_eq!(version(text) >= KEPT_SINCE, kept, "{text}");
        }
    }
}
