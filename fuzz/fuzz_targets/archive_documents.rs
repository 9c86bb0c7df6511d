//! The documents of an archive: what is wanted is there to be had, comes to an
//! end, and is all that is needed; what is found stands in the archive.
//!
//! The input is a list of members: a name, 0x1f, a body, 0x1e. In both, `$b` and
//! the like stand for the digest of the third member's body, and `$B` for its
//! length, as far as that member comes later. A name that ends in a slash is a
//! folder; one with `>` in it is a link to what follows that.

#![no_main]

use std::collections::{BTreeMap, HashSet};

use libfuzzer_sys::fuzz_target;
use orlop::digest::Digest;
use orlop::image::{
    Archive, Error, MOST_DOCUMENT, Manifest, Member, MemberKind, SmallBodies, clean_path, resolve,
    wanted,
};

fuzz_target!(|input: &[u8]| {
    let (members, bodies) = archive(input);
    let mut given: BTreeMap<usize, &[u8]> = BTreeMap::new();
    let mut failed = None;
    // Documents name documents, which are fewer than members.
    for round in 0.. {
        assert!(round <= members.len(), "there is no end of what is wanted");
        match wanted(&members, &|index| given.get(&index).copied()) {
            Ok(more) if more.is_empty() => break,
            Ok(more) => {
                for index in more {
                    let member = &members[index];
                    assert!(member.kind == MemberKind::Regular && member.size <= MOST_DOCUMENT);
                    let twice = given.insert(index, &bodies[index]);
                    assert!(twice.is_none(), "`{}` is wanted twice", member.path);
                }
            }
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    let found = resolve(&members, &|index| given.get(&index).copied());
    if let Some(error) = failed {
        let found = found.expect_err("it has an error").to_string();
        // Which one of several is told is not fixed.
        assert!(!error.to_string().is_empty() && !found.is_empty());
        return;
    }
    if let Err(Error::NotKept { role, path }) = &found {
        panic!("{role} `{path}` was not wanted");
    }
    if let Ok(found) = &found {
        check(found, &members, &bodies);
    }

    // As a stream: what is small is kept before anyone knows what it is.
    let mut kept = SmallBodies::new();
    for (member, body) in members.iter().zip(&bodies) {
        if kept.wants(member, &body[..body.len().min(512)]) {
            kept.keep(member, body.clone());
        }
    }
    let small = bodies.iter().map(Vec::len).sum::<usize>() < 64 << 10;
    let streamed = resolve(&members, &|index| kept.get(index));
    match (found, streamed) {
        (Ok(found), Ok(streamed)) => assert_eq!(found, streamed),
        (Ok(_), Err(error)) => assert!(!small, "only a stream fails: {error}"),
        (Err(_), streamed) => assert!(streamed.is_err(), "only a file fails"),
    }
});

fn check(found: &Archive, members: &[Member], bodies: &[Vec<u8>]) {
    let mut names = HashSet::new();
    let mut configs = HashSet::new();
    for image in &found.images {
        assert_eq!(Digest::of(&image.config), image.config_digest);
        assert!(configs.insert(image.config_digest), "a config is there twice");
        let path = |member: &&Member| member.path == image.config_path;
        let member = members.iter().rfind(path).expect("the config is a member");
        assert_eq!(bodies[member.index], image.config);
        assert_eq!(image.layers.len(), image.parsed.diff_ids().len());
        for (layer, diff_id) in image.layers.iter().zip(image.parsed.diff_ids()) {
            assert_eq!(layer.diff_id, *diff_id);
            assert_eq!(members[layer.member].kind, MemberKind::Regular);
        }
        for reference in &image.references {
            assert!(names.insert(reference), "{reference} names two images");
        }
        if let Some(manifest) = &image.manifest {
            let manifest = Manifest::parse(manifest).expect("it was read before");
            assert_eq!(manifest.config.digest, image.config_digest);
            assert_eq!(manifest.layers.len(), image.layers.len());
        }
    }
    assert!(found.warnings.len() <= 40);
    assert!(found.warnings.iter().all(|warning| !warning.to_string().is_empty()));
}

/// The members of an archive, and their bodies.
fn archive(input: &[u8]) -> (Vec<Member>, Vec<Vec<u8>>) {
    let entries: Vec<&[u8]> = input.split(|byte| *byte == 0x1e).take(26).collect();
    let (mut members, mut bodies) = (Vec::new(), Vec::new());
    let mut digests = BTreeMap::new();
    for (at, entry) in entries.iter().enumerate().rev() {
        let letter = b'a' + (at & 31) as u8;
        let mut parts = entry.splitn(2, |byte| *byte == 0x1f);
        let name = put_in(parts.next().unwrap_or_default(), &digests);
        let body = put_in(parts.next().unwrap_or_default(), &digests);
        digests.insert(letter, (Digest::of(&body).hex(), body.len()));
        let name = String::from_utf8_lossy(&name).into_owned();
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
