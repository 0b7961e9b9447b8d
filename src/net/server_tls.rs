//! TLS of the server: Prometheus's `tls_server_config`.
//!
//! Certificates and keys are looked at again with each connection and read anew when their files changed, so that a renewed one
//! needs no restart and no reload. One that cannot be taken leaves the old one in force, and is told once.

use super::tls::{certificates, provider};
use crate::config::web::{ClientAuth, TlsServerConfig};
use crate::env::Env;
use crate::env::disk::DirEntry;
use crate::env::network::BoxStream;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme, SupportedCipherSuite,
    SupportedProtocolVersion, crypto,
};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Why a connection is not encrypted as it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tls_server_config: {0}")]
pub struct ServerTlsError(String);

fn failed(words: impl Into<String>) -> ServerTlsError {
    ServerTlsError(words.into())
}

/// Reads a text given as it is or by its file.
fn pem(env: &Env, text: &str, file: &Path, key: &str) -> Result<Vec<u8>, ServerTlsError> {
    if !text.is_empty() {
        return Ok(text.as_bytes().to_vec());
    }
    env.disk.read(file).map_err(|error| failed(format!("{key} {}: {error}", file.display())))
}

/// Go's names of the suites of TLS 1.2 that there are here; those of TLS 1.3 are not chosen, as in Go.
fn suite(name: &str) -> Option<SupportedCipherSuite> {
    use crypto::aws_lc_rs::cipher_suite as suites;
    Some(match name {
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305" | "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" => {
            suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        }
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" | "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" => {
            suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        }
        _ => return None,
    })
}

fn is_of_13(suite: &SupportedCipherSuite) -> bool {
    suite.tls13().is_some()
}

fn group(name: &str) -> Option<&'static dyn crypto::SupportedKxGroup> {
    use crypto::aws_lc_rs::kx_group as groups;
    Some(match name {
        "CurveP256" => groups::SECP256R1,
        "CurveP384" => groups::SECP384R1,
        "X25519" => groups::X25519,
        "X25519MLKEM768" => groups::X25519MLKEM768,
        _ => return None,
    })
}

fn provider_of(tls: &TlsServerConfig) -> Result<Arc<crypto::CryptoProvider>, ServerTlsError> {
    if tls.cipher_suites.is_empty() && tls.curve_preferences.is_empty() {
        return Ok(provider());
    }
    let mut chosen = crypto::CryptoProvider::clone(&provider());
    if !tls.cipher_suites.is_empty() {
        let unknown = |name: &String| failed(format!("cipher_suites: {name:?} is not supported"));
        let named: Result<Vec<_>, _> = tls.cipher_suites.iter().map(|name| suite(name).ok_or_else(|| unknown(name))).collect();
        chosen.cipher_suites.retain(is_of_13);
        chosen.cipher_suites.extend(named?);
    }
    if !tls.curve_preferences.is_empty() {
        let unknown = |name: &String| failed(format!("curve_preferences: {name:?} is not supported"));
        let named: Result<Vec<_>, _> =
            tls.curve_preferences.iter().map(|name| group(name).ok_or_else(|| unknown(name))).collect();
        chosen.kx_groups = named?;
    }
    Ok(Arc::new(chosen))
}

fn versions(tls: &TlsServerConfig) -> Result<Vec<&'static SupportedProtocolVersion>, ServerTlsError> {
    let number = |name: &str, usual: u8| match name {
        "" => usual,
        "TLS10" => 10,
        "TLS11" => 11,
        "TLS12" => 12,
        _ => 13,
    };
    let (min, max) = (number(&tls.min_version, 12), number(&tls.max_version, 13));
    let all = [(12, &rustls::version::TLS12), (13, &rustls::version::TLS13)];
    let chosen: Vec<_> = all.iter().filter(|(version, _)| (min..=max).contains(version)).map(|(_, version)| *version).collect();
    if chosen.is_empty() {
        return Err(failed("min_version and max_version leave neither TLS 1.2 nor TLS 1.3"));
    }
    Ok(chosen)
}

