//! What is said of archives of many shapes, and that shapes are seen.

use super::*;
use crate::codec::Compression;
use crate::image::{EmitImage, EmitPlan, Format, Reference, TarSink, make_manifest};

/// An archive as `docker save` since 25 writes it, of one image.
fn hybrid() -> Shape {
    Shape {
        layout: true,
        list: true,
        entries: 1,
        items: 1,
        images: 1,
        layers: [None].into(),
        ..Shape::default()
    }
}

/// The names of those that refuse it, by their first words.
fn refusing(shape: &Shape) -> Vec<&'static str> {
    let verdicts = verdicts(shape).into_iter().filter(|verdict| !verdict.accepts);
    verdicts.map(|verdict| verdict.consumer.split(',').next().unwrap_or_default()).collect()
}

fn all_but(accepting: &[&str]) -> Vec<&'static str> {
    let names = CONSUMERS.iter().map(|it| it.name.split(',').next().unwrap_or_default());
    names.filter(|name| !accepting.contains(name)).collect()
}

#[test]
fn a_hybrid_is_for_all_that_read_tars() {
    assert_eq!(refusing(&hybrid()), ["umoci"]);
    let verdict = verdicts(&hybrid()).into_iter().find(|it| it.consumer == "skopeo").unwrap();
    assert!(verdict.findings.is_empty());
    let several = Shape { entries: 2, items: 2, images: 2, ..hybrid() };
    assert_eq!(refusing(&several), ["umoci"]);
}

/// What was tried with layers left out, on engines that had them.
#[test]
fn thin_archives_load_as_they_did_when_tried() {
    let hybrid = Shape { missing: 6, ..hybrid() };
    for name in ["Docker 20.10", "Docker 23 to 28", "Docker", "Podman"] {
        assert!(!refusing(&hybrid).contains(&name), "{name}");
    }
    let docker = Shape { layout: false, entries: 0, ..hybrid };
    let refused = refusing(&docker);
    assert!(refused.contains(&"Podman"));
    let of_store =
        verdicts(&docker).into_iter().find(|it| it.consumer.contains("containerd store"));
    assert!(!of_store.unwrap().accepts);
    assert!(!refused.contains(&"Docker 20.10"));
}

#[test]
fn layouts_alone_are_for_those_that_read_them() {
    let layout = Shape { list: false, items: 0, ..hybrid() };
    let graph = ["Docker 20.10", "Docker 23 to 28", "Docker 29"];
    let expected = [graph.as_slice(), &["crane", "umoci"]].concat();
    assert_eq!(refusing(&layout), expected);
    let several = Shape { entries: 2, ..layout.clone() };
    let expected = [graph.as_slice(), &["Podman", "crane", "umoci"]].concat();
    assert_eq!(refusing(&several), expected);
    let folder = Shape { folder: true, ..layout };
    assert_eq!(refusing(&folder), all_but(&["Podman", "skopeo", "umoci", "trivy"]));
}

/// Bug: such layouts were said to be like any other. They come of Docker archives
/// that went through Docker's containerd store.
#[test]
fn layouts_with_manifests_of_dockers_types_are_not_for_all() {
    let oci = Shape { list: false, folder: true, ..hybrid() };
    let docker = Shape { docker_types: 1, ..oci.clone() };
    let more = refusing(&docker).into_iter().filter(|name| !refusing(&oci).contains(name));
    assert_eq!(more.collect::<Vec<_>>(), ["umoci"]);
    let findings = |shape: &Shape| {
        let verdicts = verdicts(shape);
        verdicts.iter().find(|verdict| verdict.consumer == "skopeo").unwrap().findings.len()
    };
    assert_eq!(findings(&docker), findings(&oci) + 1);
}

/// Bug: nothing was said of umoci, which fails on them.
#[test]
fn zstd_layers_in_folders_are_no_matter_of_course_for_umoci() {
    let zstd = Shape { layers: [Some("zstd")].into(), list: false, folder: true, ..hybrid() };
    let verdicts = verdicts(&zstd);
    let umoci = verdicts.iter().find(|verdict| verdict.consumer == "umoci").unwrap();
    assert!(umoci.accepts && umoci.findings.len() == 1, "{umoci:?}");
}

