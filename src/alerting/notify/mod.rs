//! Telling people: from a [`Delivery`] to a mail, a file in the outbox, a webhook's POST, or a message of a chat service.
//!
//! Everything is rendered before the first byte goes out. A template that fails never loses a notification: the default text
//! goes out instead, with a visible note. Each kind of integration tries once; [`retry`] repeats until the deadline.

mod auth;
mod base64;
pub mod chart;
pub mod chat;
pub mod email;
pub mod mail;
pub mod message;
pub mod outbox;
pub mod pool;
pub mod retry;
pub mod template_data;
pub mod template_functions;
pub mod webhook;
mod writer;

use super::fence::{Fence, STOOD_DOWN};
use super::history::RecipientOutcome;
use super::links::Links;
use super::machine::{Delivery, DeliveryReport};
use crate::config::HttpClientConfig;
use crate::config::receivers::AnyValue;
use crate::env::Env;
use chart::ChartFeed;
use futures_util::future::BoxFuture;
use retry::Retry;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// A secret, or the file that holds it. Never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretSource {
    /// The secret itself.
    pub text: String,
    /// A file that is read each time.
    pub file: Option<PathBuf>,
}

impl std::fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

impl SecretSource {
    /// Returns whether nothing was given.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.text.is_empty() && self.file.is_none()
    }

    /// Returns the secret, reading the file where there is one.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn read(&self, env: &Env) -> std::io::Result<String> {
        let Some(path) = self.file.clone() else { return Ok(self.text.clone()) };
        let disk = Arc::clone(&env.disk);
        let read = env.tasks.blocking(move || disk.read(&path)).await.map_err(std::io::Error::other)??;
        Ok(String::from_utf8_lossy(&read).trim().to_owned())
    }
}

/// What of TLS is not as usual.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Authorities (PEM) instead of the system's; empty: the system's.
    pub ca: SecretSource,
    /// Our certificate (PEM).
    pub cert: SecretSource,
    /// Our key (PEM).
    pub key: SecretSource,
    /// The name that the server must prove; empty: its host name.
    pub server_name: String,
    /// Whether any certificate will do.
    pub insecure_skip_verify: bool,
    /// Whether only TLS 1.3 will do.
    pub only_tls13: bool,
}

/// Where mails go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailServer {
    /// Files below the data folder, shown by the dashboard.
    Outbox,
    /// An SMTP server.
    Smtp {
        /// Its name or address.
        host: String,
        /// Its port, by number.
        port: String,
    },
}

/// An e-mail integration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailTarget {
    /// Recipients, separated by commas; a template.
    pub to: String,
    /// The sender; a template.
    pub from: String,
    /// Our name in EHLO.
    pub hello: String,
    /// Where to.
    pub server: MailServer,
    /// The user; empty: no authentication.
    pub auth_username: String,
    /// For PLAIN and LOGIN.
    pub auth_password: SecretSource,
    /// For CRAM-MD5.
    pub auth_secret: SecretSource,
    /// The identity of PLAIN, mostly empty.
    pub auth_identity: String,
    /// Header names and templates.
    pub headers: BTreeMap<String, String>,
    /// The HTML part; a template. `None`: ours; empty: there is none.
    pub html: Option<String>,
    /// The text part; a template. `None`: ours.
    pub text: Option<String>,
    /// Whether a server without STARTTLS is refused.
    pub require_tls: bool,
    /// Whether TLS comes before the first word.
    pub implicit_tls: bool,
    /// What of TLS is not as usual.
    pub tls: TlsOptions,
    /// Whether the conversation begins anew each day.
    pub thread_by_date: bool,
    /// The most connections to the server at a time; 0: [`pool::CONNECTIONS_MAX`].
    pub max_connections: usize,
}

/// A webhook integration.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookTarget {
    /// Where to; may be a template.
    pub url: SecretSource,
    /// The most alerts in one POST; 0: no bound.
    pub max_alerts: u64,
    /// What is sent instead of Alertmanager's JSON; its texts are templates.
    pub payload: Option<AnyValue>,
    /// The longest that one attempt may take; 0: until the deadline.
    pub timeout_ms: u64,
    /// How the request is made.
    pub http: HttpClientConfig,
}

