//! Reading the members of an outer image archive, one after the other.
//!
//! Takes any bytes as a tar and stays safe: names are cleaned and kept inside
//! the archive, extension headers, member count and names have limits, nothing
//! is allocated by a size that the input merely states. Bodies are handed out
//! as they stand or skipped; where the input can seek, skipping reads nothing.
//! Old octal forms, GNU and PAX long names and sizes, and a missing end marker
//! are accepted; what follows the end marker is not read. PAX global headers
//! count for nothing, as in Docker. Knows nothing of what the members mean.

use std::io::{self, Read};

use crate::image::error::{Error, shown};
use crate::image::path::{clean, link_target};
use crate::image::source::{Source, read_full};
use crate::layer::header::{BLOCK, Header, pax_records, until_nul};

/// The most members that an archive may have. Real ones have four for each of
/// at most 127 layers of an image, so this is hundreds of images.
pub const MOST_MEMBERS: usize = 300_000;
/// The most bytes that all member paths and link targets may have together.
pub const MOST_PATH_BYTES: u64 = 32 << 20;
/// The most bytes of one extension header (long name, PAX records).
pub const MOST_EXTENSION: u64 = 1 << 20;

/// One member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Position among the members, from 0.
    pub index: usize,
    /// The cleaned path: no `.`, `..`, leading, trailing or double slash. The
    /// root folder is `.`. Invalid UTF-8 is replaced.
    pub path: String,
    /// What it is.
    pub kind: MemberKind,
    /// Length of the body in bytes.
    pub size: u64,
    /// Where the body begins in the tar stream, in bytes.
    pub offset: u64,
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberKind {
    /// A file whose body stands in the archive as it is.
    Regular,
    /// A symbolic or hard link.
    Link {
        /// The target as written.
        written: String,
        /// The target as a cleaned path from the root of the archive; `None`
        /// if it leads out of it.
        target: Option<String>,
    },
    /// A folder.
    Directory,
    /// A device, FIFO, sparse file or something unknown.
    Other,
}

/// Reads members in order; see the module.
#[derive(Debug)]
pub struct Members<S> {
    source: S,
    /// Bytes of the stream that were passed.
    offset: u64,
    current: Option<Current>,
    last: Option<String>,
    count: usize,
    path_bytes: u64,
    ended: bool,
}

/// The member whose body comes next.
#[derive(Debug)]
struct Current {
    path: String,
    size: u64,
    left: u64,
}

/// What extension headers said about the next member.
#[derive(Debug, Default)]
struct Extensions {
    any: bool,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    gnu_path: Option<Vec<u8>>,
    gnu_link: Option<Vec<u8>>,
    sparse: bool,
}

impl<S: Source> Members<S> {
    /// Begins at the first byte of a plain tar.
    pub fn new(source: S) -> Self {
        Self { source, offset: 0, current: None, last: None, count: 0, path_bytes: 0, ended: false }
    }

    /// The next member, after skipping what is left of the one before. `None`
    /// at the end marker or where the input ends between members.
    ///
    /// # Errors
    /// [`Error::BadHeader`], [`Error::Truncated`], [`Error::Escapes`] and
    /// [`Error::TooLarge`], each naming the place; nothing can be read after.
    pub fn next_member(&mut self) -> Result<Option<Member>, Error> {
        if self.ended {
            return Ok(None);
        }
        let result = self.advance();
        self.ended = !matches!(result, Ok(Some(_)));
        result
    }

