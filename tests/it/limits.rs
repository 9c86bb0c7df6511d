//! Memory stays bounded and messages stay short, however large or hostile an input
//! is.
//!
//! The command runs with a limit on its writable memory (`ulimit -d`, in KiB), so
//! that needing more fails the run; nothing is measured while it runs. Archives are
//! made as they are handed in and never stand anywhere as a whole. What must come
//! out is judged by SHA-256.

use std::io::{self, BufWriter, Write};
use std::process::{Command, Output, Stdio};
use std::thread;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::support::docker::sha256;
use crate::support::images::images;
use crate::support::shelf::{files, gzip};
use crate::support::{Scratch, hello, tars};

/// What the command may use, in KiB.
const MEMORY: u64 = 256 << 10;
const BLOCK: u64 = 512;
const MIB: u64 = 1 << 20;

/// The command with at most so many KiB of writable memory.
pub(crate) fn bounded(scratch: &Scratch, memory: u64, arguments: &[&str]) -> Command {
    let orlop = scratch.command();
    let mut command = Command::new("sh");
    command.env_clear().envs(orlop.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
        .current_dir(scratch.path(""))
        .args(["-c", &format!("ulimit -d {memory} && exec \"$0\" \"$@\"")])
        .arg(orlop.get_program())
        .args(orlop.get_args())
        .args(arguments);
    command
}

/// Saves what `feed` writes to standard input, within the limit.
fn save(scratch: &Scratch, feed: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Output {
    let mut command = bounded(scratch, MEMORY, &["save", "-i", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut out = BufWriter::with_capacity(256 << 10, child.stdin.take().unwrap());
    let fed = feed(&mut out).and_then(|()| out.flush());
    // What is refused early isn't read to its end.
    assert!(fed.is_ok() || fed.unwrap_err().kind() == io::ErrorKind::BrokenPipe);
    drop(out);
    child.wait_with_output().unwrap()
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Refused with this exit code, and little said in which this is.
fn refused(output: &Output, code: i32, text: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{told}");
    assert!(told.contains(text), "{told}");
    assert!(told.len() < 1000 && told.lines().count() <= 4, "{told}");
    let strange = |letter: char| letter.is_control() && letter != '\n';
    assert!(!told.contains(strange), "{told:?}");
    assert!(output.stdout.is_empty());
}

/// A header; nothing but its checksum keeps `size` from being a lie.
fn header(name: &str, flag: u8, size: u64) -> [u8; 512] {
    let mut header = [0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000644\0");
    header[124] = 0x80;
    for (at, byte) in size.to_le_bytes().into_iter().enumerate() {
        header[135 - at] = byte;
    }
    header[136..148].copy_from_slice(b"14524770400\0");
    header[156] = flag;
    header[257..265].copy_from_slice(b"ustar\x0000");
    tars::seal(&mut header, false);
    header
}

fn put_file(out: &mut dyn Write, name: &str, body: &[u8]) -> io::Result<()> {
    let length = body.len() as u64;
    out.write_all(&header(name, b'0', length))?;
    out.write_all(body)?;
    out.write_all(&vec![0; usize::try_from(length.next_multiple_of(BLOCK) - length).unwrap()])
}

/// Hashes what passes.
struct Hashed<'o> {
    out: &'o mut dyn Write,
    hasher: Sha256,
    left: u64,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.left -= count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

type Layer<'l> = (u64, &'l dyn Fn(&mut dyn Write) -> io::Result<()>);

/// An archive of one image `big:1` with layers of these lengths; returns their
/// digests.
fn put_image(out: &mut dyn Write, layers: &[Layer<'_>]) -> io::Result<Vec<String>> {
    let mut digests = Vec::new();
    let mut paths = Vec::new();
    for (number, (length, layer)) in layers.iter().enumerate() {
        let path = format!("{}/layer.tar", sha256(&[u8::try_from(number).unwrap()]));
        out.write_all(&header(&path, b'0', *length))?;
        let mut hashed = Hashed { out: &mut *out, hasher: Sha256::new(), left: *length };
        layer(&mut hashed)?;
        assert_eq!(hashed.left, 0, "the layer is as long as was said");
        assert_eq!(length % BLOCK, 0);
        let digest = hashed.hasher.finalize();
        digests.push(digest.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")));
        paths.push(path);
    }
    let ids: Vec<String> = digests.iter().map(|digest| format!("sha256:{digest}")).collect();
    let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ids}});
    put_file(out, "config.json", config.to_string().as_bytes())?;
    let list = json!([{"Config": "config.json", "RepoTags": ["big:1"], "Layers": paths}]);
    put_file(out, "manifest.json", list.to_string().as_bytes())?;
    out.write_all(&[0; 1024])?;
    Ok(digests)
}

/// A tar with one file: each MiB is noise, or text, or a MiB that came before.
fn one_large_file(out: &mut dyn Write, mibs: u64, first: u64) -> io::Result<()> {
    let mib = usize::try_from(MIB).unwrap();
    let text = tars::body(0, mib);
    out.write_all(&header("large", b'0', mibs * MIB))?;
    for number in first..first + mibs {
        match number % 4 {
            0 => out.write_all(&text)?,
            1 => out.write_all(&noise(number / 3, mib))?,
            _ => out.write_all(&noise(number, mib))?,
        }
    }
    out.write_all(&[0; 1024])
}

/// Bytes without a pattern, and others for each seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A tar of small files, every tenth of which is the same; 1,536 bytes each.
fn many_small_files(out: &mut dyn Write, count: u64) -> io::Result<()> {
    for number in 0..count {
        let length = 513 + usize::try_from(number % 500).unwrap();
        let seed = if number % 10 == 0 { 7 } else { number };
        put_file(out, &format!("files/{}/{number}", number / 100), &noise(seed, length))?;
    }
    out.write_all(&[0; 1024])
}

/// A tar of folders and links without end.
fn many_entries(out: &mut dyn Write, count: u64) -> io::Result<()> {
    for number in 0..count {
        let flag = if number % 100 == 0 { b'5' } else { b'2' };
        out.write_all(&header(&format!("d{}/{number}", number / 100), flag, 0))?;
    }
    out.write_all(&[0; 1024])
}

/// Exports `big:1` into a hash, within the limit; it has these layers.
fn check_export(scratch: &Scratch, layers: &[String]) {
    let mut command = bounded(scratch, MEMORY, &["export", "big:1"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    let reading = thread::spawn(move || images(stdout));
    let output = child.wait_with_output().unwrap();
    succeeded(&output);
    let found: Vec<_> = reading.join().unwrap().into_values().collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].layers, layers);
}

#[test]
fn an_image_larger_than_memory() {
    let scratch = Scratch::new();
    let mut digests = Vec::new();
    let large = |mibs: u64| BLOCK + mibs * MIB + 1024;
    let output = save(&scratch, |out| {
        digests = put_image(
            out,
            &[
                (large(300), &|out| one_large_file(out, 300, 0)),
                (100_000 * 1536 + 1024, &|out| many_small_files(out, 100_000)),
                (large(150), &|out| one_large_file(out, 150, 203)),
            ],
        )?;
        Ok(())
    });
    succeeded(&output);
    check_export(&scratch, &digests);
}

#[test]
fn a_layer_of_a_million_entries() {
    let scratch = Scratch::new();
    let mut digests = Vec::new();
    let output = save(&scratch, |out| {
        let length = 1_000_000 * BLOCK + 1024;
        digests = put_image(out, &[(length, &|out| many_entries(out, 1_000_000))])?;
        Ok(())
    });
    succeeded(&output);
    check_export(&scratch, &digests);
}

/// The limit is one: what needs more fails.
#[test]
fn the_limit_is_felt() {
    let scratch = Scratch::new();
    let hello = hello(1);
    let arguments = ["save", "-i", hello.to_str().unwrap()];
    succeeded(&bounded(&scratch, MEMORY, &arguments).output().unwrap());
    let output = bounded(&scratch, 1 << 10, &arguments).output().unwrap();
    assert!(!output.status.success(), "{output:?}");
}

/// Saves hostile bytes; the store must be left as it was.
fn refuse(code: i32, text: &str, feed: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
    let scratch = Scratch::new();
    scratch.ok([&"save", &"-i", &hello(1).to_str().unwrap()]);
    let before = files(&scratch.store());
    refused(&save(&scratch, feed), code, text);
    assert_eq!(files(&scratch.store()), before);
}

#[test]
fn decompression_bombs() {
    let zeros = gzip(&vec![0; 64 << 20]);
    let zeros =
        |out: &mut dyn Write, count: u64| (0..count).try_for_each(|_| out.write_all(&zeros));
    refuse(1, "not an image archive", |out| zeros(out, 32));
    refuse(1, "not an image archive", |out| {
        out.write_all(&gzip(&header("zeros", b'0', 2 << 30)))?;
        zeros(out, 32)?;
        out.write_all(&gzip(&[0; 1024]))
    });
    // Such a document is refused by its stated length, and its body is passed over.
    refuse(
        1,
        "image list `manifest.json` is too large: expected at most 4194304, found 2147483648",
        |out| {
            out.write_all(&gzip(&header("manifest.json", b'0', 2 << 30)))?;
            zeros(out, 32)?;
            out.write_all(&gzip(&[0; 1024]))
        },
    );
}

#[test]
fn a_window_larger_than_memory() {
    // A zstd frame that asks for a window of 2 GiB: magic, descriptor, window, an
    // empty last block.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
    refuse(1, "cannot read the archive", |out| out.write_all(&frame));
}

#[test]
fn lengths_that_are_lies() {
    for (flag, name) in [(b'x', "pax"), (b'g', "global"), (b'L', "long"), (b'K', "link")] {
        for size in [(1 << 20) + 1, 8 << 30, u64::MAX >> 1] {
            let text = format!(
                "extension header `{name}` is too large: expected at most 1048576, found {size}"
            );
            refuse(1, &text, |out| {
                out.write_all(&header(name, flag, size))?;
                out.write_all(&vec![b'a'; 4 << 20])
            });
        }
        let text = format!(
            "member `extension header `{name}`` is cut short: expected 1048576 bytes, found 512"
        );
        refuse(1, &text, |out| {
            out.write_all(&header(name, flag, 1 << 20))?;
            out.write_all(&[b'a'; 512])
        });
    }
    refuse(
        1,
        "member `layer.tar` is cut short: expected 4611686018427387904 bytes, found 1024",
        |out| {
            out.write_all(&header("layer.tar", b'0', 1 << 62))?;
            out.write_all(&[b'a'; 1024])
        },
    );
}

#[test]
fn large_and_deep_documents() {
    refuse(
        1,
        "image list `manifest.json` is too large: expected at most 4194304, found 104857600",
        |out| put_file(out, "manifest.json", &vec![b'['; 100 << 20]),
    );
    for piece in ["[", "{\"a\":", "[{\"Config\":", "[{\"x\":[", "[{\"Layers\":["] {
        refuse(1, "image list `manifest.json` is not valid", |out| {
            put_file(out, "manifest.json", piece.repeat(200_000).as_bytes())
        });
    }
    for piece in ["{\"rootfs\":", "{\"a\":[", "{\"history\":[", "{\"config\":"] {
        refuse(1, "config `c` is not valid", |out| {
            put_file(out, "c", piece.repeat(200_000).as_bytes())?;
            put_file(out, "manifest.json", br#"[{"Config":"c","Layers":[]}]"#)
        });
    }
    refuse(1, "was not kept: too many small files stand before it in the stream", |out| {
        let mut list = Vec::new();
        for number in 0..40 {
            let config = json!({
                "n": number, "a": "a".repeat(3 << 20), "rootfs": {"diff_ids": []},
            });
            let config = config.to_string();
            put_file(out, &format!("{number}.json"), config.as_bytes())?;
            list.push(json!({"Config": format!("{number}.json"), "Layers": []}));
        }
        put_file(out, "manifest.json", json!(list).to_string().as_bytes())
    });
}

#[test]
fn a_million_members() {
    refuse(1, "the count of members is too large: expected at most 300000, found 300001", |out| {
        (0..1_000_000).try_for_each(|number| put_file(out, &format!("{number}"), b""))
    });
    let long = [b"n".repeat(1 << 20), b"\0".to_vec()].concat();
    refuse(1, "too large", |out| {
        (0..1000).try_for_each(|_| {
            out.write_all(&header("long", b'L', (1 << 20) - 1))?;
            out.write_all(&long[..1 << 20])?;
            put_file(out, "x", b"")
        })
    });
}

#[test]
fn hostile_names_stay_on_one_line() {
    let name = "a\x1b]0;title\x07\r\nerror: b\u{9b}31m\x7f";
    refuse(1, "?]0;title???error: b?31m?` is cut short", |out| {
        out.write_all(&header(name, b'0', 1000))
    });
    refuse(1, "config `a?]0;title???error: b?31m?` is not in the archive", |out| {
        let list = json!([{"Config": name, "Layers": []}]);
        put_file(out, "manifest.json", list.to_string().as_bytes())
    });
    refuse(1, "`a?]0;title???error: b?31m?:1` is not an image reference", |out| {
        let list = json!([{"Config": "c", "RepoTags": [format!("{name}:1")], "Layers": []}]);
        put_file(out, "c", br#"{"rootfs":{"diff_ids":[]}}"#)?;
        put_file(out, "manifest.json", list.to_string().as_bytes())
    });
}

#[test]
fn hostile_configs_stay_on_one_line() {
    let scratch = Scratch::new();
    let strange = "a\x1b[31m\r\nb";
    let output = save(&scratch, |out| {
        let config = json!({
            "os": strange, "architecture": strange, "created": strange, "author": strange,
            "config": {"Env": [strange], "Cmd": [strange]},
            "rootfs": {"diff_ids": []},
        });
        put_file(out, "c", config.to_string().as_bytes())?;
        put_file(out, "manifest.json", br#"[{"Config":"c","RepoTags":["app:1"],"Layers":[]}]"#)
    });
    succeeded(&output);
    for arguments in [&["images"][..], &["inspect", "app:1"], &["images", "--json"]] {
        let shown = scratch.ok(arguments);
        assert!(shown.contains("app"), "{shown}");
        assert!(!shown.contains(|letter: char| letter.is_control() && letter != '\n'), "{shown:?}");
    }
}
