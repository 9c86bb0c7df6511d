//! What goes out of stores that hold indexes, compressed layers, artifacts and what
//! is about them.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::codec::Levels;
use crate::fs::Disk;
use crate::image::{Query, Reference, make_manifest, media_type};
use crate::ops::resolve::resolve;
use crate::store::OpenOptions;
use crate::store::record::{Revision, Root, SaveRecord, Source};
use crate::time::Time;

/// A store, and the revisions that its one save is to have.
struct Shelf {
    _scratch: tempfile::TempDir,
    store: Store,
    blobs: Vec<Vec<u8>>,
    revisions: Vec<Revision>,
}

/// An archive, in memory.
struct Archive {
    members: BTreeMap<String, Vec<u8>>,
    notes: Vec<String>,
}

fn tar_of(name: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(3000);
    let content = name.repeat(3000);
    tar.append_data(&mut header, name, &content.as_bytes()[..3000]).unwrap();
    tar.into_inner().unwrap()
}

fn encoded(form: Form, bytes: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(form, Vec::new()).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()})
}

impl Shelf {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("store");
        Store::create(&Disk, &root, "test").unwrap();
        let store = Store::open(Arc::new(Disk), &root, &OpenOptions::default()).unwrap();
        Self { _scratch: scratch, store, blobs: Vec::new(), revisions: Vec::new() }
    }

    fn keep(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        self.blobs.push(bytes.clone());
        bytes
    }

    /// An image with layers in these forms; returns its manifest. Plain tars of
    /// compressed layers aren't kept, unless that is asked for.
    fn image(&mut self, platform: &str, layers: &[(&str, Form)], with_plain: bool) -> Vec<u8> {
        let mut parts = platform.split('/');
        let (os, architecture) = (parts.next().unwrap(), parts.next().unwrap());
        let tars: Vec<_> = layers.iter().map(|(name, _)| tar_of(name)).collect();
        let diff_ids: Vec<_> = tars.iter().map(|tar| Digest::of(tar)).collect();
        let config = json!({"os": os, "architecture": architecture,
            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = self.keep(config.to_string().into_bytes());
        let mut listed = Vec::new();
        for (tar, (_, form)) in tars.iter().zip(layers) {
            let media_type = match form {
                Form::Plain => media_type::OCI_LAYER,
                Form::Gzip => media_type::OCI_LAYER_GZIP,
                Form::Zstd => media_type::OCI_LAYER_ZSTD,
            };
            // Of another encoder than ours would be.
            let mut bytes = encoded(*form, &tar[..1000]);
            bytes.extend(encoded(*form, &tar[1000..]));
            listed.push(descriptor(media_type, &bytes));
            self.keep(bytes);
            if with_plain {
                self.keep(tar.clone());
            }
        }
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
            "config": descriptor(media_type::OCI_CONFIG, &config), "layers": listed,
            "annotations": {"made": "by hand"}});
        self.keep(manifest.to_string().into_bytes())
    }

    /// An index of manifests, with platforms and annotations.
    fn index(&mut self, manifests: &[(&[u8], &str, Value)]) -> Vec<u8> {
        let listed = manifests.iter().map(|(bytes, platform, annotations)| {
            let mut listed = descriptor(media_type::OCI_MANIFEST, bytes);
            let (os, architecture) = platform.split_once('/').unwrap();
            listed["platform"] = json!({"os": os, "architecture": architecture});
            listed["annotations"] = annotations.clone();
            listed
        });
        let listed: Vec<Value> = listed.collect();
        let index = json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX,
            "manifests": listed});
        self.keep(index.to_string().into_bytes())
    }

    /// An attestation of a manifest, and its annotations.
    fn attestation(&mut self, of: &[u8]) -> (Vec<u8>, Value) {
        let layer = self.keep(b"{\"predicate\":1}".to_vec());
        let config =
            self.keep(br#"{"os":"unknown","architecture":"unknown","rootfs":{}}"#.to_vec());
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
            "config": descriptor(media_type::OCI_CONFIG, &config),
            "layers": [descriptor("application/vnd.in-toto+json", &layer)]});
        let annotations = json!({"vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": Digest::of(of)});
        (self.keep(manifest.to_string().into_bytes()), annotations)
    }

    /// A signature of a manifest.
    fn signature(&mut self, of: &[u8]) -> Vec<u8> {
        let (empty, layer) = (self.keep(b"{}".to_vec()), self.keep(b"signed".to_vec()));
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
            "artifactType": "application/vnd.test.signature",
            "config": descriptor("application/vnd.oci.empty.v1+json", &empty),
            "layers": [descriptor("text/plain", &layer)],
            "subject": descriptor(media_type::OCI_MANIFEST, of)});
        self.keep(manifest.to_string().into_bytes())
    }

    fn revision(&mut self, name: &str, root: &[u8], media_type: &str, referrers: &[&[u8]]) {
        let root_of = |bytes: &[u8], media_type: &str| Root {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
        };
        let root = root_of(root, media_type);
        let referrers = referrers.iter().map(|bytes| root_of(bytes, media_type::OCI_MANIFEST));
        let mut revision: Revision = serde_json::from_value(json!({
            "root": root, "image_id": root.digest, "platform": {"os": "", "architecture": ""},
            "references": [Reference::parse(name).unwrap()], "created": null, "layers": 0,
            "size": 0, "added": 0}))
        .unwrap();
        revision.referrers = referrers.collect();
        self.revisions.push(revision);
    }

    /// Commits all, but for blobs that were not in the archive.
    fn commit(&mut self, without: &[&[u8]]) {
        for revision in &mut self.revisions {
            revision.not_shipped = without.iter().map(|blob| Digest::of(blob)).collect();
        }
        let mut session = self.store.begin(Levels::for_content(3)).unwrap();
        for blob in self.blobs.iter().filter(|blob| !without.contains(&blob.as_slice())) {
            session.put_bytes(blob).unwrap();
        }
        let source = Source { name: "-".to_owned(), dialect: "oci".to_owned() };
        let record = SaveRecord::new("test", source, self.revisions.clone());
        session.commit(record, Time::from_nanos(1_700_000_000_000_000_000), true).unwrap();
    }

    fn found(&self, name: &str) -> Resolved {
        resolve(&self.store, &Query::parse(name).unwrap(), &|_| None).unwrap()
    }

    fn try_export(&self, names: &[&str], options: &ExportOptions) -> Result<Archive, ExportError> {
        let images: Vec<_> = names.iter().map(|name| self.found(name)).collect();
        let export = Export::plan(&self.store, &images, options, &())?;
        let mut out = Vec::new();
        let outcome = export.write(&mut out, Form::Plain, &())?;
        assert_eq!(outcome.bytes, out.len() as u64);
        assert_eq!(export.plan.size(), out.len() as u64, "the size was known before");
        let mut members = BTreeMap::new();
        for entry in tar::Archive::new(out.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let mut body = Vec::new();
            entry.read_to_end(&mut body).unwrap();
            if let Some(hex) = path.strip_prefix("blobs/sha256/").filter(|hex| !hex.is_empty()) {
                assert_eq!(Digest::of(&body).hex(), hex);
            }
            members.insert(path, body);
        }
        let notes = export.notes().iter().map(ToString::to_string).collect();
        Ok(Archive { members, notes })
    }

    fn export(&self, options: &ExportOptions) -> Archive {
        self.try_export(&["app:1"], options).unwrap()
    }
}

