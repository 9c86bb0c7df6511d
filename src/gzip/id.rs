//! Which encoder: names that are kept for ever, and versions.

use std::fmt;

use super::Encoder;
use super::go::Go;
use super::go_fast::GoFast;

/// How to make an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Make {
    /// Go up to 1.26, at this level.
    Go(u8),
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

/// All encoders, the likeliest first. Only the order may change.
const ENTRIES: [Entry; 9] = [
    entry("go-flate-6", Make::Go(6)),
    entry("go-flate-1", Make::Go(1)),
    entry("go-flate-9", Make::Go(9)),
    entry("go-flate-2", Make::Go(2)),
    entry("go-flate-3", Make::Go(3)),
    entry("go-flate-4", Make::Go(4)),
    entry("go-flate-5", Make::Go(5)),
    entry("go-flate-7", Make::Go(7)),
    entry("go-flate-8", Make::Go(8)),
];

/// An encoder that can be re-run.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EncoderId(u8);

impl EncoderId {
    /// All of them, the likeliest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0_u8..).take(ENTRIES.len()).map(Self)
    }

    /// The encoder of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|id| id.name() == name)
    }

    /// Its name, which stays.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// The version of it that is built in.
    pub fn version(self) -> u32 {
        self.entry().version
    }

    /// An encoder for one stream.
    pub fn encoder(self) -> Box<dyn Encoder> {
        match self.entry().make {
            Make::Go(1) => Box::new(GoFast::new()),
            Make::Go(level) => Box::new(Go::new(level)),
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
