//! Writing image archives that every engine loads: an OCI layout and a
//! `manifest.json` in one tar, with plain layers.
//!
//! The same set of images always gives the same bytes, in whatever order they
//! are asked for, and the length is known before the first byte. Every layer
//! that is handed in is hashed on its way out; one that is not what its digest
//! says fails the archive. Members are plain files and two folders, USTAR, with
//! no links, times or owners. A length of 8 GiB or more goes into a PAX record,
//! as Docker's own archives have it, rather than into a base-256 field.
//! Knows nothing of where layers come from.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::{self, Write};

use serde::Serialize;

use crate::digest::{Digest, DigestHasher};
use crate::image::error::Error;
use crate::image::manifest::{Descriptor, Index, Manifest, to_json};
use crate::image::media_type;
use crate::image::reference::Reference;
use crate::layer::header::BLOCK;

const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const CONTAINERD_NAME: &str = "io.containerd.image.name";
const OCI_NAME: &str = "org.opencontainers.image.ref.name";
/// The first length that 11 octal digits can't hold.
const FIRST_LONG: u64 = 8 << 30;
const END_BLOCKS: u64 = 2;
const FILE_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o755;

/// An image to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmitImage {
    /// Its names; may be none.
    pub references: Vec<Reference>,
    /// The config's bytes.
    pub config: Vec<u8>,
    /// The bytes of the manifest, which lists exactly this config and these
    /// layers.
    pub manifest: Vec<u8>,
    /// Diff IDs and lengths in bytes of the plain layer tars, lowest first.
    pub layers: Vec<(Digest, u64)>,
}

/// An archive that is about to be written.
#[derive(Debug)]
pub struct EmitPlan {
    /// What stands before the layers, ready to write.
    documents: Vec<File>,
    layers: Vec<(Digest, u64)>,
}

#[derive(Debug)]
struct File {
    path: String,
    /// `None` for a folder.
    body: Option<Vec<u8>>,
}

/// An image as it goes into the archive.
struct Entry {
    references: BTreeSet<Reference>,
    config: Digest,
    image: EmitImage,
}

/// One item of `manifest.json`. Docker writes `null` for no tags, and every
/// loader takes that.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item<'a> {
    config: String,
    repo_tags: Option<Vec<&'a Reference>>,
    layers: Vec<String>,
}

impl EmitPlan {
    /// Plans the archive of these images. An image that is given several times
    /// is written once, with all its references.
    ///
    /// # Errors
    /// [`Error::ReferenceTwice`] if two different images have one reference,
    /// [`Error::ManifestMismatch`] if a manifest doesn't list its image's config
    /// and layers, [`Error::LengthMismatch`] if a layer has two lengths.
    pub fn new(images: Vec<EmitImage>) -> Result<Self, Error> {
        let entries = merge(images)?;
        let layers = layers_in_order(&entries)?;
        let mut documents = vec![
            file("oci-layout", LAYOUT.to_vec()),
            file("index.json", index(&entries)),
            file("manifest.json", list(&entries)),
            File { path: "blobs/".to_owned(), body: None },
            File { path: "blobs/sha256/".to_owned(), body: None },
        ];
        let mut written = HashSet::new();
        let configs = entries.iter().map(|(_, entry)| (entry.config, &entry.image.config));
        let manifests = entries.iter().map(|(digest, entry)| (*digest, &entry.image.manifest));
        for (digest, bytes) in configs.chain(manifests) {
            if written.insert(digest) {
                documents.push(file(&blob_path(&digest), bytes.clone()));
            }
        }
        let layers = layers.into_iter().filter(|(digest, _)| !written.contains(digest)).collect();
        Ok(Self { documents, layers })
    }

    /// The layers in the order in which they will be asked for, each once, with
    /// their lengths in bytes.
    pub fn layers(&self) -> &[(Digest, u64)] {
        &self.layers
    }

    /// The length of the whole archive in bytes.
    pub fn size(&self) -> u64 {
        let documents = self
            .documents
            .iter()
            .map(|file| member_size(file.body.as_ref().map_or(0, |body| body.len() as u64)));
        let layers = self.layers.iter().map(|&(_, size)| member_size(size));
        documents.chain(layers).sum::<u64>() + END_BLOCKS * BLOCK as u64
    }

