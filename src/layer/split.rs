//! The tar split: framing apart from file bodies, for any bytes at all.
//!
//! [`Splitter`] takes in a layer in pieces of any size and tells a [`Sink`]
//! what it is made of. What it tells always adds up to the same bytes: headers
//! that no template makes, odd padding, truncation and bytes that are no tar are
//! kept as they are. From the first block that is neither a header nor zeros,
//! the rest is one opaque content. Memory is bounded by `PIECE_MAX`.

use super::header::{BLOCK, Extended, Header, field};
use super::section::{PIECE_MAX, SectionWriter, padding};
use super::template::Keep;

/// Takes what a layer is made of.
pub trait Sink {
    /// Why it failed.
    type Error;
    /// The section to which framing is added; a full one is closed first.
    fn framing(&mut self) -> Result<&mut SectionWriter, Self::Error>;
    /// A member with this path begins, whose content may follow.
    fn member(&mut self, path: &[u8]);
    /// A content begins, of `length` bytes if that is known.
    fn begin(&mut self, length: Option<u64>) -> Result<(), Self::Error>;
    /// The next bytes of the content.
    fn content(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
    /// The content ends (before its length, where the layer is truncated).
    fn end(&mut self) -> Result<(), Self::Error>;
}

#[derive(Debug)]
enum State {
    /// Between members: a block is awaited.
    Block,
    /// In an extension header's body of this length, padding included.
    Extension { header: Box<[u8; BLOCK]>, size: usize },
    /// Further header blocks of an old GNU sparse file, then its body.
    Sparse { size: u64 },
    /// In a content of which so many bytes are to come.
    Content { left: u64, wanted: usize, padding: Padding },
    /// In the padding after a body.
    Padding { wanted: usize, padding: Padding },
    /// In bytes that are no tar.
    Opaque { seen: u64 },
}

/// How the padding after a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Padding {
    /// The header's template implies zeros.
    Implied,
    /// It is an operation of its own.
    Explicit,
}

/// Takes a layer apart.
#[derive(Debug)]
pub struct Splitter {
    state: State,
    /// Bytes of a block, extension body or padding that isn't complete yet.
    held: Vec<u8>,
    zeros: u64,
    /// The size that a PAX record gives the next member.
    pax_size: Option<u64>,
    /// The path that an extension header gives the next member.
    long_path: Option<Vec<u8>>,
    members: u64,
}

impl Default for Splitter {
    fn default() -> Self {
        Self {
            state: State::Block,
            held: Vec::new(),
            zeros: 0,
            pax_size: None,
            long_path: None,
            members: 0,
        }
    }
}

impl Splitter {
    /// Takes in the next bytes of the layer.
    pub fn push<S: Sink>(&mut self, mut bytes: &[u8], sink: &mut S) -> Result<(), S::Error> {
        while !bytes.is_empty() {
            bytes = match &mut self.state {
                State::Content { left, wanted, padding } => {
                    let now = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    sink.content(&bytes[..now])?;
                    *left -= now as u64;
                    if *left == 0 {
                        self.state = match *wanted {
                            0 => State::Block,
                            wanted => State::Padding { wanted, padding: *padding },
                        };
                        sink.end()?;
                    }
                    &bytes[now..]
                }
                State::Opaque { seen } => {
                    sink.content(bytes)?;
                    *seen += bytes.len() as u64;
                    &[]
                }
                State::Block | State::Sparse { .. } => self.hold(bytes, BLOCK, sink)?,
                State::Extension { size, .. } => {
                    let wanted = size.next_multiple_of(BLOCK);
                    self.hold(bytes, wanted, sink)?
                }
                State::Padding { wanted, .. } => {
                    let wanted = *wanted;
                    self.hold(bytes, wanted, sink)?
                }
            };
        }
        Ok(())
    }