#[test]
fn compressions_are_known_to_some() {
    let zstd = Shape { layers: [Some("zstd")].into(), ..hybrid() };
    assert_eq!(refusing(&zstd), ["Docker 20.10", "umoci"]);
    let outer = Shape { outer: Some(Compression::Zstd), ..hybrid() };
    assert_eq!(refusing(&outer), ["Docker 20.10", "kind", "crane", "umoci"]);
    let outer = Shape { outer: Some(Compression::Xz), ..hybrid() };
    assert_eq!(refusing(&outer), ["containerd (ctr)", "nerdctl", "kind", "k3s", "crane", "umoci"]);
    let mixed = Shape { layers: [None, Some("gzip")].into(), ..hybrid() };
    assert_eq!(refusing(&mixed), ["crane", "umoci"]);
    let bzip2 = Shape { layers: [Some("bzip2")].into(), ..hybrid() };
    assert_eq!(refusing(&bzip2), ["Docker", "containerd (ctr)", "nerdctl", "kind", "k3s", "umoci"]);
}

#[test]
fn a_hollow_index_fails_where_all_platforms_are_taken() {
    let hollow = Shape { hollow: 19, ..hybrid() };
    assert_eq!(refusing(&hollow), ["kind", "k3s", "umoci"]);
}

#[test]
fn odd_documents_are_refused_by_strict_readers() {
    let docker = Shape { layout: false, entries: 0, ..hybrid() };
    assert_eq!(refusing(&docker), ["umoci"]);
    let odd = Shape { odd_paths: true, ..docker.clone() };
    let containerd = ["Docker", "containerd (ctr)", "nerdctl", "kind", "k3s", "umoci"];
    assert_eq!(refusing(&odd), containerd);
    for strict in [
        Shape { list_goes_on: true, ..docker.clone() },
        Shape { list_size: (1 << 20) + 1, ..docker.clone() },
        Shape { config_size: (4 << 20) + 1, ..docker },
    ] {
        assert_eq!(refusing(&strict), ["Podman", "skopeo", "umoci"]);
    }
    let v1 = Shape { images: 1, ..Shape::default() };
    assert_eq!(refusing(&v1), all_but(&["Docker 20.10", "Docker 23 to 28"]));
}

#[test]
fn artifacts_are_no_images() {
    let artifact = Shape { images: 0, items: 0, artifacts: 1, ..hybrid() };
    let keep = ["Docker", "containerd (ctr)", "nerdctl", "kind", "k3s", "skopeo"];
    let refused = refusing(&artifact);
    for name in ["Docker 20.10", "Podman", "crane", "trivy"] {
        assert!(refused.contains(&name), "{name}");
    }
    assert!(keep.iter().all(|name| !refused.contains(name)), "{refused:?}");
}

/// The shape of what we emit, read as a stream.
fn emitted(format: Format, images: Vec<EmitImage>) -> Shape {
    let mut sink = TarSink::new(Vec::new());
    let write = |_: &Digest, body: &mut dyn io::Write| {
        body.write_all(b"layer").map_err(|source| image::Error::Write { source })
    };
    EmitPlan::new(format, images).unwrap().write(&mut sink, write).unwrap();
    let stream = io::Cursor::new(sink.into_inner());
    let input = Input::from_stream("-".to_owned(), stream).unwrap();
    Shape { outer: Some(Compression::Gzip), ..shape_of_input(input).unwrap() }
}

fn image(name: &str, count: usize) -> EmitImage {
    let layers = vec![(Digest::of(b"layer"), 5); count];
    let diff_ids: Vec<Digest> = layers.iter().map(|(digest, _)| *digest).collect();
    let config = serde_json::json!({"os": "linux", "architecture": "amd64", "comment": name,
        "rootfs": {"diff_ids": diff_ids}});
    let config = config.to_string().into_bytes();
    let manifest = make_manifest(Digest::of(&config), config.len() as u64, &layers);
    EmitImage::plain(vec![Reference::parse(name).unwrap()], config, manifest, layers)
}

#[test]
fn shapes_are_seen() {
    let images = || vec![image("a:1", 1), image("longer:1", 2)];
    let shape = emitted(Format::Docker, images());
    assert_eq!((shape.layout, shape.entries, shape.list, shape.items), (true, 2, true, 2));
    assert_eq!((shape.images, shape.unnamed, shape.tags_twice, shape.missing), (2, 0, 1, 0));
    assert_eq!((shape.outer, shape.links, shape.hollow), (Some(Compression::Gzip), 0, 0));
    assert_eq!(shape.layers, [None].into());
    let shape = emitted(Format::Oci, images());
    assert_eq!((shape.layout, shape.entries, shape.list, shape.items), (true, 2, false, 0));
    let shape = emitted(Format::DockerLegacy, images());
    assert_eq!((shape.layout, shape.entries, shape.list, shape.items), (false, 0, true, 2));
    assert!(shape.links > 0, "the same layer has a second folder");
    assert!(!shape.list_goes_on && !shape.odd_paths && shape.list_size > 0);
}
