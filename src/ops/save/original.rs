//! The archive as a whole: which of its bytes are blobs, and all the others, so
//! that it can be put together again (docs/FORMAT.md section 7.1).

use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::read::ReadArchive;
use super::take::Taker;
use super::{SaveError, read_error};
use crate::digest::{Digest, DigestHasher};
use crate::fs::{InputFile, InputPart};
use crate::image::{Member, MemberKind};
use crate::ops::body::Body;
use crate::varint;

const VERSION: u8 = 1;
/// What is longer and not stored for another reason becomes a blob of its own.
const LITERAL_MAX: u64 = 64 << 10;
/// The most literal bytes of a stream that are kept in memory.
const LITERALS_MAX: usize = 32 << 20;

/// A part of an archive.
#[derive(Debug)]
pub(super) enum Piece {
    /// Bytes between the bodies of members.
    Literal(Vec<u8>),
    /// The same, in a file.
    Gap(InputPart, u64),
    /// The body of a member.
    Member(usize),
}

/// The pieces of a tar file of `size` bytes.
pub(super) fn pieces_of(file: &InputFile, members: &[Member], size: u64) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut at = 0;
    let gap = |from: u64, to: u64| {
        let length = to.saturating_sub(from);
        Piece::Gap(file.part(from, length), length)
    };
    for member in members.iter().filter(|member| is_body(member)) {
        pieces.push(gap(at, member.offset));
        pieces.push(Piece::Member(member.index));
        at = member.offset + member.size;
    }
    pieces.push(gap(at, size));
    pieces
}

fn is_body(member: &Member) -> bool {
    member.kind == MemberKind::Regular && member.size > 0
}

/// Watches a stream pass: hashes all of it, and keeps what is no body.
#[derive(Debug, Default)]
pub(super) struct Tee {
    pieces: Vec<Piece>,
    literal: Vec<u8>,
    /// Literal bytes so far.
    literals: usize,
    in_body: bool,
    hasher: DigestHasher,
    size: u64,
}

impl Tee {
    /// Reads `inner` past it.
    pub(super) fn around<'r>(
        tee: &Arc<Mutex<Self>>,
        inner: &'r mut (dyn Read + Send),
    ) -> TeeReader<'r> {
        TeeReader { tee: Arc::clone(tee), inner }
    }

    /// What comes next is the body of a member.
    pub(super) fn begin_body(&mut self, member: &Member) {
        if is_body(member) {
            self.end_literal();
            self.pieces.push(Piece::Member(member.index));
            self.in_body = true;
        }
    }

    /// The body was read to its end.
    pub(super) fn end_body(&mut self) {
        self.in_body = false;
    }

    /// The body of a member that is kept nowhere else.
    pub(super) fn keep(&mut self, member: usize, body: Vec<u8>) {
        self.literals = self.literals.saturating_add(body.len());
        if self.literals > LITERALS_MAX {
            return;
        }
        let mine = |piece: &&mut Piece| matches!(piece, Piece::Member(index) if *index == member);
        if let Some(piece) = self.pieces.iter_mut().rev().find(mine) {
            *piece = Piece::Literal(body);
        }
    }

    fn end_literal(&mut self) {
        if !self.literal.is_empty() {
            self.pieces.push(Piece::Literal(std::mem::take(&mut self.literal)));
        }
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        if !self.in_body && self.literals <= LITERALS_MAX {
            self.literals += bytes.len();
            self.literal.extend_from_slice(bytes);
        }
    }

    /// The pieces, if they aren't too much, and the length and hash of all.
    pub(super) fn finish(mut self) -> (Option<Vec<Piece>>, u64, Digest) {
        self.end_literal();
        let pieces = (self.literals <= LITERALS_MAX).then_some(self.pieces);
        (pieces, self.size, self.hasher.finish())
    }
}

/// Whoever held it and died left it as far as it had come.
pub(super) fn lock(tee: &Mutex<Tee>) -> MutexGuard<'_, Tee> {
    tee.lock().unwrap_or_else(PoisonError::into_inner)
}

/// See [`Tee::around`].
pub(super) struct TeeReader<'r> {
    tee: Arc<Mutex<Tee>>,
    inner: &'r mut (dyn Read + Send),
}