/// Where an integration tells, and how.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// Mail.
    Email(Box<EmailTarget>),
    /// A POST.
    Webhook(Box<WebhookTarget>),
    /// A service with an API of its own.
    Chat(Box<chat::ChatTarget>),
}

/// The reason of what ends because the server stops, as Alertmanager's metric names it.
pub const STOPPING: &str = "contextCanceled";

/// Why an attempt did not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the other side or the network said.
    pub words: String,
    /// Whether trying again may help.
    pub retry: bool,
    /// The reason as Alertmanager's metric names it.
    pub reason: &'static str,
    /// What was said about each recipient.
    pub recipients: Vec<RecipientOutcome>,
}

impl Failure {
    /// Something that may pass.
    pub fn transient(words: impl Into<String>) -> Self {
        Self { words: words.into(), retry: true, reason: "other", recipients: Vec::new() }
    }

    /// The server stops: the next start goes on.
    #[must_use]
    pub fn stopping() -> Self {
        Self { reason: STOPPING, ..Self::transient("the server is stopping; goes on after its next start") }
    }

    /// Another member tells people.
    #[must_use]
    pub fn stood_down() -> Self {
        Self { retry: false, reason: STOOD_DOWN, ..Self::transient("another member may tell people by now: it goes on") }
    }

    /// Something that stays.
    pub fn permanent(words: impl Into<String>) -> Self {
        Self { retry: false, reason: "clientError", ..Self::transient(words) }
    }
}

/// What the other side said when it took a notification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Its words, for example the queue's id.
    pub words: String,
    /// What was said about each recipient.
    pub recipients: Vec<RecipientOutcome>,
}

/// What a notification says, for the history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The subject; empty where there is none.
    pub subject: String,
    /// The message as it is sent.
    pub raw: Vec<u8>,
    /// The HTML part.
    pub html: String,
    /// What went wrong while rendering.
    pub warnings: Vec<String>,
}

/// Performs deliveries. Cheap to clone.
#[derive(Clone)]
pub struct Notifier {
    /// The world.
    pub env: Env,
    /// Where links lead to.
    pub external_url: Arc<str>,
    /// Mails as files.
    pub outbox: outbox::Outbox,
    /// Templates of the configuration, and the functions they may call.
    pub templates: Arc<message::Templates>,
    /// Whether the server is stopping: no more attempts then.
    pub stopping: watch::Receiver<bool>,
    /// Whether this member may tell people: no attempt without it.
    pub fence: Arc<dyn Fence>,
    /// Connections to mail servers.
    pub pool: pool::Pool,
    /// Answers what the values behind alerts were.
    pub charts: ChartFeed,
    /// Writes links that act.
    pub links: Links,
    /// Bounds how much is rendered at a time.
    pub rendering: Arc<Semaphore>,
    /// Bounds how many mails go into the outbox at a time.
    pub writing: Arc<Semaphore>,
}

/// How many notifications are rendered at a time: it costs processor and memory.
pub const RENDERING_MAX: usize = 2;
/// How many mails are written into the outbox at a time; their syncs share the disk's.
pub const WRITING_MAX: usize = 32;

/// What a delivery tells about itself while it goes on.
#[derive(Clone, Debug)]
pub enum Progress {
    /// It was rendered.
    Rendered(Content),
    /// An attempt did not work; another follows.
    Attempt(Failure),
}

/// Hears of progress.
pub type Listener = dyn Fn(Progress) -> BoxFuture<'static, ()> + Send + Sync;

impl std::fmt::Debug for Notifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notifier").field("external_url", &self.external_url).finish_non_exhaustive()
    }
}

