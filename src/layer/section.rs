//! Sections: the framing of a tar in columns, and the names of its chunks
//! (docs/FORMAT.md section 6).
//!
//! [`SectionWriter`] collects columns until they are large enough to be a
//! section; [`Section`] reads one back, operation by operation. Neither knows
//! what a chunk is: runs are pairs of virtual numbers and counts.

use std::collections::HashMap;
use std::mem;

use super::header::BLOCK;
use super::template::{Fields, Keep, TEMPLATE, Template};
use crate::varint::{self, Cursor, Malformed, len64};

/// The largest section, in bytes.
pub const SECTION_MAX: usize = 1 << 20;

/// A section is closed once it is this large.
const SECTION_FULL: usize = 512 << 10;

/// The largest piece of raw bytes or body of an extension header in one
/// operation.
pub const PIECE_MAX: usize = 64 << 10;

const VERSION: u8 = 1;
const COLUMNS: usize = 10;
const NAMES: usize = 0;
const LINKS: usize = 1;
const PREFIXES: usize = 2;
const MTIMES: usize = 3;
const SIZES: usize = 4;
const EXTENSIONS: usize = 5;
const RAW: usize = 6;
const TEMPLATES: usize = 7;
const OPERATIONS: usize = 8;
const RUNS: usize = 9;

const OP_RAW: u64 = 0;
const OP_ZEROS: u64 = 1;
const OP_CONTENT: u64 = 2;
const OP_PADDING: u64 = 3;
const OP_HEADER: u64 = 4;

/// Zero bytes after a body of `size` bytes, up to the next block.
pub fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

/// Collects one section after the other.
#[derive(Debug, Default)]
pub struct SectionWriter {
    columns: [Vec<u8>; COLUMNS],
    templates: HashMap<Template, u64>,
    mtime: u64,
    run_end: u64,
}

impl SectionWriter {
    /// Adds a header that a template makes, and says where its body is; the
    /// body's padding is implied. False, and nothing added, where none does.
    /// `extension` is the body where `keep` says so.
    pub fn header(&mut self, block: &[u8; BLOCK], keep: Keep, extension: &[u8]) -> bool {
        let Some((template, fields)) = Template::split(block, keep) else {
            return false;
        };
        let next = self.templates.len() as u64;
        let number = *self.templates.entry(template).or_insert(next);
        if number == next {
            self.columns[TEMPLATES].extend_from_slice(template.as_bytes());
        }
        put_text(&mut self.columns[NAMES], fields.name);
        if template.has_link() {
            put_text(&mut self.columns[LINKS], fields.link);
        }
        if template.has_prefix() {
            put_text(&mut self.columns[PREFIXES], fields.prefix);
        }
        let step = fields.mtime.wrapping_sub(self.mtime).cast_signed();
        self.mtime = fields.mtime;
        varint::put_signed(&mut self.columns[MTIMES], step);
        varint::put(&mut self.columns[SIZES], fields.size);
        self.columns[EXTENSIONS].extend_from_slice(extension);
        varint::put(&mut self.columns[OPERATIONS], OP_HEADER + number);
        true
    }

    /// Adds bytes as they are, at most `PIECE_MAX`.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.columns[RAW].extend_from_slice(bytes);
        self.operation(OP_RAW, len64(bytes));
    }

    /// Adds a count of zero bytes.
    pub fn zeros(&mut self, count: u64) {
        self.operation(OP_ZEROS, count);
    }

    /// Adds a count of bytes of content.
    pub fn content(&mut self, count: u64) {
        self.operation(OP_CONTENT, count);
    }

    /// Puts these bytes in place of the padding that the last header implied.
    pub fn padding(&mut self, bytes: &[u8]) {
        self.columns[RAW].extend_from_slice(bytes);
        varint::put(&mut self.columns[OPERATIONS], OP_PADDING);
    }

    fn operation(&mut self, code: u64, count: u64) {
        varint::put(&mut self.columns[OPERATIONS], code);
        varint::put(&mut self.columns[OPERATIONS], count);
    }

    /// Names the next chunks of the content.
    pub fn run(&mut self, first: u64, count: u64) {
        let step = first.wrapping_sub(self.run_end).cast_signed();
        self.run_end = first.wrapping_add(count);
        varint::put_signed(&mut self.columns[RUNS], step);
        varint::put(&mut self.columns[RUNS], count);
    }

    /// Whether it is time to take the section.
    pub fn is_full(&self) -> bool {
        self.columns.iter().map(Vec::len).sum::<usize>() >= SECTION_FULL
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.columns.iter().all(Vec::is_empty)
    }

    /// The section as a chunk; the writer is empty again.
    pub fn take(&mut self) -> Vec<u8> {
        let columns = mem::take(self).columns;
        let mut out = vec![VERSION];
        for column in &columns {
            varint::put(&mut out, len64(column));
        }
        for column in &columns {
            out.extend_from_slice(column);
        }
        out
    }
}

fn put_text(column: &mut Vec<u8>, text: &[u8]) {
    column.extend_from_slice(text);
    column.push(0);
}

