//! What a user types to name a stored image.
//!
//! `app:1.4`, `app`, `app:1.4~1`, `app:1.4@{2026-05-01}`, `app@sha256:...`,
//! `sha256:...` and hex digits of an image ID. A bare word of hex digits reads
//! two ways and keeps both; whoever knows what exists decides (a repository
//! name wins). Dates are kept as text: this module knows no clock.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::image::error::Error;
use crate::image::reference::{Reference, bad, parse_repository};

const SHORTEST_ID: usize = 6;
const LONGEST_ID: usize = 64;

/// A parsed name of a stored image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Query {
    /// By repository and tag, now or in the past.
    Tag {
        /// What it points at by name.
        reference: Reference,
        /// How many revisions back (`~N`), counted from `at`.
        back: u32,
        /// The raw text of `@{...}`: a date or time.
        at: Option<String>,
        /// The other reading, if the whole text could be digits of an image
        /// ID; counts only where no such repository exists.
        image_id: Option<String>,
    },
    /// By manifest digest.
    ManifestDigest {
        /// The fully qualified repository, if it was given.
        repository: Option<String>,
        /// The digest of the manifest or index.
        digest: Digest,
    },
    /// By the first 6 to 64 lower-case hex digits of the image ID.
    ImageId {
        /// The digits.
        prefix: String,
    },
}

impl Query {
    /// Reads what a user typed.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if let Some(digits) = text.strip_prefix("sha256:") {
            let prefix = id_digits(digits)
                .ok_or_else(|| bad(text, "an image ID is 6 to 64 hex digits after `sha256:`"))?;
            return Ok(Self::ImageId { prefix });
        }
        let (rest, back) = split_back(text)?;
        let (name, at) = split_at_time(text, rest)?;
        if back.is_none()
            && at.is_none()
            && let Some((name, digest)) = name.split_once('@')
        {
            return Self::by_digest(text, name, digest);
        }
        let plain = (back.is_none() && at.is_none()).then_some(name);
        let image_id = plain.and_then(id_digits);
        match (Reference::parse(name), image_id) {
            (Ok(reference), image_id) => {
                Ok(Self::Tag { reference, back: back.unwrap_or(0), at, image_id })
            }
            (Err(_), Some(prefix)) => Ok(Self::ImageId { prefix }),
            (Err(Error::BadReference { problem, .. }), None) => Err(bad(text, problem)),
            (Err(other), None) => Err(other),
        }
    }

    fn by_digest(text: &str, name: &str, digest: &str) -> Result<Self, Error> {
        let digest = digest
            .parse()
            .map_err(|_| bad(text, "a digest is `sha256:` and 64 lower-case hex digits"))?;
        let repository = match name {
            "" => None,
            // With a digest the tag says nothing; Docker ignores it too.
            _ => Some(match parse_repository(name) {
                Ok(repository) => repository,
                Err(_) => Reference::parse(name)?.repository().to_owned(),
            }),
        };
        Ok(Self::ManifestDigest { repository, digest })
    }
}

impl FromStr for Query {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag { image_id: Some(digits), .. } => f.write_str(digits),
            Self::Tag { reference, back, at, .. } => {
                f.write_str(&reference.familiar())?;
                if let Some(at) = at {
                    write!(f, "@{{{at}}}")?;
                }
                if *back > 0 { write!(f, "~{back}") } else { Ok(()) }
            }
            Self::ManifestDigest { repository: None, digest } => write!(f, "@{digest}"),
            Self::ManifestDigest { repository: Some(repository), digest } => {
                write!(f, "{}@{digest}", super::reference::familiar_repository(repository))
            }
            Self::ImageId { prefix } => write!(f, "sha256:{prefix}"),
        }
    }
}

/// The digits, if these can be the beginning of an image ID.
fn id_digits(text: &str) -> Option<String> {
    let fits = (SHORTEST_ID..=LONGEST_ID).contains(&text.len());
    let hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (fits && hex).then(|| text.to_owned())
}

/// Splits off `~N`; `~` alone is one back, as in git.
fn split_back(text: &str) -> Result<(&str, Option<u32>), Error> {
    // A `~` inside `@{...}` belongs to the date.
    let from = text.rfind('}').map_or(0, |brace| brace + 1);
    let Some(tilde) = text[from..].find('~') else {
        return Ok((text, None));
    };
    let (rest, digits) = (&text[..from + tilde], &text[from + tilde + 1..]);
    let back = match digits {
        "" => 1,
        _ if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().map_err(|_| bad(text, "the number after `~` is too large"))?
        }
        _ => return Err(bad(text, "`~` is followed by a number")),
    };
    Ok((rest, Some(back)))
}

