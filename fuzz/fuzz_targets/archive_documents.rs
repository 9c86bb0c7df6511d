//! The documents of an archive: what is wanted is there to be had, comes to an
//! end, and is all that is needed; what is found stands in the archive.
//!
//! The input is read by [`orlop_fuzz::documents`].

#![no_main]

use std::collections::{BTreeMap, HashSet};

use libfuzzer_sys::fuzz_target;
use orlop::digest::Digest;
use orlop::image::{
    Config, Contents, Document, Error, FoundConfig, FoundLayer, FoundManifest, MOST_DOCUMENT,
    Manifest, ManifestKind, Member, MemberKind, SmallBodies, make_v1_config, resolve, wanted,
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

fn check(found: &Contents, members: &[Member], bodies: &[Vec<u8>]) {
    let mut names = HashSet::new();
    assert!(!found.roots.is_empty());
    for root in &found.roots {
        for reference in &root.references {
            assert!(names.insert(reference), "{reference} names two roots");
        }
        root.indexes.iter().for_each(check_document);
        assert!(!root.manifests.is_empty() || !root.indexes.is_empty());
        if let Some(descriptor) = &root.descriptor {
            let first = root.indexes.first();
            let first = first.or_else(|| root.manifests.first()?.document.as_ref());
            let first = first.expect("a root is a document");
            assert_eq!(
                (first.digest, first.bytes.len() as u64),
                (descriptor.digest, descriptor.size)
            );
        } else {
            assert!(root.indexes.is_empty() && root.manifests.len() == 1);
            assert!(root.manifests[0].document.is_none() && root.referrers.is_empty());
        }
        let mut seen = HashSet::new();
        for manifest in &root.manifests {
            let digest = manifest.document.as_ref().map(|document| document.digest);
            assert!(seen.insert(digest), "a manifest is there twice");
            check_manifest(manifest, members, bodies);
        }
        for referrer in &root.referrers {
            assert!(referrer.document.is_some());
            check_manifest(referrer, members, bodies);
        }
        let mut built = root.manifests.first();
        for ancestor in &root.ancestors {
            check_manifest(ancestor, members, bodies);
            let configs = built.replace(ancestor).map(|it| (&it.config, &ancestor.config));
            let Some((
                FoundConfig::Given { parsed, .. },
                FoundConfig::Given { parsed: before, .. },
            )) = configs
            else {
                panic!("only images are built on others")
            };
            assert!(parsed.follows(before));
        }
    }
    assert!(found.warnings.len() <= 40);
    assert!(found.warnings.iter().all(|warning| !warning.to_string().is_empty()));
}

fn check_document(document: &Document) {
    assert_eq!(Digest::of(&document.bytes), document.digest);
}

fn check_manifest(manifest: &FoundManifest, members: &[Member], bodies: &[Vec<u8>]) {
    if let Some(document) = &manifest.document {
        check_document(document);
        let parsed = Manifest::parse(&document.bytes).expect("it was read before");
        assert_eq!(parsed.layers.len(), manifest.layers.len());
        let listed = parsed.layers.iter().map(Some);
        assert!(listed.eq(manifest.layers.iter().map(|layer| layer.descriptor.as_ref())));
    }
    let blob = |blob: &FoundLayer| {
        let Some(place) = blob.member else { return };
        assert_eq!(members[place].kind, MemberKind::Regular);
        if let Some(descriptor) = &blob.descriptor {
            assert_eq!(descriptor.size, bodies[place].len() as u64);
        }
    };
    manifest.layers.iter().for_each(blob);
    match &manifest.config {
        FoundConfig::Given { document, parsed, .. } => {
            check_document(document);
            if manifest.kind == ManifestKind::Image {
                let mut diff_ids = manifest.layers.iter().map(|layer| layer.diff_id);
                // Where there are more of the ones than of the others, nobody knows which.
                let unknown = diff_ids.clone().all(|diff_id| diff_id.is_none());
                let listed = parsed.diff_ids().iter().copied().map(Some);
                assert!(unknown || diff_ids.by_ref().eq(listed));
            }
        }
        FoundConfig::Blob(found) => blob(found),
        FoundConfig::V1(layers) => {
            assert_eq!(layers.len(), manifest.layers.len());
            let diff_ids: Vec<Digest> = layers.iter().map(|json| Digest::of(json)).collect();
            if let Ok(made) = make_v1_config(layers, &diff_ids) {
                let config = Config::parse(&made).expect("what was made");
                assert_eq!(config.diff_ids(), diff_ids);
            }
        }
    }
}