    /// The rest of the current member's body. A body that is cut short gives an
    /// I/O error of kind `UnexpectedEof` with an [`Error::Truncated`] inside.
    pub fn body(&mut self) -> MemberBody<'_, S> {
        MemberBody { members: self }
    }

    /// The whole rest of the current member's body, if it is at most `limit`
    /// bytes.
    pub fn read_body(&mut self, limit: u64) -> Result<Vec<u8>, Error> {
        let Some(current) = &self.current else {
            return Ok(Vec::new());
        };
        let (path, left) = (current.path.clone(), current.left);
        if left > limit {
            return Err(too_large(format!("member `{}`", shown(&path)), limit, left));
        }
        let bytes = self.take(left, &path)?;
        if let Some(current) = &mut self.current {
            current.left = 0;
        }
        Ok(bytes)
    }

    /// How many bytes of the stream were passed.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Gives the input back, wherever it stands.
    pub fn into_source(self) -> S {
        self.source
    }

    fn advance(&mut self) -> Result<Option<Member>, Error> {
        self.finish_current()?;
        let mut extensions = Extensions::default();
        loop {
            let at = self.offset;
            let Some(block) = self.read_header_block(&extensions)? else {
                return Ok(None);
            };
            let header = Header::parse(&block).ok_or_else(|| self.bad_header(at))?;
            let size = header.size().ok_or_else(|| self.bad_header(at))?;
            if !self.read_extension(header, size, &mut extensions)? {
                return self.member(&block, size, extensions).map(Some);
            }
        }
    }

    /// Skips the rest of the current body and its padding.
    fn finish_current(&mut self) -> Result<(), Error> {
        let Some(current) = self.current.take() else {
            return Ok(());
        };
        let skipped = self.skip(current.left)?;
        if skipped < current.left {
            let found = current.size - current.left + skipped;
            return Err(truncated(&current.path, current.size, found));
        }
        // The padding of the last member may be missing.
        self.skip(padding(current.size))?;
        self.last = Some(shown(&current.path));
        Ok(())
    }

    /// The next block, or `None` at the end of the archive.
    fn read_header_block(&mut self, extensions: &Extensions) -> Result<Option<[u8; BLOCK]>, Error> {
        let mut block = [0; BLOCK];
        let found = self.read(&mut block)?;
        let at_end = found == 0 || (found == BLOCK && block == [0; BLOCK]);
        if extensions.any && (at_end || found < BLOCK) {
            return Err(truncated("(after an extension header)", BLOCK as u64, found as u64));
        }
        if found == 0 {
            return Ok(None);
        }
        if found < BLOCK {
            let Some(last) = &self.last else {
                return Err(self.bad_header(self.offset - found as u64));
            };
            let whole = format!("(header after {last})");
            return Err(truncated(&whole, BLOCK as u64, found as u64));
        }
        if block == [0; BLOCK] {
            let at = self.offset;
            let found = self.read(&mut block)?;
            // A lone zero block at the very end is as good as two.
            if block[..found].iter().all(|&byte| byte == 0) {
                return Ok(None);
            }
            return Err(self.bad_header(at));
        }
        Ok(Some(block))
    }

    /// Takes in an extension header; `false` if this is none.
    fn read_extension(
        &mut self,
        header: Header<'_>,
        size: u64,
        extensions: &mut Extensions,
    ) -> Result<bool, Error> {
        let kind = header.kind();
        if !matches!(kind, b'L' | b'K' | b'x' | b'g') {
            return Ok(false);
        }
        let name = format!("extension header `{}`", shown(&text(&header.path())));
        if size > MOST_EXTENSION {
            return Err(too_large(name, MOST_EXTENSION, size));
        }
        let at = self.offset;
        let body = self.take(size, &name)?;
        self.skip(padding(size))?;
        match kind {
            b'L' => extensions.gnu_path = Some(until_nul(&body).to_vec()),
            b'K' => extensions.gnu_link = Some(until_nul(&body).to_vec()),
            b'x' => extensions.take_pax(&body).ok_or_else(|| self.bad_header(at))?,
            _ => return Ok(true),
        }
        extensions.any = true;
        Ok(true)
    }

    fn member(
        &mut self,
        block: &[u8; BLOCK],
        size: u64,
        extensions: Extensions,
    ) -> Result<Member, Error> {
        let header = Header::parse(block).ok_or_else(|| self.bad_header(self.offset))?;
        if self.count == MOST_MEMBERS {
            let found = self.count as u64 + 1;
            return Err(too_large("the count of members".into(), MOST_MEMBERS as u64, found));
        }
        let written = extensions.gnu_path.or(extensions.path).unwrap_or_else(|| header.path());
        let written = text(&written);
        let path = clean(&written).ok_or_else(|| Error::Escapes { path: shown(&written) })?;
        let link = extensions.gnu_link.or(extensions.link);
        let link = text(&link.unwrap_or_else(|| header.link().to_vec()));
        let kind = match header.kind() {
            _ if extensions.sparse => MemberKind::Other,
            0 if written.ends_with('/') => MemberKind::Directory,
            b'0' | b'7' | 0 => MemberKind::Regular,
            b'1' => MemberKind::Link { target: clean(&link), written: link },
            b'2' => MemberKind::Link { target: link_target(&path, &link), written: link },
            b'5' => MemberKind::Directory,
            _ => MemberKind::Other,
        };
        self.count_path(&path, &kind)?;
        if header.kind() == b'S' {
            self.skip_sparse_map(block, &path)?;
        }
        let size = if header.has_body() { extensions.size.unwrap_or(size) } else { 0 };
        let found = self.source.remaining().unwrap_or(u64::MAX);
        if size > found {
            return Err(truncated(&path, size, found));
        }
        self.current = Some(Current { path: path.clone(), size, left: size });
        let index = self.count;
        self.count += 1;
        Ok(Member { index, path, kind, size, offset: self.offset })
    }

    fn count_path(&mut self, path: &str, kind: &MemberKind) -> Result<(), Error> {
        self.path_bytes += path.len() as u64;
        if let MemberKind::Link { written, target } = kind {
            self.path_bytes += (written.len() + target.as_ref().map_or(0, String::len)) as u64;
        }
        if self.path_bytes > MOST_PATH_BYTES {
            let what = "the length of all member paths".into();
            return Err(too_large(what, MOST_PATH_BYTES, self.path_bytes));
        }
        Ok(())
    }

    /// The blocks of a GNU sparse map, which stand before the body and are not
    /// counted in its size (GNU tar manual, "Extended GNU format").
    fn skip_sparse_map(&mut self, block: &[u8; BLOCK], path: &str) -> Result<(), Error> {
        const IN_HEADER: usize = 482;
        const IN_BLOCK: usize = 504;
        let mut more = block[IN_HEADER] != 0;
        let mut passed = 0;
        while more {
            passed += BLOCK as u64;
            if passed > MOST_EXTENSION {
                let what = format!("the sparse map of member `{}`", shown(path));
                return Err(too_large(what, MOST_EXTENSION, passed));
            }
            let block = self.take(BLOCK as u64, path)?;
            more = block[IN_BLOCK] != 0;
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let at = self.offset;
        let found = read_full(&mut self.source, buffer)
            .map_err(|source| Error::Read { offset: at, source })?;
        self.offset += found as u64;
        Ok(found)
    }

    fn skip(&mut self, bytes: u64) -> Result<u64, Error> {
        let at = self.offset;
        let skipped =
            self.source.skip(bytes).map_err(|source| Error::Read { offset: at, source })?;
        self.offset = self.offset.saturating_add(skipped);
        Ok(skipped)
    }

    /// Exactly `bytes` bytes; grows as they come.
    fn take(&mut self, bytes: u64, name: &str) -> Result<Vec<u8>, Error> {
        let mut taken = Vec::new();
        (&mut self.source)
            .take(bytes)
            .read_to_end(&mut taken)
            .map_err(|source| Error::Read { offset: self.offset, source })?;
        let found = taken.len() as u64;
        self.offset += found;
        if found < bytes { Err(truncated(name, bytes, found)) } else { Ok(taken) }
    }

    fn bad_header(&self, offset: u64) -> Error {
        Error::BadHeader { offset, last: self.last.clone() }
    }
}

