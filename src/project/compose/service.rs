//! What files say of a service, as far as images go.
//!
//! A file is laid over what earlier ones, or the service that it extends, have
//! said: texts are replaced, lists go on, `!reset` takes away, `!override` replaces.
//! Variables stay in the texts. Knows nothing of files and of other services.

use std::path::Path;
use std::rc::Rc;

use crate::project::dotenv::Variables;
use crate::project::error::{Place, ProjectError, place};
use crate::project::yaml::{Node, Tag, Value};

/// Where a text comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub file: &'a Path,
    /// What variables in it mean.
    pub scope: &'a Rc<Variables>,
}

impl Context<'_> {
    pub(super) fn place(&self, node: &Node) -> Place {
        place(self.file, node.line)
    }
}

/// A text as written, and what is needed to replace its variables.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub written: String,
    pub place: Place,
    pub scope: Rc<Variables>,
}

impl Text {
    /// What a node says, which is `what`.
    pub(super) fn read(
        node: &Node,
        context: &Context<'_>,
        what: &str,
    ) -> Result<Self, ProjectError> {
        let Some(text) = node.text() else {
            return Err(ProjectError::invalid(context.place(node), what, "it is not a text"));
        };
        let scope = Rc::clone(context.scope);
        Ok(Self { written: text.to_owned(), place: context.place(node), scope })
    }

    /// The texts of a list, or the only one.
    pub(super) fn read_all(
        node: &Node,
        context: &Context<'_>,
        what: &str,
    ) -> Result<Vec<Self>, ProjectError> {
        match &node.value {
            Value::List(items) => {
                items.iter().map(|item| Self::read(item, context, what)).collect()
            }
            Value::Null => Ok(Vec::new()),
            _ => Ok(vec![Self::read(node, context, what)?]),
        }
    }
}

/// A service.
#[derive(Debug, Clone)]
pub(super) struct Service {
    /// Where it is first spoken of.
    pub place: Place,
    pub image: Option<Text>,
    /// Whether its image is built.
    pub built: bool,
    /// Further names of what is built.
    pub tags: Vec<Text>,
    pub profiles: Vec<Text>,
    /// Images that it mounts, by where.
    pub mounted: Vec<(String, Text)>,
    /// Whether something else than a container provides it.
    pub provided: bool,
    /// Whether it extends what wasn't followed.
    pub incomplete: bool,
}

impl Service {
    /// One of which nothing is said yet.
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            image: None,
            built: false,
            tags: Vec::new(),
            profiles: Vec::new(),
            mounted: Vec::new(),
            provided: false,
            incomplete: false,
        }
    }

    /// How much there is of it.
    pub(super) fn weight(&self) -> usize {
        2 + self.tags.len() + self.profiles.len() + self.mounted.len()
    }

    /// Whether the files say the same of both.
    pub(super) fn same(&self, other: &Self) -> bool {
        let all = |texts: &[Text]| texts.iter().map(|text| text.written.clone()).collect();
        let says = |service: &Self| -> (Option<String>, bool, Vec<String>, Vec<String>) {
            let image = service.image.as_ref().map(|image| image.written.clone());
            (image, service.built, all(&service.tags), all(&service.profiles))
        };
        says(self) == says(other)
    }

    /// Lays what another file came to over this.
    pub(super) fn overlay(&mut self, other: Self) {
        if other.image.is_some() {
            self.image = other.image;
        }
        self.built |= other.built;
        self.tags.extend(other.tags);
        self.profiles.extend(other.profiles);
        for (target, text) in other.mounted {
            self.mount(target, Some(text));
        }
        self.provided |= other.provided;
        self.incomplete |= other.incomplete;
    }

    /// Lays what a file says over this; `what` is the service in messages.
    pub(super) fn apply(
        &mut self,
        node: &Node,
        context: &Context<'_>,
        what: &str,
    ) -> Result<(), ProjectError> {
        let entries = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => return Ok(()),
            _ => {
                return Err(ProjectError::invalid(context.place(node), what, "it is no mapping"));
            }
        };
        if node.tag == Tag::Override {
            *self = Self::new(context.place(node));
        }
        for (key, value) in entries {
            let part = format!("{what}, `{key}`");
            let given = value.value != Value::Null && value.tag != Tag::Reset;
            match key.as_str() {
                "image" if value.tag == Tag::Reset => self.image = None,
                "image" if given => self.image = Some(Text::read(value, context, &part)?),
                "build" => self.build(value, context, &part)?,
                "profiles" => list(&mut self.profiles, value, context, &part)?,
                "volumes" => self.volumes(value, context, &part)?,
                "provider" => self.provided = given || value.tag == Tag::None && self.provided,
                _ => {}
            }
        }
        Ok(())
    }

    fn build(
        &mut self,
        node: &Node,
        context: &Context<'_>,
        what: &str,
    ) -> Result<(), ProjectError> {
        if node.tag != Tag::None {
            self.built = false;
            self.tags.clear();
        }
        match &node.value {
            _ if node.tag == Tag::Reset => {}
            Value::Null => {}
            Value::Text(_) => self.built = true,
            Value::Map(_) => {
                self.built = true;
                if let Some(tags) = node.get("tags") {
                    list(&mut self.tags, tags, context, &format!("{what}, `tags`"))?;
                }
            }
            _ => {
                let problem = "it is neither a folder nor a mapping";
                return Err(ProjectError::invalid(context.place(node), what, problem));
            }
        }
        Ok(())
    }

    fn volumes(
        &mut self,
        node: &Node,
        context: &Context<'_>,
        what: &str,
    ) -> Result<(), ProjectError> {
        if node.tag != Tag::None {
            self.mounted.clear();
        }
        if node.tag == Tag::Reset {
            return Ok(());
        }
        for item in node.items() {
            let target = item.get("target").and_then(Node::text).unwrap_or_default();
            let image = item.get("type").and_then(Node::text) == Some("image");
            let source = item.get("source").filter(|_| image);
            let source = source.map(|source| Text::read(source, context, what)).transpose()?;
            if !item.entries().is_empty() {
                self.mount(target.to_owned(), source);
            }
        }
        Ok(())
    }

    /// Mounts an image, or something else in its place.
    fn mount(&mut self, target: String, image: Option<Text>) {
        self.mounted.retain(|(other, _)| *other != target);
        self.mounted.extend(image.map(|image| (target, image)));
    }
}

/// Goes on with a list, or begins it again.
fn list(
    texts: &mut Vec<Text>,
    node: &Node,
    context: &Context<'_>,
    what: &str,
) -> Result<(), ProjectError> {
    if node.tag != Tag::None {
        texts.clear();
    }
    if node.tag != Tag::Reset {
        texts.extend(Text::read_all(node, context, what)?);
    }
    Ok(())
}