    /// Writes the archive; `layer` writes the body of the layer that it is
    /// asked for.
    ///
    /// # Errors
    /// Those of `layer`; [`Error::LengthMismatch`] and [`Error::DigestMismatch`]
    /// if what it wrote is not that layer; [`Error::Write`]. What was written
    /// then is no archive.
    pub fn write<E: From<Error>>(
        &self,
        out: &mut dyn Write,
        mut layer: impl FnMut(&Digest, &mut dyn Write) -> Result<(), E>,
    ) -> Result<(), E> {
        for file in &self.documents {
            let body = file.body.as_deref();
            write_document(out, &file.path, body).map_err(|source| Error::Write { source })?;
        }
        for &(digest, size) in &self.layers {
            write_header(out, &blob_path(&digest), Some(size))
                .map_err(|source| Error::Write { source })?;
            let mut body =
                Checked { out: &mut *out, left: size, found: 0, hasher: DigestHasher::default() };
            layer(&digest, &mut body)?;
            body.check(digest, size)?;
            pad(out, size).map_err(|source| Error::Write { source })?;
        }
        let end = [0; BLOCK];
        for _ in 0..END_BLOCKS {
            out.write_all(&end).map_err(|source| Error::Write { source })?;
        }
        Ok(out.flush().map_err(|source| Error::Write { source })?)
    }
}

/// Merges equal images and sorts them by first reference, then digest. Pairs
/// each with its manifest's digest.
fn merge(images: Vec<EmitImage>) -> Result<Vec<(Digest, Entry)>, Error> {
    let mut by_manifest: BTreeMap<Digest, Entry> = BTreeMap::new();
    let mut owners: HashMap<Reference, (Digest, Digest)> = HashMap::new();
    for mut image in images {
        let (manifest, config) = (Digest::of(&image.manifest), Digest::of(&image.config));
        check_manifest(&image, manifest, config)?;
        let references = std::mem::take(&mut image.references);
        for reference in &references {
            let (owner, first) = *owners.entry(reference.clone()).or_insert((manifest, config));
            if owner != manifest {
                let reference = reference.to_string();
                return Err(Error::ReferenceTwice { reference, first, second: config });
            }
        }
        let new = || Entry { references: BTreeSet::new(), config, image };
        by_manifest.entry(manifest).or_insert_with(new).references.extend(references);
    }
    let mut entries: Vec<_> = by_manifest.into_iter().collect();
    entries.sort_by(|(one, a), (two, b)| {
        (a.references.first(), a.config, one).cmp(&(b.references.first(), b.config, two))
    });
    Ok(entries)
}

fn check_manifest(image: &EmitImage, digest: Digest, config: Digest) -> Result<(), Error> {
    let mismatch = |problem| Error::ManifestMismatch { manifest: digest, problem };
    let manifest = Manifest::parse(&image.manifest).map_err(|_| mismatch("it can't be read"))?;
    if manifest.config.digest != config || manifest.config.size != image.config.len() as u64 {
        return Err(mismatch("its config is another"));
    }
    let listed = manifest.layers.iter().map(|layer| (layer.digest, layer.size));
    if !listed.eq(image.layers.iter().copied()) {
        return Err(mismatch("its layers are others"));
    }
    Ok(())
}

/// Each layer once, where it is first needed.
fn layers_in_order(entries: &[(Digest, Entry)]) -> Result<Vec<(Digest, u64)>, Error> {
    let mut sizes: HashMap<Digest, u64> = HashMap::new();
    let mut layers = Vec::new();
    for &(digest, size) in entries.iter().flat_map(|(_, entry)| &entry.image.layers) {
        match sizes.insert(digest, size) {
            None => layers.push((digest, size)),
            Some(expected) if expected != size => {
                let what = format!("layer {digest}");
                return Err(Error::LengthMismatch { what, expected, found: size });
            }
            Some(_) => {}
        }
    }
    Ok(layers)
}

