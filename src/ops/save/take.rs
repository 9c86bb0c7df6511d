//! Takes members of an archive into a session: as they are, and where they are
//! compressed, their content.
//!
//! A gzip stream whose encoder is found is stored as its content and what the
//! encoder needs; all else that is compressed stays as it is, with a list of
//! what is in it. Proofs run ahead and behind on threads of their own; at most
//! `OUTSTANDING` streams wait for theirs.

use std::collections::{HashMap, VecDeque};
use std::io::{self, BufReader, Read};

use super::{SaveError, read_error};
use crate::codec;
use crate::digest::{Digest, DigestHasher};
use crate::image::{Compression, sniff};
use crate::layer::header::BLOCK;
use crate::ops::body::Body;
use crate::ops::proof::{Proof, Prover};
use crate::progress::{Counted, Progress};
use crate::store::{StoreError, WriteSession};

/// How many streams may wait for the end of their proof.
const OUTSTANDING: usize = 2;
/// Bytes that are read at a time.
const PIECE: usize = 1 << 20;

/// What became of a member.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    /// Digest of its bytes.
    pub(super) given: Digest,
    /// How many these are.
    pub(super) size: u64,
    /// Digest of the content; that of the bytes where they are plain. `None` where
    /// it can't be decompressed.
    pub(super) content: Option<Digest>,
    /// How it is compressed.
    pub(super) compression: Option<Compression>,
    /// Bytes before compression that the store didn't have.
    pub(super) new: u64,
    /// Whether the store had all of it.
    pub(super) known: bool,
    /// Why it can't be decompressed.
    pub(super) problem: Option<String>,
}

impl Taken {
    /// One that the store has, and that was not read.
    pub(super) fn known(given: Digest, size: u64, content: Option<Digest>) -> Self {
        Self { given, size, content, compression: None, new: 0, known: true, problem: None }
    }
}

/// A gzip stream whose content is stored, and whose proof hasn't ended.
struct Unproven {
    member: usize,
    proof: Proof,
    body: Body,
}

/// Takes members in.
pub(super) struct Taker<'s, 'p> {
    pub(super) session: WriteSession<'s>,
    /// By member.
    pub(super) taken: HashMap<usize, Taken>,
    pub(super) progress: &'p dyn Progress,
    prover: Prover,
    /// Proofs that were started ahead, by member.
    ahead: HashMap<usize, Proof>,
    unproven: VecDeque<Unproven>,
}

impl<'s, 'p> Taker<'s, 'p> {
    pub(super) fn new(session: WriteSession<'s>, progress: &'p dyn Progress) -> Self {
        let prover = Prover::new(session.store().threads());
        Self {
            session,
            taken: HashMap::new(),
            progress,
            prover,
            ahead: HashMap::new(),
            unproven: VecDeque::new(),
        }
    }

