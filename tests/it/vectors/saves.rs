//! The vectors of records of saves.

use orlop::digest::{Digest, Id};
use orlop::store::record::{Ancestor, Platform, Revision, Root, SaveRecord, Source};

use super::{check, pack_stored, vector, whole};
use crate::format::{bytes, store};

#[test]
fn records() {
    let source = Source { name: "app-1.tar".to_owned(), dialect: "docker".to_owned() };
    let revision = Revision {
        root: Root {
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            digest: Digest::of(b"root"),
            size: 1024,
        },
        image_id: Digest::of(b"{}"),
        platform: Platform {
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            variant: None,
        },
        references: vec!["docker.io/library/app:1".to_owned()],
        images: Vec::new(),
        referrers: Vec::new(),
        ancestors: Vec::new(),
        not_shipped: Vec::new(),
        created: Some("2026-05-01T11:00:00Z".to_owned()),
        layers: 1,
        size: 2578,
        added: 1000,
    };
    let mut record = SaveRecord::new("orlop 0.1.0", source.clone(), vec![revision.clone()]);
    record.saved_at = "2026-05-01T12:00:00.123456789Z".parse().unwrap();
    record.sequence = 17;
    record.packs = vec![Id::of(&whole(&pack_stored()))];
    let text = serde_json::to_string(&record).unwrap();
    let file = format!("{text}\n");
    check(
        "record",
        &[("record", text.clone()), ("record id", Id::of(file.as_bytes()).to_string())],
    );
    assert_eq!(vector("record")[0].1, text, "with the spaces in it");
    let again: SaveRecord = serde_json::from_str(&file).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), text);
    let read = store::record(file.as_bytes());
    assert_eq!(read.packs, [*record.packs[0].as_bytes()]);
    assert_eq!(read.revisions[0].image, bytes::digest(b"{}"));

    let root = Root { digest: Digest::of(b"parent"), size: 840, ..revision.root.clone() };
    let ancestors = vec![Ancestor { root, image_id: Digest::of(b"{ }") }];
    let packs = std::mem::take(&mut record.packs);
    let revision = Revision { ancestors, ..revision };
    record = SaveRecord::new("orlop 0.1.0", source, vec![revision]);
    record.saved_at = "2026-05-01T12:00:00.123456789Z".parse().unwrap();
    (record.sequence, record.packs) = (17, packs);
    let text = serde_json::to_string(&record).unwrap();
    let file = format!("{text}\n");
    check(
        "record-with-ancestors",
        &[("record", text), ("record id", Id::of(file.as_bytes()).to_string())],
    );
    let read = &store::record(file.as_bytes()).revisions[0];
    assert_eq!(read.ancestors[0].root, bytes::digest(b"parent"));
    assert_eq!(read.ancestors[0].image, bytes::digest(b"{ }"));
}
