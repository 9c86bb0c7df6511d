//! `doctor`: which programs will take an image archive, and why others won't.
//!
//! Looks at the shape of the archive alone: its documents, and the first bytes of
//! its layers. That their content is what it should be, `save` finds out.

mod rules;
mod shape;

use std::collections::HashMap;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::export::Export;
use super::input::{Bytes, Input};
use crate::digest::Digest;
use crate::fs::{self, Fs, InputFile};
use crate::image::{
    self, Bodies, Compression, EmitBody, EmitMember, Member, MemberKind, Members, Seekable,
    SmallBodies, Stream, clean_path, sniff, wanted_contents,
};
use rules::CONSUMERS;

pub use rules::Finding;
pub use shape::Shape;

/// How much of a layer is looked at.
const HEAD: u64 = 512;

/// Why an archive was not examined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DoctorError {
    /// It is no image archive, or a damaged one.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// It can't be read.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// A file of a folder can't be read.
    #[error(transparent)]
    File(#[from] fs::Error),
}

/// What one program makes of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The program.
    pub consumer: &'static str,
    /// Whether it takes the archive.
    pub accepts: bool,
    /// Why not, and what is worth knowing.
    pub findings: Vec<Finding>,
}

/// What all programs make of an archive of that shape.
pub fn verdicts(shape: &Shape) -> Vec<Verdict> {
    let verdict = |consumer: &rules::Consumer| {
        let mut findings: Vec<_> = consumer.rules.iter().filter_map(|rule| rule(shape)).collect();
        let refuses = |finding: &Finding| matches!(finding, Finding::Refused(_));
        let accepts = !findings.iter().any(refuses);
        if !accepts {
            // What would be worth knowing otherwise, is of no use.
            findings.retain(refuses);
        }
        Verdict { consumer: consumer.name, accepts, findings }
    };
    CONSUMERS.iter().map(verdict).collect()
}

/// The shape of an archive in a file or stream, which as a whole is compressed like
/// that.
pub fn shape_of_input(input: Input, outer: Option<Compression>) -> Result<Shape, DoctorError> {
    let shape = match input.bytes {
        Bytes::File(file) => shape_of_file(file)?,
        Bytes::Stream(stream) => shape_of_stream(stream)?,
    };
    Ok(Shape { outer, ..shape })
}

/// The shape of an OCI layout that is a folder.
pub fn shape_of_folder(fs: &dyn Fs, root: &Path) -> Result<Shape, DoctorError> {
    let mut paths: Vec<String> = ["oci-layout", "index.json", "manifest.json"]
        .into_iter()
        .filter(|path| fs.exists(&root.join(path)))
        .map(str::to_owned)
        .collect();
    let blobs = Path::new("blobs/sha256");
    if fs.exists(&root.join(blobs)) {
        let names = fs.list(&root.join(blobs))?;
        paths.extend(names.iter().map(|name| format!("{}/{name}", blobs.display())));
    }
    paths.sort_unstable();
    let (mut members, mut files) = (Vec::new(), Vec::new());
    for (index, path) in paths.into_iter().enumerate() {
        let file = fs.open(&root.join(&path))?;
        let (kind, size) = (MemberKind::Regular, file.len()?);
        members.push(Member { index, path, kind, size, offset: 0 });
        files.push(file);
    }
    let read = |member: &Member, most: u64| {
        let length = usize::try_from(member.size.min(most)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        files[member.index].read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    };
    Ok(Shape { folder: true, ..shape_of_members(&members, read)? })
}

/// The shape of what an export would write, as a plain tar.
pub fn shape_of_export(export: &Export<'_>) -> Result<Shape, DoctorError> {
    let members: Vec<Member> = export.members().iter().enumerate().map(as_read).collect();
    let bytes = |member: &'_ EmitMember| match &member.body {
        EmitBody::Bytes(bytes) => Some(bytes.clone()),
        _ => None,
    };
    let bodies: HashMap<usize, Vec<u8>> = (export.members().iter().enumerate())
        .filter_map(|(index, member)| Some((index, bytes(member)?)))
        .collect();
    let forms = shape::by_manifests(bodies.values().map(Vec::as_slice));
    let form = |index: usize| {
        let EmitBody::Blob(digest, _) = export.members()[index].body else { return None };
        let digest: Digest = digest;
        forms.get(&digest).copied()
    };
    Ok(Shape::of(&members, &|index| bodies.get(&index).map(Vec::as_slice), &form)?)
}

