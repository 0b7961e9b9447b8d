//! TLS against a small server on loopback: certificates that change, and which HTTP is spoken.

use super::options::SecretSource;
use super::server_tls::ServerTls;
use super::tls::{TlsOptions, provider};
use super::{Client, ClientOptions, Request};
use crate::config::FilePath;
use crate::config::web::{ClientAuth, TlsServerConfig};
use crate::env::Env;
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Makes a certificate for loopback; returns the files of certificate and key.
fn certificate(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let (cert, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}-key.pem")));
    let mut certify = std::process::Command::new("openssl");
    certify.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    certify.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    certify.args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"]).arg(&key).arg("-out").arg(&cert);
    assert!(certify.output().expect("openssl").status.success());
    (cert, key)
}

/// Answers with the version of HTTP that was spoken and the host that was asked for. Clients need a certificate of `clients`.
async fn server(cert: &Path, key: &Path, clients: &Path) -> String {
    let env = Env::real();
    let read = |path: &Path| env.disk.read(path).unwrap();
    let chain = CertificateDer::pem_slice_iter(&read(cert)).collect::<Result<Vec<_>, _>>().unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&read(clients)).collect::<Result<Vec<_>, _>>().unwrap());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(&read(key)).unwrap())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let mut listener = env.network.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_address().unwrap().to_string();
    let _server = env.clone().tasks.spawn("server", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            let _connection = env.tasks.spawn("connection", async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let answer = service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                    let host = request.uri().host().or_else(|| request.headers().get("host")?.to_str().ok()).unwrap_or("nowhere");
                    let body = format!("{:?} {}", request.version(), host.split(':').next().unwrap_or_default());
                    Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from(body))))
                });
                let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _served = builder.serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    });
    address
}

async fn get(client: &Client, address: &str) -> Result<String, String> {
    let work = client.send(Request::get(&format!("https://{address}/"), 1000).unwrap());
    let response = Env::real().clock.timeout(Duration::from_secs(10), work).await.expect("within ten seconds");
    response.map(|response| String::from_utf8_lossy(&response.body).into_owned()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn http_2_is_spoken_where_it_is_wanted_and_renewed_certificates_are_taken() {
    let folder = std::env::temp_dir().join(format!("watchkeeper-tls-{}", std::process::id()));
    let disk = Env::real().disk;
    disk.create_dir_all(&folder).unwrap();
    let (server_cert, server_key) = certificate(&folder, "server");
    let (good, good_key) = certificate(&folder, "good");
    let (other, other_key) = certificate(&folder, "other");
    let address = server(&server_cert, &server_key, &good).await;
    let (cert, key, ca) = (folder.join("client.pem"), folder.join("client-key.pem"), folder.join("ca.pem"));
    let put = |from: &Path, to: &Path| disk.replace(to, &disk.read(from).unwrap()).unwrap();
    put(&other, &cert);
    put(&other_key, &key);
    put(&server_cert, &ca);
    let file = |path: &Path| Some(SecretSource::File(path.to_owned()));
    let tls = TlsOptions { ca: file(&ca), cert: file(&cert), key: file(&key), ..TlsOptions::default() };
    let with = |http2| Client::new(&Env::real(), ClientOptions { tls: tls.clone(), http2, ..ClientOptions::default() });
    let (two, one) = (with(true), with(false));
    // The server does not know this client.
    assert!(get(&two, &address).await.is_err());
    // Its certificate is renewed: no restart, no reload.
    put(&good, &cert);
    put(&good_key, &key);
    for _ in 0..3 {
        assert_eq!(get(&two, &address).await.as_deref(), Ok("HTTP/2.0 127.0.0.1"));
        assert_eq!(get(&one, &address).await.as_deref(), Ok("HTTP/1.1 127.0.0.1"));
    }
    // An authority that the server is not of.
    put(&other, &ca);
    two.close_idle();
    let refused = get(&two, &address).await.unwrap_err();
    assert!(refused.starts_with("tls: "), "{refused}");
    disk.remove_dir_all(&folder).unwrap();
}

/// Shakes hands with a server of these settings, with a client that shows this certificate; answers what each side says.
async fn shake(settings: &TlsServerConfig, shown: Option<&(PathBuf, PathBuf)>) -> (Result<(), String>, bool) {
    let env = Env::real();
    let ca = Some(SecretSource::File(settings.cert_file.path().to_owned()));
    let file = |path: &Path| Some(SecretSource::File(path.to_owned()));
    let (cert, key) = shown.map_or((None, None), |(cert, key)| (file(cert), file(key)));
    let options = TlsOptions { ca, cert, key, ..TlsOptions::default() };
    let connector = tokio_rustls::TlsConnector::from(options.client_config(&env, false).await.unwrap());
    let (there, here) = tokio::io::duplex(64 << 10);
    let server = ServerTls::new(&env);
    let (accepted, connected) = tokio::join!(
        async { server.accept(settings, true, here).await.map(drop).map_err(|error| error.to_string()) },
        connector.connect(options.name_for("localhost").unwrap(), there)
    );
    (accepted, connected.is_ok())
}

#[tokio::test]
async fn the_listener_wants_the_clients_it_is_told_to_want() {
    let folder = std::env::temp_dir().join(format!("watchkeeper-listener-{}", std::process::id()));
    let disk = Env::real().disk;
    disk.create_dir_all(&folder).unwrap();
    let (cert, key) = certificate(&folder, "server");
    let (good, other) = (certificate(&folder, "good"), certificate(&folder, "other"));
    let path = |path: &Path| FilePath::new(path.to_string_lossy());
    let plain = TlsServerConfig { cert_file: path(&cert), key_file: path(&key), ..TlsServerConfig::default() };
    let wants = |kind| TlsServerConfig { client_auth_type: Some(kind), client_ca_file: path(&good.0), ..plain.clone() };
    let both = TlsServerConfig {
        client_allowed_sans: vec!["nobody.example".to_owned()],
        ..wants(ClientAuth::RequireAndVerifyClientCert)
    };
    let named =
        TlsServerConfig { client_allowed_sans: vec!["nobody.example".to_owned(), "127.0.0.1".to_owned()], ..both.clone() };
    for (settings, none, with_good, with_other) in [
        (&plain, true, true, true),
        (&wants(ClientAuth::RequestClientCert), true, true, true),
        (&wants(ClientAuth::RequireAnyClientCert), false, true, true),
        (&wants(ClientAuth::VerifyClientCertIfGiven), true, true, false),
        (&wants(ClientAuth::RequireAndVerifyClientCert), false, true, false),
        (&both, false, false, false),
        (&named, false, true, false),
    ] {
        for (shown, wanted) in [(None, none), (Some(&good), with_good), (Some(&other), with_other)] {
            let (accepted, _) = shake(settings, shown).await;
            assert_eq!(accepted.is_ok(), wanted, "{:?} {shown:?}: {accepted:?}", settings.client_auth_type);
        }
    }
    // Versions, suites and curves by Go's names.
    let narrow = TlsServerConfig {
        max_version: "TLS12".to_owned(),
        cipher_suites: vec!["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384".to_owned()],
        curve_preferences: vec!["CurveP384".to_owned()],
        ..plain.clone()
    };
    assert_eq!(shake(&narrow, None).await, (Ok(()), true));
    let rsa = TlsServerConfig { cipher_suites: vec!["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384".to_owned()], ..narrow };
    assert!(shake(&rsa, None).await.0.is_err(), "a key of another kind");
    disk.remove_dir_all(&folder).unwrap();
}
