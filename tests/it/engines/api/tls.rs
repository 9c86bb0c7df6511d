//! An engine behind TLS, where both sides prove who they are.
//!
//! A port that decrypts and passes on stands before the engine's socket; keys and certificates are
//! made on the spot.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orlop::engine::{Engine, EngineError, ImageStore, Surroundings};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use tokio::net::{TcpListener, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::super::engine::endpoint;

/// An authority, and a folder for each whom it vouches for.
struct Authority {
    folder: TempDir,
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let folder = tempfile::tempdir().unwrap();
        Self { folder, certificate, issuer: Issuer::new(params, key) }
    }

    /// `ca.pem`, `cert.pem` and `key.pem`, as Docker names them.
    fn vouch(&self, name: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("ca.pem"), &self.certificate).unwrap();
        fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
        fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
        folder
    }
}

/// Stands before a socket.
fn listen(runtime: &Runtime, socket: &str, files: &Path) -> SocketAddr {
    let certificates = |name: &str| -> Vec<CertificateDer<'static>> {
        let found = CertificateDer::pem_file_iter(files.join(name)).unwrap();
        found.map(Result::unwrap).collect()
    };
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates("ca.pem"));
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            certificates("cert.pem"),
            PrivateKeyDer::from_pem_file(files.join("key.pem")).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let socket = socket.strip_prefix("unix://").unwrap().to_owned();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, socket) = (acceptor.clone(), socket.clone());
            tokio::spawn(async move {
                // Whom it doesn't know it sends away.
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let mut engine = UnixStream::connect(socket).await.unwrap();
                    tokio::io::copy_bidirectional(&mut stream, &mut engine).await.ok();
                }
            });
        }
    });
    address
}

fn connect(address: SocketAddr, cert_path: &Path) -> Result<Engine, EngineError> {
    let surroundings = Surroundings {
        docker_host: Some(format!("tcp://{address}")),
        cert_path: Some(cert_path.to_owned()),
        tls_verify: true,
        ..Surroundings::default()
    };
    Engine::connect(&surroundings, None)
}

#[test]
fn an_engine_is_reached_by_tls() {
    let Some(socket) = endpoint("docker26") else {
        return;
    };
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let authority = Authority::new();
    let address = listen(&runtime, &socket, &authority.vouch("127.0.0.1"));
    let client = authority.vouch("client");

    let engine = connect(address, &client).unwrap();
    assert_eq!(engine.about().image_store, ImageStore::Graph);
    assert_eq!(engine.about().address, format!("https://{address}"));
    engine.images(&[]).unwrap();

    // Another authority's word is worth nothing, on either side.
    let other = Authority::new();
    let stranger = other.vouch("stranger");
    let error = connect(address, &stranger).unwrap_err().to_string();
    let wanted = "invalid peer certificate: ";
    assert!(error.contains(wanted), "{error}");
    fs::copy(client.join("ca.pem"), stranger.join("ca.pem")).unwrap();
    let error = connect(address, &stranger).unwrap_err();
    assert!(matches!(error, EngineError::NotReachable { .. }), "{error}");

    // An engine that is somebody else.
    let elsewhere = listen(&runtime, &socket, &authority.vouch("elsewhere"));
    let error = connect(elsewhere, &client).unwrap_err().to_string();
    assert!(error.contains("certificate not valid for name \"127.0.0.1\""), "{error}");

    fs::remove_file(client.join("key.pem")).unwrap();
    let error = connect(address, &client).unwrap_err().to_string();
    assert_eq!(error, format!("cannot open {}", client.join("key.pem").display()));
    fs::write(client.join("ca.pem"), "no certificate").unwrap();
    let error = connect(address, &client).unwrap_err().to_string();
    let wanted = format!("cannot use {}: it holds no certificate", client.join("ca.pem").display());
    assert_eq!(error, wanted);
}