impl Read for TeeReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        lock(&self.tee).pass(&buffer[..count]);
        Ok(count)
    }
}

/// An assembly that is being written.
#[derive(Debug)]
struct Assembly {
    bytes: Vec<u8>,
    literal: Vec<u8>,
    blobs: Vec<Digest>,
}

impl Assembly {
    fn literal(&mut self, bytes: &[u8]) {
        self.literal.extend_from_slice(bytes);
    }

    fn end_literal(&mut self) {
        if !self.literal.is_empty() {
            varint::put(&mut self.bytes, varint::len64(&self.literal) << 1);
            self.bytes.append(&mut self.literal);
        }
    }

    fn blob(&mut self, digest: Digest) {
        self.end_literal();
        varint::put(&mut self.bytes, 1);
        self.bytes.extend_from_slice(digest.as_bytes());
        self.blobs.push(digest);
    }
}

/// What an archive's assembly is, and the blobs that it needs.
pub(super) struct Assembled {
    pub(super) assembly: Digest,
    pub(super) blobs: Vec<Digest>,
    /// Bytes that only the assembly needs.
    pub(super) new: u64,
}

impl Taker<'_, '_> {
    /// Stores how the archive was put together; `None` where that isn't known.
    pub(super) fn assemble(
        &mut self,
        archive: &ReadArchive,
    ) -> Result<Option<Assembled>, SaveError> {
        let Some(pieces) = &archive.pieces else { return Ok(None) };
        let mut made = Assembly { bytes: vec![VERSION], literal: Vec::new(), blobs: Vec::new() };
        let mut new = 0;
        for piece in pieces {
            match piece {
                Piece::Literal(bytes) => {
                    new += self.add_bytes(bytes, &mut made)?;
                }
                Piece::Gap(part, size) if *size <= LITERAL_MAX => {
                    part.clone().read_to_end(&mut made.literal).map_err(read_error)?;
                }
                Piece::Gap(part, _) => {
                    let stored = self.session.put_opaque(&mut part.clone())?;
                    made.blob(stored.digest);
                    new += stored.new;
                }
                Piece::Member(index) => match self.add_member(archive, *index, &mut made)? {
                    Some(more) => new += more,
                    None => return Ok(None),
                },
            }
        }
        made.end_literal();
        let stored = self.session.put_bytes(&made.bytes)?;
        let mut blobs = made.blobs;
        blobs.push(stored.digest);
        Ok(Some(Assembled { assembly: stored.digest, blobs, new: new + stored.new }))
    }

    fn add_bytes(&mut self, bytes: &[u8], made: &mut Assembly) -> Result<u64, SaveError> {
        let digest = Digest::of(bytes);
        let mut new = 0;
        if self.session.blob(digest)?.is_none() {
            if bytes.len() as u64 <= LITERAL_MAX {
                made.literal(bytes);
                return Ok(0);
            }
            new = self.session.put_bytes(bytes)?.new;
        }
        made.blob(digest);
        Ok(new)
    }

    /// Adds the body of a member; `None` where nothing has it.
    fn add_member(
        &mut self,
        archive: &ReadArchive,
        index: usize,
        made: &mut Assembly,
    ) -> Result<Option<u64>, SaveError> {
        if let Some(taken) = self.taken.get(&index) {
            made.blob(taken.given);
            return Ok(Some(0));
        }
        if let Some(body) = archive.small.get(&index) {
            return self.add_bytes(body, made).map(Some);
        }
        let member = &archive.members[index];
        let Some(body) = archive.body(member) else { return Ok(None) };
        if member.size <= LITERAL_MAX {
            let mut bytes = Vec::new();
            body.open().map_err(read_error)?.read_to_end(&mut bytes).map_err(read_error)?;
            return self.add_bytes(&bytes, made).map(Some);
        }
        // A stray member: of no image, but of the archive.
        self.take(index, &body)?;
        let taken = &self.taken[&index];
        made.blob(taken.given);
        Ok(Some(taken.new))
    }
}

impl ReadArchive {
    fn body(&self, member: &Member) -> Option<Body> {
        let file = self.file.as_ref()?;
        Some(Body::Part(file.part(member.offset, member.size)))
    }
}
