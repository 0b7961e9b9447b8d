//! Checking a stopped store: every checksum, every column, every count, and what a damage costs.
//!
//! ```text
//! MANIFEST (of a snapshot)   length and crc of each file
//! names/ wal/                header, frame and checksum of each record, and what can be decoded without the rest
//! blocks/*.blk               header, footer, sections, pages; each column decoded; counts compared
//! blocks/*.del               checksum
//! ```
//!
//! Nothing is changed, mended or moved. What a start would only cut off (a torn end of the newest file, as a crash leaves
//! it) is a remark; everything else that is not as it was written is a problem.

mod block;
mod log;

use super::block::ulid::Ulid;
use super::dir;
use super::error::StoreError;
use super::progress::{Progress, Task};
use super::snapshot::{MANIFEST, decode_manifest, measure};
use super::wal::SUSPECT;
use crate::env::Env;
use crate::env::disk::DirEntry;
use std::fmt;
use std::path::{Path, PathBuf};

/// What a damage costs of one metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The metric's name; empty: series without a name.
    pub metric: String,
    /// How many series lose samples.
    pub series: u64,
    /// How many samples they lose.
    pub samples: u64,
    /// Oldest time that is lost, milliseconds since 1970.
    pub from_ms: i64,
    /// Newest time that is lost.
    pub to_ms: i64,
}

/// Something that is not as it was written. `Display` gives file, offset and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which file.
    pub file: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What is wrong.
    pub reason: String,
    /// What it costs; empty where that cannot be told.
    pub costs: Vec<Cost>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.offset, self.reason)
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Blocks among them.
    pub blocks: u64,
    /// Pages of blocks.
    pub pages: u64,
    /// Columns decoded.
    pub columns: u64,
    /// Samples decoded.
    pub samples: u64,
    /// Records of the log and the names.
    pub records: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What is worth a word and costs nothing.
    pub remarks: Vec<Problem>,
}

impl Verified {
    fn problem(&mut self, file: &Path, offset: u64, reason: impl Into<String>) {
        self.problems.push(Problem { file: file.to_owned(), offset, reason: reason.into(), costs: Vec::new() });
    }

    fn remark(&mut self, file: &Path, offset: u64, reason: impl Into<String>) {
        self.remarks.push(Problem { file: file.to_owned(), offset, reason: reason.into(), costs: Vec::new() });
    }

    /// Notes an error of the store as a problem.
    fn note(&mut self, file: &Path, error: &StoreError) {
        match error {
            StoreError::Corrupt { file, offset, reason } => self.problem(file, *offset, reason.clone()),
            StoreError::Io { source, .. } => self.problem(file, 0, format!("cannot be read: {source}")),
            other => self.problem(file, 0, other.to_string()),
        }
    }
}

const FORMAT_NAME: &str = "FORMAT";

/// What is to be read.
struct Plan {
    names: Vec<DirEntry>,
    log: Vec<DirEntry>,
    blocks: Vec<DirEntry>,
    bytes: u64,
}

fn list(env: &Env, folder: &Path) -> Result<Vec<DirEntry>, StoreError> {
    if env.disk.stat(folder).map_err(StoreError::io("looking at", folder))?.is_none() {
        return Ok(Vec::new());
    }
    let entries = env.disk.list(folder).map_err(StoreError::io("listing", folder))?;
    Ok(entries.into_iter().filter(|entry| !entry.is_dir).collect())
}

fn plan(env: &Env, dir: &Path, found: &mut Verified) -> Result<Plan, StoreError> {
    let mut plan = Plan { names: Vec::new(), log: Vec::new(), blocks: Vec::new(), bytes: 0 };
    for (folder, into) in [("names", &mut plan.names), ("wal", &mut plan.log), ("blocks", &mut plan.blocks)] {
        let folder = dir.join(folder);
        for entry in list(env, &folder)? {
            let ending = entry.name.rsplit('.').next().unwrap_or_default();
            match ending {
                "log" | "blk" => {
                    plan.bytes += entry.bytes;
                    into.push(entry);
                }
                "del" => {}
                SUSPECT => {
                    found.remark(
                        &folder.join(&entry.name),
                        0,
                        "a sync had failed: the next start writes blocks of all in the log",
                    );
                }
                "tmp" => found.remark(&folder.join(&entry.name), 0, "unfinished; the next start removes it"),
                _ => found.remark(&folder.join(&entry.name), 0, "no file of the store"),
            }
        }
    }
    for entry in list(env, &dir.join("quarantine"))? {
        if !entry.name.ends_with(".txt") {
            found.remark(&dir.join("quarantine").join(&entry.name), 0, "in quarantine since an earlier start; the .txt says why");
        }
    }
    Ok(plan)
}

/// Checks the data directory of a stopped server, or a snapshot. Takes the LOCK. Blocks.
///
/// # Errors
/// When there is no data directory, another process has it, its format is unknown, or its folders cannot be listed; damage is
/// no error but in the answer.
pub fn verify(env: &Env, dir: &Path, progress: &Progress) -> Result<Verified, StoreError> {
    let _held = dir::lock_existing(env, dir)?;
    let mut found = Verified::default();
    let plan = plan(env, dir, &mut found)?;
    progress.begin(Task::Verify, plan.bytes);
    let format = dir.join(FORMAT_NAME);
    if env.disk.read(&format).map_err(StoreError::io("reading", &format))? != dir::FORMAT.as_bytes() {
        found.problem(&format, 0, "damaged; the next start writes it anew");
    }
    manifest(env, dir, &mut found)?;
    let layouts = log::names(env, &dir.join("names"), &plan.names, &mut found, progress);
    log::segments(env, &dir.join("wal"), &plan.log, layouts, &mut found, progress);
    for entry in &plan.blocks {
        let path = dir.join("blocks").join(&entry.name);
        if entry.name.strip_suffix(".blk").and_then(Ulid::parse).is_none() {
            found.remark(&path, 0, "no name of a block; the store does not read it");
            continue;
        }
        block::verify(env, &path, &mut found, progress);
    }
    progress.end();
    Ok(found)
}

/// Compares a snapshot with what it says of itself.
fn manifest(env: &Env, dir: &Path, found: &mut Verified) -> Result<(), StoreError> {
    let path = dir.join(MANIFEST);
    if env.disk.stat(&path).map_err(StoreError::io("looking at", &path))?.is_none() {
        return Ok(());
    }
    let bytes = env.disk.read(&path).map_err(StoreError::io("reading", &path))?;
    let listed = match decode_manifest(&bytes) {
        Ok(listed) => listed,
        Err(reason) => {
            found.problem(&path, 0, reason);
            return Ok(());
        }
    };
    for expected in listed {
        let file = dir.join(&expected.path);
        match measure(env, &file, expected.path.clone()) {
            Ok(present) if present == expected => {}
            Ok(present) if present.length != expected.length => {
                let reason = format!("{} bytes long, the manifest says {}", present.length, expected.length);
                found.problem(&file, present.length.min(expected.length), reason);
            }
            Ok(_) => found.problem(&file, 0, "another checksum than the manifest's"),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                found.problem(&file, 0, "missing, the manifest names it");
            }
            Err(error) => found.problem(&file, 0, format!("cannot be read: {error}")),
        }
    }
    Ok(())
}