impl Extensions {
    /// Later PAX headers replace earlier ones; an empty value takes back what
    /// was said. `None` if a size is no number.
    fn take_pax(&mut self, body: &[u8]) -> Option<()> {
        (self.path, self.link, self.size, self.sparse) = (None, None, None, false);
        let mut sparse_name = None;
        for (key, value) in pax_records(body) {
            let given = (!value.is_empty()).then(|| value.to_vec());
            match key {
                b"path" => self.path = given,
                b"linkpath" => self.link = given,
                b"size" => self.size = given.map_or(Some(None), |v| number(&v).map(Some))?,
                b"GNU.sparse.name" => sparse_name = given,
                b"GNU.sparse.major" | b"GNU.sparse.map" | b"GNU.sparse.size" => self.sparse = true,
                _ => {}
            }
        }
        self.path = sparse_name.or(self.path.take());
        Some(())
    }
}

/// Reads one body; see [`Members::body`].
#[derive(Debug)]
pub struct MemberBody<'a, S> {
    members: &'a mut Members<S>,
}

impl<S: Source> Read for MemberBody<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(current) = &mut self.members.current else {
            return Ok(0);
        };
        let most = usize::try_from(current.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.members.source.read(&mut buffer[..most])?;
        if count == 0 {
            let error = truncated(&current.path, current.size, current.size - current.left);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, error));
        }
        current.left -= count as u64;
        self.members.offset += count as u64;
        Ok(count)
    }
}

