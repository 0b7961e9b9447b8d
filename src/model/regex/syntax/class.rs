//! Character classes: `[a-z]`, `[[:alpha:]]`, `\d`, `\pL`, `\p{Greek}`.

use super::{Parser, error};
use crate::model::regex::RegexError;
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind};

fn ranges(pairs: &[(char, char)]) -> ClassUnicode {
    ClassUnicode::new(pairs.iter().map(|(first, last)| ClassUnicodeRange::new(*first, *last)))
}

/// Returns `\d`, `\s`, `\w` and their opposites, which are ASCII in Go.
pub(super) fn perl(letter: char) -> Option<ClassUnicode> {
    let mut class = match letter.to_ascii_lowercase() {
        'd' => ranges(&[('0', '9')]),
        's' => ranges(&[('\t', '\n'), ('\u{c}', '\r'), (' ', ' ')]),
        'w' => ranges(&[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')]),
        _ => return None,
    };
    if letter.is_ascii_uppercase() {
        class.negate();
    }
    Some(class)
}

fn posix(name: &str) -> Option<ClassUnicode> {
    Some(match name {
        "alnum" => ranges(&[('0', '9'), ('A', 'Z'), ('a', 'z')]),
        "alpha" => ranges(&[('A', 'Z'), ('a', 'z')]),
        "ascii" => ranges(&[('\0', '\u{7f}')]),
        "blank" => ranges(&[('\t', '\t'), (' ', ' ')]),
        "cntrl" => ranges(&[('\0', '\u{1f}'), ('\u{7f}', '\u{7f}')]),
        "digit" => ranges(&[('0', '9')]),
        "graph" => ranges(&[('!', '~')]),
        "lower" => ranges(&[('a', 'z')]),
        "print" => ranges(&[(' ', '~')]),
        "punct" => ranges(&[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')]),
        "space" => ranges(&[('\t', '\r'), (' ', ' ')]),
        "upper" => ranges(&[('A', 'Z')]),
        "word" => ranges(&[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')]),
        "xdigit" => ranges(&[('0', '9'), ('A', 'F'), ('a', 'f')]),
        _ => return None,
    })
}

/// General categories of Unicode by the names that Go knows; scripts are known by their whole names.
const CATEGORIES: [&str; 36] = [
    "C", "Cc", "Cf", "Co", "Cs", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl", "No", "P", "Pc",
    "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp", "Zs",
];

fn unicode(name: &str) -> Option<ClassUnicode> {
    if name == "Any" {
        return Some(ranges(&[('\0', char::MAX)]));
    }
    if name == "Cs" {
        // Surrogates: no character is one.
        return Some(ClassUnicode::empty());
    }
    let known = |query: &str| -> Option<ClassUnicode> {
        let tree = regex_syntax::parse(query).ok()?;
        match tree.kind() {
            HirKind::Class(Class::Unicode(class)) => Some(class.clone()),
            // A class of one character becomes a literal.
            HirKind::Literal(literal) => {
                let c = std::str::from_utf8(&literal.0).ok()?.chars().next()?;
                Some(ranges(&[(c, c)]))
            }
            _ => None,
        }
    };
    if name == "C" {
        // Go leaves out what is not assigned.
        return known(r"[\p{Cc}\p{Cf}\p{Co}]");
    }
    if CATEGORIES.contains(&name) {
        return known(&format!(r"\p{{gc={name}}}"));
    }
    let looks_like_script = name.len() > 2
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if looks_like_script { known(&format!(r"\p{{script={name}}}")) } else { None }
}

impl Parser<'_> {
    /// Reads `\pL`, `\p{Greek}`, `\P{^Greek}`, or nothing where none stands here.
    pub(super) fn unicode_class(&mut self) -> Result<Option<ClassUnicode>, RegexError> {
        let start = self.at;
        let mut negate = match self.rest().as_bytes() {
            [b'\\', b'p', ..] => false,
            [b'\\', b'P', ..] => true,
            _ => return Ok(None),
        };
        self.at += 2;
        let invalid = |parser: &Self| error("invalid character class range", parser.since(start));
        let mut name = if self.accept("{") {
            let Some((name, _)) = self.rest().split_once('}') else {
                return Err(error("invalid character class range", self.pattern.get(start..).unwrap_or("")));
            };
            self.at += name.len() + 1;
            name
        } else {
            let from = self.at;
            self.next();
            self.since(from)
        };
        if let Some(inner) = name.strip_prefix('^') {
            negate = !negate;
            name = inner;
        }
        let mut class = unicode(name).ok_or_else(|| invalid(self))?;
        if negate {
            class.negate();
        }
        Ok(Some(class))
    }

    /// Reads a class in brackets.
    pub(super) fn class(&mut self) -> Result<Hir, RegexError> {
        let start = self.at;
        self.next();
        let negate = self.accept("^");
        let mut class = ClassUnicode::empty();
        let mut first = true;
        loop {
            if !first && self.accept("]") {
                break;
            }
            first = false;
            if self.peek().is_none() {
                return Err(error("missing closing ]", self.pattern.get(start..).unwrap_or("")));
            }
            if let Some(found) = self.posix_class()? {
                class.union(&found);
                continue;
            }
            if let Some(found) = self.unicode_class()? {
                class.union(&found);
                continue;
            }
            if let Some(found) = self.perl_class() {
                class.union(&found);
                continue;
            }
            class.push(self.class_range(start)?);
        }
        if self.flags.fold_case {
            // Folding comes before negation.
            let folded = class.try_case_fold_simple();
            debug_assert!(folded.is_ok());
        }
        if negate {
            class.negate();
        }
        Ok(Hir::class(Class::Unicode(class)))
    }

    pub(super) fn perl_class(&mut self) -> Option<ClassUnicode> {
        let mut chars = self.rest().strip_prefix('\\')?.chars();
        let class = perl(chars.next()?)?;
        self.at += 2;
        Some(class)
    }

    fn posix_class(&mut self) -> Result<Option<ClassUnicode>, RegexError> {
        let Some(inner) = self.rest().strip_prefix("[:") else { return Ok(None) };
        let Some((name, _)) = inner.split_once(":]") else { return Ok(None) };
        let start = self.at;
        self.at += name.len() + 4;
        let (plain, negate) = match name.strip_prefix('^') {
            Some(plain) => (plain, true),
            None => (name, false),
        };
        let mut class = posix(plain).ok_or_else(|| error("invalid character class range", self.since(start)))?;
        if negate {
            class.negate();
        }
        Ok(Some(class))
    }

    fn class_range(&mut self, class_start: usize) -> Result<ClassUnicodeRange, RegexError> {
        let start = self.at;
        let first = self.class_character(class_start)?;
        let mut last = first;
        let ahead = self.rest().as_bytes();
        if ahead.first() == Some(&b'-') && ahead.len() >= 2 && ahead.get(1) != Some(&b']') {
            self.next();
            last = self.class_character(class_start)?;
            if last < first {
                return Err(error("invalid character class range", self.since(start)));
            }
        }
        Ok(ClassUnicodeRange::new(first, last))
    }

    fn class_character(&mut self, class_start: usize) -> Result<char, RegexError> {
        match self.peek() {
            None => Err(error("missing closing ]", self.pattern.get(class_start..).unwrap_or(""))),
            Some('\\') => self.escaped_character(),
            Some(c) => {
                self.next();
                Ok(c)
            }
        }
    }
}
