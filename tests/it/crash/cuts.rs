//! Operations that end at every one of their changes to the disk: killed, or cut
//! from power with any part of what wasn't durable lost; and what comes after
//! ends so as well.
//!
//! Each crash has a number, from which all of it follows: see
//! [`seeds`](super::seeds).

use std::sync::LazyLock;

use orlop::fs::sim::Random;

use super::seeds::{self, Point};
use super::world::{Act, IMAGE_COUNT, World};

/// What is done, after what, and how many changes that makes.
struct Case {
    before: World,
    act: Act,
    changes: usize,
}

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let cases = [
        (&[][..], Act::Save(0)),
        (&[Act::Save(0)], Act::Save(1)),
        (&[Act::Save(0), Act::Save(2)], Act::Save(3)),
        (&[Act::Save(0), Act::Save(1)], Act::Save(1)),
        (&[Act::Save(0), Act::Save(1), Act::Save(4)], Act::Reindex),
        (&[Act::Save(0), Act::Save(1)], Act::Optimize),
        (&[Act::Save(0), Act::Optimize, Act::Save(1)], Act::Save(3)),
        (&[Act::Save(0), Act::Save(1)], Act::Tag(1)),
        (&[Act::Save(0), Act::Save(1)], Act::Remove(0)),
        (&[Act::Save(0), Act::Save(1), Act::Save(4)], Act::Forget),
        (&[Act::Save(0), Act::Save(1), Act::Remove(0)], Act::Collect),
        (&[Act::Save(0), Act::Save(1), Act::Save(3), Act::Optimize, Act::Forget], Act::Collect),
        (&[Act::Save(0), Act::Save(1), Act::Remove(0), Act::Collect], Act::Save(0)),
    ];
    let cases = cases.into_iter().map(|(before, act)| {
        let before = World::after(before);
        let mut counted = before.fork(1);
        let process = counted.sim.process();
        assert!(counted.run(&process, act), "{}", counted.story());
        let changes = usize::try_from(process.changes()).unwrap();
        Case { before, act, changes }
    });
    cases.collect()
});

/// One crash, and what follows.
fn crash(point: Point, random: &mut Random) -> usize {
    crash_on(CASES[point.case].before.fork(random.number()), point, random)
}

fn crash_on(mut world: World, point: Point, random: &mut Random) -> usize {
    let case = &CASES[point.case];
    if random.one_in(16) {
        world.keep_catalog();
    }
    let mut crashes = 1;
    let process = world.sim.process();
    process.kill_at(point.at as u64);
    world.run(&process, case.act);
    process.end();
    if random.one_in(3) {
        world.tell("killed");
        world.check(false);
    } else {
        world.cut_power();
        world.check(true);
    }
    // What comes next is cut off as well, up to twice.
    for _ in 0..random.below(3) {
        let next = Act::any(random);
        let process = world.sim.process();
        process.kill_at(random.below(case.changes.max(40)) as u64);
        world.run(&process, next);
        world.cut_power();
        world.check(true);
        crashes += 1;
    }
    world.check_next_save(random.below(IMAGE_COUNT));
    if random.one_in(2) {
        world.check_next_collection();
    }
    crashes
}

fn points() -> Vec<usize> {
    CASES.iter().map(|case| case.changes + 1).collect()
}

#[test]
fn two_thousand_crashes() {
    let done = seeds::run("crashes", &points(), |count, _| count < 2000, crash);
    assert!(done.crashes >= 2000 || seeds::chosen().is_some());
}

/// Who finds that nothing is left to do relies on what another did, who was killed:
/// that has to be durable before it is said to be done.
#[test]
fn what_a_killed_process_did_is_durable_once_it_is_said_to_be_done() {
    for case in CASES.iter() {
        for at in 0..=case.changes {
            let mut world = case.before.fork(at as u64);
            for killed in [true, false] {
                let process = world.sim.process();
                if killed {
                    process.kill_at(at as u64);
                }
                world.run(&process, case.act);
                process.end();
            }
            world.cut_power();
            world.check(true);
        }
    }
}

/// As many as fit into `ORLOP_SIM_SECONDS`.
#[test]
#[ignore = "takes as long as it is told"]
fn crashes_as_long_as() {
    seeds::run("crashes", &points(), |_, in_time| in_time, crash);
}

/// What all of this is worth: a disk that says that it synced is found out.
#[test]
fn a_disk_that_lies_is_found_out() {
    let lying = |point: Point, random: &mut Random| {
        let world = CASES[point.case].before.fork(random.number());
        world.sim.lie();
        crash_on(world, point, random)
    };
    let run =
        || seeds::run("crashes of a disk that lies", &points(), |count, _| count < 200, lying);
    assert!(std::panic::catch_unwind(run).is_err());
}
