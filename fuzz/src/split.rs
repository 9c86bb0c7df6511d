//! A layer apart and together again, in memory.

use std::convert::Infallible;
use std::io::Write;

use orlop::layer::rebuild::{Rebuilder, Source};
use orlop::layer::section::{SECTION_MAX, Section, SectionWriter};
use orlop::layer::split::{Sink, Splitter};
use orlop::varint::Malformed;

/// What a layer is made of.
#[derive(Debug, Default)]
pub struct Parts {
    writer: SectionWriter,
    /// The framing.
    pub sections: Vec<Vec<u8>>,
    /// All contents, one after the other.
    pub content: Vec<u8>,
    /// The length of each content.
    pub contents: Vec<usize>,
    /// The path of each member.
    pub paths: Vec<Vec<u8>>,
    open: Option<(Option<u64>, usize)>,
}

impl Sink for Parts {
    type Error = Infallible;

    fn framing(&mut self) -> Result<&mut SectionWriter, Infallible> {
        if self.writer.is_full() {
            self.sections.push(self.writer.take());
        }
        Ok(&mut self.writer)
    }

    fn member(&mut self, path: &[u8]) {
        self.paths.push(path.to_vec());
    }

    fn begin(&mut self, length: Option<u64>) -> Result<(), Infallible> {
        assert!(self.open.is_none(), "a content begins inside another");
        assert_ne!(length, Some(0), "a content of nothing");
        self.open = Some((length, self.content.len()));
        Ok(())
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        assert!(self.open.is_some(), "content outside of any");
        self.content.extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self) -> Result<(), Infallible> {
        let Some((length, start)) = self.open.take() else { panic!("a content ends that is none") };
        let found = self.content.len() - start;
        assert!(length.is_none_or(|length| found as u64 <= length), "a content is too long");
        self.contents.push(found);
        Ok(())
    }
}

/// Takes a layer apart that comes in pieces.
pub fn split<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Parts {
    let mut parts = Parts::default();
    let mut splitter = Splitter::default();
    for piece in pieces {
        let Ok(()) = splitter.push(piece, &mut parts);
    }
    let Ok(_) = splitter.finish(&mut parts);
    assert!(parts.open.is_none(), "a content doesn't end");
    if !parts.writer.is_empty() {
        parts.sections.push(parts.writer.take());
    }
    assert!(parts.sections.iter().all(|section| section.len() <= SECTION_MAX), "a large section");
    parts
}

/// Content from memory; behind its end there is none.
struct Content<'a>(&'a [u8]);

impl Source for Content<'_> {
    type Error = Malformed;

    fn content(&mut self, count: u64, out: &mut dyn Write) -> Result<(), Malformed> {
        let count = usize::try_from(count).map_err(|_| Malformed::TooShort)?;
        let (now, later) = self.0.split_at_checked(count).ok_or(Malformed::TooShort)?;
        self.0 = later;
        self.write(now, out)
    }

    fn write(&mut self, bytes: &[u8], out: &mut dyn Write) -> Result<(), Malformed> {
        out.write_all(bytes).map_err(|_| Malformed::Other("memory can be written"))
    }
}

/// Puts a layer of `size` bytes together. Returns what content is left as well.
pub fn rebuild<'a>(
    sections: &[Vec<u8>],
    content: &'a [u8],
    size: u64,
) -> Result<(Vec<u8>, &'a [u8]), Malformed> {
    let (mut out, mut source) = (Vec::new(), Content(content));
    let mut rebuilder = Rebuilder::new(size);
    for section in sections {
        rebuilder.section(&mut Section::parse(section)?, &mut source, &mut out)?;
    }
    rebuilder.finish(&mut source, &mut out)?;
    Ok((out, source.0))
}
