//! Which encoder: names that are kept for ever, and versions.

use std::fmt;

use super::Encoder;
use super::chunked::Chunked;
use super::finder::Finder;
use super::go::Go;
use super::go_fast::GoFast;
use super::level1::Level1;
use super::level5::Level5;
use super::level6::Level6;
use super::open_block::Sizes;
use super::pgzip::{PGZIP_BEFORE, PGZIP_BLOCK, Pgzip, encode_block};
use super::pigz::{PIGZ_BLOCK, Pigz};
use super::threads::Threaded;
use super::zlib::{DICTIONARY, Maker, Zlib};

/// How to make an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Make {
    /// Go up to 1.26, at this level.
    Go(u8),
    /// One stream of chunks.
    Chunked(Variant),
    /// pgzip.
    Pgzip(Variant),
    /// zlib or GNU gzip, at this level.
    Zlib(Maker, u8),
    /// pigz, at this level.
    Pigz(u8),
}

/// Who wrote an encoder, and so what its headers look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// Go's own library.
    Go,
    /// klauspost's.
    Klauspost,
    /// zlib.
    Zlib,
    /// The commands gzip and pigz.
    Gzip,
}

/// A level and a version of klauspost's encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Variant {
    level: u8,
    /// How much later a longer match may start.
    later: usize,
    sizes: Sizes,
}

impl Variant {
    /// klauspost/compress 1.15.9.
    const fn o(level: u8) -> Self {
        Self { later: 0, ..Self::a(level) }
    }

    /// klauspost/compress 1.15.10 to 1.18.0.
    const fn a(level: u8) -> Self {
        Self { level, later: 2, sizes: Sizes { trimmed: false, end_counts: false } }
    }

    /// klauspost/compress 1.18.1.
    const fn c(level: u8) -> Self {
        Self { sizes: Sizes { trimmed: true, end_counts: false }, ..Self::a(level) }
    }

    /// klauspost/compress 1.18.2 to 1.19.1, and Go 1.27.
    const fn b(level: u8) -> Self {
        Self { sizes: Sizes { trimmed: true, end_counts: true }, ..Self::a(level) }
    }

    fn encoder(self) -> Chunked {
        let finder: Box<dyn Finder> = match self.level {
            1 => Box::new(Level1::new()),
            5 => Box::new(Level5::new(self.later)),
            _ => Box::new(Level6::new(self.later)),
        };
        Chunked::new(finder, self.sizes)
    }
}

/// How an encoder cuts its input into blocks that can be encoded each for itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocks {
    /// The length of all but the last.
    pub(super) length: usize,
    /// How much of the end of the block before is needed.
    pub(super) before: usize,
    /// Whether the last one is always shorter, if need be empty.
    pub(super) ends_short: bool,
}

/// What there is of an encoder.
struct Entry {
    name: &'static str,
    version: u32,
    make: Make,
}

const fn entry(name: &'static str, make: Make) -> Entry {
    Entry { name, version: 1, make }
}

/// How many of the encoders are common.
const COMMON: usize = 12;

/// All encoders, the likeliest first. Entries may move, but none may go or change.
const ENTRIES: [Entry; 47] = [
    entry("go-flate-6", Make::Go(6)),
    entry("pgzip-a", Make::Pgzip(Variant::a(5))),
    entry("pgzip-b", Make::Pgzip(Variant::b(5))),
    entry("go127-flate-6", Make::Chunked(Variant::b(6))),
    entry("go-flate-1", Make::Go(1)),
    entry("go127-flate-1", Make::Chunked(Variant::b(1))),
    entry("go-flate-9", Make::Go(9)),
    entry("zlib-6", Make::Zlib(Maker::Zlib, 6)),
    entry("zlib-9", Make::Zlib(Maker::Zlib, 9)),
    entry("gnu-gzip-6", Make::Zlib(Maker::GnuGzip, 6)),
    entry("gnu-gzip-9", Make::Zlib(Maker::GnuGzip, 9)),
    entry("pigz-6", Make::Pigz(6)),
    entry("pgzip-o", Make::Pgzip(Variant::o(5))),
    entry("pgzip-c", Make::Pgzip(Variant::c(5))),
    entry("pgzip-a6", Make::Pgzip(Variant::a(6))),
    entry("pgzip-b6", Make::Pgzip(Variant::b(6))),
    entry("pgzip-o6", Make::Pgzip(Variant::o(6))),
    entry("pgzip-a1", Make::Pgzip(Variant::a(1))),
    entry("pgzip-b1", Make::Pgzip(Variant::b(1))),
    entry("klauspost-a5", Make::Chunked(Variant::a(5))),
    entry("klauspost-b5", Make::Chunked(Variant::b(5))),
    // klauspost-b6 and klauspost-b1 are go127-flate-6 and go127-flate-1.
    entry("klauspost-a6", Make::Chunked(Variant::a(6))),
    entry("klauspost-a1", Make::Chunked(Variant::a(1))),
    entry("klauspost-o5", Make::Chunked(Variant::o(5))),
    entry("go-flate-2", Make::Go(2)),
    entry("go-flate-3", Make::Go(3)),
    entry("go-flate-4", Make::Go(4)),
    entry("go-flate-5", Make::Go(5)),
    entry("go-flate-7", Make::Go(7)),
    entry("go-flate-8", Make::Go(8)),
    entry("klauspost-c5", Make::Chunked(Variant::c(5))),
    entry("zlib-1", Make::Zlib(Maker::Zlib, 1)),
    entry("gnu-gzip-1", Make::Zlib(Maker::GnuGzip, 1)),
    entry("pigz-9", Make::Pigz(9)),
    entry("pigz-1", Make::Pigz(1)),
    entry("zlib-2", Make::Zlib(Maker::Zlib, 2)),
    entry("zlib-3", Make::Zlib(Maker::Zlib, 3)),
    entry("zlib-4", Make::Zlib(Maker::Zlib, 4)),
    entry("zlib-5", Make::Zlib(Maker::Zlib, 5)),
    entry("zlib-7", Make::Zlib(Maker::Zlib, 7)),
    entry("zlib-8", Make::Zlib(Maker::Zlib, 8)),
    entry("gnu-gzip-2", Make::Zlib(Maker::GnuGzip, 2)),
    entry("gnu-gzip-3", Make::Zlib(Maker::GnuGzip, 3)),
    entry("gnu-gzip-4", Make::Zlib(Maker::GnuGzip, 4)),
    entry("gnu-gzip-5", Make::Zlib(Maker::GnuGzip, 5)),
    entry("gnu-gzip-7", Make::Zlib(Maker::GnuGzip, 7)),
    entry("gnu-gzip-8", Make::Zlib(Maker::GnuGzip, 8)),
];

