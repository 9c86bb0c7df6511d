//! Bodies of members, which can be read any number of times, by any thread; and
//! the archives that have such bodies.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use crate::fs::{self, InputFile, InputFolder, InputPart};
use crate::image::{self, Member, MemberKind, Members, Seekable};
use crate::store::Spool;

/// An archive that can be listed, and read anywhere.
pub(super) enum Place {
    /// A tar.
    File(InputFile),
    /// An image layout.
    Folder(InputFolder),
}

impl Place {
    /// All members, in order.
    pub(super) fn members(&mut self) -> Result<Vec<Member>, image::Error> {
        match self {
            Self::File(file) => members_of(file),
            Self::Folder(folder) => {
                let files = folder.files.iter().enumerate();
                let members = files.map(|(index, (path, size))| Member {
                    index,
                    path: path.clone(),
                    kind: MemberKind::Regular,
                    size: *size,
                    offset: 0,
                });
                Ok(members.collect())
            }
        }
    }

    /// The body of a member.
    pub(super) fn body(&self, member: &Member) -> Body {
        match self {
            Self::File(file) => Body::Part(file.part(member.offset, member.size)),
            Self::Folder(folder) => Body::File(folder.path(&member.path)),
        }
    }
}

fn members_of(file: &mut InputFile) -> Result<Vec<Member>, image::Error> {
    let failed = |source| image::Error::Read { offset: 0, source };
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let source = Seekable::new(BufReader::new(file)).map_err(failed)?;
    let mut scan = Members::new(source);
    let mut members = Vec::new();
    while let Some(member) = scan.next_member()? {
        members.push(member);
    }
    Ok(members)
}

/// Where the bytes are.
#[derive(Debug, Clone)]
pub(super) enum Body {
    /// In a file that can be read at offsets.
    Part(InputPart),
    /// A file of its own.
    File(PathBuf),
    /// Of a stream, put aside.
    Spool(Arc<Spool>),
    /// At hand.
    Memory(Arc<[u8]>),
}

impl Body {
    /// Reads it from the start.
    pub(super) fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Part(part) => Box::new(part.clone()),
            Self::File(path) => Box::new(fs::open_input(path).map_err(|error| error.source)?),
            Self::Spool(spool) => Box::new(spool.reader()),
            Self::Memory(bytes) => Box::new(io::Cursor::new(Arc::clone(bytes))),
        })
    }

    /// The first bytes, at most `most` of them.
    pub(super) fn head(&self, most: usize) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        self.open()?.take(most as u64).read_to_end(&mut head)?;
        Ok(head)
    }
}
