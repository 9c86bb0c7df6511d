//! How zlib and GNU gzip build codes, choose the kind of a block and write it.
//!
//! The codes are Huffman's, from a binary heap; which of several equally good
//! ones it is depends on the order in that heap, which must never change.

use super::bits::{BitWriter, narrow};
use super::block::{Codes, DynamicHeader, fixed_size, put_fixed_header};
use super::huffman::{Code, LONGEST};
use super::token::{Counts, END, LITERALS, Token, write_tokens};

/// The longest content of a stored block.
const MOST_STORED: usize = 0xffff;

/// The most nodes of a tree.
const NODES: usize = 2 * LITERALS;

/// Writes a block in the smallest of the three ways, the simplest among equals.
/// `source` is its content, where that is still known.
pub(super) fn put_block(bits: &mut BitWriter, tokens: &[Token], source: Option<&[u8]>, last: bool) {
    let mut counts = Counts::of_tokens(tokens);
    counts.literals[END] = 1;
    let codes = Codes {
        literals: code(&counts.literals, LONGEST),
        distances: code(&counts.distances, LONGEST),
    };
    let header = header(&codes);
    let in_bytes = |bits: u64| bits.div_ceil(8);
    let dynamic = in_bytes(header.size + codes.cost(&counts) + counts.extra());
    let fixed = in_bytes(fixed_size(&counts));
    let source = source.filter(|source| source.len() <= MOST_STORED);
    if let Some(source) = source
        && source.len() as u64 + 4 <= dynamic.min(fixed)
    {
        bits.stored(source, last);
    } else if fixed <= dynamic {
        put_fixed_header(bits, last);
        put_all(bits, tokens, &Codes::fixed());
    } else {
        header.put(bits, last);
        put_all(bits, tokens, &codes);
    }
    if last {
        bits.align();
    }
}

fn put_all(bits: &mut BitWriter, tokens: &[Token], codes: &Codes) {
    write_tokens(bits, tokens, &codes.literals, &codes.distances);
    codes.put_end(bits);
}

/// The header of a dynamic block, in which the two codes are listed apart.
fn header(codes: &Codes) -> DynamicHeader {
    let listed = |lengths: &[u8]| lengths.iter().rposition(|length| *length > 0).unwrap_or(0) + 1;
    let literals = listed(&codes.literals.lengths);
    let distances = listed(&codes.distances.lengths);
    let mut runs = Vec::with_capacity(literals + distances);
    for lengths in [&codes.literals.lengths[..literals], &codes.distances.lengths[..distances]] {
        for run in lengths.chunk_by(|one, next| one == next) {
            put_run(&mut runs, run[0], run.len());
        }
    }
    DynamicHeader::assemble(literals, distances, runs, code)
}

/// Appends the symbols for `count` codes of one length, which is not that of the
/// code before.
fn put_run(runs: &mut Vec<(u8, u8)>, length: u8, mut count: usize) {
    let small = |count: usize, first: usize| (narrow(count - first) & 0x7f) as u8;
    let mut first = true;
    while count > 0 {
        let most = match (length, first) {
            (0, _) => 138,
            (_, true) => 7,
            (_, false) => 6,
        };
        let part = count.min(most);
        count -= part;
        match (length, part) {
            (0, 11..) => runs.push((18, small(part, 11))),
            (0, 3..) => runs.push((17, small(part, 3))),
            (1.., 4..) if first => runs.extend([(length, 0), (16, small(part - 1, 3))]),
            (1.., 3..) if !first => runs.push((16, small(part, 3))),
            _ => runs.resize(runs.len() + part, (length, 0)),
        }
        first = false;
    }
}

/// A tree that is being built.
struct Tree {
    weights: [u32; NODES],
    depths: [u8; NODES],
    parents: [u16; NODES],
    /// The nodes that have no parent yet, the lightest first; entry 0 is unused.
    heap: Vec<u16>,
    /// The others, in the order in which they got one, and the root.
    order: Vec<u16>,
}

impl Tree {
    /// Whether the node `one` goes before `other`.
    fn before(&self, one: u16, other: u16) -> bool {
        let key = |node: u16| (self.weights[usize::from(node)], self.depths[usize::from(node)]);
        key(one) <= key(other)
    }

    /// Moves the node at the place `at` of the heap down to where it belongs.
    fn sink(&mut self, mut at: usize) {
        let (node, last) = (self.heap[at], self.heap.len() - 1);
        let mut child = 2 * at;
        while child <= last {
            if child < last && self.before(self.heap[child + 1], self.heap[child]) {
                child += 1;
            }
            if self.before(node, self.heap[child]) {
                break;
            }
            self.heap[at] = self.heap[child];
            at = child;
            child *= 2;
        }
        self.heap[at] = node;
    }

    /// Joins nodes until there is only one.
    fn join_all(&mut self, leaves: usize) {
        for at in (1..=(self.heap.len() - 1) / 2).rev() {
            self.sink(at);
        }
        for node in leaves.. {
            let (one, end) = (self.heap[1], self.heap.pop());
            self.heap[1] = end.unwrap_or(one);
            self.sink(1);
            let other = self.heap[1];
            self.order.extend([one, other]);
            let (first, second) = (usize::from(one), usize::from(other));
            let name = (narrow(node) & 0xffff) as u16;
            self.weights[node] = self.weights[first] + self.weights[second];
            self.depths[node] = self.depths[first].max(self.depths[second]) + 1;
            self.parents[first] = name;
            self.parents[second] = name;
            self.heap[1] = name;
            self.sink(1);
            if self.heap.len() == 2 {
                self.order.push(name);
                break;
            }
        }
    }
}

