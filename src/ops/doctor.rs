//! `doctor`: which programs will take an image archive, and why others won't.
//!
//! Looks at the shape of the archive alone: its documents, and the first bytes of
//! its layers. That their content is what it should be, `save` finds out.

mod rules;
mod shape;

use std::collections::HashMap;
use std::io::{self, Read};

use super::body::Place;
use super::export::Export;
use super::input::{Bytes, Input};
use crate::codec;
use crate::digest::Digest;
use crate::image::{
    self, Bodies, EmitBody, EmitMember, Member, MemberKind, Members, SmallBodies, Stream,
    clean_path, sniff, wanted,
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

/// The shape of an archive.
pub fn shape_of_input(input: Input) -> Result<Shape, DoctorError> {
    let outer = input.compression;
    let shape = match (input.bytes, outer) {
        (Bytes::File(file), _) => shape_of_place(Place::File(file))?,
        (Bytes::Folder(folder), _) => {
            Shape { folder: true, ..shape_of_place(Place::Folder(folder))? }
        }
        (Bytes::Stream(mut stream), None) => shape_of_stream(&mut stream)?,
        (Bytes::Stream(stream), Some(compression)) => {
            let mut tar = codec::expand(compression, stream).map_err(DoctorError::Read)?;
            shape_of_stream(&mut *tar)?
        }
    };
    Ok(Shape { outer, ..shape })
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

/// The shape of an archive whose members can be read in any order.
fn shape_of_place(mut place: Place) -> Result<Shape, DoctorError> {
    let members = place.members()?;
    let read = |member: &Member, most: u64| {
        let mut bytes = Vec::new();
        let body = place.body(member).open().map_err(DoctorError::Read)?;
        body.take(most).read_to_end(&mut bytes).map_err(DoctorError::Read)?;
        Ok::<_, DoctorError>(bytes)
    };
    let mut bodies: HashMap<usize, Vec<u8>> = HashMap::new();
    loop {
        let missing = wanted(&members, &|index| bodies.get(&index).map(Vec::as_slice))?;
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
    Ok(Shape::of(&members, &|index| bodies.get(&index).map(Vec::as_slice), &head)?)
}

fn shape_of_stream(stream: &mut dyn Read) -> Result<Shape, DoctorError> {
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
