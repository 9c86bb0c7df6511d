//! No parser: writes what the others start from into the folder that
//! `ORLOP_FUZZ_SEEDS` names, a folder for each, and ends.

#![no_main]

use std::fs;
use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use orlop::chunk::recipe::{Body, Names, Recipe, Span};
use orlop::digest::{Digest, Id};
use orlop::gzip::{EncoderId, Member, Replay};
use orlop::pack::directories;
use orlop::pack::tables::Directory;
use orlop_fuzz::{store, tar};

fuzz_target!(init: write(), |_input: &[u8]| {});

/// Targets whose inputs say how something is put together: for want of anything
/// better they start from noise.
const PLANNED: [&str; 15] = [
    "archive_members",
    "chunk_cutter",
    "frame",
    "gzip_encoders",
    "gzip_prove",
    "gzip_replay",
    "layer_header",
    "layer_section",
    "layer_split",
    "pack_file",
    "pack_parts",
    "recipe",
    "store_files",
    "whole_input",
    "archive_documents",
];

fn write() {
    for target in PLANNED {
        for number in 1..=12_u64 {
            seed(target, &noise(number, 40 << (number % 6)));
        }
    }
    archives();
    saved();
    texts();
    packs();
    streams();
}

fn seed(target: &str, bytes: &[u8]) {
    let root = std::env::var_os("ORLOP_FUZZ_SEEDS").expect("ORLOP_FUZZ_SEEDS names a folder");
    let folder = PathBuf::from(root).join(target);
    fs::create_dir_all(&folder).expect("the folder can be made");
    fs::write(folder.join(Id::of(bytes).short()), bytes).expect("the folder can be written");
}

fn noise(number: u64, length: usize) -> Vec<u8> {
    let mut state = number << 32 | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..length).map(next).collect()
}

fn with(before: &[u8], bytes: &[u8]) -> Vec<u8> {
    [before, bytes].concat()
}

