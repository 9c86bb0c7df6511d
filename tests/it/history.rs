//! Images that were built on one another: what Docker's classic builder leaves, and
//! `docker save` lists as `Parent`.
//!
//! Assumes nothing of engines; what they do with such archives is in `engines`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::Scratch;
use crate::support::built::{self, Built};
use crate::support::stores::files;

/// A store with both images of `built::two`, and all four IDs.
fn saved() -> (Scratch, Vec<String>) {
    let scratch = Scratch::new();
    let (archive, ids) = built::two();
    save(&scratch, &archive);
    (scratch, ids)
}

/// Saves an archive; says which of its images were new revisions.
fn save(scratch: &Scratch, archive: &[u8]) -> Vec<bool> {
    fs::write(scratch.path("in.tar"), archive).unwrap();
    let said: Value =
        serde_json::from_str(&scratch.ok(["save", "-i", "in.tar", "--json"])).unwrap();
    let images = said["saves"][0]["images"].as_array().unwrap();
    images.iter().map(|image| image["unchanged"] == false).collect()
}

/// The one record of a store.
fn record_of(scratch: &Scratch) -> Value {
    let records: Vec<PathBuf> = files(&scratch.path("store/records")).into_iter().collect();
    let [record] = records.as_slice() else { panic!("{records:?}") };
    serde_json::from_slice(&fs::read(record).unwrap()).unwrap()
}

fn ancestors(scratch: &Scratch, name: &str) -> Value {
    let said: Value = serde_json::from_str(&scratch.ok(["inspect", name])).unwrap();
    said["images"][0]["ancestors"].clone()
}

/// Exports, and reads what is in the archive and what was said of it.
fn export(scratch: &Scratch, arguments: &[&str]) -> (BTreeMap<PathBuf, Vec<u8>>, String) {
    let whole = scratch.path("out.tar");
    fs::remove_file(&whole).ok();
    let output = scratch.run([&["export", "-o", "out.tar"], arguments].concat());
    assert!(output.status.success(), "{output:?}");
    let mut members = BTreeMap::new();
    for entry in tar::Archive::new(fs::File::open(whole).unwrap()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut body = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut body).unwrap();
        members.insert(entry.path().unwrap().into_owned(), body);
    }
    (members, String::from_utf8(output.stderr).unwrap())
}

fn document(members: &BTreeMap<PathBuf, Vec<u8>>, path: &str) -> Value {
    serde_json::from_slice(&members[&PathBuf::from(path)]).unwrap()
}

/// What `manifest.json` says, by image ID: names, and what it was built on.
fn listed(members: &BTreeMap<PathBuf, Vec<u8>>) -> Vec<(String, Value, Value)> {
    let list = document(members, "manifest.json");
    let items = list.as_array().unwrap().iter().map(|item| {
        let path = item["Config"].as_str().unwrap();
        let name = path.rsplit('/').next().unwrap().trim_end_matches(".json");
        for layer in item["Layers"].as_array().unwrap() {
            assert!(members.contains_key(&PathBuf::from(layer.as_str().unwrap())), "{item}");
        }
        assert!(members.contains_key(&PathBuf::from(path)));
        (format!("sha256:{name}"), item["RepoTags"].clone(), item["Parent"].clone())
    });
    items.collect()
}

fn all_four(ids: &[String]) -> Vec<(String, Value, Value)> {
    let named = |tag: &str| json!([format!("docker.io/library/built:{tag}")]);
    vec![
        (ids[0].clone(), named("1"), json!(ids[2])),
        (ids[1].clone(), named("2"), json!(ids[2])),
        (ids[2].clone(), Value::Null, json!(ids[3])),
        (ids[3].clone(), Value::Null, Value::Null),
    ]
}

#[test]
fn parent_images_go_in_and_come_out_with_their_images() {
    let (scratch, ids) = saved();
    let images: Value = serde_json::from_str(&scratch.ok(["images", "--json"])).unwrap();
    assert_eq!(images["images"].as_array().unwrap().len(), 2, "parents are no images");
    for name in ["built:1", "built:2"] {
        assert_eq!(ancestors(&scratch, name), json!([ids[2], ids[3]]));
    }
    let (members, _) = export(&scratch, &["built:1", "built:2"]);
    assert_eq!(listed(&members), all_four(&ids));
    let index = document(&members, "index.json");
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2, "engines load all that it lists");
    let blobs = members.keys().filter(|path| path.starts_with("blobs")).count();
    assert_eq!(blobs, 2 + 4 + 2 + 3, "folders, configs, manifests and layers");
    assert_eq!(export(&scratch, &["built:2", "built:1"]).0, members);
    // What came out goes in, and is the same.
    let again = Scratch::new();
    save(&again, &fs::read(scratch.path("out.tar")).unwrap());
    assert_eq!(export(&again, &["built:1", "built:2"]).0, members);
    let (legacy, _) = export(&scratch, &["built:1", "built:2", "--format", "docker-legacy"]);
    assert_eq!(listed(&legacy), all_four(&ids));
}

