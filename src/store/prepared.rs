//! A blob that is ready to be read by any thread: its recipe, the blobs that it
//! stands on and the places of their sections were found; the rest is reading
//! packs.
//!
//! A blob of kind *encode* is its content, compressed again as that is read; one
//! of kind *decode* is decompressed from what another thread reads. Memory is
//! bounded: by the caches of the decoder, an encoder, and a few pieces between
//! threads. The digest is for whoever takes the bytes to check.

use std::io::{self, BufRead, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::content::{Content, put};
use super::decoder::Decoder;
use super::homes::{Home, Homes};
use super::packs::ChunkBytes;
use super::{Result, Store, StoreError};
use crate::catalog::{BlobRow, Place};
use crate::chunk::recipe::{Body, Names, Recipe, STANDS_MAX};
use crate::codec::{self, Compression};
use crate::digest::{Digest, Id};
use crate::gzip::{Rebuild, Replay, ReplayError};
use crate::pack::pipeline::PipelineError;
use crate::varint::{Malformed, len64};

/// Bytes that are passed on at a time.
const PIECE: usize = 64 << 10;
/// How many of these wait to be decompressed.
const PIECES: usize = 4;

/// Reads chunks, on any thread.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    decoder: Arc<Decoder>,
    homes: Arc<Homes>,
    /// The stretch of the decoder's plan that it reads.
    stretch: Option<usize>,
}

impl Reader {
    /// The same, for a stretch of the plan.
    pub(super) fn of_stretch(&self, stretch: usize) -> Self {
        Self { stretch: Some(stretch), ..self.clone() }
    }

    /// Where the chunks of a directory are.
    pub(super) fn home(&self, directory: Id) -> Result<Home> {
        self.homes.home(directory)
    }

    /// The chunk at a place.
    pub(super) fn chunk(&self, place: Place) -> Result<ChunkBytes> {
        self.decoder.chunk(place, &|id| self.home(id), self.stretch)
    }
}

/// How many threads compress one large blob.
const ENCODERS: usize = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct Prepared {
    digest: Digest,
    /// Bytes.
    pub(super) size: u64,
    making: Making,
}

/// How a blob is made.
#[derive(Debug)]
enum Making {
    Bytes(Vec<u8>),
    Chunks(Content),
    Tar(Content),
    Encode { of: Box<Prepared>, replay: Vec<u8> },
    Decode { of: Box<Prepared>, compression: Compression },
}

impl Store {
    /// The recipes of a blob, and of what it stands on, one after the other.
    pub(super) fn chain(&self, digest: Digest) -> Result<Vec<(BlobRow, Recipe)>> {
        let (mut chain, mut above) = (Vec::new(), Vec::new());
        let mut next = Some(digest);
        while let Some(digest) = next {
            check_chain(&above, digest)?;
            let row = self.blob_row(digest)?.ok_or(StoreError::NoBlob { digest })?;
            let recipe = self.recipe_at(digest, row.recipe)?;
            above.push(digest);
            next = recipe.body.stands_on();
            chain.push((row, recipe));
        }
        Ok(chain)
    }

    /// Gets a blob ready to be read.
    pub(super) fn prepare(&self, digest: Digest) -> Result<Prepared> {
        let mut chain = self.chain(digest)?;
        let mut prepared = None;
        // The last one stands on nothing.
        while let Some((_, recipe)) = chain.pop() {
            prepared = Some(self.prepare_one(recipe, prepared.take().map(Box::new))?);
        }
        prepared.ok_or(StoreError::NoBlob { digest })
    }

    fn prepare_one(&self, recipe: Recipe, below: Option<Box<Prepared>>) -> Result<Prepared> {
        let Recipe { digest, size, body } = recipe;
        let below = below.ok_or(StoreError::Inconsistent("a blob that stands on nothing"));
        let content = |names: Names| {
            self.look_up_homes(&names)?;
            let sections = names.sections.iter().map(|id| self.section_place(*id));
            Ok::<_, StoreError>(Content { sections: sections.collect::<Result<_>>()?, names })
        };
        let making = match body {
            Body::Bytes(bytes) => Making::Bytes(bytes),
            Body::Chunks(names) => Making::Chunks(content(names)?),
            Body::Tar(names) => Making::Tar(content(names)?),
            Body::Encode { replay, .. } => Making::Encode { of: below?, replay },
            Body::Decode { compression, .. } => Making::Decode { of: below?, compression },
        };
        Ok(Prepared { digest, size, making })
    }

