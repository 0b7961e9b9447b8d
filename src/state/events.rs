//! The event history: what happened to alerts, notifications, configuration and ZooKeeper, for people who ask later.
//!
//! One file a day below `events/`, deleted by age. A record is framed and checksummed like the WAL's:
//!
//! ```text
//! "WKEVENT\1" then records:  length u32 | crc32c of the payload u32 | payload        little endian
//! payload: at_ms i64, kind length u8, kind, JSON
//! ```

use crate::env::Env;
use crate::env::disk::{DiskFile, Open};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const MAGIC: &[u8; 8] = b"WKEVENT\x01";
const DAY_MS: i64 = 86_400_000;
const RECORD_BYTES_MAX: usize = 1 << 20;
/// Time and the length of the kind.
const PAYLOAD_BYTES_MIN: usize = 9;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// What kind: `alert`, `notification`, `configuration`, `zookeeper`, `rule`, `silence` ...
    pub kind: String,
    /// What, as JSON.
    pub json: String,
}

struct Day {
    number: i64,
    file: Box<dyn DiskFile>,
    length: u64,
}

/// The history. All methods block for the disk.
pub struct EventLog {
    env: Env,
    folder: PathBuf,
    keep_ms: i64,
    today: Mutex<Option<Day>>,
}

impl std::fmt::Debug for EventLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventLog").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// `2026-11-22.log` of a number of days since 1970.
fn file_name(day: i64) -> String {
    let (year, month, day) = civil(day);
    format!("{year:04}-{month:02}-{day:02}.log")
}

/// The proleptic Gregorian date of a number of days since 1970 (Howard Hinnant's `civil_from_days`).
const fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day_of_year - (153 * shifted_month + 2) / 5 + 1)
}

fn encode(event: &Event) -> Vec<u8> {
    let kind = event.kind.as_bytes();
    let kind = kind.get(..usize::from(u8::MAX)).unwrap_or(kind);
    let mut payload = event.at_ms.to_le_bytes().to_vec();
    payload.push(u8::try_from(kind.len()).unwrap_or(u8::MAX));
    payload.extend_from_slice(kind);
    payload.extend_from_slice(event.json.as_bytes());
    let mut record = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    record.extend_from_slice(&crc32c::crc32c(&payload).to_le_bytes());
    record.extend_from_slice(&payload);
    record
}

/// What a day's file holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decoded {
    /// Its events.
    pub events: Vec<Event>,
    /// Length up to the last good record; 0 where not even the magic is there.
    pub good: usize,
    /// Offsets of bytes that are no record although records follow.
    pub damaged: Vec<usize>,
}

/// Reads a day's file, over damage too: a bad record costs itself alone.
#[must_use]
pub fn decode(bytes: &[u8]) -> Decoded {
    let mut decoded = Decoded { good: MAGIC.len(), ..Decoded::default() };
    let mut at = MAGIC.len();
    if !bytes.starts_with(MAGIC) {
        // Events behind a damaged magic are as good as others.
        match next_record(bytes, at) {
            Some(first) => {
                decoded.damaged.push(0);
                at = first;
            }
            None => return Decoded::default(),
        }
    }
    loop {
        while let Some((event, behind)) = bytes.get(at..).and_then(decode_one) {
            decoded.events.push(event);
            at = bytes.len() - behind.len();
            decoded.good = at;
        }
        let Some(next) = next_record(bytes, at + 1) else { return decoded };
        decoded.damaged.push(at);
        at = next;
    }
}

/// Returns where the next record begins.
fn next_record(bytes: &[u8], from: usize) -> Option<usize> {
    (from..bytes.len()).find(|at| bytes.get(*at..).and_then(decode_one).is_some())
}

fn decode_one(bytes: &[u8]) -> Option<(Event, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    // Asked before the checksum: behind damage every byte is a place to try.
    if !(PAYLOAD_BYTES_MIN..=RECORD_BYTES_MAX).contains(&length) {
        return None;
    }
    let (payload, behind) = rest.split_at_checked(length)?;
    if crc32c::crc32c(payload) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (at_ms, text) = payload.split_first_chunk::<8>()?;
    let (kind_length, text) = text.split_first()?;
    let (kind, json) = text.split_at_checked(usize::from(*kind_length))?;
    let event = Event {
        at_ms: i64::from_le_bytes(*at_ms),
        kind: String::from_utf8_lossy(kind).into_owned(),
        json: String::from_utf8_lossy(json).into_owned(),
    };
    Some((event, behind))
}