#[test]
fn a_parent_with_a_name_is_an_image_and_listed_once() {
    let scratch = Scratch::new();
    let image = |tags, layers, steps, on| Built { tags, layers, steps, on };
    let (archive, ids) = built::archive(&[
        image(&["base:1"], &["base"], &["base"], None),
        image(&["app:1"], &["base", "app"], &["base", "app"], Some(0)),
    ]);
    save(&scratch, &archive);
    assert_eq!(ancestors(&scratch, "app:1"), json!([ids[0]]));
    assert_eq!(ancestors(&scratch, "base:1"), Value::Null);
    let app = (ids[1].clone(), json!(["docker.io/library/app:1"]), json!(ids[0]));
    let base = |tags: Value| (ids[0].clone(), tags, Value::Null);
    let (members, _) = export(&scratch, &["app:1"]);
    assert_eq!(listed(&members), [app.clone(), base(Value::Null)]);
    let (members, _) = export(&scratch, &["base:1", "app:1"]);
    assert_eq!(listed(&members), [app, base(json!(["docker.io/library/base:1"]))]);
}

#[test]
fn parents_are_left_out_where_they_have_no_place() {
    let (scratch, ids) = saved();
    let (members, said) = export(&scratch, &["built:1", "--format", "oci"]);
    assert!(said.contains("built:1: left out 2 parent images, which an OCI layout can't say"));
    assert_eq!(members.len(), 2 + 2 + 2 + 2);
    for target in ["podman", "skopeo", "containerd", "kind", "k3s"] {
        let (members, said) = export(&scratch, &["built:1", "--target", target]);
        assert!(said.contains("built:1: left out 2 parent images, for this target"), "{said}");
        let expected = (ids[0].clone(), json!(["docker.io/library/built:1"]), Value::Null);
        assert_eq!(listed(&members), [expected]);
    }
    for target in ["docker", "docker-20"] {
        let (members, said) = export(&scratch, &["built:1", "built:2", "--target", target]);
        assert!(!said.contains("parent"), "{said}");
        assert_eq!(listed(&members), all_four(&ids));
    }
}

#[test]
fn a_save_with_more_parents_is_a_new_revision_and_one_with_fewer_none() {
    let scratch = Scratch::new();
    let image = |tags, layers, steps, on| Built { tags, layers, steps, on };
    let app = |on| image(&["app:1"], &["base", "app"], &["base", "#env", "app"], on);
    let env = |on| image(&[], &["base"], &["base", "#env"], on);
    let base = image(&[], &["base"], &["base"], None);
    let (alone, _) = built::archive(&[app(None)]);
    let (one, ids) = built::archive(&[app(Some(1)), env(None)]);
    let (both, all) = built::archive(&[app(Some(1)), env(Some(2)), base]);
    assert_eq!(save(&scratch, &alone), [true]);
    assert_eq!(ancestors(&scratch, "app:1"), Value::Null);
    assert_eq!(save(&scratch, &one), [true]);
    assert_eq!(ancestors(&scratch, "app:1"), json!(ids[1..]));
    assert_eq!(save(&scratch, &both), [true]);
    assert_eq!(ancestors(&scratch, "app:1"), json!(all[1..]));
    for archive in [both, one, alone] {
        assert_eq!(save(&scratch, &archive), [false]);
    }
    assert_eq!(ancestors(&scratch, "app:1"), json!(all[1..]));
    assert_eq!(ancestors(&scratch, "app:1~1"), json!(ids[1..]));
}

#[test]
fn parents_stay_as_long_as_their_image() {
    let (scratch, ids) = saved();
    scratch.ok(["export", "-o", "before.tar", "built:1"]);
    scratch.ok(["rm", "built:2"]);
    scratch.ok(["gc", "--max-waste", "0"]);
    scratch.ok(["export", "-o", "after.tar", "built:1"]);
    let read = |name: &str| fs::read(scratch.path(name)).unwrap();
    assert!(read("before.tar") == read("after.tar"));
    assert_eq!(ancestors(&scratch, "built:1"), json!(ids[2..]));
}

#[test]
fn who_does_not_know_parents_must_not_write() {
    let (scratch, ids) = saved();
    let record = record_of(&scratch);
    let features = json!({"compatible": [], "read_only": ["ancestors"], "refuse": []});
    assert_eq!(record["features"], features);
    let ancestors = &record["revisions"][0]["ancestors"];
    assert_eq!([&ancestors[0]["image_id"], &ancestors[1]["image_id"]], [&ids[2], &ids[3]]);
    assert_eq!(ancestors[0]["root"]["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    let plain = Scratch::new();
    plain.ok(["save", "-i", crate::support::hello(1).to_str().unwrap()]);
    assert_eq!(record_of(&plain)["features"]["read_only"], json!([]));
}
