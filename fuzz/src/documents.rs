//! Archives as text, with documents that name each other by digest.
//!
//! The input is a list of members: a name, 0x1f, a body, 0x1e. In both, `$b` and
//! the like stand for the digest of the second member's body, and `$B` for its
//! length; in a body, only those of later members. A name that ends in a slash is
//! a folder; one with `>` in it is a link to what follows that. A body that begins
//! with 1 or 2 is a tar or a longer content, which the rest says how to make.

use std::collections::BTreeMap;

use orlop::digest::Digest;
use orlop::image::{Member, MemberKind, clean_path};

use crate::{Plan, expand, store, tar};

/// The members of an archive, and their bodies.
pub fn archive(input: &[u8]) -> (Vec<Member>, Vec<Vec<u8>>) {
    let entries: Vec<&[u8]> = input.split(|byte| *byte == 0x1e).take(26).collect();
    let (mut members, mut bodies) = (Vec::new(), Vec::new());
    let mut digests = BTreeMap::new();
    for (at, entry) in entries.iter().enumerate().rev() {
        let letter = b'a' + (at & 31) as u8;
        let mut parts = entry.splitn(2, |byte| *byte == 0x1f);
        let name = parts.next().unwrap_or_default();
        let body = match parts.next().unwrap_or_default() {
            [1, layer @ ..] => tar::archive(layer, 200_000),
            [2, plan @ ..] => expand(&mut Plan::new(plan), 300_000),
            text => put_in(text, &digests),
        };
        digests.insert(letter, (Digest::of(&body).hex(), body.len()));
        let name = String::from_utf8_lossy(&put_in(name, &digests)).into_owned();
        let (name, target) = match name.split_once('>') {
            Some((name, target)) => (name, Some(target)),
            None => (name.as_str(), None),
        };
        let kind = match target {
            Some(target) => {
                MemberKind::Link { written: target.to_owned(), target: clean_path(target) }
            }
            None if name.ends_with('/') => MemberKind::Directory,
            None => MemberKind::Regular,
        };
        let Some(path) = clean_path(name) else { continue };
        let body = if kind == MemberKind::Regular { body } else { Vec::new() };
        members.push(Member { index: 0, path, kind, size: body.len() as u64, offset: 512 });
        bodies.push(body);
    }
    members.reverse();
    bodies.reverse();
    for (index, member) in members.iter_mut().enumerate() {
        member.index = index;
    }
    (members, bodies)
}

/// Puts digests and lengths in for what stands for them.
fn put_in(text: &[u8], digests: &BTreeMap<u8, (String, usize)>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((&byte, later)) = rest.split_first() {
        rest = later;
        let named = later.first().and_then(|letter| digests.get(&letter.to_ascii_lowercase()));
        match (byte, named) {
            (b'$', Some((digest, length))) => {
                if later[0].is_ascii_lowercase() {
                    out.extend_from_slice(digest.as_bytes());
                } else {
                    out.extend_from_slice(length.to_string().as_bytes());
                }
                rest = &later[1..];
            }
            _ => out.push(byte),
        }
    }
    out
}

/// The archive as a tar.
pub fn as_tar(members: &[Member], bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (member, body) in members.iter().zip(bodies) {
        let (kind, link) = match &member.kind {
            MemberKind::Link { written, .. } => (b'1', written.as_str()),
            MemberKind::Directory => (b'5', ""),
            MemberKind::Regular | MemberKind::Other => (b'0', ""),
        };
        for (kind, text) in [(b'L', member.path.as_str()), (b'K', link)] {
            // No NUL may be in one, and none has to be there.
            let text = text.replace('\0', "?");
            if !text.is_empty() {
                store::push(&mut out, "long", kind, text.as_bytes());
            }
        }
        store::push(&mut out, "short", kind, body);
    }
    out.resize(out.len() + 1024, 0);
    out
}
