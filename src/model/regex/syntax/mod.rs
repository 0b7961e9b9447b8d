//! Go's regular expression syntax (`regexp/syntax`, Perl flags and dot matches newline), read into regex-syntax's tree.
//!
//! A recursive descent: alternation, concatenation, repetition, atom. Errors are Go's, word for word, since users compare
//! them with what promtool says.

mod class;
mod escape;

use super::RegexError;
use regex_syntax::hir::{Capture, Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Look, Repetition};

/// How deep groups may nest.
const NESTING_MAX: usize = 250;
/// Go's bound on repetition counts, also for counts within counts.
const REPEAT_MAX: u32 = 1000;

/// Reads a pattern.
pub(super) fn parse(pattern: &str) -> Result<Hir, RegexError> {
    let flags = Flags { fold_case: false, multi_line: false, dot_newline: true, swap_greed: false };
    let mut parser = Parser { pattern, at: 0, flags, groups: 0, names: Vec::new(), nesting: 0 };
    let tree = parser.alternation()?;
    if parser.peek() == Some(')') {
        return Err(error("unexpected )", pattern));
    }
    Ok(tree)
}

fn error(what: &str, text: &str) -> RegexError {
    RegexError(format!("error parsing regexp: {what}: `{text}`"))
}

#[derive(Clone, Copy)]
struct Flags {
    fold_case: bool,
    multi_line: bool,
    dot_newline: bool,
    swap_greed: bool,
}

