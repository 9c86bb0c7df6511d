//! Where an archive is written to: a tar, or whatever else takes members.
//!
//! Headers are USTAR without times or owners. A length of 8 GiB or more goes
//! into a PAX record, as Docker's own archives have it, rather than into a
//! base-256 field.

use std::io::{self, Write};

use crate::layer::header::BLOCK;

/// The first length that 11 octal digits can't hold.
const FIRST_LONG: u64 = 8 << 30;
const END_BLOCKS: u64 = 2;
const FILE_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;
const LINK_MODE: u32 = 0o777;

/// Takes the members of an archive, one after the other. What is written between
/// [`file`](Self::file) and [`end_file`](Self::end_file) is that file's body.
pub trait Sink: Write {
    /// A folder; `path` ends in `/`.
    fn folder(&mut self, path: &str) -> io::Result<()>;
    /// A symbolic link.
    fn link(&mut self, path: &str, target: &str) -> io::Result<()>;
    /// A file of `size` bytes begins.
    fn file(&mut self, path: &str, size: u64) -> io::Result<()>;
    /// The file is whole.
    fn end_file(&mut self, size: u64) -> io::Result<()>;
    /// No member follows.
    fn finish(&mut self) -> io::Result<()>;
}

/// Writes a tar.
#[derive(Debug)]
pub struct TarSink<W> {
    out: W,
}

impl<W: Write> TarSink<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// What was written to.
    pub fn into_inner(self) -> W {
        self.out
    }
}

impl<W: Write> Write for TarSink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: Write> Sink for TarSink<W> {
    fn folder(&mut self, path: &str) -> io::Result<()> {
        let header = header(path, tar::EntryType::Directory, FOLDER_MODE, 0)?;
        self.out.write_all(header.as_bytes())
    }

    fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        let mut header = header(path, tar::EntryType::Symlink, LINK_MODE, 0)?;
        header.set_link_name(target)?;
        header.set_cksum();
        self.out.write_all(header.as_bytes())
    }

    fn file(&mut self, path: &str, size: u64) -> io::Result<()> {
        if size < FIRST_LONG {
            let header = header(path, tar::EntryType::Regular, FILE_MODE, size)?;
            return self.out.write_all(header.as_bytes());
        }
        // Go, too, names the record after its file and leaves the size field zero.
        let record = size_record(size);
        let name = path.rsplit_once('/').map_or_else(
            || format!("PaxHeaders.0/{path}"),
            |(folder, name)| format!("{folder}/PaxHeaders.0/{name}"),
        );
        let kind = tar::EntryType::XHeader;
        let length = record.len() as u64;
        self.out.write_all(header(&name, kind, FILE_MODE, length)?.as_bytes())?;
        self.out.write_all(record.as_bytes())?;
        pad(&mut self.out, length)?;
        self.out.write_all(header(path, tar::EntryType::Regular, FILE_MODE, 0)?.as_bytes())
    }

    fn end_file(&mut self, size: u64) -> io::Result<()> {
        pad(&mut self.out, size)
    }

    fn finish(&mut self) -> io::Result<()> {
        let end = [0; BLOCK];
        for _ in 0..END_BLOCKS {
            self.out.write_all(&end)?;
        }
        self.out.flush()
    }
}

/// Bytes that a member with a body of `size` bytes takes in a tar.
pub(super) fn member_size(size: u64) -> u64 {
    let block = BLOCK as u64;
    let record = if size < FIRST_LONG { 0 } else { 2 * block };
    record + block + size.next_multiple_of(block)
}

/// Bytes that end a tar.
pub(super) const END_SIZE: u64 = END_BLOCKS * BLOCK as u64;

fn header(path: &str, kind: tar::EntryType, mode: u32, size: u64) -> io::Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path)?;
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    Ok(header)
}

/// A PAX record for `size`; its length counts itself.
fn size_record(size: u64) -> String {
    let rest = format!(" size={size}\n");
    let mut length = rest.len() + 1;
    while length != rest.len() + length.to_string().len() {
        length += 1;
    }
    format!("{length}{rest}")
}

/// Zeros up to the next block.
fn pad(out: &mut dyn Write, size: u64) -> io::Result<()> {
    let missing = size.next_multiple_of(BLOCK as u64) - size;
    io::copy(&mut io::Read::take(io::repeat(0), missing), out).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Members, Stream};

    #[test]
    fn long_files_have_a_size_record() {
        let size = FIRST_LONG + 5;
        assert_eq!(size_record(size), "19 size=8589934597\n");
        assert_eq!(member_size(size), 3 * 512 + FIRST_LONG + 512);
        let path = format!("blobs/sha256/{}", "0".repeat(64));
        let mut sink = TarSink::new(Vec::new());
        sink.file(&path, size).unwrap();
        let out = sink.into_inner();
        assert_eq!(out.len(), 1536);
        let mut members = Members::new(Stream::new(out.as_slice()));
        let member = members.next_member().unwrap().unwrap();
        assert_eq!((member.path, member.size), (path, size));
        let mut sink = TarSink::new(Vec::new());
        sink.file("f", FIRST_LONG - 1).unwrap();
        assert_eq!(&sink.into_inner()[124..136], b"77777777777\0");
    }
}
