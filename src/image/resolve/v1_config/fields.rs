//! The fields of a `json` document that Docker 20.10 knows, in its types.
//!
//! What is read and written again loses what isn't here, and gains the zero of
//! what was missing, as in Docker. Fields that a config never has are left out:
//! `id`, `parent` and `Size`.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::image::manifest::null_as_empty;

/// A `json` document (Docker 20.10, `V1Image`).
#[derive(Serialize, Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(super) struct Fields {
    #[serde(deserialize_with = "null_as_empty", skip_serializing_if = "String::is_empty")]
    pub(super) comment: String,
    #[serde(deserialize_with = "null_as_empty")]
    pub(super) created: Time,
    #[serde(deserialize_with = "null_as_empty", skip_serializing_if = "String::is_empty")]
    container: String,
    #[serde(deserialize_with = "null_as_empty")]
    container_config: Container,
    #[serde(deserialize_with = "null_as_empty", skip_serializing_if = "String::is_empty")]
    pub(super) docker_version: String,
    #[serde(deserialize_with = "null_as_empty", skip_serializing_if = "String::is_empty")]
    pub(super) author: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Container>,
    #[serde(deserialize_with = "null_as_empty", skip_serializing_if = "String::is_empty")]
    architecture: String,
    #[serde(deserialize_with = "null_as_empty", skip_serializing_if = "String::is_empty")]
    variant: String,
    #[serde(deserialize_with = "null_as_empty", skip_serializing_if = "String::is_empty")]
    os: String,
}

/// What a container is to run (Docker 20.10, `container.Config`).
#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[expect(clippy::struct_excessive_bools, reason = "these are Docker's")]
struct Container {
    #[serde(deserialize_with = "null_as_empty")]
    hostname: String,
    #[serde(deserialize_with = "null_as_empty")]
    domainname: String,
    #[serde(deserialize_with = "null_as_empty")]
    user: String,
    #[serde(deserialize_with = "null_as_empty")]
    attach_stdin: bool,
    #[serde(deserialize_with = "null_as_empty")]
    attach_stdout: bool,
    #[serde(deserialize_with = "null_as_empty")]
    attach_stderr: bool,
    #[serde(deserialize_with = "null_as_empty", skip_serializing_if = "Set::is_empty")]
    exposed_ports: Set,
    #[serde(deserialize_with = "null_as_empty")]
    tty: bool,
    #[serde(deserialize_with = "null_as_empty")]
    open_stdin: bool,
    #[serde(deserialize_with = "null_as_empty")]
    stdin_once: bool,
    env: Option<Vec<String>>,
    cmd: Option<Words>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: Option<Box<RawValue>>,
    #[serde(deserialize_with = "null_as_empty", skip_serializing_if = "is_false")]
    args_escaped: bool,
    #[serde(deserialize_with = "null_as_empty")]
    image: String,
    volumes: Option<Set>,
    #[serde(deserialize_with = "null_as_empty")]
    working_dir: String,
    entrypoint: Option<Words>,
    #[serde(deserialize_with = "null_as_empty", skip_serializing_if = "is_false")]
    network_disabled: bool,
    #[serde(deserialize_with = "null_as_empty", skip_serializing_if = "String::is_empty")]
    mac_address: String,
    on_build: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    #[serde(deserialize_with = "null_as_empty", skip_serializing_if = "String::is_empty")]
    stop_signal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_timeout: Option<i64>,
    #[serde(deserialize_with = "null_as_empty", skip_serializing_if = "Words::is_empty")]
    shell: Words,
}

/// A set, which Go has as a map to nothing.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
#[expect(clippy::zero_sized_map_values, reason = "serde writes a set as a list")]
struct Set(BTreeMap<String, Nothing>);

#[derive(Serialize, Deserialize)]
#[expect(clippy::empty_structs_with_brackets, reason = "it is written as `{}`")]
struct Nothing {}

/// A list, or one word alone.
#[derive(Default, Serialize)]
struct Words(Vec<String>);

/// A point in time as Go writes it.
#[derive(Clone, Serialize)]
pub(super) struct Time(String);

