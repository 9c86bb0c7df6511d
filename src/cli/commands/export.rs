//! `orlop export`

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use orlop::fs::folder::FolderOutput;
use orlop::fs::output::Output;
use orlop::image::{Format, Platform};
use orlop::ops::export::{
    Export, ExportOptions, ExportOutcome, Form, LayerCompression, parse_platform,
};
use orlop::ops::target::{Target, Wish};
use orlop::size::ByteCount;
use serde::Serialize;

use super::find;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Printed};
use crate::cli::progress::Bar;
use crate::cli::{Global, surroundings};

mod original;

const BUFFER: usize = 1 << 20;

/// Write images as one archive that `docker load` accepts
///
/// The archive is complete by itself. As `docker`, it is an OCI layout and a Docker
/// archive in one tar, with manifests, configs and layers as they were saved. The
/// same images always give the same bytes. A file appears whole or not at all; where
/// its name ends in .tar.gz, .tgz, .tar.zst or .tzst, the archive is compressed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which images: `app:1.4`, `app:1.4~1` (the one before),
    /// `app:1.4@{2026-05-01}` (as of then), `app@sha256:...`, or 6 or more hex
    /// digits of an image ID
    #[arg(required = true, value_name = "REF")]
    names: Vec<String>,
    /// Where to write; `-` is standard output, as without. With `--format oci`, a
    /// folder if it ends in `/`
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Which layout the archive has
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<FormatArg>,
    /// How layers are compressed; all but `keep` makes new manifests where layers
    /// change
    #[arg(long, value_enum, value_name = "HOW")]
    compression: Option<CompressionArg>,
    /// Take only images for this platform, such as `linux/arm64`; can be given
    /// several times
    #[arg(long, value_name = "OS/ARCH", value_parser = platform)]
    platform: Vec<Platform>,
    /// Make what this program accepts, and refuse what it doesn't
    #[arg(long, value_enum, value_name = "PROGRAM")]
    target: Option<TargetArg>,
    /// Write the archive that an image was saved from, bit for bit; a save can be
    /// named by the ID that `save --json` and `inspect` print
    #[arg(long, conflicts_with_all = ["format", "compression", "platform", "target"])]
    original: bool,
    /// Print JSON about what was written to a file
    #[arg(long, requires = "output")]
    json: bool,
}

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    /// An OCI layout with a `manifest.json`; every engine loads it [default]
    Docker,
    /// An OCI layout alone
    Oci,
    /// As Docker 1.10 to 24 wrote it, for tools that know nothing newer
    DockerLegacy,
}

/// `--compression`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CompressionArg {
    /// As they were saved, so that digests and signatures hold [default]
    Keep,
    /// Plain tars
    None,
    /// gzip
    Gzip,
    /// zstd
    Zstd,
}

/// `--target`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TargetArg {
    /// Docker 20.10 and older
    #[value(name = "docker-20")]
    Docker20,
    /// Docker since 23, with either of its image stores
    Docker,
    /// containerd: ctr and nerdctl
    Containerd,
    /// Podman
    Podman,
    /// kind
    Kind,
    /// k3s and RKE2
    #[value(name = "k3s")]
    K3s,
    /// skopeo
    Skopeo,
}

#[derive(Serialize)]
struct Document {
    schema: u32,
    images: usize,
    bytes: u64,
    decoded: u64,
    notes: Vec<String>,
}

/// Where the archive goes.
enum Place<'a> {
    Stdout,
    File(&'a Path),
    Folder(&'a Path),
}

fn platform(text: &str) -> Result<Platform, String> {
    parse_platform(text).ok_or_else(|| "expected `os/architecture` or `os/arch/variant`".to_owned())
}

fn place(args: &Args) -> Place<'_> {
    match &args.output {
        None => Place::Stdout,
        Some(path) if path.as_os_str() == "-" => Place::Stdout,
        Some(path) if path.as_os_str().as_encoded_bytes().ends_with(b"/") => Place::Folder(path),
        Some(path) => Place::File(path),
    }
}

/// How the archive as a whole is compressed, by its name.
fn outer(path: &Path) -> Form {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let ends = |endings: [&str; 2]| endings.iter().any(|ending| name.ends_with(ending));
    if ends([".tar.gz", ".tgz"]) {
        Form::Gzip
    } else if ends([".tar.zst", ".tzst"]) {
        Form::Zstd
    } else {
        Form::Plain
    }
}