/// Splits off `@{...}`.
fn split_at_time<'a>(text: &str, rest: &'a str) -> Result<(&'a str, Option<String>), Error> {
    let Some(start) = rest.find("@{") else {
        return Ok((rest, None));
    };
    let at = rest[start + 2..]
        .strip_suffix('}')
        .ok_or_else(|| bad(text, "`@{` has no `}` at its end"))?
        .trim();
    if at.is_empty() {
        return Err(bad(text, "`@{}` holds no date"));
    }
    Ok((&rest[..start], Some(at.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tag(text: &str, back: u32, at: Option<&str>, image_id: Option<&str>) -> Query {
        Query::Tag {
            reference: Reference::parse(text).unwrap(),
            back,
            at: at.map(str::to_owned),
            image_id: image_id.map(str::to_owned),
        }
    }

    #[test]
    fn reads_tags_and_the_past() {
        for (text, expected) in [
            ("app", tag("app:latest", 0, None, None)),
            ("app:1.4", tag("app:1.4", 0, None, None)),
            ("app:1.4~1", tag("app:1.4", 1, None, None)),
            ("app~", tag("app:latest", 1, None, None)),
            ("app:1.4~0", tag("app:1.4", 0, None, None)),
            ("app:1.4@{2026-05-01}", tag("app:1.4", 0, Some("2026-05-01"), None)),
            ("app@{2026-05-01 12:00}~2", tag("app:latest", 2, Some("2026-05-01 12:00"), None)),
            ("app@{~}", tag("app:latest", 0, Some("~"), None)),
            ("deadbeef", tag("deadbeef:latest", 0, None, Some("deadbeef"))),
            ("deadbeef~1", tag("deadbeef:latest", 1, None, None)),
            ("dead", tag("dead:latest", 0, None, None)),
            ("localhost:5000/app:1~3", tag("localhost:5000/app:1", 3, None, None)),
        ] {
            assert_eq!(Query::parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_repository_called_sha256_prints_as_no_image_id() {
        for text in ["sha256", "library/sha256:abcdef", "sha256~1"] {
            let query = Query::parse(text).unwrap();
            assert_eq!(Query::parse(&query.to_string()).unwrap(), query, "{text}");
        }
    }

    #[test]
    fn reads_digests_and_ids() {
        let digest = Digest::of(b"");
        let library = Some("docker.io/library/app".to_owned());
        for (text, repository) in [
            (format!("app@{digest}"), library.clone()),
            (format!("app:1@{digest}"), library),
            (format!("@{digest}"), None),
        ] {
            assert_eq!(Query::parse(&text).unwrap(), Query::ManifestDigest { repository, digest });
        }
        let whole = digest.hex();
        for (text, prefix) in [
            (digest.to_string(), whole.as_str()),
            (whole.clone(), whole.as_str()),
            ("sha256:e3b0c4".to_owned(), "e3b0c4"),
        ] {
            let expected = Query::ImageId { prefix: prefix.to_owned() };
            assert_eq!(Query::parse(&text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn refuses_and_names_the_text() {
        for (text, problem) in [
            ("sha256:e3b0c", "6 to 64 hex digits"),
            ("sha256:xyzxyz", "6 to 64 hex digits"),
            ("app~x", "followed by a number"),
            ("app~1~2", "followed by a number"),
            ("app~99999999999", "too large"),
            ("app@{2026", "no `}`"),
            ("app@{}", "no date"),
            ("app@{ }", "no date"),
            ("app@sha256:12", "64 lower-case hex digits"),
            ("App:1~1", "lower case"),
            ("", "no repository name"),
        ] {
            let message = Query::parse(text).unwrap_err().to_string();
            assert!(message.contains(problem), "{text}: {message}");
            assert!(message.contains(text), "{text}: {message}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_prints_as_itself(
            text in "\\PC{0,40}|[a-f0-9]{5,9}|[a-z]{1,4}(:[0-9]{1,2})?(@\\{[0-9~-]{1,9}\\})?(~[0-9]{0,2})?"
        ) {
            if let Ok(query) = Query::parse(&text) {
                prop_assert_eq!(Query::parse(&query.to_string()).unwrap(), query);
            }
        }
    }
}