/// An encoder that can be re-run.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EncoderId(u8);

impl EncoderId {
    /// All of them, the likeliest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0_u8..).take(ENTRIES.len()).map(Self)
    }

    /// The encoder of that name, in its newest version.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().filter(|id| id.name() == name).max_by_key(|id| id.version())
    }

    /// The encoder of that name and version.
    pub fn of_version(name: &str, version: u32) -> Option<Self> {
        Self::all().find(|id| id.name() == name && id.version() == version)
    }

    /// Its name, which stays.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// Its version.
    pub fn version(self) -> u32 {
        self.entry().version
    }

    /// An encoder for one stream.
    pub fn encoder(self) -> Box<dyn Encoder> {
        match self.entry().make {
            Make::Go(1) => Box::new(GoFast::new()),
            Make::Go(level) => Box::new(Go::new(level)),
            Make::Chunked(variant) => Box::new(variant.encoder()),
            Make::Pgzip(variant) => Box::new(Pgzip::new(variant.encoder())),
            Make::Zlib(maker, level) => Box::new(Zlib::new(maker, level)),
            Make::Pigz(level) => Box::new(Pigz::new(level)),
        }
    }

    /// The level that its program was asked for.
    pub(super) fn level(self) -> u8 {
        match self.entry().make {
            Make::Go(level) | Make::Zlib(_, level) | Make::Pigz(level) => level,
            Make::Chunked(variant) | Make::Pgzip(variant) => variant.level,
        }
    }

    /// Who wrote it.
    pub(super) fn family(self) -> Family {
        match self.entry().make {
            Make::Go(_) => Family::Go,
            Make::Chunked(_) if self.name().starts_with("go") => Family::Go,
            Make::Chunked(_) | Make::Pgzip(_) => Family::Klauspost,
            Make::Zlib(Maker::Zlib, _) => Family::Zlib,
            Make::Zlib(Maker::GnuGzip, _) | Make::Pigz(_) => Family::Gzip,
        }
    }

    /// Whether many programs use it.
    pub(super) fn is_common(self) -> bool {
        usize::from(self.0) < COMMON
    }

    /// Whether it is of a version that was withdrawn, and hardly ever differs from
    /// the next one.
    pub(super) fn is_rare(self) -> bool {
        match self.entry().make {
            Make::Go(_) | Make::Zlib(..) | Make::Pigz(_) => false,
            Make::Chunked(variant) | Make::Pgzip(variant) => variant == Variant::c(variant.level),
        }
    }

    /// An encoder for one stream that runs on up to so many threads; what it hands
    /// out lags behind what it takes in. Here, if there can be no other thread.
    pub fn encoder_on(self, threads: usize) -> Box<dyn Encoder> {
        match Threaded::new(self, threads) {
            Some(encoder) => Box::new(encoder),
            None => self.encoder(),
        }
    }

    /// How its blocks are cut, if each can be encoded for itself.
    pub(super) fn blocks(self) -> Option<Blocks> {
        match self.entry().make {
            Make::Pgzip(_) => {
                Some(Blocks { length: PGZIP_BLOCK, before: PGZIP_BEFORE, ends_short: true })
            }
            Make::Pigz(_) => {
                Some(Blocks { length: PIGZ_BLOCK, before: DICTIONARY, ends_short: false })
            }
            _ => None,
        }
    }

    /// Encodes one block for itself, the one after a block that ends with `before`;
    /// appends it to `out`. Put together, the blocks are the stream. Does nothing
    /// for an encoder without blocks.
    pub(super) fn encode_block(self, before: &[u8], block: &[u8], last: bool, out: &mut Vec<u8>) {
        match self.entry().make {
            Make::Pgzip(variant) => encode_block(variant.encoder(), before, block, last, out),
            Make::Pigz(level) => Pigz::new(level).encode_block(before, block, last, out),
            _ => {}
        }
    }

    fn entry(self) -> &'static Entry {
        &ENTRIES[usize::from(self.0)]
    }
}

impl fmt::Debug for EncoderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for EncoderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