impl Archive {
    fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.members[path]).unwrap()
    }

    fn blob(&self, digest: &Value) -> &[u8] {
        &self.members[&format!("blobs/sha256/{}", &digest.as_str().unwrap()["sha256:".len()..])]
    }

    fn document(&self, descriptor: &Value) -> Value {
        serde_json::from_slice(self.blob(&descriptor["digest"])).unwrap()
    }

    /// What `index.json` lists.
    fn listed(&self) -> Vec<Value> {
        self.json("index.json")["manifests"].as_array().unwrap().clone()
    }

    /// The plain tars of the image that `manifest.json` lists.
    fn docker_layers(&self) -> Vec<Vec<u8>> {
        let list = self.json("manifest.json");
        let layers = list[0]["Layers"].as_array().unwrap().clone();
        let body = |path: &Value| self.members[path.as_str().unwrap()].clone();
        layers.iter().map(|path| plain(body(path))).collect()
    }
}

fn plain(bytes: Vec<u8>) -> Vec<u8> {
    let mut out = Vec::new();
    let Some(compression) = image::sniff(&bytes) else { return bytes };
    crate::codec::expand(compression, bytes.as_slice()).unwrap().read_to_end(&mut out).unwrap();
    out
}

fn layers(layers: LayerCompression) -> ExportOptions {
    ExportOptions { layers, ..Default::default() }
}

