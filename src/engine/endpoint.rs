//! Where an engine is looked for: what the user chose, Docker's settings, the usual sockets.
//!
//! Follows Docker's client: `DOCKER_HOST` goes before `DOCKER_CONTEXT`, that before the current
//! context of `config.json`, that before the socket. Only where nothing was chosen are Podman's
//! sockets tried as well. Connects to nothing, and reads no environment: [`Surroundings`] say
//! what is in it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::digest::Digest;
use crate::fs::{self, Disk};

use super::address::Address;
use super::error::EngineError;

/// The most bytes of a file of settings, a key or a certificate.
pub(super) const FILE_MAX: u64 = 1 << 20;

/// Docker's socket where nothing else is said.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// Podman's, where it runs for the whole machine.
const PODMAN_SOCKET: &str = "/run/podman/podman.sock";

/// What the caller knows about its surroundings.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// `DOCKER_HOST`, if it is set and not empty.
    pub docker_host: Option<String>,
    /// `DOCKER_CONTEXT`, if it is set and not empty.
    pub docker_context: Option<String>,
    /// `DOCKER_CONFIG`, else `.docker` in the home folder; may not exist.
    pub docker_config: PathBuf,
    /// `DOCKER_CERT_PATH`, if it is set and not empty.
    pub cert_path: Option<PathBuf>,
    /// Whether `DOCKER_TLS_VERIFY` is set and not empty.
    pub tls_verify: bool,
    /// `XDG_RUNTIME_DIR`, if it is set and not empty.
    pub runtime_dir: Option<PathBuf>,
    /// The home folder.
    pub home: Option<PathBuf>,
    /// The user's number, to find the runtime folder where no variable says it.
    pub uid: Option<u32>,
}

/// An address and what it takes to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) address: Address,
    pub(super) tls: Option<TlsFiles>,
}

/// Where keys and certificates are. A pair of `cert.pem` and `key.pem` is used if it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsFiles {
    pub(super) folder: PathBuf,
    /// Whether the engine must prove who it is.
    pub(super) verify: bool,
}

/// What Docker's `config.json` says that we need.
#[derive(Deserialize)]
struct Settings {
    #[serde(rename = "currentContext")]
    current_context: Option<String>,
}

/// A context's `meta.json`.
#[derive(Deserialize)]
struct Context {
    #[serde(rename = "Endpoints", default)]
    endpoints: Endpoints,
}

#[derive(Deserialize, Default)]
struct Endpoints {
    docker: Option<ContextEndpoint>,
}

#[derive(Deserialize)]
struct ContextEndpoint {
    #[serde(rename = "Host")]
    host: Option<String>,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_verify: bool,
}

/// The places to look at, in order.
pub(super) fn endpoints(
    surroundings: &Surroundings,
    choice: Option<&str>,
) -> Result<Vec<Endpoint>, EngineError> {
    match choice.filter(|choice| !choice.is_empty()) {
        None => {
            if let Some(chosen) = from_settings(surroundings)? {
                return Ok(vec![chosen]);
            }
            let sockets = docker_sockets(surroundings).into_iter();
            Ok(sockets.chain(podman_sockets(surroundings)).map(socket).collect())
        }
        Some("docker") => match from_settings(surroundings)? {
            Some(chosen) => Ok(vec![chosen]),
            None => Ok(docker_sockets(surroundings).into_iter().map(socket).collect()),
        },
        Some("podman") => Ok(podman_sockets(surroundings).into_iter().map(socket).collect()),
        Some(choice) if choice.contains("://") => Ok(vec![from_url(surroundings, choice)?]),
        Some(choice) if choice.contains('/') => Ok(vec![socket(PathBuf::from(choice))]),
        Some(name) => match from_context(surroundings, name)? {
            Some(chosen) => Ok(vec![chosen]),
            None => Ok(docker_sockets(surroundings).into_iter().map(socket).collect()),
        },
    }
}

fn socket(path: PathBuf) -> Endpoint {
    Endpoint { address: Address::Unix(path), tls: None }
}