/// The code for symbols of these frequencies, with no length over `limit`. At
/// least two symbols get a code.
fn code<const N: usize>(counts: &[u32; N], limit: usize) -> Code<N> {
    let mut tree = Tree {
        weights: [0; NODES],
        depths: [0; NODES],
        parents: [0; NODES],
        heap: vec![0],
        order: Vec::with_capacity(2 * N),
    };
    tree.weights[..N].copy_from_slice(counts);
    let symbols = (0_u16..).zip(counts).filter(|(_, count)| **count > 0);
    tree.heap.extend(symbols.map(|(symbol, _)| symbol));
    while tree.heap.len() < 3 {
        let next = tree.heap[1..].last().map_or(0, |last| if *last < 2 { last + 1 } else { 0 });
        tree.weights[usize::from(next)] = 1;
        tree.heap.push(next);
    }
    tree.join_all(N);

    let mut lengths = [0_usize; NODES];
    let mut of_length = [0_usize; LONGEST + 1];
    let mut too_long = 0;
    for node in tree.order.iter().rev().skip(1).map(|node| usize::from(*node)) {
        let length = lengths[usize::from(tree.parents[node])] + 1;
        too_long += usize::from(length > limit);
        lengths[node] = length.min(limit);
        if node < N {
            of_length[lengths[node]] += 1;
        }
    }
    if too_long > 0 {
        shorten(&mut of_length, limit, too_long);
        let mut leaves = tree.order.iter().map(|node| usize::from(*node)).filter(|node| *node < N);
        for length in (1..=limit).rev() {
            for leaf in leaves.by_ref().take(of_length[length]) {
                lengths[leaf] = length;
            }
        }
    }
    let mut short = [0_u8; N];
    for (short, length) in short.iter_mut().zip(lengths) {
        *short = (narrow(length) & 0xff) as u8;
    }
    Code::from_lengths(short)
}

/// Makes room for `too_long` nodes that were cut off at `limit`.
fn shorten(of_length: &mut [usize; LONGEST + 1], limit: usize, mut too_long: usize) {
    while too_long > 0 {
        let longest = (1..limit).rev().find(|length| of_length[*length] > 0).unwrap_or(1);
        of_length[longest] -= 1;
        of_length[longest + 1] += 2;
        of_length[limit] -= 1;
        too_long = too_long.saturating_sub(2);
    }
}

/// What the matches among `tokens` add to a rough upper bound of their size, in
/// bits: 5 for each, and what follows their symbols. And how many there are.
pub(super) fn rough_size(tokens: &[Token]) -> (u64, u64) {
    let counts = Counts::of_tokens(tokens);
    let matches = u64::from(counts.matches());
    (5 * matches + counts.distance_extra(), matches)
}

#[cfg(test)]
mod tests {
    use super::super::token::DISTANCES;
    use super::*;

    fn runs(length: u8, count: usize) -> Vec<(u8, u8)> {
        let mut runs = Vec::new();
        put_run(&mut runs, length, count);
        runs
    }

    #[test]
    fn runs_are_cut_as_the_encoders_do() {
        assert_eq!(runs(7, 3), [(7, 0), (7, 0), (7, 0)]);
        assert_eq!(runs(7, 4), [(7, 0), (16, 0)]);
        assert_eq!(runs(7, 8), [(7, 0), (16, 3), (7, 0)]);
        assert_eq!(runs(7, 10), [(7, 0), (16, 3), (16, 0)]);
        assert_eq!(runs(0, 140), [(18, 127), (0, 0), (0, 0)]);
        assert_eq!(runs(0, 10), [(17, 7)]);
        assert_eq!(runs(0, 2), [(0, 0), (0, 0)]);
    }

    #[test]
    fn two_symbols_have_codes_at_least() {
        assert_eq!(code(&[0; DISTANCES], 15).lengths[..3], [1, 1, 0]);
        let mut counts = [0; DISTANCES];
        counts[0] = 9;
        assert_eq!(code(&counts, 15).lengths[..3], [1, 1, 0]);
        counts[5] = 1;
        assert_eq!(code(&counts, 15).lengths[..6], [1, 0, 0, 0, 0, 1]);
        counts[0] = 0;
        assert_eq!(code(&counts, 15).lengths[..6], [1, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn the_limit_holds_and_the_code_is_complete() {
        let mut counts = [0; DISTANCES];
        for (at, count) in counts.iter_mut().enumerate() {
            *count = 1 << (at / 2);
        }
        for limit in [5, 7, 15] {
            let lengths = code(&counts, limit).lengths;
            assert!(lengths.iter().all(|length| usize::from(*length) <= limit));
            let sum: u32 = lengths.iter().map(|length| 1 << (15 - length)).sum();
            assert_eq!(sum, 1 << 15);
        }
    }
}
