//! Numbered simulations: all of one follows from its number, which is said when it
//! fails and can be given again as `ORLOP_SIM_SEED`.
//!
//! The first numbers go through all points of all cases in order, each once; the
//! next ones do so again with other luck.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use orlop::fs::sim::Random;

/// Where something happens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) case: usize,
    pub(super) at: usize,
}

/// What was done.
pub(super) struct Done {
    pub(super) crashes: usize,
}

/// The seed of the environment.
pub(super) fn chosen() -> Option<u64> {
    std::env::var("ORLOP_SIM_SEED").ok()?.parse().ok()
}

pub(super) fn seconds() -> Duration {
    let seconds = std::env::var("ORLOP_SIM_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(60))
}

/// Where the environment wants to begin, to find other things than the last time.
pub(super) fn first() -> u64 {
    std::env::var("ORLOP_SIM_FIRST").ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Runs simulations as long as they are wanted, by how many crashes there were, and
/// whether there is time left; each says how many it had.
pub(super) fn run(
    what: &str,
    points: &[usize],
    wanted: impl Fn(usize, bool) -> bool,
    simulate: impl Fn(Point, &mut Random) -> usize,
) -> Done {
    let one = |seed: u64| {
        let result = catch_unwind(AssertUnwindSafe(|| {
            simulate(
                point(seed, points),
                &mut Random::new(seed.wrapping_mul(0x1234_5678_9abc_def1)),
            )
        }));
        result.unwrap_or_else(|panic| {
            eprintln!("{what}: ORLOP_SIM_SEED={seed} repeats this");
            resume_unwind(panic)
        })
    };
    if let Some(seed) = chosen() {
        return Done { crashes: one(seed) };
    }
    let (start, time, first) = (Instant::now(), seconds(), first());
    let (mut crashes, mut seed) = (0, first);
    while wanted(crashes, start.elapsed() < time) {
        crashes += one(seed);
        seed += 1;
    }
    let took = start.elapsed().as_secs_f64();
    println!(
        "{crashes} {what} in {} simulations of {} points, {took:.1} s",
        seed - first,
        points.iter().sum::<usize>()
    );
    Done { crashes }
}

fn point(seed: u64, points: &[usize]) -> Point {
    let all: usize = points.iter().sum();
    let mut at = usize::try_from(seed % all as u64).unwrap();
    for (case, count) in points.iter().enumerate() {
        if at < *count {
            return Point { case, at };
        }
        at -= count;
    }
    unreachable!("less than all")
}