fn platform(text: &str) -> ExportOptions {
    ExportOptions { platforms: vec![parse_platform(text).unwrap()], ..Default::default() }
}

const MIXED: &[(&str, Form)] = &[("a", Form::Gzip), ("b", Form::Plain), ("c", Form::Zstd)];

/// An index of two images with an attestation of one, signed; the bytes of all four.
fn two_platforms(shelf: &mut Shelf) -> [Vec<u8>; 4] {
    let arm = shelf.image("linux/arm64", &[("a", Form::Gzip), ("arm", Form::Gzip)], true);
    let amd = shelf.image("linux/amd64", &[("a", Form::Gzip), ("amd", Form::Gzip)], true);
    let (attestation, about) = shelf.attestation(&amd);
    let index = shelf.index(&[
        (&arm, "linux/arm64", json!({})),
        (&amd, "linux/amd64", json!({})),
        (&attestation, "unknown/unknown", about),
    ]);
    let signature = shelf.signature(&index);
    shelf.revision("app:1", &index, media_type::OCI_INDEX, &[&signature]);
    [index, arm, amd, signature]
}

#[test]
fn a_whole_index_goes_out_as_it_is() {
    let mut shelf = Shelf::new();
    let [index, _, amd, signature] = two_platforms(&mut shelf);
    shelf.commit(&[]);
    let archive = shelf.export(&ExportOptions::default());
    let listed = archive.listed();
    assert_eq!(listed[0]["digest"], json!(Digest::of(&index)));
    assert_eq!(listed[0]["annotations"]["io.containerd.image.name"], "docker.io/library/app:1");
    assert_eq!(listed[1]["digest"], json!(Digest::of(&signature)));
    assert_eq!(listed[1]["artifactType"], "application/vnd.test.signature");
    assert!(listed[1].get("annotations").is_none());
    assert_eq!(archive.docker_layers(), [tar_of("a"), tar_of("amd")], "linux/amd64 is the usual");
    let config = &serde_json::from_slice::<Value>(&amd).unwrap()["config"]["digest"];
    let item = &archive.json("manifest.json")[0];
    let path = format!("blobs/sha256/{}", &config.as_str().unwrap()[7..]);
    assert_eq!(
        (&item["Config"], &item["RepoTags"][0]),
        (&json!(path), &json!("docker.io/library/app:1"))
    );
    assert!(archive.notes.is_empty());
    let oci = shelf.export(&ExportOptions { format: Format::Oci, ..Default::default() });
    assert!(!oci.members.contains_key("manifest.json"));
    assert_eq!(oci.members["index.json"], archive.members["index.json"]);
}

