//! Two and three processes at once on one store, operation by operation in every
//! order that a seed gives; some are killed or frozen in the middle, and in the end
//! the power may be cut.

use std::sync::LazyLock;
use std::thread;

use orlop::fs::sim::{Process, Random};

use super::seeds::{self, Point};
use super::world::{Act, IMAGE_COUNT, World, chain};

static BEFORE: LazyLock<Vec<World>> = LazyLock::new(|| {
    let before: [&[Act]; 2] = [&[Act::Save(0)], &[Act::Save(0), Act::Save(2), Act::Save(1)]];
    before.iter().map(|acts| World::after(acts)).collect()
});

/// Ends a process, also where its thread panics: others wait for their turn.
struct Ending<'p>(&'p Process);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// What asks for an image may not find it, and of two that collect garbage one
/// comes too late. Whoever reads what is being removed may fail as well.
fn may_fail(act: Act, acts: &[Act]) -> bool {
    let asks = matches!(act, Act::Export(_) | Act::Tag(_) | Act::Remove(_));
    let collectors = acts.iter().filter(|act| **act == Act::Collect).count();
    asks || (act == Act::Collect && collectors > 1)
}

fn interleave(point: Point, random: &mut Random) -> usize {
    let mut world = BEFORE[point.case].fork(random.number());
    let acts: Vec<Act> = (0..2 + random.below(2)).map(|_| Act::any(random)).collect();
    let processes: Vec<_> = acts.iter().map(|_| world.sim.process()).collect();
    let mut stopped = vec![false; acts.len()];
    if random.one_in(2) {
        let at = random.below(acts.len());
        let change = random.below(40) as u64;
        let kind = random.below(3);
        match kind {
            0 => processes[at].kill_at(change),
            1 => processes[at].freeze_after(change, true),
            _ => processes[at].freeze_after(change, false),
        }
        stopped[at] = kind < 2;
        world.tell((["kill", "freeze for ever", "freeze"][kind], at, change));
    }
    world.sim.take_turns(&processes);
    let cache = world.cache();
    let results: Vec<_> = thread::scope(|scope| {
        let run = |(act, process): (&Act, _)| {
            let act = *act;
            scope.spawn(move || {
                let _ending = Ending(process);
                act.carry_out(process, cache).map_err(|error| chain(&*error))
            })
        };
        let running: Vec<_> = acts.iter().zip(&processes).map(run).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    world.tell((&acts, &results));
    for ((act, result), stopped) in acts.iter().zip(&results).zip(stopped) {
        assert!(stopped || result.is_ok() || may_fail(*act, &acts), "{}", world.story());
    }
    // Who removes a revision doesn't know of a tag that it is given meanwhile: that may
    // be lost with it.
    let removes = acts.iter().any(|act| matches!(act, Act::Remove(_) | Act::Forget));
    let sure = |(act, result): (Act, &Result<(), String>)| {
        (act, result.is_ok() && !(removes && matches!(act, Act::Tag(_))))
    };
    world.done(&acts.into_iter().zip(&results).map(sure).collect::<Vec<_>>());
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
    1
}

#[test]
fn five_hundred_interleavings() {
    seeds::run("interleavings", &[1, 1], |count, _| count < 500, interleave);
}

#[test]
#[ignore = "takes as long as it is told"]
fn interleavings_as_long_as() {
    seeds::run("interleavings", &[1, 1], |_, in_time| in_time, interleave);
}