/// A member that is yet to be written, as it will be read.
fn as_read((index, member): (usize, &EmitMember)) -> Member {
    let path = member.path.trim_end_matches('/').to_owned();
    let kind = match &member.body {
        EmitBody::Folder => MemberKind::Directory,
        EmitBody::Bytes(_) | EmitBody::Blob(..) => MemberKind::Regular,
        EmitBody::Link(written) => {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let target = clean_path(&format!("{folder}/{written}"));
            MemberKind::Link { written: written.clone(), target }
        }
    };
    Member { index, path, kind, size: member.size(), offset: 0 }
}

fn shape_of_file(file: InputFile) -> Result<Shape, DoctorError> {
    let source = Seekable::new(BufReader::new(file)).map_err(DoctorError::Read)?;
    let mut scan = Members::new(source);
    let mut members = Vec::new();
    while let Some(member) = scan.next_member()? {
        members.push(member);
    }
    let mut file = scan.into_source().into_inner().into_inner();
    shape_of_members(&members, |member, most| read(&mut file, member, most))
}

/// The shape of an archive whose members can be read in any order, at most so many
/// bytes of each.
fn shape_of_members(
    members: &[Member],
    mut read: impl FnMut(&Member, u64) -> Result<Vec<u8>, DoctorError>,
) -> Result<Shape, DoctorError> {
    let mut bodies: HashMap<usize, Vec<u8>> = HashMap::new();
    loop {
        let missing = wanted_contents(members, &|index| bodies.get(&index).map(Vec::as_slice))?;
        if missing.is_empty() {
            break;
        }
        for index in missing {
            bodies.insert(index, read(&members[index], u64::MAX)?);
        }
    }
    let mut heads = HashMap::new();
    for member in members.iter().filter(|member| member.kind == MemberKind::Regular) {
        heads.insert(member.index, sniff(&read(member, HEAD)?));
    }
    let head = |index: usize| heads.get(&index).copied().flatten();
    Ok(Shape::of(members, &|index| bodies.get(&index).map(Vec::as_slice), &head)?)
}

/// The first bytes of a member, at most `most`.
fn read(file: &mut InputFile, member: &Member, most: u64) -> Result<Vec<u8>, DoctorError> {
    file.seek(SeekFrom::Start(member.offset)).map_err(DoctorError::Read)?;
    let mut bytes = Vec::new();
    file.take(member.size.min(most)).read_to_end(&mut bytes).map_err(DoctorError::Read)?;
    Ok(bytes)
}

fn shape_of_stream(stream: Box<dyn Read>) -> Result<Shape, DoctorError> {
    let mut scan = Members::new(Stream::new(stream));
    let (mut members, mut small, mut heads) = (Vec::new(), SmallBodies::new(), HashMap::new());
    while let Some(member) = scan.next_member()? {
        if member.kind == MemberKind::Regular {
            let mut body = scan.body();
            let mut head = Vec::new();
            (&mut body).take(HEAD).read_to_end(&mut head).map_err(read_error)?;
            heads.insert(member.index, sniff(&head));
            if small.wants(&member, &head) {
                body.read_to_end(&mut head).map_err(read_error)?;
                small.keep(&member, head);
            }
        }
        members.push(member);
    }
    let bodies: Bodies<'_, '_> = &|index| small.get(index);
    Ok(Shape::of(&members, bodies, &|index| heads.get(&index).copied().flatten())?)
}

/// The member reader puts its own error inside an I/O error.
fn read_error(error: io::Error) -> DoctorError {
    match error.downcast::<image::Error>() {
        Ok(error) => DoctorError::Image(error),
        Err(error) => DoctorError::Read(error),
    }
}

#[cfg(test)]
mod tests;