    /// Looks up all that threads need which read what these names say.
    fn look_up_homes(&self, names: &Names) -> Result<()> {
        for directory in &names.directories {
            for pack in self.home(*directory)?.packs() {
                // Its frames may stand on what was moved.
                self.is_whole(*pack)?;
            }
        }
        Ok(())
    }

    /// Where a section is.
    pub(super) fn section_place(&self, id: Id) -> Result<Place> {
        let (place, _) = self.find_chunk(id)?.ok_or(StoreError::NoChunk { id })?;
        Ok(place)
    }

    /// What reads prepared blobs.
    pub(super) fn reader(&self) -> Result<Reader> {
        Ok(Reader { decoder: Arc::clone(&self.decoder), homes: self.homes()?, stretch: None })
    }
}

/// Whether a blob may be what the last of these stands on, each of which is what
/// the one before does.
pub(super) fn check_chain(above: &[Digest], below: Digest) -> Result<()> {
    let Some(digest) = above.first().copied() else { return Ok(()) };
    let what = if above.contains(&below) {
        "it stands on itself"
    } else if above.len() > STANDS_MAX {
        "it stands on others more than four deep"
    } else {
        return Ok(());
    };
    Err(StoreError::Recipe { digest, source: Malformed::Other(what) })
}

impl Prepared {
    /// Whether giving it back means to compress it.
    pub(super) fn is_encoded(&self) -> bool {
        matches!(self.making, Making::Encode { .. })
    }

    /// Writes the blob to `out`, which must check its digest.
    pub(super) fn copy(&self, reader: &Reader, out: &mut dyn Write) -> Result<()> {
        let this = (self.digest, self.size);
        match &self.making {
            Making::Bytes(bytes) => put(bytes, out),
            Making::Chunks(content) => content.copy_chunks(this, reader, out),
            Making::Tar(content) => content.copy_tar(this, reader, out),
            Making::Encode { of, replay } => self.encode(of, replay, reader, out),
            Making::Decode { of, compression } => self.decode(of, *compression, reader, out),
        }
    }

    fn damaged(&self, what: &'static str) -> StoreError {
        StoreError::Recipe { digest: self.digest, source: Malformed::Other(what) }
    }

    /// Compresses what it stands on.
    fn encode(&self, of: &Self, replay: &[u8], reader: &Reader, out: &mut dyn Write) -> Result<()> {
        let replay = Replay::from_bytes(replay).map_err(|error| match error {
            ReplayError::Malformed(source) => StoreError::Recipe { digest: self.digest, source },
            ReplayError::Unknown { name, version } => StoreError::Unsupported {
                thing: format!("blob {}", self.digest),
                need: format!("gzip encoder {name}, version {version}"),
            },
        })?;
        let rebuild = Some(Rebuild::on_threads(replay, ENCODERS));
        let (ready, left) = (Vec::new(), self.size);
        let mut encoding = Encoding { rebuild, ready, left, out, failed: None };
        let copied = of.copy(reader, &mut encoding);
        let copied = copied.and_then(|()| encoding.finish().map_err(StoreError::Output));
        match (copied, encoding.failed) {
            (Err(StoreError::Output(_)), Some(Failed::Length)) => {
                Err(self.damaged("what it compresses has another length than it says"))
            }
            (Err(StoreError::Output(_)), Some(Failed::Output(error))) => {
                Err(StoreError::Output(error))
            }
            (copied, _) => copied,
        }
    }

