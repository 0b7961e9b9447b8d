//! One attempt to hand a mail to an SMTP server, command by command, each with a deadline of its own.
//!
//! ```text
//! connect [TLS] greeting EHLO [STARTTLS EHLO] [AUTH] MAIL RCPT... DATA message -> 250
//! ```
//!
//! The conversation is lettre's, the stream ours. A recipient who is refused (5xx) does not keep the others from the mail;
//! one who is put off (4xx) is tried again alone. The rules for TLS and authentication are Alertmanager's.

use super::auth::authenticate;
use super::message::Mail;
use super::pool::goodbye;
use super::{Accepted, EmailTarget, Failure, MailServer, Notifier, TlsOptions};
use crate::alerting::history::RecipientOutcome;
use crate::env::Env;
use crate::env::network::BoxStream;
use lettre::Address;
use lettre::transport::smtp::Error as SmtpError;
#[expect(deprecated, reason = "the only way to speak TLS before the first word over a stream of our own")]
use lettre::transport::smtp::client::AsyncNetworkStream;
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, AsyncTokioStream, Certificate, CertificateStore, Identity, TlsParameters, TlsVersion,
};
use lettre::transport::smtp::commands::{Data, Mail as MailCommand, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use lettre::transport::smtp::response::Response;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest that a command may take.
pub(super) const STEP: Duration = Duration::from_secs(30);
/// The longest that a server may think about a whole message.
const MESSAGE_STEP: Duration = Duration::from_secs(120);

/// What the attempts of one mail have in common: who has it already.
#[derive(Clone, Debug)]
pub struct Session {
    left: Vec<Address>,
    outcomes: BTreeMap<String, RecipientOutcome>,
}

impl Session {
    /// Starts where earlier attempts of the same message ended: who has it is not told again, nor is anybody tried again who was
    /// refused for good while others took it.
    #[must_use]
    pub fn new(mail: &Mail, before: &[RecipientOutcome]) -> Self {
        if !before.iter().any(RecipientOutcome::has_it) {
            return Self { left: mail.to.clone(), outcomes: BTreeMap::new() };
        }
        let outcomes: BTreeMap<String, RecipientOutcome> =
            before.iter().map(|outcome| (outcome.address.clone(), outcome.clone())).collect();
        let is_done = |outcome: &RecipientOutcome| outcome.has_it() || outcome.is_refused();
        let is_left = |address: &&Address| !outcomes.get(&address.to_string()).is_some_and(is_done);
        Self { left: mail.to.iter().filter(is_left).cloned().collect(), outcomes }
    }

    fn note(&mut self, address: &Address, code: u16, message: &str) {
        let address = address.to_string();
        self.outcomes.insert(address.clone(), RecipientOutcome { address, code, message: message.to_owned() });
    }

    /// Returns whether at least one recipient has the mail.
    #[must_use]
    pub fn somebody_has_it(&self) -> bool {
        self.outcomes.values().any(RecipientOutcome::has_it)
    }

    fn outcomes(&self) -> Vec<RecipientOutcome> {
        self.outcomes.values().cloned().collect()
    }
}

/// A stream of ours in lettre's clothes.
#[derive(Debug)]
struct MailStream(BoxStream);

impl AsyncRead for MailStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for MailStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for MailStream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A stream that lettre encrypted, as one that it may begin a conversation on.
#[derive(Debug)]
#[expect(deprecated, reason = "as above")]
struct EncryptedStream(AsyncNetworkStream);

impl AsyncRead for EncryptedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = futures_util::AsyncRead::poll_read(Pin::new(&mut self.0), cx, buffer.initialize_unfilled());
        read.map_ok(|count| buffer.advance(count))
    }
}

impl AsyncWrite for EncryptedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        futures_util::AsyncWrite::poll_write(Pin::new(&mut self.0), cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        futures_util::AsyncWrite::poll_flush(Pin::new(&mut self.0), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        futures_util::AsyncWrite::poll_close(Pin::new(&mut self.0), cx)
    }
}

impl AsyncTokioStream for EncryptedStream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Says what the server or the network said, with all its causes.
fn in_words(what: &str, error: &SmtpError) -> String {
    let mut words = format!("{what}: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        source = cause.source();
    }
    words
}