fn options(args: &Args) -> Result<ExportOptions, Failure> {
    let format = args.format.map(|format| match format {
        FormatArg::Docker => Format::Docker,
        FormatArg::Oci => Format::Oci,
        FormatArg::DockerLegacy => Format::DockerLegacy,
    });
    let layers = args.compression.map(|compression| match compression {
        CompressionArg::Keep => LayerCompression::Keep,
        CompressionArg::None => LayerCompression::None,
        CompressionArg::Gzip => LayerCompression::Gzip,
        CompressionArg::Zstd => LayerCompression::Zstd,
    });
    let (form, folder, name) = match place(args) {
        Place::Stdout => (Form::Plain, false, None),
        Place::Folder(_) => (Form::Plain, true, None),
        Place::File(path) => (outer(path), false, path.file_name().and_then(|name| name.to_str())),
    };
    let wish = Wish { format, layers, form, folder, name };
    let options = match args.target {
        None => wish.options(),
        Some(target) => target.target().options(wish).map_err(|refusal| {
            Failure::new(refusal.to_string(), Exit::Usage).hint(format!("use {}", refusal.instead))
        })?,
    };
    let refused = |message| Err(Failure::new(message, Exit::Usage));
    if options.format == Format::DockerLegacy && options.layers != LayerCompression::None {
        return refused("`--format docker-legacy` has plain layers: `--compression none`");
    }
    if folder && options.format != Format::Oci {
        return refused("only `--format oci` can be written as a folder");
    }
    Ok(ExportOptions { platforms: args.platform.clone(), ..options })
}

impl TargetArg {
    fn target(self) -> Target {
        match self {
            Self::Docker20 => Target::Docker20,
            Self::Docker => Target::Docker,
            Self::Containerd => Target::Containerd,
            Self::Podman => Target::Podman,
            Self::Kind => Target::Kind,
            Self::K3s => Target::K3s,
            Self::Skopeo => Target::Skopeo,
        }
    }
}

pub(crate) fn run(global: &Global, args: &Args) -> Printed {
    if args.original {
        return original::run(global, args);
    }
    let options = options(args)?;
    let place = place(args);
    if matches!(place, Place::Stdout) && output::stdout_is_terminal() {
        let names = args.names.join(" ");
        return Err(Failure::new("cannot export to a terminal", Exit::Usage)
            .hint(format!("write a file: orlop export {names} -o FILE"))
            .hint(format!("load it: orlop export {names} | docker load")));
    }
    let store = surroundings::open_to_read(global)?;
    let images = args.names.iter().map(|name| find(&store, name));
    let images: Vec<_> = images.collect::<Result<_, _>>()?;
    let bar = Bar::new("exporting", global.quiet);
    let export = Export::plan(&store, &images, &options, &bar)?;
    let notes: Vec<String> = export.notes().iter().map(ToString::to_string).collect();
    if !global.quiet {
        for note in &notes {
            output::note(&format!("note: {note}"));
        }
    }
    let target = match place {
        Place::Stdout => {
            let mut out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
            let written = export.write(&mut out, Form::Plain, &bar);
            written.map_err(|error| Failure::from(error).with_output())?;
            return Ok(Exit::Done);
        }
        Place::File(path) | Place::Folder(path) => path,
    };
    let failed = |error: &dyn std::error::Error| {
        Failure::of(format!("cannot write `{}`", target.display()), error, Exit::Failed)
    };
    let outcome = if let Place::Folder(_) = place {
        let mut folder = FolderOutput::create(target).map_err(|error| failed(&error))?;
        let outcome = export.write_folder(&mut folder, &bar)?;
        folder.finish().map_err(|error| failed(&error))?;
        outcome
    } else {
        let file = Output::create(target).map_err(|error| failed(&error))?;
        let mut file = BufWriter::with_capacity(BUFFER, file);
        let outcome = export.write(&mut file, outer(target), &bar)?;
        file.flush().map_err(|error| failed(&error))?;
        let file = file.into_inner().map_err(|error| failed(error.error()))?;
        file.finish().map_err(|error| failed(&error))?;
        outcome
    };
    let ExportOutcome { images, bytes, decoded } = outcome;
    if args.json {
        return output::json(&Document { schema: 1, images, bytes, decoded, notes });
    }
    if !global.quiet {
        let plural = if images == 1 { "" } else { "s" };
        let bytes = ByteCount(bytes);
        output::note(&format!("exported {images} image{plural}, {bytes}, to {}", target.display()));
    }
    Ok(Exit::Done)
}
