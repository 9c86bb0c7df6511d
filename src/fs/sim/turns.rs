//! Whose turn it is, where several processes do one operation each.
//!
//! Between two of its operations a process computes beside the others; what they
//! do to the disk, and in what order, comes from the seed alone.

use std::sync::{MutexGuard, PoisonError};

use super::random::Random;
use super::{Life, Process, Sim, State, Stop};

/// How often a lock is tried for.
pub(super) const MOST: usize = 2000;

#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Who takes turns, in the order in which they were started.
    members: Vec<usize>,
    frozen: Vec<usize>,
    now: Option<usize>,
}

impl Turns {
    /// Gives the turn to one of those who can take it.
    fn choose(&mut self, random: &mut Random) {
        let awake: Vec<_> = self.members.iter().filter(|it| !self.frozen.contains(it)).collect();
        self.now = if awake.is_empty() { None } else { Some(*awake[random.below(awake.len())]) };
    }

    /// A process takes no more turns.
    pub(super) fn leave(&mut self, number: usize, random: &mut Random) {
        self.members.retain(|member| *member != number);
        self.frozen.retain(|member| *member != number);
        if self.now == Some(number) {
            self.choose(random);
        }
    }
}

impl State {
    /// Passes the turn on from a process that had it.
    pub(super) fn pass_turn(&mut self, number: usize) {
        if self.turns.now != Some(number) {
            return;
        }
        let life = &mut self.processes[number];
        if let Stop::Frozen { after, .. } = life.stop
            && life.changes >= after
        {
            self.turns.frozen.push(number);
        }
        self.turns.choose(&mut self.random);
        self.thaw();
    }

    /// Where nobody is awake, those go on that were frozen; some only to end.
    pub(super) fn thaw(&mut self) {
        while self.turns.now.is_none() && !self.turns.frozen.is_empty() {
            for number in std::mem::take(&mut self.turns.frozen) {
                let life: &mut Life = &mut self.processes[number];
                let stop = std::mem::replace(&mut life.stop, Stop::Never);
                if matches!(stop, Stop::Frozen { forever: true, .. }) {
                    self.end(number);
                }
            }
            self.turns.choose(&mut self.random);
        }
    }
}

impl Sim {
    /// Has these processes take turns from now on. Each has to run on a thread of
    /// its own, and to [end](Process::end).
    pub fn take_turns(&self, processes: &[Process]) {
        let state = &mut *self.shared.lock();
        state.turns.members = processes.iter().map(|process| process.number).collect();
        state.turns.choose(&mut state.random);
    }
}

impl Process {
    /// Waits until it has the turn, if it takes turns.
    pub(super) fn wait_for_turn(&self) -> MutexGuard<'_, State> {
        let mut state = self.shared.lock();
        while state.turns.members.contains(&self.number) && state.turns.now != Some(self.number) {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }
}