#[test]
fn a_platform_is_picked_from_an_index() {
    let mut shelf = Shelf::new();
    let [_, arm, ..] = two_platforms(&mut shelf);
    shelf.commit(&[]);
    let archive = shelf.export(&platform("linux/arm64"));
    let listed = archive.listed();
    assert_eq!(listed.len(), 1, "the signature is of the index");
    assert_eq!(listed[0]["digest"], json!(Digest::of(&arm)));
    assert!(listed[0].get("platform").is_none());
    assert_eq!(archive.docker_layers(), [tar_of("a"), tar_of("arm")]);
    assert_eq!(archive.notes, ["left out 1 manifest about digests that don't go out"]);
    let same = shelf.export(&platform("linux/aarch64/v8"));
    assert_eq!(same.members, archive.members);
    let error = shelf.try_export(&["app:1"], &platform("linux/s390x")).err().unwrap();
    let text = "app:1 is not there for linux/s390x, but for linux/arm64, linux/amd64";
    assert_eq!(error.to_string(), text);
}

#[test]
fn one_image_of_an_index_stands_for_it() {
    let mut shelf = Shelf::new();
    let [_, arm, amd, _] = two_platforms(&mut shelf);
    shelf.commit(&[&arm]);
    let archive = shelf.export(&ExportOptions::default());
    assert_eq!(archive.listed().len(), 1);
    assert_eq!(archive.listed()[0]["digest"], json!(Digest::of(&amd)));
    let blobs = archive.members.keys().filter(|path| path.starts_with("blobs/sha256/"));
    assert_eq!(blobs.count(), 1 + 4, "a config, a manifest and two layers");
    let note = "app:1: one image of its index is stored, 1 manifest not; \
                the archive has that image, without the index";
    assert_eq!(archive.notes[0], note);
}

#[test]
fn an_image_without_all_layers_counts_as_absent() {
    let mut shelf = Shelf::new();
    let [_, arm, ..] = two_platforms(&mut shelf);
    let layer = |name| {
        [encoded(Form::Gzip, &tar_of(name)[..1000]), encoded(Form::Gzip, &tar_of(name)[1000..])]
            .concat()
    };
    shelf.commit(&[&layer("amd")]);
    let archive = shelf.export(&ExportOptions::default());
    assert_eq!(archive.listed()[0]["digest"], json!(Digest::of(&arm)));
}

#[test]
fn several_images_of_an_index_get_a_new_one() {
    let mut shelf = Shelf::new();
    let images = ["amd64", "arm64", "s390x"].map(|architecture| {
        shelf.image(&format!("linux/{architecture}"), &[(architecture, Form::Gzip)], true)
    });
    let index = shelf.index(&[
        (&images[0], "linux/amd64", json!({"keep": "this"})),
        (&images[1], "linux/arm64", json!({})),
        (&images[2], "linux/s390x", json!({})),
    ]);
    shelf.revision("app:1", &index, media_type::OCI_INDEX, &[]);
    shelf.commit(&[&images[2]]);
    let archive = shelf.export(&ExportOptions::default());
    let listed = &archive.listed()[0];
    assert_eq!(listed["mediaType"], media_type::OCI_INDEX);
    let made = archive.document(listed);
    assert_eq!(made["annotations"][ORIGINAL_INDEX], json!(Digest::of(&index)));
    let digests: Vec<&Value> =
        made["manifests"].as_array().unwrap().iter().map(|it| &it["digest"]).collect();
    assert_eq!(digests, [&json!(Digest::of(&images[0])), &json!(Digest::of(&images[1]))]);
    assert_eq!(made["manifests"][0]["annotations"]["keep"], "this");
    assert_eq!(made["manifests"][0]["platform"]["architecture"], "amd64");
    assert_eq!(archive.notes, ["app:1: wrote a new index of 2 manifests, without 1"]);
    let picked = shelf.export(&platform("linux/arm64"));
    assert_eq!(picked.listed()[0]["digest"], json!(Digest::of(&images[1])));
    assert!(picked.notes.is_empty(), "it is what was asked for: {:?}", picked.notes);
}