fn verifier(
    env: &Env,
    tls: &TlsServerConfig,
    provider: &Arc<crypto::CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, ServerTlsError> {
    let kind = tls.client_auth_type.unwrap_or_default();
    let needs = match kind {
        ClientAuth::NoClientCert => return Ok(None),
        ClientAuth::RequestClientCert => return Ok(Some(Arc::new(AnyClient { is_needed: false }))),
        ClientAuth::RequireAnyClientCert => return Ok(Some(Arc::new(AnyClient { is_needed: true }))),
        ClientAuth::VerifyClientCertIfGiven => false,
        ClientAuth::RequireAndVerifyClientCert => true,
    };
    let mut roots = RootCertStore::empty();
    let read = pem(env, &tls.client_ca, tls.client_ca_file.path(), "client_ca_file")?;
    for certificate in certificates(&read).map_err(|error| failed(format!("client_ca_file: {error}")))? {
        roots.add(certificate).map_err(|error| failed(format!("client_ca_file: {error}")))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if needs { builder } else { builder.allow_unauthenticated() };
    Ok(Some(builder.build().map_err(|error| failed(format!("client_ca_file: {error}")))?))
}

/// Makes rustls's configuration; reads all files. Blocks.
fn build(env: &Env, tls: &TlsServerConfig, http2: bool) -> Result<Arc<ServerConfig>, ServerTlsError> {
    for name in &tls.client_allowed_sans {
        if ServerName::try_from(name.as_str()).is_err() {
            return Err(failed(format!(
                "client_allowed_sans: {name:?} is neither a DNS name nor an address, and no others are known"
            )));
        }
    }
    let provider = provider_of(tls)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(tls)?)
        .map_err(|error| failed(error.to_string()))?;
    let builder = match verifier(env, tls, &provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let chain = certificates(&pem(env, &tls.cert, tls.cert_file.path(), "cert_file")?)
        .map_err(|error| failed(format!("cert_file: {error}")))?;
    if chain.is_empty() {
        return Err(failed("cert_file: no certificate found"));
    }
    let key = PrivateKeyDer::from_pem_slice(&pem(env, tls.key.reveal(), tls.key_file.path(), "key_file")?)
        .map_err(|error| failed(format!("key_file: {error}")))?;
    let mut config = builder.with_single_cert(chain, key).map_err(|error| failed(error.to_string()))?;
    if http2 {
        config.alpn_protocols.push(b"h2".to_vec());
    }
    config.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(Arc::new(config))
}

/// Looks whether a configuration can be served with. Blocks.
///
/// # Errors
/// What is wrong with it or its files.
pub fn check(env: &Env, tls: &TlsServerConfig) -> Result<(), ServerTlsError> {
    build(env, tls, true).map(|_| ())
}

/// What was made of a configuration, and of which files.
#[derive(Clone)]
struct Made {
    tls: TlsServerConfig,
    http2: bool,
    files: Vec<Option<DirEntry>>,
    config: Arc<ServerConfig>,
    /// What could not be taken since, told once.
    refused: Option<ServerTlsError>,
}

/// Encrypts connections. Cheap to clone; clones share.
#[derive(Clone)]
pub struct ServerTls {
    env: Env,
    made: Arc<Mutex<Option<Made>>>,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerTls")
    }
}

impl ServerTls {
    /// Makes one that has read nothing yet.
    #[must_use]
    pub fn new(env: &Env) -> Self {
        Self { env: env.clone(), made: Arc::default() }
    }

    /// Returns rustls's configuration, read anew where something changed. Blocks.
    fn config(&self, tls: &TlsServerConfig, http2: bool) -> Result<Arc<ServerConfig>, ServerTlsError> {
        let paths = [&tls.cert_file, &tls.key_file, &tls.client_ca_file];
        let files: Vec<_> = paths.iter().map(|path| self.env.disk.stat(path.path()).ok().flatten()).collect();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.as_ref().filter(|made| made.http2 == http2 && made.tls == *tls && made.files == files) {
            return Ok(Arc::clone(&made.config));
        }
        match build(&self.env, tls, http2) {
            Ok(config) => {
                if made.is_some() {
                    tracing::info!("the listener's certificate was read again");
                }
                *made = Some(Made { tls: tls.clone(), http2, files, config: Arc::clone(&config), refused: None });
                Ok(config)
            }
            Err(error) => match made.as_mut() {
                Some(made) => {
                    if made.refused.as_ref() != Some(&error) {
                        tracing::error!(%error, "the listener's certificate cannot be read again; the old one goes on");
                        made.refused = Some(error);
                    }
                    Ok(Arc::clone(&made.config))
                }
                None => Err(error),
            },
        }
    }

    /// Shakes hands. The caller bounds the time.
    ///
    /// # Errors
    /// When there is no certificate to show, or the client wants something else.
    pub async fn accept<S>(&self, tls: &TlsServerConfig, http2: bool, stream: S) -> Result<BoxStream, ServerTlsError>
    where
        S: crate::env::network::Stream + 'static,
    {
        let (here, wanted) = (self.clone(), tls.clone());
        let config = self.env.tasks.blocking(move || here.config(&wanted, http2)).await;
        let config = config.map_err(|error| failed(error.to_string()))??;
        let accepted = tokio_rustls::TlsAcceptor::from(config).accept(stream).await;
        let stream = accepted.map_err(|error| failed(error.to_string()))?;
        check_names(tls, stream.get_ref().1.peer_certificates())?;
        Ok(Box::new(stream))
    }
}

/// Whether the client's certificate has one of the names that may come, where not all may.
fn check_names(tls: &TlsServerConfig, shown: Option<&[CertificateDer<'_>]>) -> Result<(), ServerTlsError> {
    let Some(certificate) = shown.and_then(<[_]>::first).filter(|_| !tls.client_allowed_sans.is_empty()) else { return Ok(()) };
    let parsed = ParsedCertificate::try_from(certificate).map_err(|error| failed(error.to_string()))?;
    let fits = |name: &String| ServerName::try_from(name.as_str()).is_ok_and(|name| verify_server_name(&parsed, &name).is_ok());
    if tls.client_allowed_sans.iter().any(fits) {
        return Ok(());
    }
    Err(failed("the client's certificate has none of client_allowed_sans"))
}

/// Any certificate will do, or none.
#[derive(Debug)]
struct AnyClient {
    is_needed: bool,
}

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        self.is_needed
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
