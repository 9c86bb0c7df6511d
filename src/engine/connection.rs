//! One connection with an engine: socket, port, TLS or ssh, and HTTP on it.
//!
//! A connection is driven by a task of its own and ends with [`Connection`]. The `ssh` program
//! that carries one is a child process, which ends with it as well. Knows nothing of what is said.

use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::address::Address;
use super::body::Outgoing;

/// How long an engine has to accept a connection.
const OPEN_MAX: Duration = Duration::from_secs(10);

/// How long we wait for what `ssh` has to say when it fails.
const SAID_MAX: Duration = Duration::from_secs(2);

/// The most bytes of it.
const SAID_BYTES: u64 = 2048;

/// What carries the bytes.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// An open connection.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Outgoing>,
    driver: JoinHandle<()>,
    /// What `ssh` says to its user.
    said: Option<JoinHandle<String>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Opens one; within bounded time.
    pub(super) async fn open(
        address: &Address,
        tls: Option<&Arc<ClientConfig>>,
    ) -> io::Result<Self> {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "it does not accept a connection");
        tokio::time::timeout(OPEN_MAX, Self::open_patiently(address, tls))
            .await
            .map_err(|_| late())?
    }

    async fn open_patiently(
        address: &Address,
        tls: Option<&Arc<ClientConfig>>,
    ) -> io::Result<Self> {
        let mut child = None;
        let wire: Box<dyn Wire> = match address {
            Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Address::Tcp { host, port, .. } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                match tls {
                    Some(config) => Box::new(encrypted(stream, host, config).await?),
                    None => Box::new(stream),
                }
            }
            Address::Ssh { .. } => {
                let mut started = ssh(address)?;
                let (Some(input), Some(output)) = (started.stdin.take(), started.stdout.take())
                else {
                    return Err(io::Error::other("`ssh` has no input and output"));
                };
                child = Some(started);
                Box::new(tokio::io::join(output, input))
            }
        };
        let said = child.as_mut().and_then(|child| child.stderr.take());
        let said = said.map(|pipe| tokio::spawn(read_some(pipe)));
        let (sender, connection) =
            http1::handshake(TokioIo::new(wire)).await.map_err(io::Error::other)?;
        let driver = tokio::spawn(async move {
            // Whoever waits for an answer gets the error as well.
            connection.await.ok();
            drop(child);
        });
        Ok(Self { sender, driver, said })
    }

    /// What is to be said about a failure: `ssh` knows better than we do.
    pub(super) async fn explain(mut self, error: io::Error) -> io::Error {
        let Some(said) = self.said.take() else {
            return error;
        };
        match tokio::time::timeout(SAID_MAX, said).await {
            Ok(Ok(text)) if !text.is_empty() => io::Error::new(error.kind(), text),
            _ => error,
        }
    }
}

async fn encrypted(
    stream: TcpStream,
    host: &str,
    config: &Arc<ClientConfig>,
) -> io::Result<impl Wire + use<>> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    TlsConnector::from(Arc::clone(config)).connect(name, stream).await
}

/// Starts the program that Docker's client would start.
fn ssh(address: &Address) -> io::Result<Child> {
    let mut command = Command::new("ssh");
    command.args(ssh_arguments(address));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    command.spawn().map_err(|error| {
        io::Error::new(error.kind(), format!("cannot start the program `ssh`: {error}"))
    })
}

fn ssh_arguments(address: &Address) -> Vec<String> {
    let mut arguments = vec!["-o".to_owned(), "ConnectTimeout=30".to_owned(), "-T".to_owned()];
    if let Address::Ssh { user, host, port, socket } = address {
        if let Some(user) = user {
            arguments.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(port) = port {
            arguments.extend(["-p".to_owned(), port.to_string()]);
        }
        arguments.extend(["--".to_owned(), host.clone(), "docker".to_owned()]);
        if let Some(socket) = socket {
            // The other side's shell reads it.
            let quoted = socket.replace('\'', "'\\''");
            arguments.extend(["--host".to_owned(), format!("'unix://{quoted}'")]);
        }
        arguments.extend(["system".to_owned(), "dial-stdio".to_owned()]);
    }
    arguments
}

/// The first words of `ssh`, in one line; the rest is read and forgotten, so that it never waits.
async fn read_some(mut pipe: ChildStderr) -> String {
    let mut bytes = Vec::new();
    (&mut pipe).take(SAID_BYTES).read_to_end(&mut bytes).await.ok();
    let mut rest = [0; 1024];
    while pipe.read(&mut rest).await.is_ok_and(|count| count > 0) {}
    let text = String::from_utf8_lossy(&bytes);
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_is_called_as_docker_calls_it() {
        let words = |text| ssh_arguments(&Address::parse(text).unwrap()).join(" ");
        assert_eq!(
            words("ssh://me@build:2222"),
            "-o ConnectTimeout=30 -T -l me -p 2222 -- build docker system dial-stdio"
        );
        assert_eq!(
            words("ssh://build/run/it's.sock"),
            "-o ConnectTimeout=30 -T -- build docker --host 'unix:///run/it'\\''s.sock' system dial-stdio"
        );
    }
}