/// `index.json`: one descriptor for each image and tag. containerd takes the
/// full name, Podman and other OCI tools the tag.
fn index(entries: &[(Digest, Entry)]) -> Vec<u8> {
    let mut manifests = Vec::new();
    for (digest, entry) in entries {
        let size = entry.image.manifest.len() as u64;
        let media_type = Manifest::parse(&entry.image.manifest)
            .ok()
            .and_then(|manifest| manifest.media_type)
            .unwrap_or_else(|| media_type::OCI_MANIFEST.to_owned());
        let descriptor = Descriptor::new(&media_type, *digest, size);
        let named = entry.references.iter().map(|reference| {
            let name = (CONTAINERD_NAME.to_owned(), reference.to_string());
            let tag = (OCI_NAME.to_owned(), reference.tag().to_owned());
            Descriptor { annotations: BTreeMap::from([name, tag]), ..descriptor.clone() }
        });
        manifests.extend(named);
        if entry.references.is_empty() {
            manifests.push(descriptor);
        }
    }
    let media_type = Some(media_type::OCI_INDEX.to_owned());
    to_json(&Index { schema_version: 2, media_type, manifests })
}

/// `manifest.json`: one item for each image.
fn list(entries: &[(Digest, Entry)]) -> Vec<u8> {
    let items = entries.iter().map(|(_, entry)| {
        let tags: Vec<&Reference> = entry.references.iter().collect();
        Item {
            config: blob_path(&entry.config),
            repo_tags: (!tags.is_empty()).then_some(tags),
            layers: entry.image.layers.iter().map(|(digest, _)| blob_path(digest)).collect(),
        }
    });
    to_json(&items.collect::<Vec<_>>())
}

/// Passes a layer on while counting and hashing it; drops what is too much.
struct Checked<'a> {
    out: &'a mut dyn Write,
    left: u64,
    found: u64,
    hasher: DigestHasher,
}

impl Write for Checked<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        let count = if room == 0 { bytes.len() } else { self.out.write(&bytes[..room])? };
        if room > 0 {
            self.hasher.update(&bytes[..count]);
            self.left -= count as u64;
        }
        self.found = self.found.saturating_add(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Checked<'_> {
    fn check(self, expected: Digest, size: u64) -> Result<(), Error> {
        let what = || format!("layer {expected}");
        if self.found != size {
            return Err(Error::LengthMismatch { what: what(), expected: size, found: self.found });
        }
        let found = self.hasher.finish();
        if found != expected {
            return Err(Error::DigestMismatch { what: what(), expected, found });
        }
        Ok(())
    }
}

