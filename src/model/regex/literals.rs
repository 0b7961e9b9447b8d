//! What a pattern's tree says about the texts that match, before anything is matched.

use regex_syntax::hir::{Class, Hir, HirKind};

/// How many texts are listed at most.
const ALTERNATIVES_MAX: usize = 1024;
/// How many characters of a class are listed at most.
const CLASS_MAX: usize = 32;

/// Returns all texts that match, sorted and each once, where they are few.
pub(super) fn alternatives(tree: &Hir) -> Option<Vec<String>> {
    let mut found = all(tree, ALTERNATIVES_MAX)?;
    found.sort_unstable();
    found.dedup();
    Some(found)
}

fn all(tree: &Hir, most: usize) -> Option<Vec<String>> {
    match tree.kind() {
        HirKind::Empty => Some(vec![String::new()]),
        HirKind::Literal(literal) => Some(vec![std::str::from_utf8(&literal.0).ok()?.to_owned()]),
        HirKind::Class(class) => characters(class),
        HirKind::Look(_) => None,
        HirKind::Repetition(repetition) => {
            if (repetition.min, repetition.max) != (0, Some(1)) {
                return None;
            }
            let mut found = all(&repetition.sub, most.checked_sub(1)?)?;
            found.push(String::new());
            Some(found)
        }
        HirKind::Capture(capture) => all(&capture.sub, most),
        HirKind::Concat(parts) => {
            let mut found = vec![String::new()];
            for part in parts {
                let tails = all(part, most / found.len().max(1))?;
                if found.len() * tails.len() > most {
                    return None;
                }
                found = found.iter().flat_map(|head| tails.iter().map(move |tail| format!("{head}{tail}"))).collect();
            }
            Some(found)
        }
        HirKind::Alternation(branches) => {
            let mut found = Vec::new();
            for branch in branches {
                found.extend(all(branch, most.checked_sub(found.len())?)?);
                if found.len() > most {
                    return None;
                }
            }
            Some(found)
        }
    }
}

fn characters(class: &Class) -> Option<Vec<String>> {
    match class {
        Class::Unicode(class) => {
            let count: usize = class.iter().map(regex_syntax::hir::ClassUnicodeRange::len).sum();
            (count <= CLASS_MAX && count > 0)
                .then(|| class.iter().flat_map(|range| range.start()..=range.end()).map(String::from).collect())
        }
        Class::Bytes(_) => None,
    }
}

/// Returns whether the tree is `.*`.
pub(super) fn is_anything(tree: &Hir) -> bool {
    repeats_any_character(tree, 0)
}

/// Returns whether the tree is `.+`.
pub(super) fn is_not_empty(tree: &Hir) -> bool {
    repeats_any_character(tree, 1)
}

fn repeats_any_character(tree: &Hir, at_least: u32) -> bool {
    match tree.kind() {
        HirKind::Capture(capture) => repeats_any_character(&capture.sub, at_least),
        HirKind::Repetition(repetition) => {
            let any = match repetition.sub.kind() {
                HirKind::Class(Class::Unicode(class)) => {
                    class.iter().map(|range| u64::from(range.end() as u32) - u64::from(range.start() as u32)).sum::<u64>()
                        >= 0x10_f7fe
                }
                _ => false,
            };
            any && repetition.min == at_least && repetition.max.is_none()
        }
        _ => false,
    }
}

/// Returns whether the tree is a literal and `.*`.
pub(super) fn is_prefix_and_anything(tree: &Hir) -> bool {
    match tree.kind() {
        HirKind::Capture(capture) => is_prefix_and_anything(&capture.sub),
        HirKind::Concat(parts) => {
            matches!(parts.as_slice(), [literal, rest] if matches!(literal.kind(), HirKind::Literal(_)) && is_anything(rest))
        }
        _ => false,
    }
}

/// Returns what every match begins with, where that is not empty.
pub(super) fn prefix(tree: &Hir) -> Option<String> {
    let found = match tree.kind() {
        HirKind::Literal(literal) => std::str::from_utf8(&literal.0).ok()?.to_owned(),
        HirKind::Capture(capture) => return prefix(&capture.sub),
        HirKind::Concat(parts) => {
            let mut found = String::new();
            for part in parts {
                match part.kind() {
                    HirKind::Literal(literal) => found.push_str(std::str::from_utf8(&literal.0).ok()?),
                    HirKind::Look(_) => {}
                    _ => {
                        found.push_str(&prefix(part).unwrap_or_default());
                        break;
                    }
                }
            }
            found
        }
        HirKind::Alternation(branches) => {
            let mut heads = branches.iter().map(|branch| prefix(branch).unwrap_or_default());
            let first = heads.next()?;
            heads.fold(first, |known, head| known.chars().zip(head.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect())
        }
        HirKind::Repetition(repetition) if repetition.min > 0 => return prefix(&repetition.sub),
        HirKind::Repetition(_) | HirKind::Empty | HirKind::Class(_) | HirKind::Look(_) => return None,
    };
    (!found.is_empty()).then_some(found)
}
