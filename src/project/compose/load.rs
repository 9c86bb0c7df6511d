//! The files of a Compose project put together: one over the other, with what they
//! `include` and what their services `extends`.
//!
//! Files that lead back to themselves are an error; how many there are, how deep
//! they go and what they come to is bounded. What is not on this machine is named
//! as not followed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::fs::{Disk, Fs, read_input};
use crate::project::NotFollowed;
use crate::project::compose::names::clean;
use crate::project::compose::service::{Context, Service, Text};
use crate::project::compose::{Reading, parent, with_files};
use crate::project::dotenv::Variables;
use crate::project::error::{Place, ProjectError, cut, place};
use crate::project::yaml::{self, Node, Tag, Value};

/// Most files that lead from one to the next, and most services that do.
const MOST_DEPTH: usize = 32;
/// Most files that are read, counting each time.
const MOST_FILES: usize = 1000;
/// Most nodes of all files.
const MOST_NODES: usize = 1_000_000;
/// Most services of a file.
const MOST_SERVICES: usize = 10_000;
/// Most of what services come to, counting each time that one is extended.
const MOST_WEIGHT: usize = 200_000;

/// Services by name, in the order in which they are first spoken of.
#[derive(Debug, Default)]
pub(super) struct Services {
    list: Vec<(String, Option<Service>)>,
    index: BTreeMap<String, usize>,
}

impl Services {
    pub(super) fn in_order(&self) -> impl Iterator<Item = (&str, &Service)> {
        self.list.iter().filter_map(|(name, service)| Some((name.as_str(), service.as_ref()?)))
    }

    fn slot(&mut self, name: &str) -> &mut Option<Service> {
        let next = self.list.len();
        let at = *self.index.entry(name.to_owned()).or_insert(next);
        if at == next {
            self.list.push((name.to_owned(), None));
        }
        &mut self.list[at].1
    }

    fn overlay(&mut self, name: &str, service: Service) {
        match self.slot(name) {
            Some(below) => below.overlay(service),
            empty => *empty = Some(service),
        }
    }
}

/// A file that is being read, and what paths in it start from.
#[derive(Debug, Clone, Copy)]
struct Here<'a> {
    context: Context<'a>,
    directory: &'a Path,
}

/// Reads files one after the other.
#[derive(Debug)]
pub(super) struct Loader {
    reading: Reading,
    outer: Rc<Variables>,
    services: Services,
    /// Files that were read.
    known: BTreeMap<PathBuf, Rc<Vec<Node>>>,
    nodes: usize,
    files: usize,
    weight: usize,
    /// Files that include each other, down to this one.
    including: Vec<PathBuf>,
}