#[test]
fn new_layers_make_new_manifests_and_drop_what_speaks_of_the_old() {
    let mut shelf = Shelf::new();
    let [index, ..] = two_platforms(&mut shelf);
    shelf.commit(&[]);
    let archive = shelf.export(&layers(LayerCompression::None));
    let listed = archive.listed();
    assert_eq!(listed.len(), 1, "no signature of what isn't there");
    let made = archive.document(&listed[0]);
    assert_eq!(made["annotations"][ORIGINAL_INDEX], json!(Digest::of(&index)));
    assert_eq!(made["manifests"].as_array().unwrap().len(), 2, "no attestation");
    let manifest = archive.document(&made["manifests"][0]);
    let config = archive.blob(&manifest["config"]["digest"]);
    let plain = [tar_of("a"), tar_of("arm")].map(|tar| (Digest::of(&tar), tar.len() as u64));
    let expected = make_manifest(Digest::of(config), config.len() as u64, &plain);
    assert_eq!(made["manifests"][0]["digest"], json!(Digest::of(&expected)));
    assert_eq!(
        archive.notes,
        [
            "app:1: left out 1 attestation of images that are made anew",
            "app:1: wrote a new index of 2 manifests, without 1",
            "left out 1 manifest about digests that don't go out",
        ]
    );
}

#[test]
fn every_form_from_every_form() {
    for with_plain in [true, false] {
        let mut shelf = Shelf::new();
        let image = shelf.image("linux/amd64", MIXED, with_plain);
        shelf.revision("app:1", &image, media_type::OCI_MANIFEST, &[]);
        shelf.commit(&[]);
        let given: Value = serde_json::from_slice(&image).unwrap();
        let tars = ["a", "b", "c"].map(tar_of);
        for (how, kept, media_type) in [
            (LayerCompression::Keep, [0, 1, 2].as_slice(), None),
            (LayerCompression::None, &[1], Some(media_type::OCI_LAYER)),
            (LayerCompression::Gzip, &[0], Some(media_type::OCI_LAYER_GZIP)),
            (LayerCompression::Zstd, &[2], Some(media_type::OCI_LAYER_ZSTD)),
        ] {
            let archive = shelf.export(&layers(how));
            assert_eq!(archive.docker_layers(), tars, "{how:?}");
            let root = &archive.listed()[0];
            let manifest = archive.document(root);
            for at in 0..3 {
                let (layer, given) = (&manifest["layers"][at], &given["layers"][at]);
                assert_eq!(layer["digest"] == given["digest"], kept.contains(&at), "{how:?} {at}");
                let expected = media_type.map_or(given["mediaType"].clone(), Value::from);
                assert_eq!(layer["mediaType"], expected, "{how:?} {at}");
                let size = archive.blob(&layer["digest"]).len();
                assert_eq!(layer["size"], size, "{how:?} {at}");
            }
            let same = root["digest"] == json!(Digest::of(&image));
            assert_eq!(same, how == LayerCompression::Keep);
            let annotated = manifest["annotations"]["made"] == "by hand";
            assert_eq!(annotated, how != LayerCompression::None, "{how:?}");
            let again = shelf.export(&layers(how));
            assert_eq!(again.members, archive.members, "{how:?}");
        }
    }
}

