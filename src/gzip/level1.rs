//! The match finder of klauspost's level 1, and of Go's from 1.27 on.

use super::finder::{Chunk, Finder, put_match};
use super::text::table;
use super::token::Token;

/// The farthest match that follows another one at once.
const REACH_OF_NEXT: u32 = 32768;

/// A match finder of level 1.
#[derive(Debug)]
pub(super) struct Level1 {
    /// For each hash of five bytes the last position.
    last: Box<[u32; 1 << 15]>,
}

/// A match at `at` with what is at `from`, and the place to go on from.
struct Step {
    at: usize,
    from: usize,
    next: usize,
}

impl Level1 {
    /// A finder.
    pub(super) fn new() -> Self {
        Self { last: table() }
    }

    #[inline]
    fn put(&mut self, chunk: &Chunk<'_>, at: usize) -> u32 {
        std::mem::replace(&mut self.last[chunk.hash5(at)], chunk.position(at))
    }

    /// Finds the next match from `at` on.
    #[inline]
    fn look(&mut self, chunk: &Chunk<'_>, at: usize, written: usize, limit: usize) -> Option<Step> {
        let mut at = at;
        loop {
            let hash = chunk.hash5(at);
            let candidate = self.last[hash];
            let next = at + 2 + ((at - written) >> 5);
            if next > limit {
                return None;
            }
            self.last[hash] = chunk.position(at);
            if let Some(from) = chunk.equal(at, candidate) {
                self.put(chunk, next);
                return Some(Step { at, from, next });
            }
            let hash = chunk.hash5(next);
            at = next;
            let candidate = std::mem::replace(&mut self.last[hash], chunk.position(at));
            if let Some(from) = chunk.equal(at, candidate) {
                // In the slot of `at`, not in its own.
                self.last[hash] = chunk.position(at + 1);
                return Some(Step { at, from, next: at + 1 });
            }
            at = next + 1;
        }
    }
}

impl Finder for Level1 {
    fn find(&mut self, chunk: &Chunk<'_>, tokens: &mut Vec<Token>) {
        let Some(limit) = chunk.limit() else { return };
        let (mut start, mut written) = (chunk.start, chunk.start);
        'matches: while let Some(mut step) = self.look(chunk, start, written, limit) {
            loop {
                let length = chunk.common(step.at, step.from);
                let before = chunk.common_before(step.at, step.from, written);
                let (at, length) = (step.at - before, length + before);
                chunk.literals(written, at, tokens);
                put_match(length, step.at - step.from, tokens);
                written = at + length;
                start = if step.next >= written { step.next + 1 } else { written };
                if start >= limit {
                    if start + length + 8 < chunk.text.len() {
                        self.put(chunk, start);
                    }
                    break 'matches;
                }
                self.put(chunk, start - 2);
                let candidate = self.put(chunk, start);
                let from = chunk.within(REACH_OF_NEXT, start, candidate);
                let Some(from) = from.filter(|from| chunk.same(start, *from)) else { break };
                (step.at, step.from) = (start, from);
            }
            start += 1;
        }
        chunk.finish(written, tokens);
    }

    fn rebase(&mut self, less: u32) {
        self.last.iter_mut().for_each(|slot| *slot = slot.saturating_sub(less));
    }
}
