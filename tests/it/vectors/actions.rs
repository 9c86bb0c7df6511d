//! The vectors of records that are no saves.

use orlop::digest::Id;
use orlop::store::record::{
    Action, ActionRecord, GivenName, Pin, Remove, Repack, RevisionKey, Tag, Undo,
};

use super::{check, vector};

/// Compares a record of another kind with its vector; returns its id.
fn check_action(name: &str, hour: u32, sequence: u64, action: Action) -> Id {
    let program = "orlop 0.1.0".to_owned();
    let saved_at = format!("2026-05-01T{hour}:00:00Z").parse().unwrap();
    let record = ActionRecord { program, saved_at, sequence, action };
    let file = String::from_utf8(record.encode()).unwrap();
    let text = file.strip_suffix('\n').unwrap();
    let id = Id::of(file.as_bytes());
    check(name, &[("record", text.to_owned()), ("record id", id.to_string())]);
    id
}

#[test]
fn records_of_other_kinds() {
    let save: Id = vector("record")[1].1.parse().unwrap();
    let revision = RevisionKey { record: save, position: 0 };
    let stable = "docker.io/library/app:stable".to_owned();
    let tag = Tag { revision, references: vec![stable.clone()] };
    let tag = check_action("tag-record", 13, 18, Action::Tag(tag));
    let names = vec![
        GivenName { reference: "docker.io/library/app:1".to_owned(), record: save, position: 0 },
        GivenName { reference: stable, record: tag, position: 0 },
    ];
    let remove = Remove { reason: "rm".to_owned(), revisions: vec![revision], names };
    let remove = check_action("remove-record", 14, 19, Action::Remove(remove));
    let undo = Undo { undone: remove };
    check_action("undo-record", 15, 20, Action::Undo(undo));
    let pin = Pin { pinned: true, revisions: vec![revision] };
    check_action("pin-record", 16, 21, Action::Pin(pin));
    let packs = vec![vector("pack-zstd").pop().unwrap().1.parse().unwrap()];
    let dropped = vec![vector("pack-stored").pop().unwrap().1.parse().unwrap()];
    check_action(
        "repack-record",
        17,
        22,
        Action::Repack(Repack { packs, dropped, optimized: false }),
    );
}
