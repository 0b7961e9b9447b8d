//! The folder of rule files on this side, and what it last had in common with ZooKeeper.
//!
//! `.watchkeeper-rules.json` in it holds the hashes of the last pull or push. Who changed a file since then, here or there, can be told from it:
//! a change of somebody else is never written over unseen.

use crate::cluster::packing;
use crate::cluster::push::Files;
use crate::env::disk::{Disk, RealDisk};
use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const BASE: &str = ".watchkeeper-rules.json";
/// Folders within folders that are looked into.
const DEPTH_MAX: usize = 8;

/// What this folder and ZooKeeper last had in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Base {
    /// The ensemble.
    zookeeper: String,
    /// The root.
    root: String,
    /// Name -> hash of the text.
    pub(super) files: BTreeMap<String, String>,
}

/// A folder of rule files.
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() } }
    }

    /// Returns a file's path.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Reads all rule files (not unit tests), and those `also` named that are there.
    pub(super) fn read<'a>(&self, also: impl Iterator<Item = &'a String>) -> anyhow::Result<Files> {
        let mut names: BTreeSet<String> = also.filter(|name| is_safe(name)).cloned().collect();
        self.list("", 0, &mut names)?;
        let mut files = Files::new();
        for name in names {
            let path = self.file(&name);
            let known = RealDisk.stat(&path).with_context(|| path.display().to_string())?;
            if let Some(entry) = known.filter(|entry| !entry.is_dir) {
                if entry.bytes > packing::TEXT_BYTES_MAX as u64 {
                    bail!("{}: {} bytes are more than {}", path.display(), entry.bytes, packing::TEXT_BYTES_MAX);
                }
                files.insert(name, RealDisk.read(&path).with_context(|| path.display().to_string())?);
            }
        }
        Ok(files)
    }

    fn list(&self, below: &str, depth: usize, names: &mut BTreeSet<String>) -> anyhow::Result<()> {
        let folder = self.path.join(below);
        let entries = match RealDisk.list(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && depth == 0 => return Ok(()),
            listed => listed.with_context(|| folder.display().to_string())?,
        };
        for entry in entries.into_iter().filter(|entry| !entry.name.starts_with('.')) {
            let name = if below.is_empty() { entry.name.clone() } else { format!("{below}/{}", entry.name) };
            if entry.is_dir && depth < DEPTH_MAX {
                self.list(&name, depth + 1, names)?;
            } else if !entry.is_dir && is_rule_file(&entry.name) {
                names.insert(name);
            }
        }
        Ok(())
    }

    /// Reads what was last in common with that ensemble; `None`: nothing is known.
    pub(super) fn base(&self, zookeeper: &str, root: &str) -> anyhow::Result<Option<Base>> {
        let path = self.file(BASE);
        if RealDisk.stat(&path).with_context(|| path.display().to_string())?.is_none() {
            return Ok(None);
        }
        let bytes = RealDisk.read(&path).with_context(|| path.display().to_string())?;
        let base: Base = serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?;
        Ok((base.zookeeper == zookeeper && base.root == root).then_some(base))
    }

    /// Writes what is in common now.
    pub(super) fn set_base(&self, zookeeper: &str, root: &str, files: BTreeMap<String, String>) -> anyhow::Result<()> {
        let base = Base { zookeeper: zookeeper.to_owned(), root: root.to_owned(), files };
        self.replace(BASE, &serde_json::to_vec_pretty(&base)?)
    }

    /// Writes a file, whole or not at all.
    pub(super) fn write(&self, name: &str, text: &[u8]) -> anyhow::Result<()> {
        if !is_safe(name) {
            bail!("a file cannot have the name {name:?}");
        }
        self.replace(name, text)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let path = self.file(name);
        let folder = path.parent().unwrap_or(&self.path);
        RealDisk.create_dir_all(folder).with_context(|| folder.display().to_string())?;
        RealDisk.replace(&path, bytes).with_context(|| path.display().to_string())
    }

    /// Removes a file.
    pub(super) fn remove(&self, name: &str) -> anyhow::Result<()> {
        let path = self.file(name);
        RealDisk.remove_file(&path).with_context(|| path.display().to_string())
    }
}

