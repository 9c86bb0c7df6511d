//! How a failure is shown, which exit code it has, and what to try next.

use std::error::Error as StdError;
use std::io;
use std::path::Path;

use orlop::engine::EngineError;
use orlop::image;
use orlop::ops::export::ExportError;
use orlop::ops::from_engine::FromEngineError;
use orlop::ops::load::LoadError;
use orlop::ops::original::OriginalError;
use orlop::ops::resolve::ResolveError;
use orlop::ops::rm::RmError;
use orlop::ops::save::SaveError;
use orlop::ops::undo::UndoError;
use orlop::pack::format::HeaderError;
use orlop::pack::reader::PackError;
use orlop::project::ProjectError;
use orlop::store::StoreError;

use super::exit::Exit;
use super::output;

/// A failure on its way to the user.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What failed, on which thing.
    message: String,
    /// Why, one upon the other.
    causes: Vec<String>,
    /// Commands that can be pasted; at most two.
    hints: Vec<String>,
    exit: Exit,
    /// Whether only the catalog is damaged, which can be built again.
    catalog: bool,
}

impl Failure {
    /// A failure with a message and an exit code alone.
    pub(crate) fn new(message: impl Into<String>, exit: Exit) -> Self {
        let (causes, hints) = (Vec::new(), Vec::new());
        Self { message: message.into(), causes, hints, exit, catalog: false }
    }

    /// Adds what to try next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// A failure of an act, caused by `error`.
    pub(crate) fn of(act: impl Into<String>, error: &dyn StdError, exit: Exit) -> Self {
        Self { causes: chain(error), ..Self::new(act, exit) }
    }

    /// A failure to save one archive.
    pub(crate) fn of_save(name: &str, error: &SaveError) -> Self {
        let mut failure = Self::of(format!("cannot save `{name}`"), error, save_exit(error));
        failure.catalog = matches!(error, SaveError::Store(error) if in_catalog(error));
        match error {
            SaveError::TagWithout { .. } => {
                failure.hint("images that have a name keep it: leave out `--tag`")
            }
            _ => failure,
        }
    }

    /// A failure to save what an engine sent.
    pub(crate) fn of_stream(engine: &str, error: &SaveError) -> Self {
        Self::of(format!("cannot save what {engine} sent"), error, save_exit(error))
    }

    /// Whether it may help to build the catalog again.
    pub(crate) fn is_in_catalog(&self) -> bool {
        self.catalog
    }

    /// It can't be tried again, since output was written already.
    pub(crate) fn with_output(self) -> Self {
        Self { catalog: false, ..self }
    }

    /// The same where something is missing because of damage.
    pub(crate) fn in_damaged_store(self) -> Self {
        let exit = if self.exit == Exit::NotFound { Exit::Damage } else { self.exit };
        Self { exit, ..self }
    }

    /// The message and its causes on one line, for JSON.
    pub(crate) fn line(&self) -> String {
        let mut line = self.message.clone();
        for cause in &self.causes {
            line.push_str(": ");
            line.push_str(cause);
        }
        line
    }

    /// Prints it; returns the exit code.
    pub(crate) fn report(&self) -> Exit {
        if self.exit == Exit::ReaderGone {
            return self.exit;
        }
        output::note(&format!("error: {}", self.message));
        for cause in &self.causes {
            output::note(&format!("caused by: {cause}"));
        }
        for hint in &self.hints {
            output::note(&format!("hint: {hint}"));
        }
        self.exit
    }
}

fn chain(error: &dyn StdError) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        // Errors that pass on another's text would say it twice.
        if causes.last() != Some(&text) {
            causes.push(text);
        }
        next = error.source();
    }
    causes
}

fn save_exit(error: &SaveError) -> Exit {
    match error {
        SaveError::Image(image::Error::LooksLike { .. } | image::Error::LayoutVersion { .. }) => {
            Exit::Unsupported
        }
        SaveError::Read(error) if error.kind() == io::ErrorKind::Unsupported => Exit::Unsupported,
        SaveError::Store(error) => store_exit(error),
        _ => Exit::Failed,
    }
}

fn store_exit(error: &StoreError) -> Exit {
    match error {
        StoreError::Missing { .. } => Exit::NoStore,
        StoreError::Locked { .. } => Exit::Locked,
        StoreError::Unsupported { .. }
        | StoreError::Pack(PackError::Header { source: HeaderError::Unsupported(_), .. }) => {
            Exit::Unsupported
        }
        // Only what a revision names is ever asked for.
        StoreError::NoBlob { .. } => Exit::Damage,
        error if error.is_damage() => Exit::Damage,
        _ => Exit::Failed,
    }
}