    /// The session, all being taken in.
    pub(super) fn into_session(self) -> WriteSession<'s> {
        self.session
    }

    /// Starts the proof of a member that will be taken later, if it needs one.
    pub(super) fn prove_ahead(&mut self, member: usize, body: &Body) -> Result<(), SaveError> {
        if sniff(&body.head(BLOCK).map_err(read_error)?) == Some(Compression::Gzip) {
            self.ahead.insert(member, self.prover.start(body.clone()));
        }
        Ok(())
    }

    /// Takes a member in.
    pub(super) fn take(&mut self, member: usize, body: &Body) -> Result<(), SaveError> {
        let taken = match sniff(&body.head(BLOCK).map_err(read_error)?) {
            None => self.take_plain(&mut *body.open().map_err(read_error)?)?,
            Some(compression) => self.take_compressed(member, body, compression)?,
        };
        self.taken.insert(member, taken);
        while self.unproven.len() > OUTSTANDING {
            self.end_proof()?;
        }
        Ok(())
    }

    /// Takes in the bytes of something that isn't compressed.
    pub(super) fn take_plain(&mut self, input: &mut (dyn Read + Send)) -> Result<Taken, SaveError> {
        let mut input = Counted { inner: input, progress: self.progress };
        let stored = self.session.put_layer(&mut input).map_err(store_error)?;
        Ok(Taken {
            given: stored.digest,
            size: stored.size,
            content: Some(stored.digest),
            compression: None,
            new: stored.new,
            known: stored.known,
            problem: None,
        })
    }

    fn take_compressed(
        &mut self,
        member: usize,
        body: &Body,
        compression: Compression,
    ) -> Result<Taken, SaveError> {
        let (given, size) = self.hash(body)?;
        let known = self.session.blob(given)?.is_some();
        let mut taken = Taken {
            given,
            size,
            content: if known { self.session.content_of(given)? } else { None },
            compression: Some(compression),
            new: 0,
            known,
            problem: None,
        };
        if taken.content.is_some() {
            return Ok(taken);
        }
        if compression == Compression::Gzip && !known {
            let proof = self.ahead.remove(&member);
            let proof = proof.unwrap_or_else(|| self.prover.start(body.clone()));
            if proof.is_likely() && self.take_content(body, &mut taken)? {
                self.unproven.push_back(Unproven { member, proof, body: body.clone() });
                return Ok(taken);
            }
        }
        self.take_as_it_is(body, compression, &mut taken)?;
        Ok(taken)
    }

    /// Stores the content of a gzip stream; false if it can't be decompressed.
    fn take_content(&mut self, body: &Body, taken: &mut Taken) -> Result<bool, SaveError> {
        let input = BufReader::with_capacity(PIECE, body.open().map_err(read_error)?);
        let mut input = codec::expand(Compression::Gzip, input).map_err(SaveError::Read)?;
        match self.session.put_layer(&mut *input) {
            Ok(stored) => {
                taken.content = Some(stored.digest);
                taken.new += stored.new;
                Ok(true)
            }
            Err(StoreError::Input(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Stores compressed bytes as they are, and a list of what is in them.
    fn take_as_it_is(
        &mut self,
        body: &Body,
        compression: Compression,
        taken: &mut Taken,
    ) -> Result<(), SaveError> {
        let mut input = body.open().map_err(read_error)?;
        let stored = self.session.put_opaque(&mut *input).map_err(store_error)?;
        same(taken.given, stored.digest)?;
        taken.new += stored.new;
        let input = BufReader::with_capacity(PIECE, body.open().map_err(read_error)?);
        let indexed =
            codec::expand(compression, input).map_err(StoreError::Input).and_then(|mut content| {
                self.session.index_compressed(&mut *content, taken.given, compression)
            });
        match indexed {
            Ok(stored) => taken.content = Some(stored.digest),
            Err(StoreError::Input(error)) => taken.problem = Some(error.to_string()),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Ends the oldest proof.
    fn end_proof(&mut self) -> Result<(), SaveError> {
        let Some(Unproven { member, proof, body }) = self.unproven.pop_front() else {
            return Ok(());
        };
        let Some(taken) = self.taken.get_mut(&member) else { return Ok(()) };
        if let (Some(replay), Some(content)) = (proof.finish(), taken.content) {
            self.session.put_encoded(taken.given, taken.size, content, &replay)?;
        } else {
            let mut input = body.open().map_err(read_error)?;
            let stored = self.session.put_opaque(&mut *input).map_err(store_error)?;
            same(taken.given, stored.digest)?;
            taken.new += stored.new;
        }
        Ok(())
    }

    /// Ends all proofs.
    pub(super) fn end_proofs(&mut self) -> Result<(), SaveError> {
        while !self.unproven.is_empty() {
            self.end_proof()?;
        }
        Ok(())
    }

    /// Hashes a body, and reports it as progress.
    pub(super) fn hash(&self, body: &Body) -> Result<(Digest, u64), SaveError> {
        let mut input =
            Counted { inner: &mut *body.open().map_err(read_error)?, progress: self.progress };
        let (mut hasher, mut size, mut piece) = (DigestHasher::default(), 0, vec![0; PIECE]);
        loop {
            match input.read(&mut piece) {
                Ok(0) => return Ok((hasher.finish(), size)),
                Ok(count) => {
                    hasher.update(&piece[..count]);
                    size += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(read_error(error)),
            }
        }
    }
}

/// What is read twice must be the same.
fn same(expected: Digest, found: Digest) -> Result<(), SaveError> {
    if expected == found {
        return Ok(());
    }
    let error = io::Error::other("the archive changed while it was read");
    Err(SaveError::Read(error))
}

/// The member reader puts its own errors inside I/O errors.
fn store_error(error: StoreError) -> SaveError {
    match error {
        StoreError::Input(error) => read_error(error),
        error => error.into(),
    }
}