    /// Decompresses what it stands on, which another thread reads.
    fn decode(
        &self,
        of: &Self,
        compression: Compression,
        reader: &Reader,
        out: &mut dyn Write,
    ) -> Result<()> {
        thread::scope(|scope| {
            let (sender, receiver) = sync_channel(PIECES);
            let producer = scope.spawn(move || {
                let mut pieces = PieceWriter { sender, piece: Vec::with_capacity(PIECE) };
                of.copy(reader, &mut pieces)?;
                pieces.flush().map_err(StoreError::Output)
            });
            // Takes the receiver with it, whatever happens.
            let decoded = self.decompress(compression, receiver, out);
            let produced =
                producer.join().map_err(|_| StoreError::Pipeline(PipelineError::Died))?;
            match (decoded, produced) {
                // It could not go on, since that was not what it should be.
                (Err(StoreError::Recipe { .. } | StoreError::Decompress { .. }), Err(error))
                    if !matches!(error, StoreError::Output(_)) =>
                {
                    Err(error)
                }
                (decoded, _) => decoded,
            }
        })
    }

    fn decompress(
        &self,
        compression: Compression,
        pieces: Receiver<Vec<u8>>,
        out: &mut dyn Write,
    ) -> Result<()> {
        let failed = |source| StoreError::Decompress { digest: self.digest, source };
        let pieces = PieceReader { pieces, piece: Vec::new(), start: 0 };
        let mut input = codec::expand(compression, pieces).map_err(failed)?;
        let mut buffer = vec![0; PIECE];
        let mut left = self.size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let count = match input.read(&mut buffer[..most]) {
                Ok(0) => return Err(self.damaged("less is decompressed than the recipe says")),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            put(&buffer[..count], out)?;
            left -= count as u64;
        }
        Ok(())
    }
}

/// Compresses what is written to it.
struct Encoding<'o> {
    /// `None` once it has ended.
    rebuild: Option<Rebuild>,
    /// What is compressed and not written yet.
    ready: Vec<u8>,
    /// How many bytes may be written still.
    left: u64,
    out: &'o mut dyn Write,
    failed: Option<Failed>,
}

/// Why a write to [`Encoding`] failed.
enum Failed {
    Output(io::Error),
    Length,
}

impl Encoding<'_> {
    fn fail(&mut self, why: Failed) -> io::Error {
        self.failed = Some(why);
        io::ErrorKind::Other.into()
    }

    fn write_ready(&mut self) -> io::Result<()> {
        let Some(left) = self.left.checked_sub(len64(&self.ready)) else {
            return Err(self.fail(Failed::Length));
        };
        self.left = left;
        let written = self.out.write_all(&self.ready);
        self.ready.clear();
        written.map_err(|error| self.fail(Failed::Output(error)))
    }

    /// Ends what is compressed.
    fn finish(&mut self) -> io::Result<()> {
        let ended = self.rebuild.take().map(|rebuild| rebuild.finish(&mut self.ready));
        if !matches!(ended, Some(Ok(()))) {
            return Err(self.fail(Failed::Length));
        }
        self.write_ready()?;
        if self.left > 0 { Err(self.fail(Failed::Length)) } else { Ok(()) }
    }
}

impl Write for Encoding<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.rebuild.as_mut().map(|rebuild| rebuild.write(bytes, &mut self.ready));
        if !matches!(written, Some(Ok(()))) {
            return Err(self.fail(Failed::Length));
        }
        if self.ready.len() >= PIECE {
            self.write_ready()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Passes bytes to another thread.
struct PieceWriter {
    sender: SyncSender<Vec<u8>>,
    piece: Vec<u8>,
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..count]);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.sender.send(piece).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Reads what a [`PieceWriter`] passes on.
struct PieceReader {
    pieces: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    start: usize,
}

impl BufRead for PieceReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.start == self.piece.len() {
            // Where there are no more, the other end has said why.
            let Ok(piece) = self.pieces.recv() else { return Ok(&[]) };
            (self.piece, self.start) = (piece, 0);
        }
        Ok(&self.piece[self.start..])
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
    }
}

impl Read for PieceReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(out)?;
        self.consume(count);
        Ok(count)
    }
}