#[test]
fn zstd_is_made_plain_for_who_can_not_read_it() {
    let mut shelf = Shelf::new();
    let mixed = shelf.image("linux/amd64", MIXED, true);
    let gzip = shelf.image("linux/amd64", &MIXED[..2], true);
    shelf.revision("app:1", &mixed, media_type::OCI_MANIFEST, &[]);
    shelf.revision("app:2", &gzip, media_type::OCI_MANIFEST, &[]);
    shelf.commit(&[]);
    let options = ExportOptions { lacks: &[Lack::ZstdLayers], ..Default::default() };
    let archive = shelf.try_export(&["app:1", "app:2"], &options).unwrap();
    let types = |root: &Value| {
        let layers = archive.document(root)["layers"].as_array().unwrap().clone();
        layers.iter().map(|it| it["mediaType"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(types(&archive.listed()[0]), [media_type::OCI_LAYER; 3]);
    let kept = [media_type::OCI_LAYER_GZIP, media_type::OCI_LAYER];
    assert_eq!(types(&archive.listed()[1]), kept);
    assert_eq!(archive.notes.len(), 1);
}

#[test]
fn old_docker_gets_plain_layers_of_anything() {
    let mut shelf = Shelf::new();
    two_platforms(&mut shelf);
    let image = shelf.image("linux/amd64", &[("a", Form::Zstd), ("a", Form::Zstd)], false);
    shelf.revision("app:2", &image, media_type::OCI_MANIFEST, &[]);
    shelf.commit(&[]);
    let options = ExportOptions { format: Format::DockerLegacy, ..layers(LayerCompression::None) };
    let archive = shelf.try_export(&["app:1", "app:2"], &options).unwrap();
    let list = archive.json("manifest.json");
    assert_eq!(archive.docker_layers(), [tar_of("a"), tar_of("amd")]);
    let paths = list[1]["Layers"].as_array().unwrap();
    assert_eq!(paths[0], paths[1], "each layer is there once");
    let tags = &archive.json("repositories")["app"];
    for (item, tag) in [(0, "1"), (1, "2")] {
        let top = tags[tag].as_str().unwrap();
        let json = archive.json(&format!("{top}/json"));
        assert_eq!((&json["id"], &json["architecture"]), (&json!(top), &json!("amd64")));
        let parent = json["parent"].as_str().unwrap();
        assert!(archive.members.contains_key(&format!("{parent}/layer.tar")), "{item}");
        assert_eq!(archive.members[&format!("{top}/VERSION")], b"1.0");
    }
    let files = archive
        .members
        .iter()
        .filter(|(path, body)| path.ends_with("/layer.tar") && !body.is_empty());
    assert_eq!(files.count(), 2);
    let reversed = shelf.try_export(&["app:2", "app:1"], &options).unwrap();
    assert_eq!(reversed.members, archive.members);
}

#[test]
fn layers_that_are_elsewhere_stay_descriptors() {
    let mut shelf = Shelf::new();
    let tars = ["base", "own"].map(tar_of);
    let diff_ids: Vec<_> = tars.iter().map(|tar| Digest::of(tar)).collect();
    let config =
        json!({"os": "windows", "architecture": "amd64", "rootfs": {"diff_ids": diff_ids}});
    let config = shelf.keep(config.to_string().into_bytes());
    let own = shelf.keep(tars[1].clone());
    let mut foreign =
        descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", b"far");
    foreign["urls"] = json!(["https://far.example/base"]);
    let manifest = json!({"schemaVersion": 2, "mediaType": media_type::DOCKER_MANIFEST,
        "config": descriptor(media_type::DOCKER_CONFIG, &config),
        "layers": [foreign, descriptor(media_type::DOCKER_LAYER, &own)]});
    let manifest = shelf.keep(manifest.to_string().into_bytes());
    shelf.revision("app:1", &manifest, media_type::DOCKER_MANIFEST, &[]);
    shelf.commit(&[b"far"]);
    let archive = shelf.export(&ExportOptions::default());
    assert_eq!(archive.listed()[0]["digest"], json!(Digest::of(&manifest)));
    let item = &archive.json("manifest.json")[0];
    assert_eq!(item["Layers"].as_array().unwrap().len(), 2);
    assert_eq!(item["LayerSources"], json!({diff_ids[0].to_string(): foreign}));
    let changed = shelf.export(&layers(LayerCompression::Gzip));
    let manifest = changed.document(&changed.listed()[0]);
    assert_eq!(manifest["layers"][0], foreign);
    assert_eq!(manifest["config"]["mediaType"], media_type::OCI_CONFIG);
    assert_eq!(manifest["layers"][1]["mediaType"], media_type::OCI_LAYER_GZIP);
}

#[test]
fn artifacts_go_out_in_layouts_only() {
    let mut shelf = Shelf::new();
    let image = shelf.image("linux/amd64", MIXED, true);
    let artifact = shelf.signature(&image);
    shelf.revision("sig:1", &artifact, media_type::OCI_MANIFEST, &[]);
    shelf.commit(&[]);
    for how in [LayerCompression::Keep, LayerCompression::Gzip] {
        let archive = shelf.try_export(&["sig:1"], &layers(how)).unwrap();
        assert_eq!(archive.listed()[0]["digest"], json!(Digest::of(&artifact)));
        assert_eq!(archive.json("manifest.json"), json!([]));
    }
    let legacy = ExportOptions { format: Format::DockerLegacy, ..layers(LayerCompression::None) };
    let error = shelf.try_export(&["sig:1"], &legacy).err().unwrap().to_string();
    assert_eq!(error, "sig:1 is no image, and can only go out as an OCI layout");
}

#[test]
fn what_is_damaged_fails() {
    let mut shelf = Shelf::new();
    // Its layer is no gzip at all.
    let tar = tar_of("a");
    let config = json!({"rootfs": {"diff_ids": [Digest::of(&tar)]}});
    let config = shelf.keep(config.to_string().into_bytes());
    let layer = shelf.keep(encoded(Form::Gzip, b"another tar"));
    let manifest = json!({"schemaVersion": 2,
        "config": descriptor(media_type::OCI_CONFIG, &config),
        "layers": [descriptor(media_type::OCI_LAYER_GZIP, &layer)]});
    let manifest = shelf.keep(manifest.to_string().into_bytes());
    shelf.revision("app:1", &manifest, media_type::OCI_MANIFEST, &[]);
    let gone = shelf.image("linux/amd64", &MIXED[..1], false);
    shelf.revision("gone:1", &gone, media_type::OCI_MANIFEST, &[]);
    let missing = encoded(Form::Gzip, &tar[..1000]);
    let missing = [missing, encoded(Form::Gzip, &tar[1000..])].concat();
    shelf.commit(&[&missing]);
    let error = shelf.try_export(&["app:1"], &layers(LayerCompression::None)).err().unwrap();
    assert!(error.to_string().contains("does not match its digest"), "{error}");
    let error = shelf.try_export(&["gone:1"], &ExportOptions::default()).err().unwrap();
    assert!(matches!(error, ExportError::Store(StoreError::NoBlob { .. })), "{error}");
}

#[test]
fn an_image_of_an_index_can_be_asked_for_alone() {
    let mut shelf = Shelf::new();
    let [_, arm, ..] = two_platforms(&mut shelf);
    shelf.commit(&[]);
    let whole = shelf.found("app:1");
    let one = Resolved { reference: None, manifest: Some(Digest::of(&arm)), ..whole };
    let export = Export::plan(&shelf.store, &[one], &ExportOptions::default(), &()).unwrap();
    let member = |path: &str| export.members().iter().find(|member| member.path == path).cloned();
    let image::EmitBody::Bytes(index) = member("index.json").unwrap().body else { panic!() };
    let index: Value = serde_json::from_slice(&index).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(index["manifests"][0]["digest"], json!(Digest::of(&arm)));
}

#[test]
fn platforms_are_read_as_people_write_them() {
    let shown = |text| parse_platform(text).map(|platform| select::shown(&platform));
    assert_eq!(shown("linux/x86_64").as_deref(), Some("linux/amd64"));
    assert_eq!(shown("linux/arm/v7").as_deref(), Some("linux/arm/v7"));
    for bad in ["", "linux", "linux/", "/arm64", "linux/arm/", "linux/arm/v7/x"] {
        assert_eq!(shown(bad), None, "{bad}");
    }
}
