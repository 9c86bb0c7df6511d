//! TLS with an engine: whom we trust and who we are, from files named as Docker names them.
//!
//! `ca.pem` signs the engine's certificate; `cert.pem` and `key.pem` are ours, where the engine
//! wants to know. The authorities of the system are not asked: an engine's certificate is its
//! owner's own.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::fs::{self, Disk};

use super::endpoint::{FILE_MAX, TlsFiles};
use super::error::EngineError;

/// Reads the files.
pub(super) fn config(files: &TlsFiles) -> Result<Arc<ClientConfig>, EngineError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&files.folder, &error))?;
    let builder = if files.verify {
        let path = files.folder.join("ca.pem");
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&path)? {
            roots.add(certificate).map_err(|error| wrong(&path, &error))?;
        }
        builder.with_root_certificates(roots)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)))
    };
    let path = files.folder.join("cert.pem");
    if !fs::Fs::exists(&Disk, &path) {
        return Ok(Arc::new(builder.with_no_client_auth()));
    }
    let key_path = files.folder.join("key.pem");
    let key = fs::read(&Disk, &key_path, FILE_MAX)?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| wrong(&key_path, &error))?;
    let config = builder.with_client_auth_cert(certificates(&path)?, key);
    config.map(Arc::new).map_err(|error| wrong(&path, &error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, EngineError> {
    let bytes = fs::read(&Disk, path, FILE_MAX)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| wrong(path, &error))?;
    if found.is_empty() { Err(wrong(path, &"it holds no certificate")) } else { Ok(found) }
}

fn wrong(path: &Path, reason: &dyn std::fmt::Display) -> EngineError {
    EngineError::Config { path: path.to_owned(), reason: reason.to_string() }
}

/// Takes any certificate: what a context with `SkipTLSVerify` asks for.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
