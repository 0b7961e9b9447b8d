//! The outbox: mails as files below the data folder, for a start without a mail server, and to see what was sent.
//!
//! `<id>.eml` is the message as it is (or would be) sent, `<id>.html` its HTML part for the dashboard; `id` is the history's
//! record. The history's bound is the outbox's: what it forgets is removed here.

use super::message::Mail;
use super::{Accepted, Content, Failure};
use crate::alerting::history::RecipientOutcome;
use crate::alerting::machine::Delivery;
use crate::env::{Disk, Env};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest message that is kept.
const KEPT_BYTES_MAX: usize = 2 << 20;

/// The folder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outbox {
    folder: Arc<Path>,
}

impl Outbox {
    /// Names the folder; it is made when the first mail is kept.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: Arc::from(folder) }
    }

    fn path(&self, record: u64, extension: &str) -> PathBuf {
        self.folder.join(format!("{record}.{extension}"))
    }

    fn write(&self, disk: &dyn Disk, record: u64, content: &Content) -> io::Result<()> {
        disk.create_dir_all(&self.folder)?;
        let keep = |extension: &str, bytes: &[u8]| {
            disk.replace(&self.path(record, extension), bytes.get(..KEPT_BYTES_MAX).unwrap_or(bytes))
        };
        keep("eml", &content.raw)?;
        if content.html.is_empty() { Ok(()) } else { keep("html", content.html.as_bytes()) }
    }

    /// Keeps what is sent.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn keep(&self, env: &Env, record: u64, content: Content) -> io::Result<()> {
        let (this, disk) = (self.clone(), Arc::clone(&env.disk));
        env.tasks.blocking(move || this.write(&*disk, record, &content)).await.map_err(io::Error::other)?
    }

    /// Reads a kept message (`eml`) or its HTML part (`html`).
    ///
    /// # Errors
    /// `NotFound` where it was not kept.
    pub async fn read(&self, env: &Env, record: u64, extension: &str) -> io::Result<Vec<u8>> {
        let (path, disk) = (self.path(record, extension), Arc::clone(&env.disk));
        env.tasks.blocking(move || disk.read(&path)).await.map_err(io::Error::other)?
    }

    /// Removes what was kept of a record.
    pub fn forget(&self, disk: &dyn Disk, record: u64) {
        for extension in ["eml", "html"] {
            match disk.remove_file(&self.path(record, extension)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(record, %error, "an old mail in the outbox could not be removed");
                }
                _ => {}
            }
        }
    }

    /// Delivers into the outbox: the file on disk is the acceptance.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn deliver(&self, env: &Env, delivery: &Delivery, mail: &Mail) -> Result<Accepted, Failure> {
        self.keep(env, delivery.record, mail.content.clone()).await.map_err(|error| Failure::transient(error.to_string()))?;
        let kept = |address: &String| RecipientOutcome { address: address.clone(), code: 250, message: "kept".to_owned() };
        Ok(Accepted { words: "kept in the outbox".to_owned(), recipients: mail.recipients.iter().map(kept).collect() })
    }
}
