//! The documents of an archive: what is wanted is there to be had, comes to an
//! end, and is all that is needed; what is found stands in the archive.
//!
//! The input is read by [`orlop_fuzz::documents`].

#![no_main]

use std::collections::{BTreeMap, HashSet};

use libfuzzer_sys::fuzz_target;
use orlop::digest::Digest;
use orlop::image::{
    Archive, Error, MOST_DOCUMENT, Manifest, Member, MemberKind, SmallBodies, resolve, wanted,
};
use orlop_fuzz::documents::archive;

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