fn runtime_dir(surroundings: &Surroundings) -> Option<PathBuf> {
    let by_number = || surroundings.uid.map(|uid| PathBuf::from(format!("/run/user/{uid}")));
    surroundings.runtime_dir.clone().or_else(by_number)
}

/// Docker's own sockets: the machine's, that of an engine without root, Docker Desktop's.
fn docker_sockets(surroundings: &Surroundings) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from(DOCKER_SOCKET)];
    let rootless = runtime_dir(surroundings).map(|folder| folder.join("docker.sock"));
    let desktop = surroundings.home.as_ref().map(|home| home.join(".docker/run/docker.sock"));
    found.extend(rootless.into_iter().chain(desktop).filter(|path| fs::Fs::exists(&Disk, path)));
    found
}

fn podman_sockets(surroundings: &Surroundings) -> Vec<PathBuf> {
    let own = runtime_dir(surroundings).map(|folder| folder.join("podman/podman.sock"));
    own.into_iter().chain([PathBuf::from(PODMAN_SOCKET)]).collect()
}

/// What the environment or the current context says, if anything.
fn from_settings(surroundings: &Surroundings) -> Result<Option<Endpoint>, EngineError> {
    if let Some(host) = &surroundings.docker_host {
        return from_url(surroundings, host).map(Some);
    }
    let current = match &surroundings.docker_context {
        Some(name) => Some(name.clone()),
        None => current_context(&surroundings.docker_config)?,
    };
    current.map_or(Ok(None), |name| from_context(surroundings, &name))
}

/// An address with the certificates that the environment names.
fn from_url(surroundings: &Surroundings, text: &str) -> Result<Endpoint, EngineError> {
    let address = Address::parse(text)?;
    let asked = surroundings.tls_verify || surroundings.cert_path.is_some();
    let address = if asked { address.with_tls() } else { address };
    let folder = surroundings.cert_path.as_ref().unwrap_or(&surroundings.docker_config);
    let tls = matches!(address, Address::Tcp { tls: true, .. })
        .then(|| TlsFiles { folder: folder.clone(), verify: true });
    Ok(Endpoint { address, tls })
}

fn current_context(docker_config: &Path) -> Result<Option<String>, EngineError> {
    let path = docker_config.join("config.json");
    let bytes = match fs::read(&Disk, &path, FILE_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let settings: Settings = parse(&path, &bytes)?;
    Ok(settings.current_context.filter(|name| !name.is_empty()))
}

/// What a context says; nothing for the one that stands for there being none.
fn from_context(surroundings: &Surroundings, name: &str) -> Result<Option<Endpoint>, EngineError> {
    if name == "default" {
        return Ok(None);
    }
    let folder = Digest::of(name.as_bytes()).hex();
    let contexts = surroundings.docker_config.join("contexts");
    let path = contexts.join("meta").join(&folder).join("meta.json");
    let bytes = fs::read(&Disk, &path, FILE_MAX).map_err(|error| {
        if error.is_missing() {
            EngineError::NoContext { name: name.to_owned(), path: path.clone() }
        } else {
            error.into()
        }
    })?;
    let context: Context = parse(&path, &bytes)?;
    let wrong =
        |reason: &str| EngineError::Config { path: path.clone(), reason: reason.to_owned() };
    let docker = context.endpoints.docker.ok_or_else(|| wrong("it has no endpoint `docker`"))?;
    let host = docker.host.filter(|host| !host.is_empty());
    let address = Address::parse(&host.ok_or_else(|| wrong("its endpoint has no host"))?)?;

    let folder = contexts.join("tls").join(&folder).join("docker");
    let wanted = docker.skip_verify || fs::Fs::exists(&Disk, &folder);
    let address = if wanted { address.with_tls() } else { address };
    let tls = matches!(address, Address::Tcp { tls: true, .. })
        .then_some(TlsFiles { folder, verify: !docker.skip_verify });
    Ok(Some(Endpoint { address, tls }))
}

fn parse<'a, T: Deserialize<'a>>(path: &Path, bytes: &'a [u8]) -> Result<T, EngineError> {
    serde_json::from_slice(bytes)
        .map_err(|error| EngineError::Config { path: path.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
#[path = "endpoint/tests.rs"]
mod tests;
