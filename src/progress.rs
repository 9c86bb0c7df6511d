//! What a long operation reports while it runs.
//!
//! The library counts and never draws: `cli` does, on a terminal. `()` ignores
//! everything.

/// Takes reports; called from one thread.
pub trait Progress {
    /// An operation starts; `total` bytes are expected, if that is known.
    fn begin(&self, total: Option<u64>);
    /// So many more bytes are done.
    fn advance(&self, bytes: u64);
    /// The operation has ended, well or not.
    fn finish(&self);
}

impl Progress for () {
    fn begin(&self, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn finish(&self) {}
}