/// What to write next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation<'a> {
    /// These bytes.
    Raw(&'a [u8]),
    /// So many zero bytes.
    Zeros(u64),
    /// So many bytes of content.
    Content(u64),
    /// These bytes instead of the padding before.
    Padding(&'a [u8]),
    /// A header, then its body, then padding.
    Header {
        /// The header.
        block: Box<[u8; BLOCK]>,
        /// Its body, where that is kept with the framing.
        extension: &'a [u8],
        /// Length of its body, where that is content.
        content: u64,
        /// Zero bytes to a whole block.
        padding: u64,
    },
}

/// A section that is being read.
#[derive(Debug, Clone)]
pub struct Section<'a> {
    names: Cursor<'a>,
    links: Cursor<'a>,
    prefixes: Cursor<'a>,
    mtimes: Cursor<'a>,
    sizes: Cursor<'a>,
    extensions: Cursor<'a>,
    raw: Cursor<'a>,
    templates: Vec<Template>,
    operations: Cursor<'a>,
    runs: Cursor<'a>,
    mtime: u64,
    run_end: u64,
}

impl<'a> Section<'a> {
    /// Opens a section.
    pub fn parse(chunk: &'a [u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(chunk);
        if cursor.u8()? != VERSION {
            return Err(Malformed::Other(
                "the section is of a version that this program is too old for",
            ));
        }
        let mut lengths = [0; COLUMNS];
        for length in &mut lengths {
            *length = varint::in_memory(cursor.count("the length of a column", u32::MAX)?);
        }
        let mut columns = [Cursor::new(&[]); COLUMNS];
        for (column, length) in columns.iter_mut().zip(lengths) {
            *column = Cursor::new(cursor.take(length)?);
        }
        if !cursor.is_empty() {
            return Err(Malformed::Other("a section is followed by other bytes"));
        }
        let (templates, rest) = columns[TEMPLATES].rest().as_chunks::<TEMPLATE>();
        let templates: Option<Vec<_>> =
            templates.iter().map(|bytes| Template::from_bytes(*bytes)).collect();
        let templates = templates
            .filter(|_| rest.is_empty())
            .ok_or(Malformed::Other("a header template is not well formed"))?;
        Ok(Self {
            names: columns[NAMES],
            links: columns[LINKS],
            prefixes: columns[PREFIXES],
            mtimes: columns[MTIMES],
            sizes: columns[SIZES],
            extensions: columns[EXTENSIONS],
            raw: columns[RAW],
            templates,
            operations: columns[OPERATIONS],
            runs: columns[RUNS],
            mtime: 0,
            run_end: 0,
        })
    }

    /// The next run of chunks: first virtual number and count.
    pub fn next_run(&mut self) -> Result<Option<(u64, u64)>, Malformed> {
        if self.runs.is_empty() {
            return Ok(None);
        }
        let first = self.run_end.wrapping_add(self.runs.signed()?.cast_unsigned());
        let count = self.runs.varint()?;
        let end = first.checked_add(count).filter(|_| count > 0);
        self.run_end = end.ok_or(Malformed::Other("a run of chunks is empty or out of range"))?;
        Ok(Some((first, count)))
    }

    /// The next operation. `pending` is the padding that the operation before
    /// ends with.
    pub fn next_operation(&mut self, pending: u64) -> Result<Option<Operation<'a>>, Malformed> {
        if self.operations.is_empty() {
            return Ok(None);
        }
        let operation = match self.operations.varint()? {
            OP_RAW => {
                let count = self.operations.count("the length of raw bytes", u32::MAX)?;
                Operation::Raw(self.raw.take(varint::in_memory(count))?)
            }
            OP_ZEROS => Operation::Zeros(self.operations.varint()?),
            OP_CONTENT => Operation::Content(self.operations.varint()?),
            OP_PADDING if (1..BLOCK as u64).contains(&pending) => {
                let count = usize::try_from(pending).map_err(|_| Malformed::TooShort)?;
                Operation::Padding(self.raw.take(count)?)
            }
            OP_PADDING => return Err(Malformed::Other("padding is replaced where there is none")),
            code => self.next_header(code - OP_HEADER)?,
        };
        Ok(Some(operation))
    }

    fn next_header(&mut self, number: u64) -> Result<Operation<'a>, Malformed> {
        let template = usize::try_from(number).ok().and_then(|number| self.templates.get(number));
        let template = *template.ok_or(Malformed::Other("a header template is missing"))?;
        let step = self.mtimes.signed()?.cast_unsigned();
        self.mtime = self.mtime.wrapping_add(step);
        let fields = Fields {
            name: take_text(&mut self.names)?,
            link: if template.has_link() { take_text(&mut self.links)? } else { &[] },
            prefix: if template.has_prefix() { take_text(&mut self.prefixes)? } else { &[] },
            mtime: self.mtime,
            size: self.sizes.varint()?,
        };
        let block = Box::new(template.join(&fields));
        let (extension, content) = match template.keep() {
            Keep::Nothing => (&[][..], 0),
            Keep::Content => (&[][..], fields.size),
            Keep::Extension => {
                let size = usize::try_from(fields.size).map_err(|_| Malformed::TooShort)?;
                (self.extensions.take(size)?, 0)
            }
        };
        let padding = padding(content + len64(extension));
        Ok(Operation::Header { block, extension, content, padding })
    }
}

fn take_text<'a>(column: &mut Cursor<'a>) -> Result<&'a [u8], Malformed> {
    let end = column.rest().iter().position(|&byte| byte == 0).ok_or(Malformed::TooShort)?;
    let text = column.take(end)?;
    column.take(1)?;
    Ok(text)
}
