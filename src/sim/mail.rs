//! A mail server in memory that can be told to misbehave.

use super::network::Host;
use crate::env::clock::Clock;
use crate::env::crash_disk::CrashDisk;
use crate::env::network::{BoxStream, Listener, Network};
use crate::env::tasks::Tasks;
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

/// How the end of a message is answered.
#[derive(Clone, Debug)]
pub(crate) enum Ending {
    /// With this line.
    Answer(&'static str),
    /// The message is kept, and the connection cut before the 250.
    Cut,
}

/// A mail that was taken (or kept before a cut).
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) at_ms: i64,
    pub(crate) recipients: Vec<String>,
    pub(crate) text: String,
    /// Whether the other side was there to hear that it was taken.
    pub(crate) is_heard: bool,
}

impl Taken {
    /// Returns a header, unfolded.
    pub(crate) fn header(&self, name: &str) -> String {
        let head = self.text.split("\r\n\r\n").next().unwrap_or("").replace("\r\n ", " ").replace("\r\n\t", " ");
        let prefix = format!("{}:", name.to_lowercase());
        let line = head.lines().find(|line| line.to_lowercase().starts_with(&prefix)).map(str::to_owned);
        line.and_then(|line| line.split_once(':').map(|(_, value)| value.trim().to_owned())).unwrap_or_default()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Script {
    /// Whether connections are refused.
    pub(crate) is_down: bool,
    /// What stands behind AUTH in the answer to EHLO; empty: it is not offered.
    pub(crate) mechanisms: &'static str,
    /// The AUTH commands that came.
    pub(crate) auth: Vec<String>,
    /// Whether a connection is never greeted.
    pub(crate) is_silent: bool,
    /// Answers to RCPT by recipient, in order; 250 when they are used up.
    pub(crate) recipients: BTreeMap<String, VecDeque<&'static str>>,
    /// Answers to messages, in order; 250 when they are used up.
    pub(crate) endings: VecDeque<Ending>,
    /// How long the server thinks about each message.
    pub(crate) thinks: Duration,
    pub(crate) taken: Vec<Taken>,
    pub(crate) connections: usize,
}

/// The server, and the network whose only host it is.
#[derive(Clone)]
pub(crate) struct MailServer {
    pub(crate) script: Arc<Mutex<Script>>,
    clock: Arc<dyn Clock>,
    /// The disk of the life that speaks to the server: without power it says nothing more.
    life: Option<CrashDisk>,
}

impl MailServer {
    pub(crate) fn new(clock: &Arc<dyn Clock>) -> Self {
        Self { script: Arc::default(), clock: Arc::clone(clock), life: None }
    }

    /// Returns the same server as a life on this disk reaches it.
    pub(crate) fn seen_from(&self, disk: &CrashDisk) -> Self {
        Self { life: Some(disk.clone()), ..self.clone() }
    }

    fn is_dead(&self) -> bool {
        self.life.as_ref().is_some_and(CrashDisk::is_off)
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().expect("unpoisoned"));
    }

    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.script.lock().expect("unpoisoned").taken.clone()
    }

    fn answer_to_recipient(&self, address: &str) -> &'static str {
        let mut script = self.script.lock().expect("unpoisoned");
        script.recipients.get_mut(address).and_then(VecDeque::pop_front).unwrap_or("250 ok")
    }

    async fn converse(self, stream: BoxStream) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        if self.script.lock().expect("unpoisoned").is_silent {
            let mut nothing = String::new();
            stream.read_line(&mut nothing).await?;
            return Ok(());
        }
        stream.get_mut().write_all(b"220 test\r\n").await?;
        let mut recipients = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let command = line.trim().to_owned();
            let answer = match command.split([' ', ':']).next().unwrap_or("") {
                "EHLO" => match self.script.lock().expect("unpoisoned").mechanisms {
                    "" => "250-test\r\n250 8BITMIME".to_owned(),
                    mechanisms => format!("250-test\r\n250-AUTH {mechanisms}\r\n250 8BITMIME"),
                },
                "AUTH" => {
                    self.change(|script| script.auth.push(command.clone()));
                    "235 welcome".to_owned()
                }
                "MAIL" => {
                    recipients.clear();
                    "250 ok".to_owned()
                }
                "RCPT" => {
                    let address = command.trim_start_matches("RCPT TO:<").trim_end_matches('>').to_owned();
                    let answer = self.answer_to_recipient(&address);
                    if answer.starts_with('2') {
                        recipients.push(address);
                    }
                    answer.to_owned()
                }
                "DATA" => {
                    stream.get_mut().write_all(b"354 go\r\n").await?;
                    let Some(answer) = self.message(&mut stream, &recipients).await? else { return Ok(()) };
                    let place = self.script.lock().expect("unpoisoned").taken.len().checked_sub(1);
                    stream.get_mut().write_all(format!("{answer}\r\n").as_bytes()).await?;
                    if answer.starts_with('2') {
                        self.change(|script| place.into_iter().for_each(|place| script.taken[place].is_heard = true));
                    }
                    continue;
                }
                "QUIT" => "221 bye".to_owned(),
                _ => "250 ok".to_owned(),
            };
            stream.get_mut().write_all(format!("{answer}\r\n").as_bytes()).await?;
        }
    }

    async fn message(&self, stream: &mut BufReader<BoxStream>, recipients: &[String]) -> io::Result<Option<&'static str>> {
        let mut text = String::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(None);
            }
            if line == ".\r\n" {
                break;
            }
            text.push_str(line.strip_prefix('.').unwrap_or(&line));
        }
        let thinks = self.script.lock().expect("unpoisoned").thinks;
        self.clock.sleep(thinks).await;
        if self.is_dead() {
            return Ok(None);
        }
        let mut script = self.script.lock().expect("unpoisoned");
        let ending = script.endings.pop_front().unwrap_or(Ending::Answer("250 queued as 1"));
        let taken = Taken { at_ms: self.clock.now_ms(), recipients: recipients.to_vec(), text, is_heard: false };
        match ending {
            Ending::Answer(answer) => {
                if answer.starts_with('2') {
                    script.taken.push(taken);
                }
                Ok(Some(answer))
            }
            Ending::Cut => {
                script.taken.push(taken);
                Ok(None)
            }
        }
    }
}

impl Host for MailServer {
    fn serve(&self, stream: BoxStream) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(self.clone().converse(stream))
    }
}

impl Network for MailServer {
    fn connect(&self, _address: &str) -> BoxFuture<'static, io::Result<BoxStream>> {
        let this = self.clone();
        Box::pin(async move {
            {
                let mut script = this.script.lock().expect("unpoisoned");
                script.connections += 1;
                if script.is_down || this.is_dead() {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
            }
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            drop(Tasks::new().spawn("mail server", this.converse(Box::new(theirs))));
            Ok(Box::new(ours) as BoxStream)
        })
    }

    fn listen(&self, _address: &str) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }
}
