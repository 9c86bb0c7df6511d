//! The members of an archive by path, with links followed.
//!
//! Where two members have the same path, the later one counts, as after
//! unpacking. Links are followed inside the archive only and never in circles;
//! a folder that is a link is not followed. Reads no bodies.

use std::collections::{BTreeSet, HashMap};

use crate::image::error::{Error, shown};
use crate::image::members::{Member, MemberKind};
use crate::image::path::clean;

/// The most links that are followed to one file; Linux allows as many.
const MOST_HOPS: usize = 40;

/// Finds members by path.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    members: &'a [Member],
    by_path: HashMap<&'a str, usize>,
}

impl<'a> Tree<'a> {
    /// Takes all members in order, so that each one's index is its place.
    pub(super) fn new(members: &'a [Member]) -> Self {
        let by_path = members.iter().enumerate().map(|(at, m)| (m.path.as_str(), at)).collect();
        Self { members, by_path }
    }

    /// Paths that several members have, folders aside, each once; at most
    /// `most` of them.
    pub(super) fn duplicates(&self, most: usize) -> Vec<String> {
        if self.by_path.len() == self.members.len() {
            return Vec::new();
        }
        let is_earlier = |(at, member): &(usize, &'a Member)| {
            member.kind != MemberKind::Directory && self.by_path[member.path.as_str()] != *at
        };
        let earlier = self.members.iter().enumerate().filter(is_earlier);
        let paths: BTreeSet<&str> = earlier.map(|(_, member)| member.path.as_str()).collect();
        paths.into_iter().take(most).map(shown).collect()
    }

    /// The member at `place`.
    pub(super) fn member(&self, place: usize) -> &'a Member {
        &self.members[place]
    }

    /// Whether there is a member with this cleaned path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.by_path.contains_key(path)
    }

    /// How many members there are.
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// All members in order.
    pub(super) fn members(&self) -> &'a [Member] {
        self.members
    }

    /// The place of the regular file that `path` leads to. `role` says in
    /// errors what it is for.
    pub(super) fn find(&self, role: &'static str, path: &str) -> Result<usize, Error> {
        let cleaned = clean(path).ok_or_else(|| Error::Escapes { path: shown(path) })?;
        let missing = || Error::Missing { role, path: shown(path) };
        let mut place = *self.by_path.get(cleaned.as_str()).ok_or_else(missing)?;
        for _ in 0..MOST_HOPS {
            let member = &self.members[place];
            match &member.kind {
                MemberKind::Regular => return Ok(place),
                MemberKind::Link { written, target: None } => {
                    return Err(Error::LinkEscapes {
                        member: shown(&member.path),
                        target: shown(written),
                    });
                }
                MemberKind::Link { target: Some(target), .. } => {
                    let found = self.by_path.get(target.as_str());
                    place = *found
                        .ok_or(Error::Missing { role: "target of a link", path: shown(target) })?;
                }
                MemberKind::Directory | MemberKind::Other => {
                    return Err(Error::NotAFile { role, path: shown(&member.path) });
                }
            }
        }
        Err(Error::LinkCycle { member: shown(path), hops: MOST_HOPS })
    }

    /// As `find`, but `None` if there is no such member.
    pub(super) fn find_if_there(
        &self,
        role: &'static str,
        path: &str,
    ) -> Result<Option<usize>, Error> {
        if self.by_path.contains_key(path) { self.find(role, path).map(Some) } else { Ok(None) }
    }

    /// As `find`, but `None` if there is no such member, or a link to it leads
    /// to none.
    pub(super) fn find_or_absent(
        &self,
        role: &'static str,
        path: &str,
    ) -> Result<Option<usize>, Error> {
        match self.find(role, path) {
            Ok(place) => Ok(Some(place)),
            Err(Error::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(list: &[(&str, MemberKind)]) -> Vec<Member> {
        let member = |(index, (path, kind)): (usize, &(&str, MemberKind))| Member {
            index,
            path: (*path).to_owned(),
            kind: kind.clone(),
            size: 0,
            offset: 0,
        };
        list.iter().enumerate().map(member).collect()
    }

    fn link(target: &str) -> MemberKind {
        MemberKind::Link { written: target.to_owned(), target: clean(target) }
    }

    #[test]
    fn follows_links_and_takes_the_last() {
        let list = members(&[
            ("a", MemberKind::Regular),
            ("l", link("m")),
            ("m", link("a")),
            ("d", MemberKind::Directory),
            ("d", MemberKind::Directory),
            ("a", MemberKind::Regular),
        ]);
        let tree = Tree::new(&list);
        for path in ["a", "./a", "/x/../a", "l", "m"] {
            assert_eq!(tree.find("layer", path).unwrap(), 5, "{path}");
        }
        assert_eq!(tree.duplicates(9), ["a"]);
        assert_eq!(tree.duplicates(0), [""; 0]);
        assert_eq!(tree.find_if_there("layer", "b").unwrap(), None);
    }

    #[test]
    fn errors_name_what_is_wrong() {
        let list = members(&[
            ("c1", link("c2")),
            ("c2", link("c1")),
            ("self", link("self")),
            ("out", link("../etc")),
            ("gone", link("nothing")),
            ("d", MemberKind::Directory),
            ("dev", MemberKind::Other),
        ]);
        let tree = Tree::new(&list);
        for (path, expected) in [
            ("c1", "link `c1` leads to no file: followed 40 links"),
            ("self", "link `self` leads to no file: followed 40 links"),
            ("out", "link `out` leaves the archive: its target is `../etc`"),
            ("gone", "target of a link `nothing` is not in the archive"),
            ("d", "layer `d` is not a regular file"),
            ("dev", "layer `dev` is not a regular file"),
            ("x", "layer `x` is not in the archive"),
            ("../x", "path `../x` leaves the archive"),
            ("", "layer `` is not in the archive"),
        ] {
            assert_eq!(tree.find("layer", path).unwrap_err().to_string(), expected);
        }
    }
}