/// A decimal number below 2^63.
fn number(digits: &[u8]) -> Option<u64> {
    let value: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    i64::try_from(value).is_ok().then_some(value)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Bytes from the end of a body of `size` bytes to the next block.
fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

fn truncated(member: &str, expected: u64, found: u64) -> Error {
    Error::Truncated { member: shown(member), expected, found }
}

fn too_large(what: String, limit: u64, found: u64) -> Error {
    Error::TooLarge { what, limit, found }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::source::{Seekable, Stream};
    use proptest::prelude::*;

    /// A header block of our own, so that any field can be wrong.
    fn header(name: &str, kind: u8, size: u64, link: &str) -> [u8; BLOCK] {
        let mut header = tar::Header::new_ustar();
        let bytes = header.as_mut_bytes();
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        bytes[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_size(size);
        header.set_cksum();
        *header.as_bytes()
    }

    fn push(tar: &mut Vec<u8>, name: &str, kind: u8, body: &[u8]) {
        tar.extend(header(name, kind, body.len() as u64, ""));
        tar.extend(body);
        tar.resize(tar.len().next_multiple_of(BLOCK), 0);
    }

    fn scan(tar: &[u8]) -> Result<Vec<Member>, Error> {
        fn all(mut members: Members<impl Source>) -> Result<Vec<Member>, Error> {
            let mut found = Vec::new();
            while let Some(member) = members.next_member()? {
                found.push(member);
            }
            assert!(members.next_member()?.is_none());
            Ok(found)
        }
        let streamed = all(Members::new(Stream::new(tar)));
        let sought = all(Members::new(Seekable::new(io::Cursor::new(tar)).unwrap()));
        match (&streamed, &sought) {
            (Ok(streamed), Ok(sought)) => assert_eq!(streamed, sought),
            (Err(streamed), Err(sought)) => assert_eq!(streamed.to_string(), sought.to_string()),
            _ => panic!("{streamed:?} and {sought:?} differ"),
        }
        streamed
    }

    fn message(tar: &[u8]) -> String {
        scan(tar).unwrap_err().to_string()
    }

    fn names(tar: &[u8]) -> Vec<String> {
        scan(tar).unwrap().into_iter().map(|member| member.path).collect()
    }

    #[test]
    fn lists_and_reads_bodies() {
        let mut tar = Vec::new();
        push(&mut tar, "./a", b'0', b"hello");
        push(&mut tar, "d/", b'5', b"");
        push(&mut tar, "/d/b", 0, &[b'x'; 600]);
        tar.extend([0; 2 * BLOCK]);
        tar.extend(b"junk after the end");
        let mut members = Members::new(Stream::new(tar.as_slice()));
        let a = members.next_member().unwrap().unwrap();
        assert_eq!((a.index, a.path.as_str(), a.size, a.offset), (0, "a", 5, 512));
        assert_eq!(members.read_body(5).unwrap(), b"hello");
        assert_eq!(members.read_body(5).unwrap(), b"");
        let d = members.next_member().unwrap().unwrap();
        assert_eq!((d.path.as_str(), d.kind), ("d", MemberKind::Directory));
        let b = members.next_member().unwrap().unwrap();
        assert_eq!((b.index, b.path.as_str(), b.offset), (2, "d/b", 2048));
        let mut ten = [0; 10];
        members.body().read_exact(&mut ten).unwrap();
        let message = members.read_body(100).unwrap_err().to_string();
        assert_eq!(message, "member `d/b` is too large: expected at most 100, found 590");
        let mut rest = Vec::new();
        members.body().read_to_end(&mut rest).unwrap();
        assert_eq!(rest.len(), 590);
        assert!(members.next_member().unwrap().is_none());
        assert_eq!(members.offset(), tar.len() as u64 - 18);
    }

    #[test]
    fn ends_where_it_may() {
        let mut tar = Vec::new();
        push(&mut tar, "a", b'0', b"hello");
        assert_eq!(names(&tar), ["a"]);
        assert_eq!(names(&tar[..512 + 5]), ["a"], "without the padding");
        tar.extend([0; BLOCK]);
        assert_eq!(names(&tar), ["a"], "a lone zero block");
        tar.extend([0; 100]);
        assert_eq!(names(&tar), ["a"], "and a bit");
        assert_eq!(names(b""), [""; 0]);
        tar.truncate(2048);
        tar.resize(1536, 0);
        push(&mut tar, "b", b'0', b"");
        assert_eq!(message(&tar), "no valid tar header at byte 1536, after member `a`");
    }

    #[test]
    fn damage_is_named() {
        let mut tar = Vec::new();
        push(&mut tar, "a", b'0', b"hello");
        push(&mut tar, "b", b'0', &[1; 2000]);
        let cut = message(&tar[..1024 + 512 + 1000]);
        assert_eq!(cut, "member `b` is cut short: expected 2000 bytes, found 1000");
        let cut = message(&tar[..1024 + 100]);
        assert_eq!(cut, "member `(header after a)` is cut short: expected 512 bytes, found 100");
        tar[1024] = b'c';
        assert_eq!(message(&tar), "no valid tar header at byte 1024, after member `a`");
        let not_tar = message(&[b'x'; 600]);
        assert_eq!(not_tar, "no valid tar header at byte 0, before any member");
        assert_eq!(message(b"nonsense"), not_tar);
        let mut stream = Members::new(Stream::new(&[b'x'; 600][..]));
        assert!(stream.next_member().is_err());
        assert!(stream.next_member().unwrap().is_none(), "nothing after an error");
    }

    #[test]
    fn a_cut_body_is_an_error_while_reading() {
        let mut tar = Vec::new();
        push(&mut tar, "b", b'0', &[1; 2000]);
        let mut members = Members::new(Stream::new(&tar[..1000]));
        members.next_member().unwrap().unwrap();
        let error = members.body().read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let text = "member `b` is cut short: expected 2000 bytes, found 488";
        assert_eq!(error.to_string(), text);
        let mut known = Members::new(Seekable::new(io::Cursor::new(&tar[..1000])).unwrap());
        assert_eq!(known.next_member().unwrap_err().to_string(), text, "found while scanning");
    }

    #[test]
    fn long_names_and_sizes() {
        let long = "p/".repeat(90) + "x";
        let mut tar = Vec::new();
        push(&mut tar, "././@LongLink", b'L', format!("{long}\0").as_bytes());
        push(&mut tar, "cut", b'0', b"1");
        push(&mut tar, "././@LongLink", b'K', b"../t\0");
        tar.extend(header("l/k", b'2', 0, "short"));
        push(&mut tar, "pax", b'x', b"12 path=q/r\n17 linkpath=/etc\n9 size=3\n");
        tar.extend(header("cut", b'0', 0, ""));
        tar.extend([7; BLOCK]);
        push(&mut tar, "global", b'g', b"12 path=all\n");
        push(&mut tar, "pax", b'x', b"8 path=\n");
        push(&mut tar, "plain", b'0', b"");
        let all = scan(&tar).unwrap();
        assert_eq!(
            all.iter().map(|m| m.path.as_str()).collect::<Vec<_>>(),
            [long.as_str(), "l/k", "q/r", "plain"]
        );
        let (written, target) = ("../t".to_owned(), Some("t".to_owned()));
        assert_eq!(all[1].kind, MemberKind::Link { written, target });
        assert_eq!((all[2].size, &all[2].kind), (3, &MemberKind::Regular));
    }

    #[test]
    fn limits_hold() {
        for kind in [b'L', b'K', b'x', b'g'] {
            let tar = header("ext", kind, MOST_EXTENSION + 1, "");
            let text = "extension header `ext` is too large: expected at most 1048576, found";
            assert!(message(&tar).starts_with(text));
        }
        let mut tar = Vec::new();
        push(&mut tar, "x", b'x', b"29 size=99999999999999999999\n");
        push(&mut tar, "a", b'0', b"");
        assert!(message(&tar).starts_with("no valid tar header at byte 512"));
        let mut tar = Vec::new();
        push(&mut tar, "x", b'x', b"9 size=1\n");
        let cut = message(&tar);
        assert!(cut.contains("(after an extension header)"), "{cut}");
        let block = header("e", b'0', 0, "");
        let many = Stream::new(Read::chain(
            io::Cursor::new(block.repeat(MOST_MEMBERS)),
            io::Cursor::new(block),
        ));
        let mut members = Members::new(many);
        for _ in 0..MOST_MEMBERS {
            assert!(members.next_member().unwrap().is_some());
        }
        let message = members.next_member().unwrap_err().to_string();
        let text = "the count of members is too large: expected at most 300000, found 300001";
        assert_eq!(message, text);
    }

    #[test]
    fn nothing_leaves_the_archive() {
        assert_eq!(message(&header("../x", b'0', 0, "")), "path `../x` leaves the archive");
        let mut tar = Vec::new();
        tar.extend(header("d", b'2', 0, "/tmp"));
        tar.extend(header("e", b'2', 0, "../../x"));
        tar.extend(header("f", b'1', 0, "/a"));
        tar.extend(header("g", b'3', 0, ""));
        let targets: Vec<_> = scan(&tar)
            .unwrap()
            .into_iter()
            .map(|member| match member.kind {
                MemberKind::Link { target, .. } => target,
                other => Some(format!("{other:?}")),
            })
            .collect();
        assert_eq!(targets, [None, None, Some("a".into()), Some("Other".into())]);
    }

    #[test]
    fn sparse_members_are_passed_over() {
        let mut first = header("s", b'S', 512, "");
        first[482] = 1;
        first[148..156].copy_from_slice(b"        ");
        let sum: u64 = first.iter().map(|&byte| u64::from(byte)).sum();
        first[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let mut tar = first.to_vec();
        let mut map = [0; BLOCK];
        map[504] = 1;
        tar.extend(map);
        tar.extend([0; BLOCK]);
        tar.extend([9; BLOCK]);
        push(&mut tar, "x", b'x', b"22 GNU.sparse.major=1\n26 GNU.sparse.name=real/n\n");
        push(&mut tar, "GNUSparseFile.0/n", b'0', b"map");
        let all = scan(&tar).unwrap();
        assert_eq!((all[0].offset, &all[0].kind), (1536, &MemberKind::Other));
        assert_eq!((all[1].path.as_str(), &all[1].kind), ("real/n", &MemberKind::Other));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            drop(scan_quietly(&bytes));
        }

        #[test]
        fn any_damage_is_read_or_refused(
            names in prop::collection::vec("[a-z./]{0,20}", 1..5),
            kinds in prop::collection::vec(prop::sample::select(b"0\x0012357LKxgS9".to_vec()), 5),
            at in 0_usize..5000,
            value in any::<u8>(),
            keep in 0_usize..6000,
        ) {
            let mut tar = Vec::new();
            for (name, &kind) in names.iter().zip(&kinds) {
                push(&mut tar, name, kind, &vec![b'1'; name.len() * 37]);
            }
            if let Some(byte) = tar.get_mut(at) {
                *byte = value;
            }
            tar.truncate(keep);
            drop(scan_quietly(&tar));
        }
    }

    /// As `scan`; a stream learns of a cut later than a file, which is no fault.
    fn scan_quietly(tar: &[u8]) -> Result<usize, Error> {
        let mut members = Members::new(Seekable::new(io::Cursor::new(tar)).unwrap());
        let mut sizes = 0;
        while let Some(member) = members.next_member()? {
            sizes += members.read_body(member.size)?.len();
        }
        assert!(sizes <= tar.len());
        Ok(sizes)
    }
}
