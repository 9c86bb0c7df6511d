//! Image references, normalised as Docker does it.
//!
//! A [`Reference`] is always fully qualified and valid (the grammar of
//! `distribution/reference`), so equal references are equal strings. Knows
//! nothing of which images exist.

use std::fmt;
use std::str::FromStr;

use crate::image::error::{Error, shown};

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DOMAIN: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
const LONGEST_PATH: usize = 255;
const LONGEST_TAG: usize = 128;

/// A repository and a tag, such as `docker.io/library/app:1.4`. Ordered by
/// repository, then tag.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    repository: String,
    tag: String,
}

impl Reference {
    /// Reads a reference as people write it: `app` is
    /// `docker.io/library/app:latest`. One with a digest is an error.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (repository, tag) = split(text)?;
        Ok(Self { repository, tag: tag.unwrap_or(DEFAULT_TAG).to_owned() })
    }

    /// Reads a reference as archives hold it: a missing tag is an error.
    pub fn parse_tagged(text: &str) -> Result<Self, Error> {
        let (repository, tag) = split(text)?;
        let tag = tag.ok_or_else(|| bad(text, "it has no tag"))?.to_owned();
        Ok(Self { repository, tag })
    }

    /// The fully qualified repository, such as `docker.io/library/app`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, such as `1.4`.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The shortest form that means the same, such as `app:1.4`.
    pub fn familiar(&self) -> String {
        format!("{}:{}", self.familiar_repository(), self.tag)
    }

    /// The shortest form of the repository that means the same.
    pub fn familiar_repository(&self) -> &str {
        familiar_repository(&self.repository)
    }
}

/// The shortest form of a fully qualified repository that means the same, such
/// as `app` for `docker.io/library/app`.
pub fn familiar_repository(repository: &str) -> &str {
    let Some(path) = repository.strip_prefix("docker.io/") else {
        return repository;
    };
    let short = match path.strip_prefix(OFFICIAL) {
        // `sha256:` begins an image ID where a user names an image.
        Some(name) if !name.contains('/') && name != "sha256" => name,
        _ => path,
    };
    // `docker.io/localhost/x` has no shorter form, as `localhost/x` is another.
    if normalise(short).is_ok_and(|same| same == repository) { short } else { repository }
}

/// Reads a repository without tag or digest; the result is fully qualified.
pub fn parse_repository(text: &str) -> Result<String, Error> {
    match split(text)? {
        (repository, None) => Ok(repository),
        (_, Some(_)) => Err(bad(text, "a repository has no tag")),
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl serde::Serialize for Reference {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Reference {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse_tagged(&text).map_err(serde::de::Error::custom)
    }
}

/// The normalised repository and the tag, if there is one.
fn split(text: &str) -> Result<(String, Option<&str>), Error> {
    if text.contains('@') {
        return Err(bad(text, "it has a digest"));
    }
    let after_slash = text.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match text[after_slash..].find(':') {
        Some(colon) => {
            let at = after_slash + colon;
            (&text[..at], Some(&text[at + 1..]))
        }
        None => (text, None),
    };
    let repository = normalise(name).map_err(|problem| bad(text, problem))?;
    if let Some(tag) = tag {
        check_tag(tag).map_err(|problem| bad(text, problem))?;
    }
    Ok((repository, tag))
}

/// The fully qualified form of a repository name.
fn normalise(name: &str) -> Result<String, &'static str> {
    if name.is_empty() {
        return Err("it has no repository name");
    }
    if name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("64 hex digits are an image ID, not a repository name");
    }
    let (domain, path) = match name.split_once('/') {
        Some((first, rest)) if is_domain_like(first) => {
            (if first == LEGACY_DOMAIN { DEFAULT_DOMAIN } else { first }, rest)
        }
        _ => (DEFAULT_DOMAIN, name),
    };
    check_domain(domain)?;
    let official = domain == DEFAULT_DOMAIN && !path.contains('/');
    let path = if official { format!("{OFFICIAL}{path}") } else { path.to_owned() };
    check_path(&path)?;
    Ok(format!("{domain}/{path}"))
}

/// Whether the part before the first slash is a host, as Docker tells it.
fn is_domain_like(first: &str) -> bool {
    first == "localhost"
        || first.contains(['.', ':'])
        || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn check_domain(domain: &str) -> Result<(), &'static str> {
    let (host, port) = if let Some(rest) = domain.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or("its host is not valid")?;
        let valid = address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
        if address.is_empty() || !valid {
            return Err("its host is not valid");
        }
        (None, after.strip_prefix(':').map_or((!after.is_empty()).then_some(""), Some))
    } else {
        match domain.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(domain), None),
        }
    };
    if host.is_some_and(|host| !host.split('.').all(is_domain_component)) {
        return Err("its host is not valid");
    }
    match port {
        Some(port) if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err("its port is not a number")
        }
        _ => Ok(()),
    }
}

fn is_domain_component(component: &str) -> bool {
    let bytes = component.as_bytes();
    bytes.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && bytes.first().is_some_and(|&byte| byte != b'-')
        && bytes.last().is_some_and(|&byte| byte != b'-')
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.len() > LONGEST_PATH {
        return Err("its repository name is longer than 255 characters");
    }
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("repository names are lower case");
    }
    if path.split('/').all(is_path_component) {
        Ok(())
    } else {
        Err("its repository name is not valid")
    }
}

/// `[a-z0-9]+` pieces with one `.`, `_` or `__`, or any number of `-`, between.
fn is_path_component(component: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let outer = bytes.first().is_some_and(is_word) && bytes.last().is_some_and(is_word);
    outer
        && bytes.split(is_word).all(|separator| {
            matches!(separator, b"" | b"." | b"_" | b"__")
                || separator.iter().all(|&byte| byte == b'-')
        })
}

