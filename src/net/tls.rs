//! TLS of a client: authorities, a certificate of its own, the name to check.

use super::error::ClientError;
use super::options::{SecretSource, read_file};
use crate::env::Env;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// What a client's TLS needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Authorities; without them the system's.
    pub ca: Option<SecretSource>,
    /// The client's certificate chain.
    pub cert: Option<SecretSource>,
    /// The client's key.
    pub key: Option<SecretSource>,
    /// The name to ask for and to check, where it is not the host's.
    pub server_name: Option<String>,
    /// Whether any certificate will do.
    pub insecure_skip_verify: bool,
    /// Whether TLS 1.2 is refused.
    pub tls13_only: bool,
    /// Whether TLS 1.3 is refused.
    pub tls12_only: bool,
}

/// Returns the one provider of cryptography.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider())))
}

fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    Arc::clone(ROOTS.get_or_init(|| {
        let mut store = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (added, ignored) = store.add_parsable_certificates(found.certs);
        tracing::debug!(added, ignored, errors = found.errors.len(), "loaded the system's certificate authorities");
        Arc::new(store)
    }))
}

async fn pem(env: &Env, source: &SecretSource) -> Result<Vec<u8>, ClientError> {
    match source {
        SecretSource::Text(text) => Ok(text.clone().into_bytes()),
        SecretSource::File(path) => read_file(env, PathBuf::clone(path)).await,
    }
}

pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| ClientError::Tls(error.to_string()))
}

impl TlsOptions {
    /// Reads all files and makes rustls's configuration, which offers HTTP/2 where `http2` is set. Files are read anew for each
    /// connection, so renewed certificates need no restart.
    ///
    /// # Errors
    /// When a file cannot be read or holds no certificate or key.
    pub async fn client_config(&self, env: &Env, http2: bool) -> Result<Arc<ClientConfig>, ClientError> {
        let versions: &[&rustls::SupportedProtocolVersion] = match (self.tls12_only, self.tls13_only) {
            (true, false) => &[&rustls::version::TLS12],
            (false, true) => &[&rustls::version::TLS13],
            _ => rustls::DEFAULT_VERSIONS,
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .map_err(|error| ClientError::Tls(error.to_string()))?;
        let builder = if self.insecure_skip_verify {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate))
        } else {
            builder.with_root_certificates(self.roots(env).await?)
        };
        let mut config = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let chain = certificates(&pem(env, cert).await?)?;
                let key = PrivateKeyDer::from_pem_slice(&pem(env, key).await?)
                    .map_err(|error| ClientError::Tls(format!("client key: {error}")))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| ClientError::Tls(error.to_string()))?
            }
            _ => builder.with_no_client_auth(),
        };
        if http2 {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        Ok(Arc::new(config))
    }

    async fn roots(&self, env: &Env) -> Result<Arc<RootCertStore>, ClientError> {
        let Some(ca) = &self.ca else { return Ok(system_roots()) };
        let mut store = RootCertStore::empty();
        for certificate in certificates(&pem(env, ca).await?)? {
            store.add(certificate).map_err(|error| ClientError::Tls(format!("certificate authority: {error}")))?;
        }
        if store.is_empty() {
            return Err(ClientError::Tls("unable to use specified CA cert: no certificate found".to_owned()));
        }
        Ok(Arc::new(store))
    }

    /// Returns the name to ask for and to check.
    ///
    /// # Errors
    /// When it is neither a host name nor an address.
    pub fn name_for(&self, host: &str) -> Result<ServerName<'static>, ClientError> {
        let name = self.server_name.as_deref().unwrap_or(host).trim_start_matches('[').trim_end_matches(']');
        ServerName::try_from(name.to_owned()).map_err(|_| ClientError::Tls(format!("invalid server name {name:?}")))
    }
}

/// `insecure_skip_verify`: signatures are checked, the certificate is not.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
