//! Reads an archive: finds out what it holds, and takes in what is needed of it.
//!
//! A file or a folder is listed first and then read only where needed; a stream
//! is read once, from front to back, and all that isn't small is taken in before
//! it is known what it is.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use super::original::{self, Piece, Tee};
use super::take::{Taken, Taker};
use super::{SaveError, read_error};
use crate::digest::Digest;
use crate::fs::{InputFile, InputFolder};
use crate::image::{
    Compression, Contents, FoundLayer, Member, MemberKind, Members, SmallBodies, Stream, resolve,
    sniff, wanted,
};
use crate::layer::header::BLOCK;
use crate::ops::body::{Body, Place};

/// What was read of an archive.
pub(super) struct ReadArchive {
    pub(super) contents: Contents,
    pub(super) members: Vec<Member>,
    /// Bodies of small members, by member.
    pub(super) small: HashMap<usize, Vec<u8>>,
    /// The file, if it is one that can be read anywhere.
    pub(super) file: Option<InputFile>,
    /// The archive from front to back; `None` for a folder, and where there is too
    /// much between its members.
    pub(super) pieces: Option<Vec<Piece>>,
    /// Its length in bytes.
    pub(super) size: u64,
    /// What it hashes to, if all of it was read.
    pub(super) digest: Option<Digest>,
}

impl ReadArchive {
    /// Whether it is a tar, and no folder.
    pub(super) fn is_one_file(&self) -> bool {
        self.file.is_some() || self.digest.is_some()
    }
}

impl Taker<'_, '_> {
    /// Reads a tar file. With `whole` all of it is read, and hashed.
    pub(super) fn read_file(
        &mut self,
        file: InputFile,
        whole: bool,
    ) -> Result<ReadArchive, SaveError> {
        let size = file.len().map_err(SaveError::Read)?;
        let body = Body::Part(file.part(0, size));
        let mut archive = self.read_place(&mut Place::File(file.clone()), whole)?;
        archive.pieces = Some(original::pieces_of(&file, &archive.members, size));
        archive.file = Some(file);
        archive.size = size;
        if whole {
            archive.digest = Some(self.hash(&body)?.0);
        }
        Ok(archive)
    }

    /// Reads an image layout in a folder.
    pub(super) fn read_folder(&mut self, folder: InputFolder) -> Result<ReadArchive, SaveError> {
        self.read_place(&mut Place::Folder(folder), false)
    }

    fn read_place(&mut self, place: &mut Place, whole: bool) -> Result<ReadArchive, SaveError> {
        let members = place.members()?;
        let mut small: HashMap<usize, Vec<u8>> = HashMap::new();
        loop {
            let bodies = |index: usize| small.get(&index).map(Vec::as_slice);
            let missing = wanted(&members, &bodies)?;
            if missing.is_empty() {
                break;
            }
            for index in missing {
                let mut body = Vec::new();
                let mut input = place.body(&members[index]).open().map_err(read_error)?;
                input.read_to_end(&mut body).map_err(read_error)?;
                small.insert(index, body);
            }
        }
        let contents = resolve(&members, &|index| small.get(&index).map(Vec::as_slice))?;
        let needed = self.needed(&contents, &members, place, whole)?;
        let total = needed.iter().map(|index| members[*index].size).sum();
        self.progress.begin(Some(total));
        for index in &needed {
            self.prove_ahead(*index, &place.body(&members[*index]))?;
        }
        for index in needed {
            self.take(index, &place.body(&members[index]))?;
        }
        let (file, pieces, digest) = (None, None, None);
        Ok(ReadArchive { contents, members, small, file, pieces, size: 0, digest })
    }

    /// Members with blobs that the store doesn't have, in the order of images.
    fn needed(
        &mut self,
        contents: &Contents,
        members: &[Member],
        place: &Place,
        whole: bool,
    ) -> Result<Vec<usize>, SaveError> {
        let mut needed = Vec::new();
        let mut seen = HashSet::new();
        for layer in super::check::blobs_of(contents) {
            let Some(member) = layer.member.filter(|member| seen.insert(*member)) else { continue };
            match self.known(layer, &members[member], place)? {
                Some(taken) if !whole || members[member].size == 0 => {
                    self.taken.insert(member, taken);
                }
                _ => needed.push(member),
            }
        }
        Ok(needed)
    }

    /// What the store has of a member, if it has all of it and that can be told
    /// without reading it.
    fn known(
        &mut self,
        layer: &FoundLayer,
        member: &Member,
        place: &Place,
    ) -> Result<Option<Taken>, SaveError> {
        if let Some(descriptor) = &layer.descriptor {
            let known = self.session.blob(descriptor.digest)? == Some(member.size);
            return if known {
                self.known_blob(descriptor.digest, member).map(Some)
            } else {
                Ok(None)
            };
        }
        let Some(diff_id) = layer.diff_id else { return Ok(None) };
        if let Some(size) = self.session.blob(diff_id)?
            // An empty member may stand for a layer that the other side has.
            && (size == member.size || member.size == 0)
        {
            return Ok(Some(Taken::known(diff_id, size, Some(diff_id))));
        }
        // The name of a compressed one may tell.
        let Some(named) = digest_in(&member.path) else { return Ok(None) };
        if self.session.blob(named)? != Some(member.size) {
            return Ok(None);
        }
        let mut taken = self.known_blob(named, member)?;
        if taken.content != Some(diff_id) {
            return Ok(None);
        }
        let head = place.body(member).head(BLOCK).map_err(read_error)?;
        taken.compression = sniff(&head);
        Ok(taken.compression.is_some().then_some(taken))
    }