impl EventLog {
    /// Opens the history below `<data>/events`, keeping `keep_ms` of it.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(env: &Env, data: &Path, keep_ms: i64) -> io::Result<Self> {
        let folder = data.join("events");
        env.disk.create_dir_all(&folder)?;
        Ok(Self { env: env.clone(), folder, keep_ms, today: Mutex::new(None) })
    }

    /// Appends one event; with `durable` it is on stable storage when this returns.
    ///
    /// # Errors
    /// When the disk refuses, or the event is larger than 1 MiB.
    pub fn append(&self, kind: &str, json: &str, durable: bool) -> io::Result<()> {
        let event = Event { at_ms: self.env.clock.now_ms(), kind: kind.to_owned(), json: json.to_owned() };
        let record = encode(&event);
        if record.len() > RECORD_BYTES_MAX {
            return Err(io::Error::other(format!("event of {} bytes is too large", record.len())));
        }
        let mut today = self.today.lock().unwrap_or_else(PoisonError::into_inner);
        let number = event.at_ms.div_euclid(DAY_MS);
        let day = match today.take() {
            Some(day) if day.number == number => day,
            _ => self.open_day(number)?,
        };
        let day = today.insert(day);
        day.file.write_at(&record, day.length)?;
        day.length += record.len() as u64;
        if durable { day.file.sync_data() } else { Ok(()) }
    }

    /// Opens the file of a day behind its last good record, and lets old days go.
    fn open_day(&self, number: i64) -> io::Result<Day> {
        self.remove_before(number - self.keep_ms.div_euclid(DAY_MS).max(1))?;
        let path = self.folder.join(file_name(number));
        let file = self.env.disk.open(&path, Open::Create)?;
        let bytes = self.env.disk.read(&path)?;
        let Decoded { good, damaged, .. } = decode(&bytes);
        for offset in damaged {
            tracing::error!(file = %path.display(), offset, "an event cannot be read; those behind it can");
        }
        if good == 0 {
            file.set_len(0)?;
            file.write_at(MAGIC, 0)?;
            self.env.disk.sync_dir(&self.folder)?;
            return Ok(Day { number, file, length: MAGIC.len() as u64 });
        }
        if good < bytes.len() {
            tracing::warn!(file = %path.display(), offset = good, "cutting a torn event");
            file.set_len(good as u64)?;
        }
        Ok(Day { number, file, length: good as u64 })
    }

    fn remove_before(&self, day: i64) -> io::Result<()> {
        let oldest = file_name(day);
        for entry in self.env.disk.list(&self.folder)? {
            if entry.name.len() == oldest.len() && entry.name < oldest {
                self.env.disk.remove_file(&self.folder.join(&entry.name))?;
            }
        }
        Ok(())
    }

    /// Returns the events since a moment that are `wanted`, oldest first, `limit` of the newest at most.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn read_since(&self, since_ms: i64, limit: usize, wanted: impl Fn(&Event) -> bool) -> io::Result<Vec<Event>> {
        let first = file_name(since_ms.max(0).div_euclid(DAY_MS));
        let mut newest = Vec::new();
        for entry in self.env.disk.list(&self.folder)?.into_iter().rev().filter(|entry| entry.name >= first) {
            let decoded = decode(&self.env.disk.read(&self.folder.join(&entry.name))?);
            newest.extend(decoded.events.into_iter().rev().filter(|event| event.at_ms >= since_ms && wanted(event)));
            if newest.len() >= limit {
                break;
            }
        }
        newest.truncate(limit);
        newest.reverse();
        Ok(newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::clock::TokioClock;
    use crate::env::memory_disk::MemoryDisk;
    use std::sync::Arc;

    fn world(now_ms: i64) -> Env {
        Env { disk: Arc::new(MemoryDisk::new()), clock: Arc::new(TokioClock::starting_at(now_ms)), ..Env::real() }
    }

    #[test]
    fn names_days() {
        assert_eq!(file_name(0), "1970-01-01.log");
        assert_eq!(file_name(1_795_455_167_000 / DAY_MS), "2026-11-23.log");
        assert_eq!(file_name(19_782), "2024-02-29.log");
    }

    #[test]
    fn a_flipped_bit_costs_one_event() {
        let event = |n: i64| Event { at_ms: n, kind: "alert".to_owned(), json: format!("{{\"n\":{n}}}") };
        let events: Vec<Event> = (0..5).map(event).collect();
        let whole: Vec<u8> = MAGIC.iter().copied().chain(events.iter().flat_map(encode)).collect();
        let good = Decoded { events: events.clone(), good: whole.len(), damaged: vec![] };
        assert_eq!(decode(&whole), good);
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            let found = decode(&bytes);
            assert!(found.events.iter().all(|event| events.contains(event)), "{at}");
            assert!(found.events.len() >= 4 && (found.damaged.len() == 1 || found.good < whole.len()), "{at}: {found:?}");
        }
        assert_eq!(decode(b"something else").good, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn keeps_order_cuts_a_torn_tail_and_forgets_old_days() {
        let env = world(20_000 * DAY_MS);
        let log = EventLog::open(&env, Path::new("/d"), 2 * DAY_MS).unwrap();
        log.append("alert", r#"{"n":1}"#, true).unwrap();
        log.append("alert", r#"{"n":2}"#, false).unwrap();
        let path = PathBuf::from("/d/events").join(file_name(20_000));
        let file = env.disk.open(&path, Open::Write).unwrap();
        file.write_at(&[9, 0, 0, 0, 1], file.len().unwrap()).unwrap();
        let log = EventLog::open(&env, Path::new("/d"), 2 * DAY_MS).unwrap();
        log.append("notification", r#"{"n":3}"#, false).unwrap();
        let read: Vec<_> = log.read_since(0, 10, |_| true).unwrap().into_iter().map(|event| event.json).collect();
        assert_eq!(read, [r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#]);
        assert_eq!(log.read_since(0, 2, |_| true).unwrap().len(), 2);
        tokio::time::advance(std::time::Duration::from_secs(3 * 86_400)).await;
        log.append("alert", r#"{"n":4}"#, false).unwrap();
        let read: Vec<_> = log.read_since(0, 10, |_| true).unwrap().into_iter().map(|event| event.json).collect();
        assert_eq!(read, [r#"{"n":4}"#]);
    }
}