fn failed(what: &str, error: &SmtpError) -> Failure {
    let reason = match error.status() {
        Some(_) if error.is_permanent() => "clientError",
        Some(_) => "serverError",
        None => "other",
    };
    Failure { reason, ..Failure::transient(in_words(what, error)) }
}

/// Runs one step of the conversation within its time.
pub(super) async fn step<T>(
    env: &Env,
    what: &str,
    limit: Duration,
    work: impl Future<Output = Result<T, SmtpError>>,
) -> Result<T, Failure> {
    match env.clock.timeout(limit, work).await {
        Ok(done) => done.map_err(|error| failed(what, &error)),
        Err(elapsed) => Err(Failure { reason: "contextDeadlineExceeded", ..Failure::transient(format!("{what}: {elapsed}")) }),
    }
}

async fn tls_parameters(env: &Env, options: &TlsOptions, host: &str) -> Result<TlsParameters, Failure> {
    let unreadable = |what: &str, error: io::Error| Failure::transient(format!("TLS {what}: {error}"));
    let ca = options.ca.read(env).await.map_err(|error| unreadable("ca_file", error))?;
    let cert = options.cert.read(env).await.map_err(|error| unreadable("cert_file", error))?;
    let key = options.key.read(env).await.map_err(|error| unreadable("key_file", error))?;
    let name = if options.server_name.is_empty() { host } else { &options.server_name }.to_owned();
    let (insecure, only_tls13) = (options.insecure_skip_verify, options.only_tls13);
    // Reading the system's authorities takes a while and blocks.
    let built = env.tasks.blocking(move || {
        let mut builder = TlsParameters::builder(name).dangerous_accept_invalid_certs(insecure);
        builder = builder.dangerous_accept_invalid_hostnames(insecure);
        builder = builder.set_min_tls_version(if only_tls13 { TlsVersion::Tlsv13 } else { TlsVersion::Tlsv12 });
        if !ca.is_empty() {
            builder =
                builder.certificate_store(CertificateStore::None).add_root_certificate(Certificate::from_pem(ca.as_bytes())?);
        }
        if !cert.is_empty() {
            builder = builder.identify_with(Identity::from_pem(cert.as_bytes(), key.as_bytes())?);
        }
        builder.build()
    });
    let built = built.await.map_err(|error| Failure::transient(format!("TLS configuration: {error}")))?;
    built.map_err(|error| failed("TLS configuration", &error))
}

/// Connects, encrypts as configured, and authenticates; says whether it did the last.
async fn open(env: &Env, target: &EmailTarget, host: &str, port: &str) -> Result<(AsyncSmtpConnection, bool), Failure> {
    let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let hello = ClientId::Domain(if target.hello.is_empty() { "localhost".to_owned() } else { target.hello.clone() });
    let stream = match env.clock.timeout(STEP, env.network.connect(&address)).await {
        Ok(stream) => stream.map_err(|error| Failure::transient(format!("connect to {address}: {error}")))?,
        Err(elapsed) => return Err(Failure::transient(format!("connect to {address}: {elapsed}"))),
    };
    let stream: Box<dyn AsyncTokioStream> = if target.implicit_tls {
        let parameters = tls_parameters(env, &target.tls, host).await?;
        #[expect(deprecated, reason = "as above")]
        let mut encrypted = AsyncNetworkStream::use_existing_tokio1(Box::new(MailStream(stream)));
        step(env, "TLS handshake", STEP, encrypted.upgrade_tls(parameters)).await?;
        Box::new(EncryptedStream(encrypted))
    } else {
        Box::new(MailStream(stream))
    };
    let greet = AsyncSmtpConnection::connect_with_transport(stream, &hello);
    let mut connection = step(env, "greeting and EHLO", STEP, greet).await?;
    if target.require_tls && !target.implicit_tls {
        if !connection.can_starttls() {
            let words = format!("'require_tls' is true (default) but {address:?} does not advertise the STARTTLS extension");
            return Err(Failure::transient(words));
        }
        let parameters = tls_parameters(env, &target.tls, host).await?;
        step(env, "STARTTLS", STEP, connection.starttls(parameters, &hello)).await?;
    }
    let is_known = authenticate(env, target, host, &hello, &mut connection).await?;
    Ok((connection, is_known))
}

