//! The first words with an engine: whether it is there, whose it is, which API it speaks.
//!
//! Each place is tried in turn. Who is there must answer in bounded time; later on, nobody has to.

use std::io;
use std::time::Duration;

use hyper::Method;
use serde::de::DeserializeOwned;

use super::address::Address;
use super::client::Client;
use super::endpoint::Endpoint;
use super::error::{Attempt, EngineError};
use super::model::{About, ImageStore, InfoAnswer, Product, VersionAnswer, variant_of};

/// How long an engine has to say who it is.
const ANSWER_MAX: Duration = Duration::from_mins(1);

/// The newest API that we know.
const API_MAX: (u32, u32) = (1, 51);

/// What the first question is called.
const WHAT: &str = "say what it is";

/// The first of these that answers.
pub(super) async fn first_of(endpoints: Vec<Endpoint>) -> Result<(Client, About), EngineError> {
    let mut tried = Vec::new();
    let mut forbidden = None;
    let only = endpoints.len() == 1;
    for endpoint in endpoints {
        let mut client = Client::new(endpoint)?;
        let greeted = tokio::time::timeout(ANSWER_MAX, greet(&mut client)).await;
        let late = |_| Err(EngineError::broken(WHAT, io::ErrorKind::TimedOut.into()));
        let error = match greeted.unwrap_or_else(late) {
            Ok(about) => return Ok((client, about)),
            Err(error) => error,
        };
        let reason = match error {
            EngineError::Broken { source, .. } => {
                let denied = source.kind() == io::ErrorKind::PermissionDenied;
                if let (Address::Unix(path), true) = (&client.endpoint.address, denied) {
                    forbidden.get_or_insert_with(|| path.clone());
                }
                plain(&source)
            }
            other if only => return Err(other),
            other => other.to_string(),
        };
        tried.push(Attempt { address: client.endpoint.address.to_string(), reason });
    }
    match forbidden {
        Some(socket) => Err(EngineError::Permission { socket }),
        None => Err(EngineError::NotReachable { tried }),
    }
}

/// Why it can't be reached, without the system's numbers.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound if error.raw_os_error().is_some() => "no such socket".to_owned(),
        io::ErrorKind::ConnectionRefused => "nothing listens there".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::TimedOut => "it does not answer".to_owned(),
        _ => error.to_string(),
    }
}

async fn greet(client: &mut Client) -> Result<About, EngineError> {
    let version: VersionAnswer = client.must(WHAT, "/version").await?;
    let theirs = parse_api(&version.api)
        .ok_or_else(|| EngineError::malformed(WHAT, "its API version is none"))?;
    let api = theirs.min(API_MAX);
    let oldest = version.api_min.as_deref().and_then(parse_api);
    if let Some((major, minor)) = oldest.filter(|oldest| *oldest > api) {
        let (our_major, our_minor) = API_MAX;
        let message = format!(
            "it speaks version {major}.{minor} of its API and later ones, and we speak \
             {our_major}.{our_minor} at most"
        );
        return Err(EngineError::Refused { what: "talk with us".to_owned(), message, status: 400 });
    }
    client.version = format!("/v{}.{}", api.0, api.1);
    let info: InfoAnswer = client.must(WHAT, "/info").await?;

    let podman = version.components.iter().any(|it| it.name.contains("Podman"));
    let containerd = info.driver_status.iter().any(|pair| {
        matches!(pair.as_slice(), [key, value] if key == "driver-type"
            && value.starts_with("io.containerd.snapshotter"))
    });
    let (product, image_store) = match (podman, containerd) {
        (true, _) => (Product::Podman, ImageStore::Podman),
        (false, true) => (Product::Docker, ImageStore::Containerd),
        (false, false) => (Product::Docker, ImageStore::Graph),
    };
    Ok(About {
        product,
        version: version.version,
        api,
        address: client.endpoint.address.to_string(),
        image_store,
        os: version.os,
        architecture: version.arch,
        variant: variant_of(&info.architecture).map(str::to_owned),
    })
}

fn parse_api(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

impl Client {
    /// Asks for JSON; nothing where the engine says 404.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &str,
    ) -> Result<Option<T>, EngineError> {
        let Some(bytes) = self.ask(what, Method::GET, path).await? else {
            return Ok(None);
        };
        let parsed = serde_json::from_slice(&bytes);
        parsed.map(Some).map_err(|error| EngineError::malformed(what, error))
    }

    /// Asks for JSON that every engine has.
    async fn must<T: DeserializeOwned>(&self, what: &str, path: &str) -> Result<T, EngineError> {
        let none = || EngineError::malformed(what, format!("there is no {path}"));
        self.get(what, path).await?.ok_or_else(none)
    }
}
