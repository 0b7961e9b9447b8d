//! Rule files from all sides, merged into what the rule manager takes: patterns of `rule_files` on disk, the shipped rules
//! (or a folder `rules/` that replaces them), and ZooKeeper's.

use crate::env::Env;
use crate::model::rule_source::{RuleOrigin, RuleSource, RuleSources};
use std::path::{Component, Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

/// Whether a name matches a pattern of `*`, `?` and `[a-z]` classes, as Go's `filepath.Match` for one path component.
fn matches(pattern: &[char], name: &[char]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return name.is_empty() };
    match first {
        '*' => (0..=name.len()).any(|taken| matches(rest, &name[taken..])),
        '?' => !name.is_empty() && matches(rest, &name[1..]),
        '[' => {
            let (Some(end), Some((c, others))) = (rest.iter().position(|c| *c == ']'), name.split_first()) else { return false };
            let (negated, class) = match rest[..end].split_first() {
                Some(('^', class)) => (true, class),
                _ => (false, &rest[..end]),
            };
            class_has(class, *c) != negated && matches(&rest[end + 1..], others)
        }
        c => name.first() == Some(c) && matches(rest, &name[1..]),
    }
}

fn class_has(class: &[char], c: char) -> bool {
    let mut at = 0;
    while at < class.len() {
        if class.get(at + 1) == Some(&'-') && at + 2 < class.len() {
            if (class[at]..=class[at + 2]).contains(&c) {
                return true;
            }
            at += 3;
        } else {
            if class[at] == c {
                return true;
            }
            at += 1;
        }
    }
    false
}

/// Returns the paths that a pattern stands for, sorted. A pattern without wildcards stands for itself, there or not. Blocks.
#[must_use]
pub fn expand(env: &Env, pattern: &Path) -> Vec<PathBuf> {
    let is_wild = |part: &str| part.contains(['*', '?', '[']);
    if !is_wild(&pattern.to_string_lossy()) {
        return vec![pattern.to_owned()];
    }
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str().to_string_lossy().into_owned();
        if !matches!(part, Component::Normal(_)) || !is_wild(&name) {
            for path in &mut found {
                path.push(part);
            }
            continue;
        }
        let wanted: Vec<char> = name.chars().collect();
        let mut next = Vec::new();
        for folder in found {
            let looked_at = if folder.as_os_str().is_empty() { Path::new(".") } else { folder.as_path() };
            for entry in env.disk.list(looked_at).unwrap_or_default() {
                if matches(&wanted, &entry.name.chars().collect::<Vec<_>>()) {
                    next.push(folder.join(&entry.name));
                }
            }
        }
        found = next;
    }
    found.retain(|path| matches!(env.disk.stat(path), Ok(Some(entry)) if !entry.is_dir));
    found.sort();
    found
}

/// Reads one rule file. A file that cannot be read is listed with the reason.
fn read(env: &Env, path: &Path) -> RuleSource {
    let text = match env.disk.read(path) {
        Ok(bytes) => {
            String::from_utf8(bytes).map_err(|error| format!("not valid UTF-8 at byte {}", error.utf8_error().valid_up_to()))
        }
        Err(error) => Err(error.to_string()),
    };
    let version = text.as_ref().map_or(0, |text| xxh3_64(text.as_bytes()));
    let modified_ms = env.disk.stat(path).ok().flatten().map(|entry| entry.modified_ms);
    RuleSource { origin: RuleOrigin::File(path.to_string_lossy().into_owned()), text, version, modified_ms }
}

/// Reads all files that patterns stand for, sorted and each once. Blocks.
#[must_use]
pub fn from_patterns(env: &Env, patterns: &[PathBuf]) -> Vec<RuleSource> {
    let mut paths: Vec<PathBuf> = patterns.iter().flat_map(|pattern| expand(env, pattern)).collect();
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
    fn patterns_find_what_go_finds() {
        let env = world(&["/r/a.yml", "/r/b.yml", "/r/b.yaml", "/r/c1.rules", "/r/c9.rules", "/r/x/d.yml", "/r/y/e.yml"]);
        let cases: &[(&str, &[&str])] = &[
            ("/r/*.yml", &["/r/a.yml", "/r/b.yml"]),
            ("/r/b.y*ml", &["/r/b.yaml", "/r/b.yml"]),
            ("/r/c[0-5].rules", &["/r/c1.rules"]),
            ("/r/c[^0-5].rules", &["/r/c9.rules"]),
            ("/r/?.yml", &["/r/a.yml", "/r/b.yml"]),
            ("/r/*/*.yml", &["/r/x/d.yml", "/r/y/e.yml"]),
            ("/none/*.yml", &[]),
            ("/r/absent.yml", &["/r/absent.yml"]),
        ];
        for (pattern, want) in cases {
            let found: Vec<_> = expand(&env, Path::new(pattern)).iter().map(|path| path.display().to_string()).collect();
            assert_eq!(found, *want, "{pattern}");
        }
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
    fn an_absent_file_is_listed_with_its_reason() {
        let files = from_patterns(&world(&[]), &[PathBuf::from("/absent.yml")]);
        assert!(files[0].text.is_err(), "{files:?}");
    }
}