/// Whether the catalog's own file is damaged.
fn in_catalog(error: &StoreError) -> bool {
    matches!(error, StoreError::Catalog(error) if error.is_damage())
        || matches!(error, StoreError::Inconsistent(_))
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let mut causes = chain(&error);
        let mut failure = Self::new(causes.remove(0), store_exit(&error));
        failure.causes = causes;
        failure.catalog = in_catalog(&error);
        match &error {
            // Without its header, the rest of a store is all there still.
            StoreError::Missing { root } if root.join("packs").is_dir() => failure.hint(format!(
                "put back its header from a copy: {}",
                quoted(&root.join("orlop.json"))
            )),
            StoreError::Missing { root } => failure.hint(format!(
                "save an image into it, which makes it: orlop save -s {} -i FILE",
                quoted(root)
            )),
            StoreError::Inconsistent(_) => failure.hint("build the catalog again: orlop reindex"),
            _ => failure,
        }
    }
}

impl From<ResolveError> for Failure {
    fn from(error: ResolveError) -> Self {
        let exit = match error {
            ResolveError::Store(error) => return error.into(),
            ResolveError::NotFound { .. } | ResolveError::Ambiguous { .. } => Exit::NotFound,
            _ => Exit::Usage,
        };
        let mut failure = Self::new(error.to_string(), exit);
        if let ResolveError::NotFound { near, .. } = &error
            && !near.is_empty()
        {
            failure = failure.hint(format!("there is {}", near.join(", ")));
        }
        match exit {
            Exit::NotFound => failure.hint("see what there is: orlop images"),
            _ => failure,
        }
    }
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        if error.output_error().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return Self::new("the reader went away", Exit::ReaderGone);
        }
        match error {
            ExportError::Store(error)
                if store_exit(&error) != Exit::Failed || in_catalog(&error) =>
            {
                error.into()
            }
            error @ (ExportError::NoPlatform { .. } | ExportError::NothingThere { .. }) => {
                Self::of("cannot export", &error, Exit::NotFound)
            }
            error @ ExportError::SeveralInOci { .. } => {
                Self::of("cannot export", &error, Exit::Usage).hint("use --format docker")
            }
            error @ ExportError::Artifact { .. } => Self::of("cannot export", &error, Exit::Usage)
                .hint("write it as an OCI layout: --format oci"),
            error => Self::of("cannot export", &error, Exit::Failed),
        }
    }
}

impl From<OriginalError> for Failure {
    fn from(error: OriginalError) -> Self {
        if error.output_error().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return Self::new("the reader went away", Exit::ReaderGone);
        }
        match error {
            OriginalError::Store(error)
                if store_exit(&error) != Exit::Failed || in_catalog(&error) =>
            {
                error.into()
            }
            OriginalError::Damaged { .. } | OriginalError::Differs { .. } => {
                Self::of("cannot export", &error, Exit::Damage)
            }
            OriginalError::Removed { .. } => Self::of("cannot export", &error, Exit::NotFound),
            error => Self::of("cannot export", &error, Exit::Failed),
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let mut causes = chain(&error);
        let exit = match error {
            EngineError::NotReachable { .. } | EngineError::Permission { .. } => Exit::NoEngine,
            EngineError::Address { .. } | EngineError::NoContext { .. } => Exit::Usage,
            _ => Exit::Failed,
        };
        let mut failure = Self::new(causes.remove(0), exit);
        failure.causes = causes;
        match &error {
            EngineError::NotReachable { .. } => failure
                .hint("start one: systemctl start docker, or systemctl start podman.socket")
                .hint("name another: --engine podman, or --engine unix:///PATH"),
            EngineError::Permission { .. } => failure
                .hint("become a member of the socket's group: sudo usermod -aG docker $USER")
                .hint("use Podman without privileges: --engine podman"),
            _ => failure,
        }
    }
}

impl From<FromEngineError> for Failure {
    fn from(error: FromEngineError) -> Self {
        match error {
            FromEngineError::Engine(error) => error.into(),
            FromEngineError::Store(error) => error.into(),
            error => Self::of("cannot save", &error, Exit::Failed),
        }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Engine(error) => error.into(),
            LoadError::Export(error) => error.into(),
            LoadError::Store(error) => error.into(),
            error => Self::of("cannot load", &error, Exit::Failed),
        }
    }
}

impl From<ProjectError> for Failure {
    fn from(error: ProjectError) -> Self {
        let mut causes = chain(&error);
        let mut failure = Self::new(causes.remove(0), Exit::Usage);
        failure.causes = causes;
        failure
    }
}

impl From<RmError> for Failure {
    fn from(error: RmError) -> Self {
        let act = "cannot remove anything";
        match &error {
            RmError::Pinned { name } => Self::of(act, &error, Exit::Failed)
                .hint(format!("let it be removed: orlop unpin {name}")),
            RmError::NoName { .. } => Self::of(act, &error, Exit::Usage),
            RmError::InIndex { index, .. } => Self::of(act, &error, Exit::Failed)
                .hint(format!("remove the index: orlop rm {index}")),
            _ => match error {
                RmError::Store(error) => error.into(),
                error => Self::of(act, &error, Exit::Failed),
            },
        }
    }
}

impl From<UndoError> for Failure {
    fn from(error: UndoError) -> Self {
        match error {
            UndoError::Store(error) => error.into(),
            error => Self::of("cannot undo", &error, Exit::Failed),
        }
    }
}

/// A path as it can be pasted into a shell.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+,:@%".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