impl Loader {
    pub(super) fn new(reading: Reading, variables: Variables) -> Self {
        Self {
            reading,
            outer: Rc::new(variables),
            services: Services::default(),
            known: BTreeMap::new(),
            nodes: 0,
            files: 0,
            weight: 0,
            including: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> (Reading, Services) {
        (self.reading, self.services)
    }

    /// Reads the project's own files.
    pub(super) fn project(
        &mut self,
        documents: &[(PathBuf, Vec<Node>)],
        directory: &Path,
    ) -> Result<(), ProjectError> {
        let scope = Rc::clone(&self.outer);
        let mut services = Services::default();
        for (file, nodes) in documents {
            self.count(file, nodes)?;
            let here = Here { context: Context { file, scope: &scope }, directory };
            self.file(nodes, &here, &mut services)?;
        }
        self.services = services;
        Ok(())
    }

    /// Lays the documents of a file over `services`.
    fn file(
        &mut self,
        documents: &[Node],
        here: &Here<'_>,
        services: &mut Services,
    ) -> Result<(), ProjectError> {
        let file = clean(here.context.file);
        self.including.push(file);
        for document in documents {
            self.document(document, here, services)?;
        }
        self.including.pop();
        Ok(())
    }

    fn document(
        &mut self,
        document: &Node,
        here: &Here<'_>,
        services: &mut Services,
    ) -> Result<(), ProjectError> {
        let own = own_services(document, here)?;
        let mut included = Services::default();
        if let Some(include) = document.get("include") {
            if !matches!(include.value, Value::List(_)) {
                let place = here.context.place(include);
                return Err(ProjectError::invalid(place, "`include`", "it is not a list"));
            }
            for entry in include.items() {
                self.include(entry, here, &mut included)?;
            }
        }
        for (name, service) in included.list {
            let Some(service) = service else { continue };
            if let Some((_, node)) = own.iter().find(|(own, _)| *own == name) {
                let place = here.context.place(node);
                let what = called(&name);
                let ours = self.extended(&name, own, here, &place, &what, &mut Vec::new())?;
                if !ours.is_some_and(|ours| ours.same(&service)) {
                    return Err(conflict(place, &name, &service));
                }
                continue;
            }
            services.overlay(&name, service);
        }
        for (name, node) in own {
            if node.tag == Tag::Reset {
                *services.slot(name) = None;
                continue;
            }
            let service = self.service(name, own, here, &mut Vec::new())?;
            // What it extends is laid over what earlier files say, then itself.
            let slot = services.slot(name);
            let mut whole = slot.take().filter(|_| node.tag != Tag::Override);
            match &mut whole {
                Some(below) => {
                    if let Some(base) = service {
                        below.overlay(base);
                    }
                }
                None => {
                    whole = Some(service.unwrap_or_else(|| Service::new(here.context.place(node))));
                }
            }
            if let Some(whole) = &mut whole {
                whole.apply(node, &here.context, &called(name))?;
                self.weight += whole.weight();
            }
            *services.slot(name) = whole;
            self.bounded(&here.context.place(node))?;
        }
        Ok(())
    }

    /// What the service extends, if it does.
    fn service(
        &mut self,
        name: &str,
        own: &[(String, Node)],
        here: &Here<'_>,
        chain: &mut Vec<(PathBuf, String)>,
    ) -> Result<Option<Service>, ProjectError> {
        let found = own.iter().find(|(other, _)| other == name);
        let Some(extends) = found.and_then(|(_, node)| node.get("extends")) else {
            return Ok(None);
        };
        let what = called(name);
        let at = here.context.place(extends);
        let link = (clean(here.context.file), name.to_owned());
        let closed = chain.contains(&link);
        chain.push(link);
        if closed || chain.len() > MOST_DEPTH {
            let chain = chain.iter().map(|(file, name)| format!("`{name}` in {}", file.display()));
            let (thing, chain) = (format!("{what}, `extends`"), chain.take(8).collect());
            return Err(ProjectError::Cycle { place: at, thing, chain });
        }
        let part = |key: &str| if extends.text().is_some() { None } else { extends.get(key) };
        let Some(other) = part("service").or(extends.text().map(|_| extends)) else {
            return Err(ProjectError::invalid(at, &what, "`extends` names no service"));
        };
        let other = self.text(other, here, &what)?;
        let base = match part("file") {
            None => self.extended(&other, own, here, &at, &what, chain)?,
            Some(file) => {
                let file = self.text(file, here, &what)?;
                if remote(&file) {
                    self.not_followed(format!("`extends` of {what}: {}", cut(&file)), at);
                    let mut service = Service::new(here.context.place(extends));
                    service.incomplete = true;
                    Some(service)
                } else {
                    let file = clean(&here.directory.join(file));
                    let documents = self.open(&file)?;
                    let directory = parent(&file);
                    let context = Context { file: &file, scope: here.context.scope };
                    let there = Here { context, directory: &directory };
                    let has = |node: &&Node| {
                        let services = node.get("services").map_or(&[][..], Node::entries);
                        services.iter().any(|(name, _)| *name == other)
                    };
                    let services = documents.iter().rev().find(has).and_then(|n| n.get("services"));
                    let own = services.map_or(&[][..], Node::entries);
                    self.extended(&other, own, &there, &at, &what, chain)?
                }
            }
        };
        chain.pop();
        Ok(base)
    }

    /// A service that is extended, with all that it extends itself.
    fn extended(
        &mut self,
        name: &str,
        own: &[(String, Node)],
        here: &Here<'_>,
        at: &Place,
        what: &str,
        chain: &mut Vec<(PathBuf, String)>,
    ) -> Result<Option<Service>, ProjectError> {
        let Some((_, node)) = own.iter().find(|(other, _)| other == name) else {
            let file = here.context.file.display();
            let problem = format!("it extends `{}`, which is not in {file}", cut(name));
            return Err(ProjectError::invalid(at.clone(), what, problem));
        };
        let base = self.service(name, own, here, chain)?;
        let mut service = base.unwrap_or_else(|| Service::new(here.context.place(node)));
        service.apply(node, &here.context, &called(name))?;
        self.weight += service.weight();
        self.bounded(at)?;
        Ok(Some(service))
    }

    fn include(
        &mut self,
        entry: &Node,
        here: &Here<'_>,
        services: &mut Services,
    ) -> Result<(), ProjectError> {
        let at = here.context.place(entry);
        let part = |key: &str| if entry.text().is_some() { None } else { entry.get(key) };
        let path = part("path").unwrap_or(entry);
        let paths = self.texts(path, here, "`include`")?;
        if let Some(path) = paths.iter().find(|path| remote(path)) {
            self.not_followed(format!("`include` of {}", cut(path)), at);
            return Ok(());
        }
        let files: Vec<_> = paths.iter().map(|path| clean(&here.directory.join(path))).collect();
        let Some(first) = files.first() else {
            return Err(ProjectError::invalid(at, "`include`", "it names no file"));
        };
        let directory = match part("project_directory") {
            Some(directory) => here.directory.join(self.text(directory, here, "`include`")?),
            None => parent(first),
        };
        let mut variables = match part("env_file") {
            Some(list) => self.texts(list, here, "`include`")?,
            None => Vec::new(),
        };
        variables.retain(|file| file != "/dev/null");
        let mut variables: Vec<_> = variables.iter().map(|f| here.directory.join(f)).collect();
        if part("env_file").is_none() {
            variables.extend(Some(directory.join(".env")).filter(|file| Disk.exists(file)));
        }
        let scope = Rc::new(with_files(here.context.scope, &variables)?);
        let mut loaded = Services::default();
        for file in &files {
            if self.including.contains(file) || self.including.len() > MOST_DEPTH {
                let chain = self.including.iter().chain([file]).take(8);
                let chain = chain.map(|file| file.display().to_string()).collect();
                return Err(ProjectError::Cycle { place: at, thing: "`include`".into(), chain });
            }
            let documents = self.open(file)?;
            let context = Context { file, scope: &scope };
            self.file(&documents, &Here { context, directory: &directory }, &mut loaded)?;
        }
        for (name, service) in loaded.list {
            let Some(service) = service else { continue };
            if let Some(other) = services.slot(&name) {
                if other.same(&service) {
                    continue;
                }
                return Err(conflict(service.place, &name, other));
            }
            *services.slot(&name) = Some(service);
        }
        Ok(())
    }

    /// A text with its variables replaced.
    fn text(&mut self, node: &Node, here: &Here<'_>, what: &str) -> Result<String, ProjectError> {
        let text = Text::read(node, &here.context, what)?;
        self.reading.replaced(&text, what)
    }

    /// The same of a list, or of one text.
    fn texts(
        &mut self,
        node: &Node,
        here: &Here<'_>,
        what: &str,
    ) -> Result<Vec<String>, ProjectError> {
        let texts = Text::read_all(node, &here.context, what)?;
        texts.iter().map(|text| self.reading.replaced(text, what)).collect()
    }

    /// The documents of a file that another one names.
    fn open(&mut self, file: &Path) -> Result<Rc<Vec<Node>>, ProjectError> {
        self.files += 1;
        if self.files > MOST_FILES {
            let problem = format!("more than {MOST_FILES} files are included or extended");
            return Err(ProjectError::Yaml { place: place(file, 0), problem });
        }
        if let Some(documents) = self.known.get(file) {
            return Ok(Rc::clone(documents));
        }
        let documents = Rc::new(yaml::parse(file, &read_input(file, yaml::MOST_BYTES)?)?);
        self.count(file, &documents)?;
        self.known.insert(file.to_owned(), Rc::clone(&documents));
        Ok(documents)
    }

    /// Takes account of what a file holds.
    fn count(&mut self, file: &Path, documents: &[Node]) -> Result<(), ProjectError> {
        self.nodes += documents.iter().map(Node::count).sum::<usize>();
        if self.nodes <= MOST_NODES {
            return Ok(());
        }
        let problem = format!("the project's files come to more than {MOST_NODES} values");
        Err(ProjectError::Yaml { place: place(file, 0), problem })
    }

    fn bounded(&self, place: &Place) -> Result<(), ProjectError> {
        if self.weight <= MOST_WEIGHT {
            return Ok(());
        }
        let problem = "the project's services come to too much".to_owned();
        Err(ProjectError::Yaml { place: place.clone(), problem })
    }

    fn not_followed(&mut self, what: String, place: Place) {
        let why = "it is not on this machine";
        self.reading.collected.found.not_followed.push(NotFollowed { what, why, place });
    }
}

/// The services that a document speaks of.
fn own_services<'a>(
    document: &'a Node,
    here: &Here<'_>,
) -> Result<&'a [(String, Node)], ProjectError> {
    let Value::Map(_) = &document.value else {
        let place = here.context.place(document);
        return Err(ProjectError::invalid(place, "the file", "it is no mapping"));
    };
    let Some(services) = document.get("services") else { return Ok(&[]) };
    let place = here.context.place(services);
    match &services.value {
        Value::Map(entries) if entries.len() <= MOST_SERVICES => Ok(entries),
        Value::Map(_) => {
            let problem = format!("there are more than {MOST_SERVICES}");
            Err(ProjectError::invalid(place, "`services`", problem))
        }
        _ => Err(ProjectError::invalid(place, "`services`", "it is no mapping")),
    }
}

/// Whether a path leads to another machine: a Git or an OCI repository.
fn remote(path: &str) -> bool {
    path.contains("://") || path.starts_with("git@") || path.starts_with("github.com/")
}

/// A service of two files, neither of which is laid over the other.
fn conflict(place: Place, name: &str, other: &Service) -> ProjectError {
    let problem = format!("{} says something else of it", other.place);
    ProjectError::invalid(place, &called(name), problem)
}

fn called(name: &str) -> String {
    format!("service `{}`", cut(name))
}