/// `[\w][\w.-]{0,127}`.
fn check_tag(tag: &str) -> Result<(), &'static str> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if tag.len() > LONGEST_TAG {
        return Err("its tag is longer than 128 characters");
    }
    let mut bytes = tag.bytes();
    let valid = bytes.next().is_some_and(word)
        && bytes.all(|byte| word(byte) || byte == b'.' || byte == b'-');
    if valid { Ok(()) } else { Err("its tag is not valid") }
}

pub(super) fn bad(text: &str, problem: &'static str) -> Error {
    Error::BadReference { text: shown(text), problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn normalises_as_docker_does() {
        for (text, full, familiar) in [
            ("app", "docker.io/library/app:latest", "app:latest"),
            ("app:1.4", "docker.io/library/app:1.4", "app:1.4"),
            ("library/app", "docker.io/library/app:latest", "app:latest"),
            ("docker.io/app:1", "docker.io/library/app:1", "app:1"),
            ("index.docker.io/app:1", "docker.io/library/app:1", "app:1"),
            ("ex/app:1", "docker.io/ex/app:1", "ex/app:1"),
            ("docker.io/library/ex/app:1", "docker.io/library/ex/app:1", "library/ex/app:1"),
            ("localhost/app:1", "localhost/app:1", "localhost/app:1"),
            ("localhost:5000/app", "localhost:5000/app:latest", "localhost:5000/app:latest"),
            ("app:5000", "docker.io/library/app:5000", "app:5000"),
            (
                "ghcr.io/a/b__c/d--e.f_g:v1",
                "ghcr.io/a/b__c/d--e.f_g:v1",
                "ghcr.io/a/b__c/d--e.f_g:v1",
            ),
            ("Host/app:1", "Host/app:1", "Host/app:1"),
            ("[2001:db8::1]:5000/app:1", "[2001:db8::1]:5000/app:1", "[2001:db8::1]:5000/app:1"),
            ("docker.io/localhost/x:1", "docker.io/localhost/x:1", "docker.io/localhost/x:1"),
            ("sha256:abcdef", "docker.io/library/sha256:abcdef", "library/sha256:abcdef"),
        ] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(reference.to_string(), full, "{text}");
            assert_eq!(reference.familiar(), familiar, "{text}");
            assert_eq!(Reference::parse(familiar).unwrap(), reference, "{text}");
        }
    }

    #[test]
    fn refuses_and_names_the_text() {
        let long = format!("{}:x", "a".repeat(300));
        let long_tag = format!("a:{}", "b".repeat(129));
        for (text, problem) in [
            ("", "no repository name"),
            (":1", "no repository name"),
            ("app:", "tag is not valid"),
            ("app:-1", "tag is not valid"),
            ("app:a/b", "port is not a number"),
            ("UPPER:bad tag", "lower case"),
            ("app:bad tag", "tag is not valid"),
            ("../x:1", "host is not valid"),
            ("a//b", "repository name is not valid"),
            ("a..b", "repository name is not valid"),
            ("a___b", "repository name is not valid"),
            ("a-", "repository name is not valid"),
            ("-a", "repository name is not valid"),
            ("ex.com:/a", "port is not a number"),
            ("ex.com:8x/a", "port is not a number"),
            ("-ex.com/a", "host is not valid"),
            ("[:x]/a", "host is not valid"),
            ("app@sha256:00", "has a digest"),
            ("\u{e4}:1", "repository name is not valid"),
            (long.as_str(), "longer than 255"),
            (long_tag.as_str(), "longer than 128"),
        ] {
            let message = Reference::parse(text).unwrap_err().to_string();
            assert!(message.contains(problem), "{text}: {message}");
            assert!(message.contains(&shown(text)), "{text}: {message}");
        }
        assert!(Reference::parse(&"ab".repeat(32)).is_err());
    }

    #[test]
    fn archives_need_a_tag() {
        assert_eq!(
            Reference::parse_tagged("app:1").unwrap().to_string(),
            "docker.io/library/app:1"
        );
        let message = Reference::parse_tagged("localhost:5000/app").unwrap_err().to_string();
        assert!(message.ends_with("it has no tag"), "{message}");
        assert_eq!(parse_repository("app").unwrap(), "docker.io/library/app");
        assert!(parse_repository("app:1").is_err());
    }

    #[test]
    fn is_a_string_in_json() {
        let reference = Reference::parse("app:1").unwrap();
        let json = serde_json::to_string(&reference).unwrap();
        assert_eq!(json, "\"docker.io/library/app:1\"");
        assert_eq!(serde_json::from_str::<Reference>(&json).unwrap(), reference);
        assert!(serde_json::from_str::<Reference>("\"app\"").is_err());
    }

    #[test]
    fn sorts_by_repository_then_tag() {
        let mut all: Vec<_> = ["b:1", "a:2", "a:10"].map(|t| Reference::parse(t).unwrap()).into();
        all.sort();
        assert_eq!(all.iter().map(Reference::familiar).collect::<Vec<_>>(), ["a:10", "a:2", "b:1"]);
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_means_one_thing(text in "\\PC{0,40}|[a-zA-Z0-9./:_-]{0,40}") {
            if let Ok(reference) = Reference::parse(&text) {
                let again = Reference::parse_tagged(&reference.to_string()).unwrap();
                prop_assert_eq!(&again, &reference);
                prop_assert_eq!(&Reference::parse(&reference.familiar()).unwrap(), &reference);
            }
        }
    }
}
