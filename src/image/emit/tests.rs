//! What archives look like, member by member.

use super::*;
use crate::image::manifest::make_manifest;
use crate::image::{
    Contents, Dialect, FoundConfig, Member, MemberKind, Members, SmallBodies, Stream, resolve,
};

/// What a stream of this archive holds.
fn load(tar: &[u8]) -> (Contents, Vec<Member>) {
    let mut reader = Members::new(Stream::new(tar));
    let (mut members, mut small) = (Vec::new(), SmallBodies::new());
    while let Some(member) = reader.next_member().unwrap() {
        small.keep(&member, reader.read_body(1 << 20).unwrap());
        members.push(member);
    }
    (resolve(&members, &|index| small.get(index)).unwrap(), members)
}

fn image(names: &[&str], layers: &[&[u8]]) -> EmitImage {
    let layers: Vec<(Digest, u64)> =
        layers.iter().map(|layer| (Digest::of(layer), layer.len() as u64)).collect();
    let diff_ids: Vec<&Digest> = layers.iter().map(|(digest, _)| digest).collect();
    let config = serde_json::json!({"rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let config = serde_json::to_vec(&config).unwrap();
    let manifest = make_manifest(Digest::of(&config), config.len() as u64, &layers);
    let references = names.iter().map(|name| Reference::parse(name).unwrap()).collect();
    EmitImage::plain(references, config, manifest, layers)
}

/// The config and the manifest.
fn config_and_manifest(image: &EmitImage) -> (&[u8], &[u8]) {
    (&image.documents[0].bytes, &image.documents[1].bytes)
}

const BASE: &[u8] = &[b'b'; 700];

fn write(images: Vec<EmitImage>) -> Vec<u8> {
    write_as(Format::Docker, images)
}

fn write_as(format: Format, images: Vec<EmitImage>) -> Vec<u8> {
    let plan = EmitPlan::new(format, images).unwrap();
    let mut sink = TarSink::new(Vec::new());
    let mut asked = Vec::new();
    plan.write(&mut sink, |digest, body| {
        asked.push(*digest);
        let bytes = [BASE, b"one", b"two"].into_iter().find(|b| Digest::of(b) == *digest);
        body.write_all(bytes.unwrap()).map_err(|source| Error::Write { source })
    })
    .unwrap();
    assert_eq!(asked, plan.layers().iter().map(|(digest, _)| *digest).collect::<Vec<_>>());
    let out = sink.into_inner();
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
    let (archive, members) = load(&tar);
    assert_eq!((archive.dialect, archive.warnings.len()), (Dialect::Containerd, 0));
    let names = |references: &[Reference]| {
        references.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let found: Vec<_> = archive.roots.iter().map(|image| names(&image.references)).collect();
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
        let (config, manifest) = config_and_manifest(&image);
        let mut all = archive.roots.iter().flat_map(|root| &root.manifests);
        let same = all.find(|found| {
            matches!(&found.config, FoundConfig::Given { document, .. } if document.bytes == config)
        });
        let same = same.unwrap();
        assert_eq!(same.document.as_ref().map(|it| it.bytes.as_slice()), Some(manifest));
        let diff_ids: Vec<_> = same.layers.iter().filter_map(|layer| layer.diff_id).collect();
        assert_eq!(diff_ids, image.blobs.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    }
    let paths: Vec<_> = members.iter().map(|member| member.path.as_str()).collect();
    assert_eq!(paths[..5], ["oci-layout", "index.json", "manifest.json", "blobs", "blobs/sha256"]);
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
    let (config, manifest) = config_and_manifest(&image);
    let (config, manifest, size) = (Digest::of(config), Digest::of(manifest), manifest.len());
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
    let plan = EmitPlan::new(Format::Docker, vec![image(&["app:1"], &[b"one"])]).unwrap();
    let try_with = |given: &[u8]| {
        let write = |_: &Digest, body: &mut dyn Write| -> Result<(), Error> {
            body.write_all(given).map_err(|source| Error::Write { source })
        };
        plan.write(&mut TarSink::new(io::sink()), write).unwrap_err().to_string()
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
    let refused = |images| EmitPlan::new(Format::Docker, images).unwrap_err().to_string();
    let (one, two) = (image(&["app:1"], &[b"one"]), image(&["app:1"], &[b"two"]));
    let text = refused(vec![one.clone(), two.clone()]);
    assert!(text.starts_with("reference `docker.io/library/app:1` names two images"), "{text}");
    let with = |at: usize, bytes: &[u8]| {
        let mut image = one.clone();
        image.documents[at].bytes = bytes.to_vec();
        image.root.digest = Digest::of(&image.documents[1].bytes);
        image.root.size = image.documents[1].bytes.len() as u64;
        image
    };
    assert!(refused(vec![with(0, b"{}")]).ends_with("its config is another"));
    let other_layers = EmitImage { blobs: two.blobs, ..one.clone() };
    assert!(refused(vec![other_layers]).ends_with("its layers are others"));
    assert!(refused(vec![with(1, b"")]).ends_with("it can't be read"));
    let elsewhere = EmitImage { root: image(&[], &[]).root, ..one.clone() };
    assert!(refused(vec![elsewhere]).ends_with("it is not there itself"));
}
