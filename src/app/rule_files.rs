//! Rule files from all sides, merged into what the rule manager takes: patterns of `rule_files` on disk, the shipped rules
//! (or a folder `rules/` that replaces them), and ZooKeeper's.

use crate::env::{Env, glob};
use crate::model::rule_source::{RuleOrigin, RuleSource, RuleSources, SourceError};
use crate::model::utf8;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

/// Reads one rule file. A file that cannot be read is listed with the reason.
fn read(env: &Env, path: &Path) -> RuleSource {
    let text = match env.disk.read(path) {
        Ok(bytes) => utf8::decode(bytes).map_err(SourceError::from),
        Err(error) => Err(SourceError::whole(error.to_string())),
    };
    let version = text.as_ref().map_or(0, |text| xxh3_64(text.as_bytes()));
    let modified_ms = env.disk.stat(path).ok().flatten().map(|entry| entry.modified_ms);
    RuleSource { origin: RuleOrigin::File(path.to_string_lossy().into_owned()), text, version, modified_ms }
}

/// Reads all files that patterns stand for, sorted and each once. Blocks.
#[must_use]
pub fn from_patterns(env: &Env, patterns: &[PathBuf]) -> Vec<RuleSource> {
    let mut paths: Vec<PathBuf> = patterns.iter().flat_map(|pattern| glob::expand(&*env.disk, pattern)).collect();
    paths.sort();
    paths.dedup();
    paths.iter().map(|path| read(env, path)).collect()
}

/// Returns the rules of a server that has no configuration: those in the folder `rules/` of the working directory, or
/// else the shipped ones (`builtin`: name and text). Unit-test files (`*_test.yml`) are none. Blocks.
#[must_use]
pub fn without_configuration(env: &Env, folder: &Path, builtin: &[(&str, &str)]) -> Vec<RuleSource> {
    if matches!(env.disk.stat(folder), Ok(Some(entry)) if entry.is_dir) {
        let mut files = from_patterns(env, &[folder.join("*.yml"), folder.join("*.yaml")]);
        files.retain(|file| !file.origin.path().ends_with("_test.yml") && !file.origin.path().ends_with("_test.yaml"));
        return files;
    }
    let source = |(name, text): &(&str, &str)| RuleSource {
        origin: RuleOrigin::Builtin((*name).to_owned()),
        text: Ok((*text).to_owned()),
        version: xxh3_64(text.as_bytes()),
        modified_ms: None,
    };
    builtin.iter().map(source).collect()
}

/// Joins rule files of several sides into one message, sorted by origin.
#[must_use]
pub fn merge(sides: impl IntoIterator<Item = Vec<RuleSource>>) -> RuleSources {
    let mut files: Vec<RuleSource> = sides.into_iter().flatten().collect();
    files.sort_by(|a, b| a.origin.cmp(&b.origin));
    RuleSources { files }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Disk;
    use crate::env::disk::Open;
    use crate::env::memory_disk::MemoryDisk;
    use std::sync::Arc;

    fn world(paths: &[&str]) -> Env {
        let disk = MemoryDisk::new();
        for path in paths {
            disk.create_dir_all(Path::new(path).parent().unwrap()).unwrap();
            disk.open(Path::new(path), Open::Create).unwrap().write_at(b"groups: []", 0).unwrap();
        }
        Env { disk: Arc::new(disk), ..Env::real() }
    }

    #[test]
    fn a_folder_replaces_the_shipped_rules() {
        let builtin = [("host.yml", "groups: []")];
        let names = |files: Vec<RuleSource>| files.iter().map(|file| file.origin.to_string()).collect::<Vec<_>>();
        assert_eq!(names(without_configuration(&world(&[]), Path::new("/w/rules"), &builtin)), ["builtin:host.yml"]);
        let env = world(&["/w/rules/mine.yml", "/w/rules/mine_test.yml"]);
        assert_eq!(names(without_configuration(&env, Path::new("/w/rules"), &builtin)), ["/w/rules/mine.yml"]);
    }

    #[test]
    fn a_pattern_that_nothing_fits_brings_nothing() {
        let env = world(&["/r/a.yml"]);
        assert_eq!(from_patterns(&env, &[PathBuf::from("/r/absent.yml"), PathBuf::from("/r/*.yaml")]), []);
    }
}
