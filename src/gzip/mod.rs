//! Compressed layers, bit for bit: the gzip encoders that container tools use,
//! re-run.
//!
//! A gzip stream is fixed by its content, its header, its trailer and the
//! program that made it. Where that program is one of those here, the content
//! and a few bytes bring the stream back; [`prove`] finds out which one it is by
//! re-encoding everything, and [`Rebuild`] makes the stream again.
//!
//! | encoders | programs |
//! |---|---|
//! | `go-flate-6` | Docker, containerd, BuildKit, built with Go up to 1.26 |
//! | `go-flate-1` | crane, ko, kaniko, likewise |
//! | `go127-flate-6`, `go127-flate-1` | the same ones, built with Go 1.27 |
//! | `pgzip-a`, `pgzip-b` | skopeo, Podman, Buildah: older and newer versions |
//! | `zlib-6`, `zlib-9` | Python, Java, Jib, and all that uses zlib |
//! | `gnu-gzip-6`, `pigz-6` | the commands of that name |
//! | all others | other levels, and versions that few programs use |
//!
//! An encoder here is frozen: what it emits for an input never changes. A
//! mistake is mended by a new version under the same name, beside the old one.
//! Memory is bounded, about 1 MiB for each encoder and 4 MiB for each thread; all
//! is streamed.
//!
//! Assumes that whoever rebuilds a stream compares its digest: the content that
//! is handed in is taken as it comes. Knows nothing of stores, images or files,
//! and cannot inflate: the decoder of raw DEFLATE is handed in, mostly the one
//! of `codec`.

mod bits;
mod block;
mod chunked;
mod finder;
mod go;
mod go_blocks;
mod go_fast;
mod huffman;
mod id;
mod level1;
mod level5;
mod level6;
mod member;
mod open_block;
mod pgzip;
mod pigz;
mod prove;
mod replay;
mod text;
mod threads;
mod token;
mod zlib;
mod zlib_blocks;

pub use crate::codec::{BadStream, Inflated, Inflater};
pub use id::EncoderId;
pub use member::{NotAHeader, candidates, header_length};
pub use prove::{Inflate, NoReplay, prove, prove_on};
pub use replay::{Member, Rebuild, Replay, ReplayError, WrongLength};

#[cfg(test)]
mod tests;

/// Encodes one stream as raw DEFLATE, without the header and trailer of gzip.
pub trait Encoder: Send {
    /// Takes in the next bytes; appends what is complete to `out`. How the input
    /// is cut into writes doesn't matter.
    fn write(&mut self, input: &[u8], out: &mut Vec<u8>);

    /// Makes all that was taken in readable, as some programs ask for before they
    /// end a stream. Only [`finish`](Self::finish) may follow.
    fn flush(&mut self, out: &mut Vec<u8>);

    /// Ends the stream; only [`reset`](Self::reset) may follow.
    fn finish(&mut self, out: &mut Vec<u8>);

    /// Starts another stream, which knows nothing of the one before.
    fn reset(&mut self);
}