/// Does everything but the mail. Returns whether the server knows us: whether it offered authentication and took ours.
///
/// # Errors
/// What failed, in words.
pub async fn rehearse(env: &Env, target: &EmailTarget) -> Result<bool, Failure> {
    let MailServer::Smtp { host, port } = &target.server else { return Ok(false) };
    let (connection, is_known) = open(env, target, host, port).await?;
    goodbye(env, connection).await;
    Ok(is_known)
}

fn last_words(response: &Response) -> String {
    format!("{} {}", u16::from(response.code()), response.message().collect::<Vec<_>>().join(" "))
}

/// Tries once. `session` knows who has the mail from earlier attempts.
///
/// # Errors
/// When nobody took it, or somebody was put off and is to be tried again.
pub async fn attempt(
    notifier: &Notifier,
    target: &EmailTarget,
    (host, port): (&str, &str),
    mail: &Mail,
    session: &mut Session,
) -> Result<Accepted, Failure> {
    let Notifier { env, pool, stopping, .. } = notifier;
    let server = format!("{host}:{port}");
    let permit = pool.permit(&server, target.max_connections, stopping).await;
    let _permit = permit.ok_or_else(Failure::stopping)?;
    let mut connection = match pool.take(env, &server, target).await {
        Some(connection) => connection,
        None => open(env, target, host, port).await?.0,
    };
    let result = converse(env, mail, session, &mut connection).await;
    match &result {
        Ok(_) => pool.give_back(env, &server, target, connection),
        // Whatever was refused was refused in good order; after anything else the connection is not to be trusted.
        Err(failure) if matches!(failure.reason, "clientError" | "serverError") => goodbye(env, connection).await,
        Err(_) => drop(connection),
    }
    result.map_err(|failure| Failure { recipients: session.outcomes(), ..failure })
}

async fn converse(
    env: &Env,
    mail: &Mail,
    session: &mut Session,
    connection: &mut AsyncSmtpConnection,
) -> Result<Accepted, Failure> {
    let mut parameters = Vec::new();
    let is_ascii = |address: &Address| address.to_string().is_ascii();
    if !is_ascii(&mail.from) || !mail.to.iter().all(is_ascii) {
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            return Err(Failure::permanent("an address is not ASCII and the server does not support SMTPUTF8"));
        }
        parameters.push(MailParameter::SmtpUtfEight);
    }
    step(env, "send MAIL command", STEP, connection.command(MailCommand::new(Some(mail.from.clone()), parameters))).await?;
    let (mut taken, mut put_off) = (Vec::new(), Vec::new());
    let mut last_refusal = None;
    for address in session.left.clone() {
        let rcpt = connection.command(Rcpt::new(address.clone(), Vec::new()));
        let answer = match env.clock.timeout(STEP, rcpt).await {
            Ok(answer) => answer,
            Err(elapsed) => return Err(Failure::transient(format!("send RCPT command: {elapsed}"))),
        };
        match answer {
            Ok(_) => taken.push(address),
            Err(error) => {
                let failure = failed("send RCPT command", &error);
                // Without a code the connection itself is broken.
                let Some(code) = error.status() else { return Err(failure) };
                session.note(&address, code.into(), &error.to_string());
                if !error.is_permanent() {
                    put_off.push(address);
                }
                last_refusal = Some(failure);
            }
        }
    }
    if taken.is_empty() {
        session.left = put_off;
        let failure = last_refusal.unwrap_or_else(|| Failure::permanent("nobody is left to be told"));
        if session.left.is_empty() && session.somebody_has_it() {
            // The others have it; who is left was refused for good.
            return Ok(Accepted { words: failure.words, recipients: session.outcomes() });
        }
        return Err(Failure { retry: !session.left.is_empty(), ..failure });
    }
    step(env, "send DATA command", STEP, connection.command(Data)).await?;
    let sent = step(env, "delivery failure", MESSAGE_STEP, connection.message(&mail.content.raw)).await;
    let response = sent.map_err(|failure| Failure { retry: failure.reason != "clientError", ..failure })?;
    let words = last_words(&response);
    for address in &taken {
        session.note(address, response.code().into(), &words);
    }
    session.left = put_off;
    if session.left.is_empty() {
        Ok(Accepted { words, recipients: session.outcomes() })
    } else {
        Err(last_refusal.unwrap_or_else(|| Failure::transient("some recipients were put off")))
    }
}