impl Notifier {
    /// Delivers: renders, tries until it works, cannot work, or the deadline passes.
    pub async fn deliver(&self, delivery: Arc<Delivery>, progress: &Listener) -> DeliveryReport {
        let mut retry = Retry::new(self, delivery.deadline_ms, !delivery.is_direct);
        match &*delivery.integration.target {
            Target::Email(target) => {
                let mail = match self.render(&delivery).await {
                    Ok(mail) => mail,
                    Err(failure) => return report(&delivery, Err(failure), Vec::new()),
                };
                progress(Progress::Rendered(mail.content.clone())).await;
                let mut session = email::Session::new(&mail, &delivery.before);
                let result = loop {
                    let result = match &target.server {
                        MailServer::Outbox => {
                            let attempt = async {
                                let _turn = self.turn(&self.writing).await?;
                                self.outbox.deliver(&self.env, &delivery, &mail).await
                            };
                            retry.attempt(attempt).await
                        }
                        MailServer::Smtp { host, port } => {
                            let attempt = email::attempt(self, target, (host, port), &mail, &mut session);
                            retry.attempt(Box::pin(attempt)).await
                        }
                    };
                    match result {
                        Err(failure) if retry.again(&failure, progress).await => {}
                        result => break result,
                    }
                };
                report(&delivery, result, mail.content.warnings)
            }
            Target::Webhook(target) => {
                let (content, notes) = webhook::render(self, target, &delivery);
                let told = Content { raw: content.clone(), warnings: notes.clone(), ..Content::default() };
                progress(Progress::Rendered(told)).await;
                let result = loop {
                    match retry.attempt(Box::pin(webhook::attempt(self, target, &content))).await {
                        Err(failure) if retry.again(&failure, progress).await => {}
                        result => break result,
                    }
                };
                report(&delivery, result, notes)
            }
            Target::Chat(target) => {
                let message = chat::render(self, target, &delivery);
                let content = Content { raw: message.shown(), warnings: message.notes.clone(), ..Content::default() };
                progress(Progress::Rendered(content)).await;
                let result = loop {
                    match retry.attempt(Box::pin(chat::attempt(self, target, &message, &delivery))).await {
                        Err(failure) if retry.again(&failure, progress).await => {}
                        result => break result,
                    }
                };
                report(&delivery, result, message.notes)
            }
        }
    }
}

impl Notifier {
    /// Waits for a turn; refused when the server stops, so that nothing begins then that could not end.
    async fn turn(&self, turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Failure> {
        pool::turn(turns, &self.stopping).await.ok_or_else(Failure::stopping)
    }

    /// Renders a mail, away from the tasks that must not wait: thousands of alerts take a while.
    async fn render(&self, delivery: &Arc<Delivery>) -> Result<message::Mail, Failure> {
        let charts = match &*delivery.integration.target {
            Target::Email(target) if message::wants_charts(target) => {
                chart::gather(&self.env, &self.charts, delivery, &mail::ordered(delivery)).await
            }
            _ => chart::Charts::new(),
        };
        let _turn = self.turn(&self.rendering).await?;
        let (notifier, delivery) = (self.clone(), Arc::clone(delivery));
        let work = move || match &*delivery.integration.target {
            Target::Email(target) => message::render(&notifier, target, &delivery, &charts),
            Target::Webhook(_) | Target::Chat(_) => Err("no mail".to_owned()),
        };
        let rendered = self.env.tasks.blocking(work).await;
        // A broken rendering must not end the notification for good.
        let rendered = rendered.map_err(|error| Failure::transient(format!("rendering broke: {error}")))?;
        rendered.map_err(Failure::permanent)
    }
}

/// Says that a delivery was not begun because another member tells people.
#[must_use]
pub fn stood_down(delivery: &Arc<Delivery>, words: String) -> DeliveryReport {
    report(delivery, Err(Failure { words, ..Failure::stood_down() }), Vec::new())
}

fn report(delivery: &Arc<Delivery>, result: Result<Accepted, Failure>, warnings: Vec<String>) -> DeliveryReport {
    let (worked, refused, words, recipients, reason) = match result {
        Ok(accepted) => (true, false, accepted.words, accepted.recipients, ""),
        Err(failure) => {
            (false, !failure.retry && failure.reason != STOOD_DOWN, failure.words, failure.recipients, failure.reason)
        }
    };
    DeliveryReport { delivery: Arc::clone(delivery), worked, refused, words, recipients, warnings, reason }
}