    /// Ends the layer. Returns how many headers it had.
    pub fn finish<S: Sink>(mut self, sink: &mut S) -> Result<u64, S::Error> {
        self.flush_zeros(sink)?;
        match self.state {
            State::Content { .. } => sink.end()?,
            State::Opaque { seen } => {
                sink.end()?;
                sink.framing()?.content(seen);
            }
            State::Extension { header, .. } => {
                sink.framing()?.raw(header.as_slice());
                put_raw(sink, &self.held)?;
            }
            // A template's padding is cut off by the blob's size.
            State::Padding { padding: Padding::Implied, .. }
                if self.held.iter().all(|&byte| byte == 0) => {}
            State::Padding { padding: Padding::Implied, wanted } => {
                self.held.resize(wanted, 0);
                sink.framing()?.padding(&self.held);
            }
            State::Block | State::Sparse { .. } | State::Padding { .. } => {
                put_raw(sink, &self.held)?;
            }
        }
        Ok(self.members)
    }

    /// Holds bytes back until `wanted` of them are there, then takes them in;
    /// returns what wasn't used.
    fn hold<'b, S: Sink>(
        &mut self,
        bytes: &'b [u8],
        wanted: usize,
        sink: &mut S,
    ) -> Result<&'b [u8], S::Error> {
        let (now, later) = bytes.split_at(bytes.len().min(wanted - self.held.len()));
        self.held.extend_from_slice(now);
        if self.held.len() == wanted {
            let held = std::mem::take(&mut self.held);
            self.take(&held, sink)?;
            self.held = held;
            self.held.clear();
        }
        Ok(later)
    }

    /// Takes in a whole block, extension body or padding.
    fn take<S: Sink>(&mut self, held: &[u8], sink: &mut S) -> Result<(), S::Error> {
        match std::mem::replace(&mut self.state, State::Block) {
            State::Extension { header, size } => self.extension(&header, &held[..size], held, sink),
            State::Padding { padding, .. } => {
                let zeros = held.iter().all(|&byte| byte == 0);
                match padding {
                    Padding::Implied if zeros => {}
                    Padding::Implied => sink.framing()?.padding(held),
                    Padding::Explicit if zeros => sink.framing()?.zeros(held.len() as u64),
                    Padding::Explicit => put_raw(sink, held)?,
                }
                Ok(())
            }
            State::Sparse { size } => {
                sink.framing()?.raw(held);
                let more = held.get(504).is_some_and(|&more| more != 0);
                if more {
                    self.state = State::Sparse { size };
                    Ok(())
                } else {
                    self.begin_body(size, Padding::Explicit, sink)
                }
            }
            State::Block | State::Content { .. } | State::Opaque { .. } => match held.as_array() {
                Some(block) => self.block(block, sink),
                None => Ok(()),
            },
        }
    }

    fn block<S: Sink>(&mut self, block: &[u8; BLOCK], sink: &mut S) -> Result<(), S::Error> {
        if block.iter().all(|&byte| byte == 0) {
            self.zeros += BLOCK as u64;
            return Ok(());
        }
        self.flush_zeros(sink)?;
        let Some((header, size)) =
            Header::parse(block).and_then(|header| Some((header, header.size()?)))
        else {
            sink.begin(None)?;
            sink.content(block)?;
            self.state = State::Opaque { seen: BLOCK as u64 };
            return Ok(());
        };
        self.members += 1;
        let extends = matches!(header.kind(), b'x' | b'g' | b'X' | b'L' | b'K');
        if extends && size <= PIECE_MAX as u64 {
            let size = usize::try_from(size).unwrap_or(PIECE_MAX);
            if size == 0 {
                return self.extension(block, &[], &[], sink);
            }
            self.state = State::Extension { header: Box::new(*block), size };
            return Ok(());
        }
        let pax_size = if extends { None } else { self.pax_size.take() };
        if !extends {
            sink.member(&self.long_path.take().unwrap_or_else(|| header.path()));
        }
        if header.kind() == b'S' && &block[field::MAGIC] == b"ustar  \0" && block[482] != 0 {
            sink.framing()?.raw(block);
            self.state = State::Sparse { size: pax_size.unwrap_or(size) };
            return Ok(());
        }
        let has_body = header.has_body();
        let size_here = if has_body { pax_size.unwrap_or(size) } else { 0 };
        let keep = if size_here == 0 { Keep::Nothing } else { Keep::Content };
        let templated = size_here == size || !has_body;
        if templated && sink.framing()?.header(block, keep, &[]) {
            return self.begin_body(size_here, Padding::Implied, sink);
        }
        sink.framing()?.raw(block);
        self.begin_body(size_here, Padding::Explicit, sink)
    }

    /// A whole extension header: `body` is its body, `padded` that with padding.
    fn extension<S: Sink>(
        &mut self,
        header: &[u8; BLOCK],
        body: &[u8],
        padded: &[u8],
        sink: &mut S,
    ) -> Result<(), S::Error> {
        let extended = Extended::of(header[field::TYPE], body);
        self.long_path = extended.path.map(<[u8]>::to_vec).or(self.long_path.take());
        self.pax_size = extended.size.or(self.pax_size.take());
        let zeros = padded[body.len()..].iter().all(|&byte| byte == 0);
        let keep = if body.is_empty() { Keep::Nothing } else { Keep::Extension };
        if !zeros || !sink.framing()?.header(header, keep, body) {
            sink.framing()?.raw(header);
            put_raw(sink, padded)?;
        }
        Ok(())
    }

    fn begin_body<S: Sink>(
        &mut self,
        size: u64,
        kind: Padding,
        sink: &mut S,
    ) -> Result<(), S::Error> {
        if size == 0 {
            self.state = State::Block;
            return Ok(());
        }
        if kind == Padding::Explicit {
            sink.framing()?.content(size);
        }
        sink.begin(Some(size))?;
        let wanted = usize::try_from(padding(size)).unwrap_or_default();
        self.state = State::Content { left: size, wanted, padding: kind };
        Ok(())
    }

    fn flush_zeros<S: Sink>(&mut self, sink: &mut S) -> Result<(), S::Error> {
        if self.zeros > 0 {
            sink.framing()?.zeros(self.zeros);
            self.zeros = 0;
        }
        Ok(())
    }
}

