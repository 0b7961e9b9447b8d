//! The outbox: mails as files below the data folder, for a start without a mail server, and to see what was sent.
//!
//! `<id>.eml` is the message as it is (or would be) sent, `<id>.html` its HTML part for the dashboard; `id` is the history's
//! record. The history's bound is the outbox's: what it forgets is removed here.

use super::message::Mail;
use super::{Accepted, Content, Failure};
use crate::alerting::history::RecipientOutcome;
use crate::alerting::machine::Delivery;
use crate::env::disk::Open;
use crate::env::{Disk, Env};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The largest copy that is kept of a message which is sent elsewhere.
const COPY_BYTES_MAX: usize = 2 << 20;

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

    /// Writes a file whole, but lets the system decide when it reaches the disk.
    fn write_unsynced(&self, disk: &dyn Disk, record: u64, extension: &str, bytes: &[u8]) -> io::Result<()> {
        let tmp = self.path(record, &format!("{extension}.tmp"));
        let file = disk.open(&tmp, Open::Create)?;
        file.set_len(0)?;
        file.write_at(bytes, 0)?;
        drop(file);
        disk.rename(&tmp, &self.path(record, extension))
    }

    fn write(&self, disk: &dyn Disk, record: u64, content: &Content, is_copy: bool) -> io::Result<()> {
        disk.create_dir_all(&self.folder)?;
        // The HTML part is in the message, too: losing its copy loses nothing.
        if !content.html.is_empty() {
            let html = content.html.as_bytes();
            self.write_unsynced(disk, record, "html", html.get(..COPY_BYTES_MAX).unwrap_or(html))?;
        }
        if is_copy {
            self.write_unsynced(disk, record, "eml", content.raw.get(..COPY_BYTES_MAX).unwrap_or(&content.raw))
        } else {
            disk.replace(&self.path(record, "eml"), &content.raw)
        }
    }

    /// Keeps a copy of what is sent elsewhere, for the dashboard.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn keep(&self, env: &Env, record: u64, content: Content) -> io::Result<()> {
        let (this, disk) = (self.clone(), Arc::clone(&env.disk));
        env.tasks.blocking(move || this.write(&*disk, record, &content, true)).await.map_err(io::Error::other)?
    }

    /// Reads a kept message (`eml`) or its HTML part (`html`).
    ///
    /// # Errors
    /// `NotFound` where it was not kept.
    pub async fn read(&self, env: &Env, record: u64, extension: &str) -> io::Result<Vec<u8>> {
        let (path, disk) = (self.path(record, extension), Arc::clone(&env.disk));
        env.tasks.blocking(move || disk.read(&path)).await.map_err(io::Error::other)?
    }

    /// Removes what a crash left behind: half-written files, and mails whose record is forgotten. Blocks. Returns how many.
    pub fn sweep(&self, disk: &dyn Disk, is_known: impl Fn(u64) -> bool) -> usize {
        let Ok(entries) = disk.list(&self.folder) else { return 0 };
        let is_leftover = |name: &str| match name.rsplit_once('.') {
            Some((_, "tmp")) => true,
            Some((record, "eml" | "html")) => record.parse().is_ok_and(|record| !is_known(record)),
            _ => false,
        };
        let mut removed = 0;
        for entry in entries.iter().filter(|entry| !entry.is_dir && is_leftover(&entry.name)) {
            match disk.remove_file(&self.folder.join(&entry.name)) {
                Ok(()) => removed += 1,
                Err(error) => tracing::warn!(file = entry.name, %error, "a leftover in the outbox could not be removed"),
            }
        }
        removed
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
        let (this, disk, record, content) = (self.clone(), Arc::clone(&env.disk), delivery.record, mail.content.clone());
        let written = env.tasks.blocking(move || this.write(&*disk, record, &content, false)).await;
        let written = written.map_err(io::Error::other).and_then(|written| written);
        written.map_err(|error| Failure::transient(error.to_string()))?;
        let kept = |address: &String| RecipientOutcome { address: address.clone(), code: 250, message: "kept".to_owned() };
        Ok(Accepted { words: "kept in the outbox".to_owned(), recipients: mail.recipients.iter().map(kept).collect() })
    }
}
