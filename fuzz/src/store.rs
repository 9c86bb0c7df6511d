//! A small store to start from.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orlop::digest::Digest;
use orlop::ops::input::Input;
use orlop::ops::save::{Original, SaveOptions, save};
use orlop::store::{OpenOptions, Store};
use orlop::time::Time;

use crate::memory::{Files, Memory, ROOT};
use crate::{Plan, expand};

/// The files of a store in which three images were saved, each in a save of its
/// own, and the second one a little different from the first.
pub fn sample() -> Files {
    let memory = Memory::default();
    let root = Path::new(ROOT);
    Store::create(&memory, root, "fuzz").expect("memory can be written");
    // Else it would be random.
    let header = PathBuf::from_iter([ROOT, "orlop.json"]);
    let text = memory.files().get(&header).expect("it was written").to_vec();
    let mut json: serde_json::Value = serde_json::from_slice(&text).expect("it is JSON");
    json["store"] = "5f".repeat(32).into();
    memory.put(&header, serde_json::to_vec_pretty(&json).expect("it was JSON"));
    let mut store =
        Store::open(Arc::new(memory.clone()), root, &OpenOptions::default()).expect("a new store");
    for number in 0..3 {
        let archive = Cursor::new(image(number));
        let input = Input::from_stream("app.tar".to_owned(), archive).expect("a plain tar");
        let options = SaveOptions {
            tag: None,
            level: 1,
            now: "2026-05-01T12:00:00Z".parse::<Time>().expect("a time"),
            now_as_given: true,
            program: "fuzz",
            original: Original::Keep,
        };
        save(&mut store, input, &options, &()).expect("an image");
    }
    drop(store);
    let mut files = memory.files();
    files.retain(|path, _| path.extension().is_some() && !path.starts_with(root.join("tmp")));
    files
}

/// A docker archive of one image with two layers.
pub fn image(number: u8) -> Vec<u8> {
    let layers = [layer(0), layer(number)];
    let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    let config = serde_json::json!({
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-05-01T11:00:00Z",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created_by": format!("step {number}")}],
    });
    let list = serde_json::json!([{
        "Config": "config.json",
        "RepoTags": [format!("app:{number}")],
        "Layers": ["0.tar", "1.tar"],
    }]);
    let (config, list) = (config.to_string(), list.to_string());
    let files: [(&str, &[u8]); 4] = [
        ("config.json", config.as_bytes()),
        ("0.tar", &layers[0]),
        ("1.tar", &layers[1]),
        ("manifest.json", list.as_bytes()),
    ];
    tar(&files)
}

/// A layer of a few files, of which one is large.
fn layer(number: u8) -> Vec<u8> {
    let plan = [2, 0xe3, 0, 0x10, 7, 0, 0xe4, 0, 0x10, 9, 0];
    let mut large = expand(&mut Plan::new(&plan), 40_000);
    large.extend_from_slice(&[number; 10]);
    let text = format!("NAME=app\nVERSION={number}\n");
    let long = format!("usr/{}/x", "share/".repeat(30));
    tar(&[
        ("etc/os-release", text.as_bytes()),
        ("usr/lib/large", &large),
        (&long, b"long"),
        ("usr/lib/empty", b""),
    ])
}

/// A tar of these files.
pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, body) in files {
        if name.len() > 100 {
            push(&mut out, "././@LongLink", b'L', &[name.as_bytes(), b"\0"].concat());
        }
        push(&mut out, &name[..name.len().min(100)], b'0', body);
    }
    out.resize(out.len() + 1024, 0);
    out
}

/// Appends one member.
pub fn push(out: &mut Vec<u8>, name: &str, kind: u8, body: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_700_000_000);
    header.set_size(body.len() as u64);
    header.set_cksum();
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(body);
    out.resize(out.len().next_multiple_of(512), 0);
}