fn put_raw<S: Sink>(sink: &mut S, bytes: &[u8]) -> Result<(), S::Error> {
    for piece in bytes.chunks(PIECE_MAX) {
        sink.framing()?.raw(piece);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::rebuild::{Rebuilder, Source};
    use crate::layer::section::Section;
    use crate::varint::Malformed;
    use proptest::prelude::*;

    /// Keeps sections and content in memory; a run is a range of the content.
    #[derive(Default)]
    struct Memory {
        writer: SectionWriter,
        sections: Vec<Vec<u8>>,
        content: Vec<u8>,
        open: bool,
    }

    impl Sink for Memory {
        type Error = std::convert::Infallible;
        fn framing(&mut self) -> Result<&mut SectionWriter, Self::Error> {
            if self.writer.is_full() {
                self.sections.push(self.writer.take());
            }
            Ok(&mut self.writer)
        }
        fn member(&mut self, _: &[u8]) {}
        fn begin(&mut self, _: Option<u64>) -> Result<(), Self::Error> {
            assert!(!self.open);
            self.open = true;
            Ok(())
        }
        fn content(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
            assert!(self.open);
            self.content.extend_from_slice(bytes);
            Ok(())
        }
        fn end(&mut self) -> Result<(), Self::Error> {
            assert!(self.open);
            self.open = false;
            Ok(())
        }
    }

    impl Source for &[u8] {
        type Error = Malformed;
        fn content(&mut self, count: u64, out: &mut dyn std::io::Write) -> Result<(), Malformed> {
            let (now, later) = self.split_at(usize::try_from(count).unwrap());
            out.write_all(now).unwrap();
            *self = later;
            Ok(())
        }
        fn write(&mut self, bytes: &[u8], out: &mut dyn std::io::Write) -> Result<(), Malformed> {
            out.write_all(bytes).unwrap();
            Ok(())
        }
    }

    fn split(bytes: &[u8], piece: usize) -> (Memory, u64) {
        let mut memory = Memory::default();
        let mut splitter = Splitter::default();
        for piece in bytes.chunks(piece) {
            let Ok(()) = splitter.push(piece, &mut memory);
        }
        let Ok(members) = splitter.finish(&mut memory);
        memory.sections.push(memory.writer.take());
        (memory, members)
    }

    fn rebuild(memory: &Memory, size: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let mut content = memory.content.as_slice();
        let mut rebuilder = Rebuilder::new(size as u64);
        for section in &memory.sections {
            let mut section = Section::parse(section).unwrap();
            rebuilder.section(&mut section, &mut content, &mut out).unwrap();
        }
        rebuilder.finish(&mut content, &mut out).unwrap();
        out
    }

    /// One member of an arbitrary tar, well formed or not quite.
    fn member() -> impl Strategy<Value = Vec<u8>> {
        let kinds = prop::sample::select(b"01234567xgLKSX\0Z".to_vec());
        let names = prop::collection::vec(any::<u8>(), 0..100);
        let bodies = prop::collection::vec(any::<u8>(), 0..1500);
        let odds = (any::<u8>(), any::<bool>(), any::<bool>(), 0..40u8);
        (kinds, names, bodies, odds).prop_map(|(kind, name, body, (pad, gnu, wrong, odd))| {
            let mut header = if gnu { tar::Header::new_gnu() } else { tar::Header::new_ustar() };
            header.as_mut_bytes()[..name.len()].copy_from_slice(&name);
            header.as_mut_bytes()[156] = kind;
            header.set_size(body.len() as u64);
            header.set_mtime(u64::from(pad) << 20);
            if odd == 0 {
                header.as_mut_bytes()[124] = b'9';
            }
            if odd == 1 {
                header.as_mut_bytes()[482] = 1;
            }
            header.set_cksum();
            if wrong && odd == 2 {
                header.as_mut_bytes()[0] ^= 1;
            }
            let mut bytes = header.as_bytes().to_vec();
            if !matches!(kind, b'1'..=b'6') {
                bytes.extend_from_slice(&body);
                let filler = if odd == 3 { pad } else { 0 };
                bytes.resize(bytes.len().next_multiple_of(BLOCK), filler);
            }
            bytes
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn any_tar_comes_back(
            members in prop::collection::vec(member(), 0..8),
            cut in any::<prop::sample::Index>(),
            truncated in any::<bool>(),
            trailer in 0..4usize,
            junk in prop::collection::vec(any::<u8>(), 0..700),
            piece in prop::sample::select(vec![1, 100, 512, 1 << 16]),
        ) {
            let mut bytes = members.concat();
            bytes.resize(bytes.len() + trailer * BLOCK, 0);
            bytes.extend_from_slice(&junk);
            if truncated {
                bytes.truncate(cut.index(bytes.len() + 1));
            }
            let (memory, _) = split(&bytes, piece);
            prop_assert_eq!(rebuild(&memory, bytes.len()), bytes);
        }

        #[test]
        fn any_bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            let (memory, _) = split(&bytes, 777);
            prop_assert_eq!(rebuild(&memory, bytes.len()), bytes);
        }

        #[test]
        fn arbitrary_sections_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(mut section) = Section::parse(&bytes) {
                while let Ok(Some(_)) = section.next_run() {}
                while let Ok(Some(_)) = section.next_operation(7) {}
            }
        }
    }

    #[test]
    fn ordinary_headers_are_never_kept_raw() {
        let mut builder = tar::Builder::new(Vec::new());
        for number in 0..50 {
            let mut header = tar::Header::new_gnu();
            header.set_size(number);
            header.set_mtime(1_700_000_000 + number);
            header.set_mode(0o644);
            let name = format!("{}/file-{number}", "long-folder-name/".repeat(8));
            let body = vec![7; usize::try_from(number).unwrap()];
            builder.append_data(&mut header, name, body.as_slice()).unwrap();
        }
        let bytes = builder.into_inner().unwrap();
        let (memory, members) = split(&bytes, 4096);
        assert_eq!(members, 100, "50 files and as many long names");
        assert_eq!(rebuild(&memory, bytes.len()), bytes);
        assert_eq!(memory.content.len(), (0..50).sum::<usize>());
        let framing: usize = memory.sections.iter().map(Vec::len).sum();
        assert!(framing < 50 * 400, "{framing} bytes of framing");
    }
}
