//! Paths inside an archive: slashes only, cleaned, never leaving the root.
//!
//! Purely lexical, as Go's `path.Clean`; follows no links and knows no host
//! file system.

/// `path` without empty, `.` and `..` parts and without a leading slash, as
/// engines place it under the folder that they unpack to; `.` for the root.
/// `None` if it leads out.
pub fn clean(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            _ => parts.push(part),
        }
    }
    Some(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
}

/// Where the symbolic link at the cleaned path `link` with the text `target`
/// points, from the root. `None` if that is outside: an absolute target too,
/// since it means the host's root wherever it is unpacked.
pub(super) fn link_target(link: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return None;
    }
    match link.rsplit_once('/') {
        Some((folder, _)) => clean(&format!("{folder}/{target}")),
        None => clean(target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans_like_go() {
        for (path, cleaned) in [
            ("a/b", Some("a/b")),
            ("./a//b/./c/", Some("a/b/c")),
            ("/a", Some("a")),
            ("a/../b", Some("b")),
            ("", Some(".")),
            ("./", Some(".")),
            ("/", Some(".")),
            ("..", None),
            ("a/../../b", None),
            ("/../etc", None),
            ("a..b/..c", Some("a..b/..c")),
        ] {
            assert_eq!(clean(path).as_deref(), cleaned, "{path}");
        }
    }

    #[test]
    fn links_are_relative_to_their_folder() {
        assert_eq!(link_target("a/layer.tar", "../b/layer.tar").as_deref(), Some("b/layer.tar"));
        assert_eq!(link_target("a", "b").as_deref(), Some("b"));
        assert_eq!(link_target("a/b", "../../c"), None);
        assert_eq!(link_target("a", "/etc/passwd"), None);
    }
}
