//! The small bodies of an archive that comes as a stream, kept until the
//! document that says what they are has come.
//!
//! Bounded: documents up to 4 MiB and anything else up to 64 KiB. There are
//! rooms of their own for the four documents with fixed names, for documents that
//! are as small as manifests and configs mostly are, for larger ones, and for the
//! rest, so that a flood of one kind can't push out another: layouts hold small
//! layers and large statements about images as well. Judges by names and first
//! bytes only.

use std::collections::HashMap;

use crate::image::members::{Member, MemberKind};

/// The most bytes of a JSON document that is read or kept.
pub const MOST_DOCUMENT: u64 = 4 << 20;
/// The most bytes of anything else that is kept.
pub(super) const MOST_OTHER: u64 = 64 << 10;
/// Up to this length a document is a small one.
const MOST_SMALL: u64 = 64 << 10;
/// The most bytes of small documents, larger documents and anything else.
const ROOMS: [u64; 3] = [32 << 20, 32 << 20, 16 << 20];
const FIXED: [&str; 4] = ["manifest.json", "index.json", "oci-layout", "repositories"];

/// Bodies by member index.
#[derive(Debug, Default)]
pub struct SmallBodies {
    bodies: HashMap<usize, Vec<u8>>,
    fixed: [Option<usize>; 4],
    together: [u64; ROOMS.len()],
}

impl SmallBodies {
    /// Keeps nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the body of `member` that begins with `head` should be kept. It
    /// may be a layer all the same.
    pub fn wants(&self, member: &Member, head: &[u8]) -> bool {
        if member.kind != MemberKind::Regular {
            return false;
        }
        if FIXED.contains(&member.path.as_str()) {
            return member.size <= MOST_DOCUMENT;
        }
        let most = if is_document(head) { MOST_DOCUMENT } else { MOST_OTHER };
        let room = room(member.size, head);
        member.size <= most && self.together[room] + member.size <= ROOMS[room]
    }

    /// Keeps the whole body of a member that [`wants`](Self::wants) accepted. Of the
    /// documents with fixed names the last one counts: returns the one before, with
    /// its index, which is not kept any more.
    pub fn keep(&mut self, member: &Member, body: Vec<u8>) -> Option<(usize, Vec<u8>)> {
        let mut superseded = None;
        match FIXED.iter().position(|&name| name == member.path) {
            Some(at) => {
                if let Some(earlier) = self.fixed[at].replace(member.index) {
                    superseded = self.bodies.remove(&earlier).map(|body| (earlier, body));
                }
            }
            None => self.together[room(member.size, &body)] += body.len() as u64,
        }
        self.bodies.insert(member.index, body);
        superseded
    }

    /// The body of the member with this index, if it was kept.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        self.bodies.get(&index).map(Vec::as_slice)
    }
}

fn is_document(head: &[u8]) -> bool {
    let first = head.iter().find(|byte| !byte.is_ascii_whitespace());
    matches!(first, Some(b'{' | b'['))
}

/// Which room a body is counted in.
fn room(size: u64, head: &[u8]) -> usize {
    match is_document(head) {
        true if size <= MOST_SMALL => 0,
        true => 1,
        false => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(index: usize, path: &str, size: u64) -> Member {
        let kind = MemberKind::Regular;
        Member { index, path: path.to_owned(), kind, size, offset: 0 }
    }

    #[test]
    fn keeps_documents_and_what_is_small() {
        let bodies = SmallBodies::new();
        assert!(bodies.wants(&member(0, "c", MOST_DOCUMENT), b" {"));
        assert!(!bodies.wants(&member(0, "c", MOST_DOCUMENT + 1), b"{"));
        assert!(bodies.wants(&member(0, "l", MOST_OTHER), b"tar"));
        assert!(!bodies.wants(&member(0, "l", MOST_OTHER + 1), b"tar"));
        assert!(bodies.wants(&member(0, "l", 0), b""));
        let folder = Member { kind: MemberKind::Directory, ..member(0, "d", 0) };
        assert!(!bodies.wants(&folder, b""));
    }

    #[test]
    fn a_flood_does_not_push_out_the_list() {
        let mut bodies = SmallBodies::new();
        let mut kept = 0;
        for index in 0..1000 {
            let small = member(index, "x", MOST_OTHER);
            if bodies.wants(&small, b"") {
                bodies.keep(&small, vec![0; 64 << 10]);
                kept += MOST_OTHER;
            }
        }
        assert_eq!(kept, ROOMS[2]);
        let first = member(2000, "manifest.json", 2);
        assert!(bodies.wants(&first, b"{}"));
        assert_eq!(bodies.keep(&first, b"{}".to_vec()), None);
        let second = member(2001, "manifest.json", 2);
        assert!(bodies.wants(&second, b"[]"));
        assert_eq!(bodies.keep(&second, b"[]".to_vec()), Some((2000, b"{}".to_vec())));
        assert_eq!((bodies.get(2000), bodies.get(2001)), (None, Some(&b"[]"[..])));
        assert_eq!(bodies.get(999), None);
    }

    #[test]
    fn large_documents_do_not_push_out_small_ones() {
        let mut bodies = SmallBodies::new();
        let mut index = 0;
        loop {
            let large = member(index, "x", MOST_DOCUMENT);
            if !bodies.wants(&large, b"{") {
                break;
            }
            let mut body = vec![b' '; usize::try_from(MOST_DOCUMENT).unwrap()];
            body[0] = b'{';
            bodies.keep(&large, body);
            index += 1;
        }
        assert_eq!(index as u64, ROOMS[1] / MOST_DOCUMENT);
        assert!(bodies.wants(&member(index, "x", MOST_SMALL), b"{"));
        assert!(bodies.wants(&member(index, "x", 7), b"layer"));
    }
}