fn archives() {
    let small: [(&str, &[u8]); 3] =
        [("a/b", b"hello"), (&"long/".repeat(30), b"x"), ("c", &[7; 600])];
    let mut archive = store::tar(&small);
    for target in ["archive_members", "layer_split"] {
        seed(target, &with(&[0], &archive));
    }
    let block = archive[..512].to_vec();
    seed("layer_header", &with(&[0, 0, 1], &block));
    for at in (0..archive.len()).step_by(512) {
        if archive[at + 148] == b'0' {
            archive[at + 148..at + 156].fill(b'?');
        }
    }
    for target in ["archive_members", "layer_split"] {
        seed(target, &with(&[0], &archive));
    }
    seed("layer_header", b"\x02\x0016 path=a/b/c/d\n9 size=3\n");
    let mut planned = vec![1];
    planned.extend(noise(99, 900));
    seed("archive_members", &planned);
    seed("layer_split", &planned);
    assert!(!tar::archive(&planned, 1 << 16).is_empty());

    let member = |name: &str, body: &str| format!("{name}\x1f{body}");
    let config = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:$z"]}}"#;
    let list =
        r#"[{"Config":"blobs/sha256/$x","RepoTags":["app:1"],"Layers":["blobs/sha256/$y"]}]"#;
    let list = |config: char, layer: char| {
        list.replace("$x", &format!("${config}")).replace("$y", &format!("${layer}"))
    };
    let config = |layer: char| config.replace("$z", &format!("${layer}"));
    let descriptor = |kind: &str, letter: char| {
        let length = letter.to_ascii_uppercase();
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"sha256:${letter}","size":${length}}}"#
        )
    };
    let docker = [
        member("manifest.json", &list('b', 'c')),
        member("blobs/sha256/$b", &config('c')),
        member("blobs/sha256/$c", "a layer"),
    ];
    for target in ["archive_documents", "save"] {
        seed(target, docker.join("\x1e").as_bytes());
    }
    let manifest = descriptor("manifest.v1+json", 'd');
    let (of_config, of_layer) =
        (descriptor("config.v1+json", 'e'), descriptor("layer.v1.tar", 'f'));
    let hybrid = [
        member("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
        member("index.json", &format!(r#"{{"schemaVersion":2,"manifests":[{manifest}]}}"#)),
        member("manifest.json", &list('e', 'f')),
        member(
            "blobs/sha256/$d",
            &format!(r#"{{"schemaVersion":2,"config":{of_config},"layers":[{of_layer}]}}"#),
        ),
        member("blobs/sha256/$e", &config('f')),
        member("blobs/sha256/$f", "a layer"),
        member("l/layer.tar>../blobs/sha256/$f", ""),
    ];
    for target in ["archive_documents", "save"] {
        seed(target, hybrid.join("\x1e").as_bytes());
    }
    let nested = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{manifest}]}}"#
    );
    let index = descriptor("index.v1+json", 'c');
    let oci = [
        member("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
        member("index.json", &format!(r#"{{"schemaVersion":2,"manifests":[{index}]}}"#)),
        member("blobs/sha256/$c", &nested),
        member(
            "blobs/sha256/$d",
            &format!(r#"{{"schemaVersion":2,"config":{of_config},"layers":[{of_layer}]}}"#),
        ),
        member("blobs/sha256/$e", &config('f')),
        member("blobs/sha256/$f", "a layer"),
    ];
    seed("archive_documents", oci.join("\x1e").as_bytes());
    let old = [
        member("repositories", r#"{"app":{"1":"l"}}"#),
        member("l/VERSION", "1.0"),
        member("l/json", r#"{"id":"l","created":"2014-01-01T00:00:00Z","config":{}}"#),
        member("l/layer.tar", "a layer"),
    ];
    seed("archive_documents", old.join("\x1e").as_bytes());
}

/// An archive with a layer that is a tar, and one that is not.
fn saved() {
    let layer = [b"\x01\x00".as_slice(), &store::tar(&[("a", b"hello"), ("b/c", b"")])].concat();
    let config = r#"{"os":"linux","rootfs":{"diff_ids":["sha256:$c","sha256:$d"]}}"#;
    let list = r#"[{"Config":"$b.json","RepoTags":["app:1","app:2"],"Layers":["c","l"]}]"#;
    let mut archive =
        format!("manifest.json\x1f{list}\x1e$b.json\x1f{config}\x1ec\x1f").into_bytes();
    archive.extend_from_slice(&layer);
    archive.extend_from_slice(b"\x1ed\x1f\x02\x03\xf3\x80\x00\x07\x00\x1el>d\x1f");
    seed("save", &archive);
}

fn texts() {
    let digest = Digest::of(b"");
    let names = [
        "app",
        "app:1.4",
        "localhost:5000/a/b_c:latest",
        "docker.io/library/app:1",
        "index.docker.io/user/app",
        "[::1]:5000/x",
        "app:1.4~2",
        "app@{2026-05-01}~3",
        "abcdef012345",
        "sha256:abcdef012345",
        "a/../b/./c",
        "2026-05-01T12:00:00.123456789Z",
        "2026-05-01",
    ];
    for name in names {
        seed("references", name.as_bytes());
    }
    seed("references", format!("app@{digest}").as_bytes());
    seed("references", Id::of(b"").to_string().as_bytes());
}

fn packs() {
    let id = Id::of(b"an id");
    let span = Span { virtual_first: 3, directory: 0, first: 5, count: 10 };
    let names = Names { directories: vec![id], spans: vec![span], sections: vec![id] };
    for body in [Body::Bytes(b"{}".to_vec()), Body::Chunks(names.clone()), Body::Tar(names)] {
        let recipe = Recipe { digest: Digest::of(b"{}"), size: 2, body };
        seed("recipe", &with(&[0], &recipe.encode()));
    }
    for (path, bytes) in store::sample() {
        let target = match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") if path.ends_with("orlop.json") => "store_header",
            Some("json") => "record",
            _ => {
                packs_parts(&bytes);
                continue;
            }
        };
        seed(target, &bytes);
    }
    let record = r#"{"format":1,"kind":"save","features":{"compatible":[],"read_only":[],"refuse":[]},"program":"orlop","saved_at":"2026-05-01T12:00:00.123456789Z","sequence":17,"source":{"name":"-","dialect":"oci"},"packs":[],"assembly":null,"archive":{"size":3,"digest":null,"compression":"gzip"},"revisions":[]}"#;
    seed("record", record.as_bytes());
}

fn packs_parts(bytes: &[u8]) {
    if bytes.len() < 8 << 10 {
        seed("pack_file", &with(&[0], bytes));
    }
    let footer = &bytes[bytes.len() - 96..];
    let number = |at: usize| {
        footer[at..at + 4].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let (directory, length, table) = (number(0), number(8), number(12));
    let header = u32::from_le_bytes([bytes[32], bytes[33], bytes[34], bytes[35]]) as usize;
    seed("pack_parts", &with(&[0], &bytes[..24]));
    seed("pack_parts", &with(&[1], &bytes[24..24 + header]));
    seed("pack_parts", &with(&[2], footer));
    seed("pack_parts", &with(&[3], &bytes[directory..directory + length]));
    seed("pack_parts", &with(&[4], &bytes[directory + length..directory + length + table]));
    let kept = Directory::decode(&bytes[directory..directory + length]);
    for piece in directories::pieces(&kept.expect("a directory")) {
        seed("pack_parts", &with(&[5], &piece));
    }
}

fn streams() {
    let content = b"the content of a layer, the content of a layer".repeat(20);
    let plain: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 9, 0x6e, 0x88, 0, 255];
    let named: &[u8] = &[0x1f, 0x8b, 8, 12, 1, 2, 3, 4, 0, 3, 2, 0, b'e', b'x', b'n', 0];
    for id in EncoderId::all() {
        let mut stream = plain.to_vec();
        let mut encoder = id.encoder();
        encoder.write(&content, &mut stream);
        encoder.finish(&mut stream);
        let trailer = orlop_fuzz::gzip::trailer(&content);
        stream.extend_from_slice(&trailer);
        seed("gzip_prove", &with(&[3, 4, 5, 6, 0], &stream));
        seed("whole_input", &with(&[3, 4, 5, 6, 0], &stream));
        let member = |header: &[u8]| Member {
            header: Some(header.to_vec()),
            length: 9,
            flushed: false,
            trailer: Some(trailer),
        };
        let replay = Replay { encoder: id, members: vec![member(plain), member(named)] };
        seed("gzip_replay", &with(&[1], &replay.to_bytes()));
    }
    seed("gzip_replay", &with(&[0], plain));
    seed("gzip_replay", &with(&[0], named));
    let zstd = zstd::bulk::compress(&content, 3).expect("memory can be written");
    seed("whole_input", &with(&[3, 4, 5, 6, 0], &zstd));
    seed("frame", &with(&[0, 0, 0, 0, 0, 0, 9, 1], &zstd));
}