fn file(path: &str, body: Vec<u8>) -> File {
    File { path: path.to_owned(), body: Some(body) }
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Bytes that a member with a body of `size` bytes takes.
fn member_size(size: u64) -> u64 {
    let block = BLOCK as u64;
    let record = if size < FIRST_LONG { 0 } else { 2 * block };
    record + block + size.next_multiple_of(block)
}

fn write_document(out: &mut dyn Write, path: &str, body: Option<&[u8]>) -> io::Result<()> {
    write_header(out, path, body.map(|body| body.len() as u64))?;
    let body = body.unwrap_or_default();
    out.write_all(body)?;
    pad(out, body.len() as u64)
}

/// The header of a file of `size` bytes, or of a folder.
fn write_header(out: &mut dyn Write, path: &str, size: Option<u64>) -> io::Result<()> {
    let length = size.unwrap_or(0);
    if length < FIRST_LONG {
        let (kind, mode) = match size {
            Some(_) => (tar::EntryType::Regular, FILE_MODE),
            None => (tar::EntryType::Directory, FOLDER_MODE),
        };
        return out.write_all(header(path, kind, mode, length)?.as_bytes());
    }
    // Go, too, names the record after its file and leaves the size field zero.
    let record = size_record(length);
    let name = path.rsplit_once('/').map_or_else(
        || format!("PaxHeaders.0/{path}"),
        |(folder, name)| format!("{folder}/PaxHeaders.0/{name}"),
    );
    let kind = tar::EntryType::XHeader;
    out.write_all(header(&name, kind, FILE_MODE, record.len() as u64)?.as_bytes())?;
    out.write_all(record.as_bytes())?;
    pad(out, record.len() as u64)?;
    out.write_all(header(path, tar::EntryType::Regular, FILE_MODE, 0)?.as_bytes())
}

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
    use crate::image::manifest::make_manifest;
    use crate::image::tests::load;
    use crate::image::{Dialect, MemberKind, Members, Stream};

    fn image(names: &[&str], layers: &[&[u8]]) -> EmitImage {
        let layers: Vec<(Digest, u64)> =
            layers.iter().map(|layer| (Digest::of(layer), layer.len() as u64)).collect();
        let diff_ids: Vec<&Digest> = layers.iter().map(|(digest, _)| digest).collect();
        let config = serde_json::json!({"rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = serde_json::to_vec(&config).unwrap();
        let manifest = make_manifest(Digest::of(&config), config.len() as u64, &layers);
        let references = names.iter().map(|name| Reference::parse(name).unwrap()).collect();
        EmitImage { references, config, manifest, layers }
    }

    const BASE: &[u8] = &[b'b'; 700];

    fn write(images: Vec<EmitImage>) -> Vec<u8> {
        let plan = EmitPlan::new(images).unwrap();
        let mut out = Vec::new();
        let mut asked = Vec::new();
        plan.write(&mut out, |digest, body| {
            asked.push(*digest);
            let bytes = [BASE, b"one", b"two"].into_iter().find(|b| Digest::of(b) == *digest);
            body.write_all(bytes.unwrap()).map_err(|source| Error::Write { source })
        })
        .unwrap();
        assert_eq!(asked, plan.layers().iter().map(|(digest, _)| *digest).collect::<Vec<_>>());
        assert_eq!(plan.size(), out.len() as u64);
        out
    }

    fn some_images() -> Vec<EmitImage> {
        vec![
            image(&["app:2", "app:latest"], &[BASE, b"two"]),
            image(&["ghcr.io/a/b:1"], &[BASE, BASE]),
            image(&["app:1"], &[BASE, b"one"]),
            image(&[], &[]),
        ]
    }

    #[test]
    fn reads_back_as_it_was() {
        let tar = write(some_images());
        let loaded = load(&tar).unwrap();
        let archive = loaded.archive;
        assert_eq!((archive.dialect, archive.warnings.len()), (Dialect::DockerHybrid, 0));
        let names = |references: &[Reference]| {
            references.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        let found: Vec<_> = archive.images.iter().map(|image| names(&image.references)).collect();
        assert_eq!(
            found,
            [
                "",
                "docker.io/library/app:1",
                "docker.io/library/app:2 docker.io/library/app:latest",
                "ghcr.io/a/b:1",
            ]
        );
        for image in some_images() {
            let same = archive.images.iter().find(|other| other.config == image.config).unwrap();
            assert_eq!(same.manifest.as_ref(), Some(&image.manifest));
            let diff_ids: Vec<_> = same.layers.iter().map(|layer| layer.diff_id).collect();
            assert_eq!(diff_ids, image.layers.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        }
        let paths: Vec<_> = loaded.members.iter().map(|member| member.path.as_str()).collect();
        assert_eq!(
            paths[..5],
            ["oci-layout", "index.json", "manifest.json", "blobs", "blobs/sha256"]
        );
        assert_eq!(paths.len(), 5 + 4 + 4 + 3, "each blob once");
        let layers = [BASE, b"one", b"two"].map(|layer| blob_path(&Digest::of(layer)));
        assert_eq!(paths[13..], layers);
    }

    #[test]
    fn the_order_of_images_does_not_matter() {
        let tar = write(some_images());
        let mut images = some_images();
        images.reverse();
        assert!(write(images) == tar);
        let mut split = some_images();
        let second = split[0].references.split_off(1);
        split.push(EmitImage { references: second, ..split[0].clone() });
        assert!(write(split) == tar, "one image under two names is one image");
    }

    #[test]
    fn the_bytes_are_frozen() {
        let tar = write(some_images());
        let digest = "sha256:637ce285c022";
        assert!(Digest::of(&tar).to_string().starts_with(digest), "{}", Digest::of(&tar));
    }

    #[test]
    fn documents_are_as_engines_want_them() {
        let image = image(&["app:1"], &[b"one"]);
        let (config, manifest) = (Digest::of(&image.config), Digest::of(&image.manifest));
        let size = image.manifest.len();
        let layer = Digest::of(b"one").hex();
        let tar = write(vec![image]);
        let mut members = Members::new(Stream::new(tar.as_slice()));
        let mut documents = Vec::new();
        while let Some(member) = members.next_member().unwrap() {
            if documents.len() == 3 {
                assert_eq!(member.kind, MemberKind::Directory);
                break;
            }
            documents.push(String::from_utf8(members.read_body(9999).unwrap()).unwrap());
        }
        let config = config.hex();
        assert_eq!(
            documents,
            [
                r#"{"imageLayoutVersion":"1.0.0"}"#.to_owned(),
                format!(
                    "{{\"schemaVersion\":2,\
                 \"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[{{\
                 \"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\
                 \"digest\":\"{manifest}\",\"size\":{size},\"annotations\":{{\
                 \"io.containerd.image.name\":\"docker.io/library/app:1\",\
                 \"org.opencontainers.image.ref.name\":\"1\"}}}}]}}"
                ),
                format!(
                    "[{{\"Config\":\"blobs/sha256/{config}\",\
                 \"RepoTags\":[\"docker.io/library/app:1\"],\
                 \"Layers\":[\"blobs/sha256/{layer}\"]}}]"
                ),
            ]
        );
    }

    #[test]
    fn untagged_images_have_null_tags_and_no_annotations() {
        let tar = write(vec![image(&[], &[])]);
        let text = String::from_utf8_lossy(&tar);
        assert!(text.contains("\"RepoTags\":null,\"Layers\":[]}]"));
        assert!(!text.contains("annotations"));
    }

    #[test]
    fn a_layer_that_is_not_itself_fails() {
        let plan = EmitPlan::new(vec![image(&["app:1"], &[b"one"])]).unwrap();
        let try_with = |given: &[u8]| {
            let write = |_: &Digest, body: &mut dyn Write| -> Result<(), Error> {
                body.write_all(given).map_err(|source| Error::Write { source })
            };
            plan.write(&mut Vec::new(), write).unwrap_err().to_string()
        };
        let layer = format!("`layer {}`", Digest::of(b"one"));
        let length = format!("{layer} has the wrong length: expected 3 bytes, found");
        assert_eq!(try_with(b"on"), format!("{length} 2"));
        assert_eq!(try_with(b"ones"), format!("{length} 4"));
        assert_eq!(try_with(b""), format!("{length} 0"));
        let digest = format!("{layer} does not match its digest: expected {}", Digest::of(b"one"));
        assert_eq!(try_with(b"ono"), format!("{digest}, found {}", Digest::of(b"ono")));
    }

    #[test]
    fn plans_that_contradict_themselves_are_refused() {
        let refused = |images| EmitPlan::new(images).unwrap_err().to_string();
        let (one, two) = (image(&["app:1"], &[b"one"]), image(&["app:1"], &[b"two"]));
        let text = refused(vec![one.clone(), two.clone()]);
        assert!(text.starts_with("reference `docker.io/library/app:1` names two images"), "{text}");
        let other_config = EmitImage { config: b"{}".to_vec(), ..one.clone() };
        assert!(refused(vec![other_config]).ends_with("its config is another"));
        let other_layers = EmitImage { layers: two.layers, ..one.clone() };
        assert!(refused(vec![other_layers]).ends_with("its layers are others"));
        let no_manifest = EmitImage { manifest: Vec::new(), ..one };
        assert!(refused(vec![no_manifest]).ends_with("it can't be read"));
    }

    #[test]
    fn long_layers_have_a_size_record() {
        let size = FIRST_LONG + 5;
        assert_eq!(size_record(size), "19 size=8589934597\n");
        assert_eq!(member_size(size), 3 * 512 + FIRST_LONG + 512);
        let mut out = Vec::new();
        write_header(&mut out, &blob_path(&Digest::of(b"")), Some(size)).unwrap();
        assert_eq!(out.len(), 1536);
        let mut members = Members::new(Stream::new(out.as_slice()));
        let member = members.next_member().unwrap().unwrap();
        assert_eq!((member.path, member.size), (blob_path(&Digest::of(b"")), size));
        let mut out = Vec::new();
        write_header(&mut out, "f", Some(FIRST_LONG - 1)).unwrap();
        assert_eq!(&out[124..136], b"77777777777\0");
    }
}
