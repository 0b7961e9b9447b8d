//! Patterns of paths, as Go's `filepath.Glob`: `*`, `?` and `[a-z]` within any component.

use super::Disk;
use std::path::{Component, Path, PathBuf};

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

/// Returns the paths that a pattern stands for, sorted. A pattern that nothing fits stands for nothing, also where it has
/// no wildcards; a file that cannot be looked at is listed, so that reading it says why. Blocks.
#[must_use]
pub fn expand(disk: &dyn Disk, pattern: &Path) -> Vec<PathBuf> {
    let is_wild = |part: &str| part.contains(['*', '?', '[']);
    if !is_wild(&pattern.to_string_lossy()) {
        return if matches!(disk.stat(pattern), Ok(None)) { Vec::new() } else { vec![pattern.to_owned()] };
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
            for entry in disk.list(looked_at).unwrap_or_default() {
                if matches(&wanted, &entry.name.chars().collect::<Vec<_>>()) {
                    next.push(folder.join(&entry.name));
                }
            }
        }
        found = next;
    }
    found.retain(|path| matches!(disk.stat(path), Ok(Some(entry)) if !entry.is_dir));
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::memory_disk::MemoryDisk;

    fn disk(paths: &[&str]) -> MemoryDisk {
        let disk = MemoryDisk::new();
        for path in paths {
            disk.create_dir_all(Path::new(path).parent().unwrap()).unwrap();
            disk.replace(Path::new(path), b"groups: []").unwrap();
        }
        disk
    }

    #[test]
    fn patterns_find_what_go_finds() {
        let disk = disk(&["/r/a.yml", "/r/b.yml", "/r/b.yaml", "/r/c1.rules", "/r/c9.rules", "/r/x/d.yml", "/r/y/e.yml"]);
        let cases: &[(&str, &[&str])] = &[
            ("/r/*.yml", &["/r/a.yml", "/r/b.yml"]),
            ("/r/b.y*ml", &["/r/b.yaml", "/r/b.yml"]),
            ("/r/c[0-5].rules", &["/r/c1.rules"]),
            ("/r/c[^0-5].rules", &["/r/c9.rules"]),
            ("/r/?.yml", &["/r/a.yml", "/r/b.yml"]),
            ("/r/*/*.yml", &["/r/x/d.yml", "/r/y/e.yml"]),
            ("/none/*.yml", &[]),
            ("/r/absent.yml", &[]),
            ("/r/a.yml", &["/r/a.yml"]),
        ];
        for (pattern, want) in cases {
            let found: Vec<_> = expand(&disk, Path::new(pattern)).iter().map(|path| path.display().to_string()).collect();
            assert_eq!(found, *want, "{pattern}");
        }
    }
}
