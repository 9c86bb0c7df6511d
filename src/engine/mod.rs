//! A container engine: Docker's API, or Podman's that is compatible with it.
//!
//! Finds the engine that the user means, asks it about images, and streams archives out of it and
//! into it with bounded memory. Everything blocks: the asynchronous runtime below is nobody else's
//! business. What an engine says is untrusted and bounded. Knows nothing of stores, archives or
//! the environment.

mod address;
mod body;
mod client;
mod connection;
mod endpoint;
mod error;
mod greet;
mod load;
mod model;
mod save;
mod tls;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use hyper::Method;
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use crate::digest::Digest;

use client::Client;
pub use endpoint::Surroundings;
pub use error::{Attempt, EngineError};
pub use load::{LoadOutcome, LoadReport};
pub use model::{About, EngineImage, ImageDescriptor, ImageStore, ListedImage, Product};
use model::{HistoryAnswer, ImageAnswer, ListAnswer, parse_id};
pub use save::SaveStream;

/// A container engine that answers.
pub struct Engine {
    workers: Arc<Workers>,
    client: Arc<Client>,
    about: About,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("about", &self.about).finish_non_exhaustive()
    }
}

impl Engine {
    /// Finds an engine and greets it.
    ///
    /// `choice` is what the user asked for: an address (`unix://`, `tcp://`, `http://`,
    /// `https://`, `ssh://`), the path of a socket, the name of a Docker context, or `docker` or
    /// `podman`. Without it, Docker's settings say where the engine is, else the usual sockets.
    pub fn connect(surroundings: &Surroundings, choice: Option<&str>) -> Result<Self, EngineError> {
        let endpoints = endpoint::endpoints(surroundings, choice)?;
        let workers = Arc::new(Workers::start()?);
        let (client, about) = workers.block_on(greet::first_of(endpoints))?;
        Ok(Self { workers, client: Arc::new(client), about })
    }

    /// What there is to say about it.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Its images that have names, or those that `filters` let through, as `docker images
    /// --filter` has them: key and value.
    pub fn images(&self, filters: &[(String, String)]) -> Result<Vec<ListedImage>, EngineError> {
        let mut by_key = BTreeMap::<_, Vec<_>>::new();
        for (key, value) in filters {
            by_key.entry(key).or_default().push(value);
        }
        let by_key =
            serde_json::to_string(&by_key).map_err(|error| EngineError::malformed(LIST, error))?;
        let path = format!("/images/json?filters={}", encoded(&by_key, false));
        let found: Vec<ListAnswer> = self.get(LIST, &path)?.unwrap_or_default();
        let dangling = filters.iter().any(|(key, _)| key == "dangling");
        let found = found.into_iter().map(ListedImage::from);
        Ok(found.filter(|image| dangling || !image.names.is_empty()).collect())
    }

    /// One image, by a name or an id; nothing where the engine has none.
    pub fn image(&self, name: &str) -> Result<Option<EngineImage>, EngineError> {
        let what = format!("inspect {name}");
        let Some(path) = image_path(name, "json") else {
            return Ok(None);
        };
        let found: Option<ImageAnswer> = self.get(&what, &path)?;
        Ok(found.map(EngineImage::from))
    }

    /// The images that the classic builder made this one from, nearest first: what `docker
    /// history` shows below it, up to the first that the engine doesn't have. The last may be what
    /// stands behind `FROM`, an image with a name. None for images that BuildKit made, or that came
    /// from a registry.
    pub fn parents(&self, name: &str) -> Result<Vec<Digest>, EngineError> {
        let what = format!("show the history of {name}");
        let Some(path) = image_path(name, "history") else {
            return Ok(Vec::new());
        };
        let found: Vec<HistoryAnswer> = self.get(&what, &path)?.unwrap_or_default();
        // The first is the image itself.
        Ok(found.iter().skip(1).map_while(|entry| parse_id(&entry.id)).collect())
    }

    /// Streams these images out as one archive: `GET /images/get`.
    pub fn save(&self, names: &[String]) -> Result<SaveStream, EngineError> {
        // Not every engine says which one it doesn't have.
        let what = match names {
            [name] => format!("save {name}"),
            _ => format!("save {} images", names.len()),
        };
        let names: Vec<String> =
            names.iter().map(|name| format!("names={}", encoded(name, false))).collect();
        let path = format!("/images/get?{}", names.join("&"));
        let body = body::Outgoing::Nothing;
        let asked = self.client.stream(&what, Method::GET, &path, body);
        let answer = self.workers.block_on(asked)?;
        Ok(SaveStream::new(Arc::clone(&self.workers), answer))
    }

    /// Gives an image another name; one that has it loses it.
    pub fn tag(&self, image: &str, repository: &str, tag: &str) -> Result<(), EngineError> {
        let what = format!("tag {image} as {repository}:{tag}");
        let missing = || EngineError::Refused {
            what: what.clone(),
            message: format!("it has no image {image}"),
            status: 404,
        };
        let path = image_path(image, "tag").ok_or_else(missing)?;
        let (repository, tag) = (encoded(repository, false), encoded(tag, false));
        let path = format!("{path}?repo={repository}&tag={tag}");
        let asked = self.client.ask(&what, Method::POST, &path);
        self.workers.block_on(asked)?.map(drop).ok_or_else(missing)
    }

    /// Asks for JSON; nothing where the engine says that there is none.
    fn get<T: DeserializeOwned>(&self, what: &str, path: &str) -> Result<Option<T>, EngineError> {
        self.workers.block_on(self.client.get(what, path))
    }
}

const LIST: &str = "list images";

/// Below `/images`; none for what can't be a name and would lead elsewhere.
fn image_path(name: &str, what: &str) -> Option<String> {
    let odd = |part: &str| part.is_empty() || part == "." || part == "..";
    (!name.split('/').any(odd)).then(|| format!("/images/{}/{what}", encoded(name, true)))
}

/// A text in a path or a query.
fn encoded(text: &str, slashes: bool) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-._~:@".contains(&byte);
        if plain || (slashes && byte == b'/') {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").ok();
        }
    }
    out
}

/// The thread that connections are driven on. It ends with the last that uses it, without waiting
/// for what is under way.
struct Workers {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Workers {
    fn start() -> Result<Self, EngineError> {
        let mut builder = Builder::new_multi_thread();
        let builder = builder.worker_threads(1).enable_io().enable_time().thread_name("engine");
        let runtime = builder.build().map_err(EngineError::Prepare)?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.handle.block_on(future)
    }

    fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_paths() {
        assert_eq!(image_path("reg:5/a/b:1", "json").unwrap(), "/images/reg:5/a/b:1/json");
        assert_eq!(image_path("a?b c", "json").unwrap(), "/images/a%3Fb%20c/json");
        for name in ["", "..", "a/../b", "/a", "a/"] {
            assert_eq!(image_path(name, "json"), None, "{name}");
        }
        assert_eq!(encoded("a/b", false), "a%2Fb");
    }
}
