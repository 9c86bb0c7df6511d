//! What giving back some blobs needs, in order, and how far their readers are.
//!
//! The frames of all blobs make one sequence; each blob is a stretch of it, with
//! a reader of its own. A frame that a reader comes to soon is worth keeping, one
//! that only a later blob needs less so. Knows nothing of threads or locks.

use std::collections::HashMap;
use std::ops::Range;

use super::decoder::FrameKey;

/// What is going to be used, in order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Frames whose chunks are used, one after the other.
    sequence: Vec<FrameKey>,
    /// For each frame the positions in the sequence at which it is used, by
    /// itself or as a base.
    uses: HashMap<FrameKey, Vec<usize>>,
    /// By blob.
    stretches: Vec<Stretch>,
    /// The first stretch that had no reader yet.
    waiting: usize,
    /// The stretches that are being read.
    reading: Vec<usize>,
    /// What is to be decoded ahead of the reader that comes to it.
    ahead: Range<usize>,
}

/// The frames of one blob.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    end: usize,
    /// Where its reader is.
    position: usize,
    state: State,
    /// Whether frames are decoded ahead of its reader.
    decoded_ahead: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Reading,
    Done,
}

impl Plan {
    /// Ends the stretch of a blob, which begins where the one before ended.
    pub(super) fn end_stretch(&mut self, decoded_ahead: bool) {
        let position = self.stretches.last().map_or(0, |before| before.end);
        let end = self.sequence.len();
        self.stretches.push(Stretch { end, position, state: State::Waiting, decoded_ahead });
        if decoded_ahead && self.stretches.iter().all(|stretch| stretch.decoded_ahead) {
            self.ahead.end = end;
        }
    }

    /// Where the next frame goes.
    pub(super) fn place(&self) -> usize {
        self.sequence.len()
    }

    /// Adds a frame, unless it is the last one of this stretch already. False
    /// where it is.
    pub(super) fn push(&mut self, key: FrameKey) -> bool {
        let start = self.stretches.last().map_or(0, |before| before.end);
        let new = self.sequence[start..].last() != Some(&key);
        if new {
            self.sequence.push(key);
        }
        new
    }

    /// Notes a use of a frame. True where it is the first.
    pub(super) fn note_use(&mut self, key: FrameKey, at: usize) -> bool {
        let uses = self.uses.entry(key).or_default();
        let first = uses.is_empty();
        if uses.last() != Some(&at) {
            uses.push(at);
        }
        first
    }

    /// Whether frames are decoded ahead of some reader.
    pub(super) fn is_decoded_ahead(&self) -> bool {
        self.stretches.iter().any(|stretch| stretch.decoded_ahead)
    }

    /// A reader begins a stretch.
    pub(super) fn open(&mut self, at: usize) {
        let start = self.start(at);
        let Some(stretch) = self.stretches.get_mut(at) else { return };
        stretch.state = State::Reading;
        self.reading.push(at);
        let waiting = |stretch: &Stretch| stretch.state == State::Waiting;
        let next = self.stretches[self.waiting..].iter().position(waiting);
        self.waiting = next.map_or(self.stretches.len(), |next| self.waiting + next);
        // Others read on while this one is far from its end.
        let alike = self.stretches[at..].iter().take_while(|stretch| stretch.decoded_ahead);
        if let Some(last) = alike.last() {
            self.ahead = self.ahead.start.max(start)..last.end;
        }
    }

    /// A reader is done with a stretch, or gives it up.
    pub(super) fn close(&mut self, at: usize) {
        self.reading.retain(|other| *other != at);
        if let Some(stretch) = self.stretches.get_mut(at) {
            stretch.state = State::Done;
        }
    }

    fn start(&self, at: usize) -> usize {
        at.checked_sub(1).and_then(|before| self.stretches.get(before)).map_or(0, |it| it.end)
    }

    /// The reader of a stretch uses a frame. True where it went on.
    pub(super) fn step(&mut self, at: usize, key: FrameKey) -> bool {
        let Some(stretch) = self.stretches.get_mut(at) else { return false };
        let ahead = self.sequence.get(stretch.position..stretch.end).unwrap_or_default();
        match ahead.iter().take(2).position(|next| *next == key) {
            Some(step @ 1..) => {
                stretch.position += step;
                true
            }
            _ => false,
        }
    }

    /// How far readers are from the next use of a frame; `None` where there is
    /// none.
    pub(super) fn distance(&self, key: FrameKey) -> Option<usize> {
        let uses = self.uses.get(&key)?;
        let from = |at: usize| uses.partition_point(|used| *used < at);
        let stretches = self.reading.iter().map(|at| self.stretches[*at]);
        let reading = stretches.filter_map(|stretch| {
            let used = uses.get(from(stretch.position))?;
            (*used < stretch.end).then(|| used - stretch.position)
        });
        reading.chain(self.waiting_use(uses)).min()
    }

    /// The same for stretches that have no reader yet.
    fn waiting_use(&self, uses: &[usize]) -> Option<usize> {
        let start = self.start(self.waiting);
        let mut next = uses.partition_point(|used| *used < start);
        while let Some(used) = uses.get(next) {
            let at = self.stretches.partition_point(|stretch| stretch.end <= *used);
            let stretch = self.stretches.get(at)?;
            if stretch.state == State::Waiting {
                return Some(used - self.here().min(start));
            }
            next = uses.partition_point(|used| *used < stretch.end);
        }
        None
    }