struct Parser<'a> {
    pattern: &'a str,
    at: usize,
    flags: Flags,
    groups: u32,
    names: Vec<&'a str>,
    nesting: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.pattern.get(self.at..).unwrap_or("")
    }

    fn since(&self, start: usize) -> &'a str {
        self.pattern.get(start..self.at).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn alternation(&mut self) -> Result<Hir, RegexError> {
        let mut branches = vec![self.concatenation()?];
        while self.accept("|") {
            branches.push(self.concatenation()?);
        }
        Ok(Hir::alternation(branches))
    }

    fn concatenation(&mut self) -> Result<Hir, RegexError> {
        let mut parts: Vec<Hir> = Vec::new();
        let mut last_repeat: Option<usize> = None;
        loop {
            let start = self.at;
            let repeat = match self.peek() {
                None | Some('|' | ')') => break,
                Some('*' | '+' | '?') => {
                    let op = self.next();
                    Some(match op {
                        Some('*') => (0, None),
                        Some('+') => (1, None),
                        _ => (0, Some(1)),
                    })
                }
                Some('{') => match self.repeat_counts() {
                    Some((min, max)) => {
                        let too_large = min > REPEAT_MAX || max.is_some_and(|max| max > REPEAT_MAX || max < min);
                        if too_large {
                            return Err(error("invalid repeat count", self.since(start)));
                        }
                        Some((min, max))
                    }
                    None => None,
                },
                Some(_) => None,
            };
            let Some((min, max)) = repeat else {
                self.atom(&mut parts)?;
                last_repeat = None;
                continue;
            };
            let lazy = self.accept("?");
            if let Some(previous) = last_repeat {
                return Err(error("invalid nested repetition operator", self.since(previous)));
            }
            let Some(sub) = parts.pop() else {
                return Err(error("missing argument to repetition operator", self.since(start)));
            };
            if max.unwrap_or(min) >= 2 && !repeat_fits(&sub, REPEAT_MAX / max.unwrap_or(min).max(1)) {
                return Err(error("invalid repeat count", self.since(start)));
            }
            let greedy = lazy == self.flags.swap_greed;
            parts.push(Hir::repetition(Repetition { min, max, greedy, sub: Box::new(sub) }));
            last_repeat = Some(start);
        }
        Ok(Hir::concat(parts))
    }

    /// Reads `{2}`, `{2,}` or `{2,5}`; anything else is a literal brace and stays unread.
    fn repeat_counts(&mut self) -> Option<(u32, Option<u32>)> {
        let inner = self.rest().strip_prefix('{')?;
        let (counts, _) = inner.split_once('}')?;
        let number = |text: &str| -> Option<u32> {
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let no_zero = text.len() == 1 || !text.starts_with('0');
            (plain && no_zero).then(|| text.parse().unwrap_or(u32::MAX))
        };
        let found = match counts.split_once(',') {
            None => number(counts).map(|count| (count, Some(count))),
            Some((min, "")) => number(min).map(|min| (min, None)),
            Some((min, max)) => number(min).zip(number(max)).map(|(min, max)| (min, Some(max))),
        }?;
        self.at += counts.len() + 2;
        Some(found)
    }

    /// Reads one atom onto `parts`: none for a change of flags, several for `\Q..\E`.
    fn atom(&mut self, parts: &mut Vec<Hir>) -> Result<(), RegexError> {
        let found = match self.peek() {
            Some('(') => return self.group(parts),
            Some('[') => self.class()?,
            Some('\\') => return self.escape(parts),
            Some('.') => {
                self.next();
                any_character(self.flags.dot_newline)
            }
            Some('^') => {
                self.next();
                Hir::look(if self.flags.multi_line { Look::StartLF } else { Look::Start })
            }
            Some('$') => {
                self.next();
                Hir::look(if self.flags.multi_line { Look::EndLF } else { Look::End })
            }
            Some(c) => {
                self.next();
                self.literal(c)
            }
            None => return Ok(()),
        };
        parts.push(found);
        Ok(())
    }

    fn literal(&self, c: char) -> Hir {
        if self.flags.fold_case {
            let class = ClassUnicode::new([ClassUnicodeRange::new(c, c)]);
            return self.class_tree(class);
        }
        Hir::literal(c.to_string().into_bytes())
    }

    fn class_tree(&self, mut class: ClassUnicode) -> Hir {
        if self.flags.fold_case {
            // It fails only where regex-syntax was built without its tables.
            let folded = class.try_case_fold_simple();
            debug_assert!(folded.is_ok());
        }
        Hir::class(Class::Unicode(class))
    }

    fn group(&mut self, parts: &mut Vec<Hir>) -> Result<(), RegexError> {
        let start = self.at;
        self.next();
        let outer = self.flags;
        let capture = if self.rest().starts_with('?') {
            match self.group_kind(start)? {
                GroupKind::FlagsAlone => return Ok(()),
                GroupKind::Plain => None,
                GroupKind::Named(name) => Some(Some(name)),
            }
        } else {
            Some(None)
        };
        let index = capture.map(|name| {
            self.groups += 1;
            (self.groups, name)
        });
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            return Err(error("expression nests too deeply", self.pattern));
        }
        let sub = self.alternation()?;
        self.nesting -= 1;
        if !self.accept(")") {
            return Err(error("missing closing )", self.pattern));
        }
        self.flags = outer;
        parts.push(match index {
            Some((index, name)) => Hir::capture(Capture { index, name: name.map(Into::into), sub: Box::new(sub) }),
            None => sub,
        });
        Ok(())
    }

    /// Reads what stands behind `(`, from the question mark on.
    fn group_kind(&mut self, start: usize) -> Result<GroupKind<'a>, RegexError> {
        for opening in ["?P<", "?<"] {
            if !self.rest().starts_with(opening) {
                continue;
            }
            self.at += opening.len();
            let Some((name, _)) = self.rest().split_once('>') else {
                return Err(error("invalid named capture", self.pattern.get(start..).unwrap_or("")));
            };
            self.at += name.len() + 1;
            let is_word = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !is_word {
                return Err(error("invalid named capture", self.since(start)));
            }
            if self.names.contains(&name) {
                return Err(error("duplicate capture group name", name));
            }
            self.names.push(name);
            return Ok(GroupKind::Named(name));
        }
        self.next();
        self.group_flags(start)
    }

    fn group_flags(&mut self, start: usize) -> Result<GroupKind<'a>, RegexError> {
        let mut flags = self.flags;
        let (mut value, mut negated, mut seen) = (true, false, false);
        loop {
            match self.next() {
                Some('i') => flags.fold_case = value,
                Some('m') => flags.multi_line = value,
                Some('s') => flags.dot_newline = value,
                Some('U') => flags.swap_greed = value,
                Some('-') if !negated => {
                    (value, negated, seen) = (false, true, false);
                    continue;
                }
                Some(end @ (':' | ')')) if !negated || seen => {
                    self.flags = flags;
                    return Ok(if end == ':' { GroupKind::Plain } else { GroupKind::FlagsAlone });
                }
                None => return Err(error("missing closing )", self.pattern)),
                Some(_) => return Err(error("invalid or unsupported Perl syntax", self.since(start))),
            }
            seen = true;
        }
    }
}

enum GroupKind<'a> {
    FlagsAlone,
    Plain,
    Named(&'a str),
}

fn any_character(newline_too: bool) -> Hir {
    let ranges = if newline_too {
        vec![ClassUnicodeRange::new('\0', char::MAX)]
    } else {
        vec![ClassUnicodeRange::new('\0', '\u{9}'), ClassUnicodeRange::new('\u{b}', char::MAX)]
    };
    Hir::class(Class::Unicode(ClassUnicode::new(ranges)))
}

/// Returns whether counts within counts stay below the bound.
fn repeat_fits(tree: &Hir, left: u32) -> bool {
    match tree.kind() {
        HirKind::Repetition(repetition) => {
            let count = repetition.max.unwrap_or(repetition.min);
            count <= left && repeat_fits(&repetition.sub, left / count.max(1))
        }
        HirKind::Capture(capture) => repeat_fits(&capture.sub, left),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().all(|part| repeat_fits(part, left)),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => true,
    }
}
