//! Every operation on the file system fails once or for ever, with the errors that
//! real ones have; disks that are full after so many bytes.
//!
//! An operation may fail then, and must leave the store whole; what it says that it
//! did, it did.

use std::sync::LazyLock;

use orlop::fs::sim::{Failure, Fault, Random};

use super::seeds::{self, Point};
use super::world::{Act, IMAGE_COUNT, World};

struct Case {
    before: World,
    act: Act,
    operations: usize,
    /// Bytes that the disk holds before, and after.
    used: (u64, u64),
}

const FAILURES: [Failure; 4] = [Failure::Io, Failure::NoSpace, Failure::ReadOnly, Failure::Access];

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let cases = [
        (&[][..], Act::Save(0)),
        (&[Act::Save(0), Act::Save(2)], Act::Save(1)),
        (&[Act::Save(0), Act::Save(1)], Act::Reindex),
        (&[Act::Save(0), Act::Save(1)], Act::Export(1)),
        (&[Act::Save(0), Act::Save(1)], Act::Optimize),
        (&[Act::Save(0), Act::Save(1)], Act::Remove(0)),
        (&[Act::Save(0), Act::Save(1), Act::Save(4)], Act::Forget),
        (&[Act::Save(0), Act::Save(1), Act::Remove(0)], Act::Collect),
    ];
    let cases = cases.into_iter().map(|(before, act)| {
        let before = World::after(before);
        let mut counted = before.fork(1);
        let process = counted.sim.process();
        assert!(counted.run(&process, act), "{}", counted.story());
        let operations = usize::try_from(process.operations()).unwrap();
        let used = (before.sim.used(), counted.sim.used());
        Case { before, act, operations, used }
    });
    cases.collect()
});

/// What must hold after an operation that may have failed.
fn check(mut world: World, random: &mut Random) {
    if random.one_in(2) {
        world.cut_power();
        world.check(true);
    } else {
        world.check(false);
    }
    world.check_next_save(random.below(IMAGE_COUNT));
    if random.one_in(2) {
        world.check_next_collection();
    }
}

fn fail(point: Point, random: &mut Random) -> usize {
    let case = &CASES[point.case];
    let mut world = case.before.fork(random.number());
    if random.one_in(16) {
        world.keep_catalog();
    }
    let process = world.sim.process();
    let error = FAILURES[random.below(FAILURES.len())];
    let fault = Fault { at: point.at as u64, error, forever: random.one_in(2) };
    process.fail(fault);
    world.tell(fault);
    let worked = world.run(&process, case.act);
    if !worked && !fault.forever {
        // The same process can go on, if there is anything left to do.
        let again = world.run(&process, case.act);
        assert!(again || case.act == Act::Remove(0), "once more\n{}", world.story());
    }
    process.end();
    check(world, random);
    1
}

fn fill(point: Point, random: &mut Random) -> usize {
    let case = &CASES[point.case];
    let mut world = case.before.fork(random.number());
    let (before, after) = case.used;
    let room = random.number() % (after - before + 1);
    world.sim.limit(Some(before + room));
    world.tell(("room for", room));
    let process = world.sim.process();
    world.run(&process, case.act);
    world.check(false);
    world.sim.limit(None);
    process.end();
    check(world, random);
    1
}

fn points() -> Vec<usize> {
    CASES.iter().map(|case| case.operations).collect()
}

/// Cases that write more than they remove, with so many points each.
fn filling_points() -> Vec<usize> {
    CASES.iter().map(|case| if case.used.1 > case.used.0 { 100 } else { 0 }).collect()
}

#[test]
fn every_operation_fails() {
    seeds::run("errors", &points(), |count, _| count < 1000, fail);
}

#[test]
fn the_disk_is_full_at_any_byte() {
    seeds::run("full disks", &filling_points(), |count, _| count < 300, fill);
}

#[test]
#[ignore = "takes as long as it is told"]
fn errors_as_long_as() {
    seeds::run("errors", &points(), |_, in_time| in_time, fail);
}

#[test]
#[ignore = "takes as long as it is told"]
fn full_disks_as_long_as() {
    seeds::run("full disks", &filling_points(), |_, in_time| in_time, fill);
}