    /// Where the hindmost reader is.
    fn here(&self) -> usize {
        let positions = self.reading.iter().map(|at| self.stretches[*at].position);
        positions.min().unwrap_or(usize::MAX)
    }

    /// The next frame to be decoded ahead that isn't there.
    pub(super) fn next_ahead(&mut self, is_there: impl Fn(&FrameKey) -> bool) -> Next {
        let reading = self.reading.iter().map(|at| &self.stretches[*at]);
        let reader = reading.filter(|stretch| stretch.decoded_ahead).map(|it| it.position).max();
        self.ahead.start = self.ahead.start.max(reader.unwrap_or(0));
        while !self.ahead.is_empty() {
            match self.sequence.get(self.ahead.start) {
                Some(key) if !is_there(key) => {
                    let from = reader.unwrap_or(0).min(self.ahead.start);
                    return Next::Frame { key: *key, distance: self.ahead.start - from };
                }
                _ => self.ahead.start += 1,
            }
        }
        if self.ahead.start >= self.sequence.len() { Next::Never } else { Next::NotYet }
    }

    /// The frame that [`Self::next_ahead`] told is being decoded.
    pub(super) fn took_ahead(&mut self) {
        self.ahead.start += 1;
    }
}

/// What is to be decoded ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// This frame, that far ahead of its reader.
    Frame { key: FrameKey, distance: usize },
    /// Nothing before a reader goes on.
    NotYet,
    /// Nothing any more.
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Id;

    fn key(number: usize) -> FrameKey {
        FrameKey { pack: Id::of(b"pack"), number }
    }

    /// Stretches of frames; those of a `true` are decoded ahead.
    fn plan(stretches: &[(&[usize], bool)]) -> Plan {
        let mut plan = Plan::default();
        for (frames, ahead) in stretches {
            for number in *frames {
                let at = plan.place();
                if plan.push(key(*number)) {
                    plan.note_use(key(*number), at);
                }
            }
            plan.end_stretch(*ahead);
        }
        plan
    }

    fn distances(plan: &Plan) -> Vec<Option<usize>> {
        (0..6).map(|number| plan.distance(key(number))).collect()
    }

    #[test]
    fn one_reader_after_the_other() {
        let mut plan = plan(&[(&[0, 1, 1, 2], true), (&[2, 3, 0], true), (&[4], true)]);
        let none = None;
        assert_eq!(distances(&plan), [Some(0), Some(1), Some(2), Some(4), Some(6), none]);
        plan.open(0);
        assert!(!plan.step(0, key(0)));
        assert!(plan.step(0, key(1)));
        assert_eq!(distances(&plan), [Some(4), Some(0), Some(1), Some(3), Some(5), none]);
        assert!(!plan.step(0, key(3)), "far off");
        assert!(plan.step(0, key(2)));
        assert!(!plan.step(0, key(2)), "the next one is of another stretch");
        plan.close(0);
        plan.open(1);
        assert_eq!(distances(&plan), [Some(2), none, Some(0), Some(1), Some(3), none]);
        plan.close(1);
        plan.open(2);
        plan.close(2);
        assert_eq!(distances(&plan), [none; 6]);
    }

    #[test]
    fn readers_at_several_places() {
        let mut plan =
            plan(&[(&[0, 1], false), (&[2, 3], true), (&[4, 1, 5], false), (&[2], true)]);
        plan.open(0);
        plan.open(2);
        assert_eq!(
            distances(&plan),
            [Some(0), Some(1), Some(2), Some(3), Some(0), Some(2)],
            "the second is waiting, behind the first"
        );
        plan.step(0, key(1));
        plan.close(0);
        assert_eq!(distances(&plan), [None, Some(1), Some(0), Some(1), Some(0), Some(2)]);
        plan.open(1);
        plan.close(1);
        plan.close(2);
        assert_eq!(distances(&plan), [None, None, Some(0), None, None, None]);
    }

    #[test]
    fn decoding_ahead_waits_for_the_reader() {
        let mut plan = plan(&[(&[0, 1], true), (&[2], false), (&[3, 4], true), (&[5], true)]);
        let nothing = |_: &FrameKey| false;
        let next = |plan: &mut Plan| {
            let next = plan.next_ahead(nothing);
            plan.took_ahead();
            next
        };
        assert_eq!(next(&mut plan), Next::Frame { key: key(0), distance: 0 });
        plan.open(0);
        assert_eq!(next(&mut plan), Next::Frame { key: key(1), distance: 1 });
        assert_eq!(plan.next_ahead(nothing), Next::NotYet);
        plan.close(0);
        plan.open(1);
        assert_eq!(plan.next_ahead(nothing), Next::NotYet);
        plan.close(1);
        plan.open(2);
        assert_eq!(
            plan.next_ahead(|there| *there == key(3)),
            Next::Frame { key: key(4), distance: 1 }
        );
        plan.took_ahead();
        assert_eq!(next(&mut plan), Next::Frame { key: key(5), distance: 2 });
        assert_eq!(plan.next_ahead(nothing), Next::Never);
    }
}