    fn known_blob(&self, digest: Digest, member: &Member) -> Result<Taken, SaveError> {
        let content = self.session.content_of(digest)?;
        Ok(Taken::known(digest, member.size, content))
    }

    /// Reads a stream of a tar.
    pub(super) fn read_stream(
        &mut self,
        stream: &mut (dyn Read + Send),
    ) -> Result<ReadArchive, SaveError> {
        self.progress.begin(None);
        let tee = Arc::new(Mutex::new(Tee::default()));
        let mut scan = Members::new(Stream::new(Tee::around(&tee, stream)));
        let mut members = Vec::new();
        let mut small = SmallBodies::new();
        while let Some(member) = scan.next_member()? {
            if member.kind == MemberKind::Regular {
                original::lock(&tee).begin_body(&member);
                let mut body = scan.body();
                let mut head = Vec::new();
                (&mut body).take(BLOCK as u64).read_to_end(&mut head).map_err(read_error)?;
                if small.wants(&member, &head) {
                    body.read_to_end(&mut head).map_err(read_error)?;
                    if let Some((earlier, body)) = small.keep(&member, head) {
                        original::lock(&tee).keep(earlier, body);
                    }
                } else {
                    self.take_streamed(&member, &head, &mut body)?;
                }
                original::lock(&tee).end_body();
            }
            members.push(member);
        }
        // What follows belongs to the archive as well.
        io::copy(&mut scan.into_source(), &mut io::sink()).map_err(SaveError::Read)?;
        let contents = resolve(&members, &|index| small.get(index))?;
        self.take_small(&contents, &small)?;
        let (pieces, size, digest) = std::mem::take(&mut *original::lock(&tee)).finish();
        let small = members
            .iter()
            .filter_map(|member| small.get(member.index).map(|body| (member.index, body.to_vec())));
        let small = small.collect();
        let digest = Some(digest);
        Ok(ReadArchive { contents, members, small, file: None, pieces, size, digest })
    }

    fn take_streamed(
        &mut self,
        member: &Member,
        head: &[u8],
        body: &mut (dyn Read + Send),
    ) -> Result<(), SaveError> {
        let mut input = head.chain(body);
        if sniff(head).is_none() {
            let taken = self.take_plain(&mut input)?;
            self.taken.insert(member.index, taken);
            return Ok(());
        }
        // A proof may fail late, and then the bytes are needed again.
        let spool = self.session.spool(&mut input).map_err(|error| match error {
            crate::store::StoreError::Input(error) => read_error(error),
            error => error.into(),
        })?;
        self.take(member.index, &Body::Spool(Arc::new(spool)))
    }

    /// Takes in the small members of a stream that turned out to be blobs.
    fn take_small(&mut self, contents: &Contents, small: &SmallBodies) -> Result<(), SaveError> {
        for layer in super::check::blobs_of(contents) {
            if let Some(member) = layer.member
                && !self.taken.contains_key(&member)
                && let Some(body) = small.get(member)
            {
                self.take(member, &Body::Memory(Arc::from(body)))?;
            }
        }
        self.know_by_empty_members(contents)
    }

    /// An empty member may stand for a layer that the store has. In a stream that
    /// shows only now.
    fn know_by_empty_members(&mut self, contents: &Contents) -> Result<(), SaveError> {
        for layer in super::check::blobs_of(contents) {
            let (Some(member), Some(diff_id)) = (layer.member, layer.diff_id) else { continue };
            let empty = self.taken.get(&member).is_some_and(|taken| taken.size == 0);
            if empty
                && layer.descriptor.is_none()
                && Digest::of(&[]) != diff_id
                && let Some(size) = self.session.blob(diff_id)?
            {
                self.taken.insert(member, Taken::known(diff_id, size, Some(diff_id)));
            }
        }
        Ok(())
    }
}

/// The digest that a path promises: `<hex>.tar.gz`, `blobs/sha256/<hex>`,
/// `sha256:<hex>`.
fn digest_in(path: &str) -> Option<Digest> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let name =
        name.strip_prefix("sha256:").or_else(|| name.strip_prefix("sha256-")).unwrap_or(name);
    Digest::from_hex(name.split('.').next().unwrap_or(name)).ok()
}

/// The compressions that a manifest has a media type for.
pub(super) fn is_listed(compression: Option<Compression>) -> bool {
    matches!(compression, None | Some(Compression::Gzip | Compression::Zstd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_carry_digests() {
        let digest = Digest::of(b"x");
        let hex = digest.hex();
        for path in [
            format!("{hex}.tar.gz"),
            format!("blobs/sha256/{hex}"),
            format!("sha256:{hex}"),
            format!("sha256-{hex}.tar.gz"),
        ] {
            assert_eq!(digest_in(&path), Some(digest), "{path}");
        }
        assert_eq!(digest_in("layer.tar"), None);
    }
}
