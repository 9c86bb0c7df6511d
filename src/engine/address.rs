//! Addresses of engines, as Docker's client writes them.
//!
//! `unix:///path`, `tcp://host:port`, `http://` and `https://` with the same, and
//! `ssh://user@host:port/path`. Knows nothing of where an address comes from.

use std::fmt;
use std::path::PathBuf;

use super::error::EngineError;

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// A socket of this machine.
    Unix(PathBuf),
    /// A port, with or without TLS.
    Tcp { host: String, port: u16, tls: bool },
    /// A machine whose `docker` command passes on what it reads and writes.
    Ssh { user: Option<String>, host: String, port: Option<u16>, socket: Option<String> },
}

impl Address {
    /// Reads an address with its scheme.
    pub(super) fn parse(text: &str) -> Result<Self, EngineError> {
        let wrong = |reason| EngineError::Address { address: text.to_owned(), reason };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Unix(PathBuf::from(rest))),
            "unix" => Err(wrong("the socket's path must begin with a slash")),
            "tcp" | "http" | "https" => {
                let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
                if !path.is_empty() {
                    return Err(wrong("nothing may follow the port"));
                }
                let tls = scheme == "https";
                let (host, port) = host_and_port(place).map_err(wrong)?;
                let port = port.unwrap_or(if tls { 2376 } else { 2375 });
                Ok(Self::Tcp { host, port, tls })
            }
            "ssh" => {
                let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
                let (user, place) = match place.rsplit_once('@') {
                    Some((user, place)) => (Some(user.to_owned()), place),
                    None => (None, place),
                };
                if user.as_ref().is_some_and(|user| user.contains(':')) {
                    return Err(wrong("a password can't be used"));
                }
                if user.as_ref().is_some_and(|user| user.is_empty() || user.starts_with('-')) {
                    return Err(wrong("its user's name can't be one"));
                }
                let (host, port) = host_and_port(place).map_err(wrong)?;
                let socket = (!path.is_empty()).then(|| format!("/{path}"));
                Ok(Self::Ssh { user, host, port, socket })
            }
            "npipe" => Err(wrong("named pipes are Windows' own")),
            _ => Err(wrong("expected unix, tcp, http, https or ssh")),
        }
    }

    /// The same with TLS, if it is a port.
    pub(super) fn with_tls(self) -> Self {
        match self {
            Self::Tcp { host, port, .. } => Self::Tcp { host, port, tls: true },
            other => other,
        }
    }
}

/// `host`, `host:port`, `[address]:port`.
fn host_and_port(place: &str) -> Result<(String, Option<u16>), &'static str> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("a bracket is open")?;
            let port = after.strip_prefix(':');
            if port.is_none() && !after.is_empty() {
                return Err("expected a port after the bracket");
            }
            (host, port)
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    if host.is_empty() {
        return Err("it names no host");
    }
    let odd = |c: char| c.is_whitespace() || c.is_control() || "/@?#\\".contains(c);
    if host.starts_with('-') || host.contains(odd) {
        return Err("its host can't be one");
    }
    let port = match port {
        Some("") | None => None,
        Some(port) => Some(port.parse().map_err(|_| "its port is no number of a port")?),
    };
    Ok((host.to_owned(), port))
}

/// A host as it stands before a colon.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port, tls } => {
                let scheme = if *tls { "https" } else { "tcp" };
                write!(f, "{scheme}://{}:{port}", bracketed(host))
            }
            Self::Ssh { user, host, port, socket } => {
                f.write_str("ssh://")?;
                if let Some(user) = user {
                    write!(f, "{user}@")?;
                }
                f.write_str(&bracketed(host))?;
                if let Some(port) = port {
                    write!(f, ":{port}")?;
                }
                f.write_str(socket.as_deref().unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown() {
        for (text, shown) in [
            ("unix:///run/docker.sock", "unix:///run/docker.sock"),
            ("tcp://build:2375", "tcp://build:2375"),
            ("tcp://build:2375/", "tcp://build:2375"),
            ("tcp://127.0.0.1", "tcp://127.0.0.1:2375"),
            ("http://build:80", "tcp://build:80"),
            ("https://build", "https://build:2376"),
            ("tcp://[::1]:99", "tcp://[::1]:99"),
            ("ssh://build", "ssh://build"),
            (
                "ssh://me@build:2222/run/user/1/docker.sock",
                "ssh://me@build:2222/run/user/1/docker.sock",
            ),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), shown);
        }
        let ssh = Address::Ssh {
            user: Some("me".to_owned()),
            host: "build".to_owned(),
            port: Some(2222),
            socket: Some("/s".to_owned()),
        };
        assert_eq!(Address::parse("ssh://me@build:2222/s").unwrap(), ssh);
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, reason) in [
            ("/run/docker.sock", "it has no scheme"),
            ("unix://docker.sock", "the socket's path must begin with a slash"),
            ("tcp://", "it names no host"),
            ("tcp://:80", "it names no host"),
            ("tcp://build:seven", "its port is no number of a port"),
            ("tcp://build:70000", "its port is no number of a port"),
            ("tcp://build:1/v1", "nothing may follow the port"),
            ("tcp://[::1", "a bracket is open"),
            ("ssh://-oProxyCommand=x", "its host can't be one"),
            ("ssh://-l@build", "its user's name can't be one"),
            ("ssh://me:secret@build", "a password can't be used"),
            ("npipe:////./pipe/docker", "named pipes are Windows' own"),
            ("fd://", "expected unix, tcp, http, https or ssh"),
        ] {
            let error = Address::parse(text).unwrap_err();
            let wanted = format!("cannot use `{text}` as the address of an engine: {reason}");
            assert_eq!(error.to_string(), wanted);
        }
    }

    #[test]
    fn a_port_can_be_given_tls() {
        let address = Address::parse("tcp://build:2376").unwrap().with_tls();
        assert_eq!(address.to_string(), "https://build:2376");
        let socket = Address::parse("unix:///s").unwrap();
        assert_eq!(socket.clone().with_tls(), socket);
    }
}