fn is_rule_file(name: &str) -> bool {
    let stem = name.strip_suffix(".yml").or_else(|| name.strip_suffix(".yaml"));
    stem.is_some_and(|stem| !stem.ends_with("_test"))
}

/// A name from ZooKeeper must not lead out of the folder.
fn is_safe(name: &str) -> bool {
    let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0']);
    name != BASE && name.split('/').all(is_plain)
}

/// What a pull does with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Theirs is written.
    Write,
    /// It is removed, as it was there.
    Remove,
    /// It was changed here alone, and stays.
    Keep,
    /// It was changed on both sides: ours stays, theirs is put beside it.
    Beside,
    /// It was removed there and changed here: ours stays.
    KeepRemoved,
}

/// Decides about all files that differ. `base`: what both sides had; `was_there`: whether a text, by name and hash, is known to be an earlier one.
pub(super) fn pull_steps(
    here: &BTreeMap<String, String>,
    base: Option<&BTreeMap<String, String>>,
    there: &BTreeMap<String, String>,
    was_there: impl Fn(&str, &str) -> bool,
) -> BTreeMap<String, Step> {
    let mut steps = BTreeMap::new();
    for name in here.keys().chain(there.keys()).filter(|name| here.get(*name) != there.get(*name)) {
        let (ours, theirs) = (here.get(name), there.get(name));
        let common = match base {
            Some(base) => base.get(name),
            // An earlier version that lies here untouched.
            None => ours.filter(|sha256| was_there(name, sha256)),
        };
        let step = match (ours == common, theirs == common, theirs.is_some()) {
            (true, _, true) => Step::Write,
            (true, _, false) => Step::Remove,
            (false, true, _) => Step::Keep,
            (false, false, true) if ours.is_none() => Step::Write,
            (false, false, true) => Step::Beside,
            (false, false, false) => Step::KeepRemoved,
        };
        steps.insert(name.clone(), step);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, &str)]) -> BTreeMap<String, String> {
        files.iter().map(|(name, hash)| ((*name).to_owned(), (*hash).to_owned())).collect()
    }

    #[test]
    fn a_pull_takes_what_changed_there_and_loses_nothing_that_changed_here() {
        let base = files(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("e", "1"), ("f", "1")]);
        let here = files(&[("a", "1"), ("b", "2"), ("c", "2"), ("d", "1"), ("e", "2"), ("mine", "1"), ("same", "9")]);
        let there = files(&[("a", "2"), ("b", "1"), ("c", "3"), ("f", "2"), ("new", "1"), ("same", "9")]);
        let steps: Vec<_> = pull_steps(&here, Some(&base), &there, |_, _| false).into_iter().collect();
        let expected = [
            ("a", Step::Write),
            ("b", Step::Keep),
            ("c", Step::Beside),
            ("d", Step::Remove),
            ("e", Step::KeepRemoved),
            ("f", Step::Write),
            ("mine", Step::Keep),
            ("new", Step::Write),
        ];
        assert_eq!(steps, expected.map(|(name, step)| (name.to_owned(), step)));
        // Without a base an earlier version may be replaced, and nothing else.
        let steps = pull_steps(&files(&[("a", "1"), ("b", "1")]), None, &files(&[("a", "2"), ("b", "2")]), |name, _| name == "a");
        assert_eq!(steps.into_values().collect::<Vec<_>>(), [Step::Write, Step::Beside]);
    }

    #[test]
    fn names_stay_within_the_folder_and_unit_tests_are_no_rules() {
        assert!(is_safe("team/a.yml") && !is_safe("../a.yml") && !is_safe("a//b.yml") && !is_safe(BASE));
        assert!(is_rule_file("a.yaml") && !is_rule_file("a_test.yml") && !is_rule_file("a.yml.theirs"));
    }
}