impl Fields {
    /// Reads a document. Invalid UTF-8 inside strings is replaced, as in Docker.
    pub(super) fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        // serde would take a list of the fields as well.
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err(serde_json::Error::custom("expected an object"));
        }
        serde_json::from_str(&String::from_utf8_lossy(json))
    }

    /// The command that made the layer.
    pub(super) fn command(&self) -> String {
        self.container_config.cmd.as_ref().map(|words| words.0.join(" ")).unwrap_or_default()
    }
}

impl Words {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Set {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            List(Vec<String>),
            Word(String),
        }
        Ok(Self(match Either::deserialize(deserializer)? {
            Either::List(list) => list,
            Either::Word(word) => vec![word],
        }))
    }
}

impl Default for Time {
    fn default() -> Self {
        Self("0001-01-01T00:00:00Z".to_owned())
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match normal(&text) {
            Some(time) => Ok(Self(time)),
            None => Err(D::Error::custom("a time is not in the form of RFC 3339")),
        }
    }
}

/// A time of RFC 3339 without needless zeros: at most nanoseconds, and `Z` where
/// the zone is UTC.
fn normal(text: &str) -> Option<String> {
    const SECONDS: usize = "2006-01-02T15:04:05".len();
    const FORM: &[u8; SECONDS] = b"0000-00-00T00:00:00";
    let (seconds, rest) = text.split_at_checked(SECONDS)?;
    let has_form = |(byte, form): (u8, &u8)| {
        if *form == b'0' { byte.is_ascii_digit() } else { byte == *form }
    };
    let zone_at = rest.find(['Z', '+', '-'])?;
    let (fraction, zone) = rest.split_at(zone_at);
    let digits = fraction.strip_prefix('.').unwrap_or(fraction);
    let is_fraction = fraction.is_empty() || (fraction.len() > 1 && digits.len() < fraction.len());
    let is_zone =
        zone == "Z" || (zone.len() == 6 && zone.bytes().skip(1).zip(b"00:00").all(has_form));
    let valid = seconds.bytes().zip(FORM).all(has_form)
        && is_fraction
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && is_zone;
    if !valid {
        return None;
    }
    let digits = digits.get(..9).unwrap_or(digits).trim_end_matches('0');
    let point = if digits.is_empty() { "" } else { "." };
    let zone = if &zone[1..] == "00:00" { "Z" } else { zone };
    Some(format!("{seconds}{point}{digits}{zone}"))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_go_writes_them() {
        for (text, time) in [
            ("2015-10-31T22:22:55.613815829Z", Some("2015-10-31T22:22:55.613815829Z")),
            ("2015-10-31T22:22:55.610000000Z", Some("2015-10-31T22:22:55.61Z")),
            ("2015-10-31T22:22:55.000Z", Some("2015-10-31T22:22:55Z")),
            ("2015-10-31T22:22:55.1234567891Z", Some("2015-10-31T22:22:55.123456789Z")),
            ("2015-10-31T22:22:55+02:00", Some("2015-10-31T22:22:55+02:00")),
            ("2015-10-31T22:22:55-00:00", Some("2015-10-31T22:22:55Z")),
            ("2015-10-31 22:22:55Z", None),
            ("2015-10-31T22:22:55", None),
            ("2015-10-31T22:22:55.Z", None),
            ("2015-10-31T22:22:55.1x2Z", None),
            ("2015-10-31T22:22:5512Z", None),
            ("2015-10-31T22:22:55+2:00", None),
            ("2015-10-31T22:22:55Zulu", None),
            ("", None),
        ] {
            assert_eq!(normal(text).as_deref(), time, "{text}");
        }
    }

    #[test]
    fn null_and_a_lone_word_are_taken() {
        let json = br#"{"created":null,"container_config":{"Cmd":"a b","Tty":null},"author":null}"#;
        let fields = Fields::parse(json).unwrap();
        assert_eq!((fields.command().as_str(), fields.author.as_str()), ("a b", ""));
        assert_eq!(fields.created.0, "0001-01-01T00:00:00Z");
        assert!(Fields::parse(br#"{"created":"yesterday"}"#).is_err());
    }
}
