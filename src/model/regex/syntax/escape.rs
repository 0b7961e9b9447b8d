//! What may follow a backslash.

use super::{Parser, error};
use crate::model::regex::RegexError;
use regex_syntax::hir::{Hir, Look};

impl Parser<'_> {
    /// Reads an escape outside a class onto `parts`.
    pub(super) fn escape(&mut self, parts: &mut Vec<Hir>) -> Result<(), RegexError> {
        let letter = self.rest().chars().nth(1);
        let look = match letter {
            Some('A') => Some(Look::Start),
            Some('z') => Some(Look::End),
            Some('b') => Some(Look::WordAscii),
            Some('B') => Some(Look::WordAsciiNegate),
            _ => None,
        };
        if let Some(look) = look {
            self.at += 2;
            parts.push(Hir::look(look));
            return Ok(());
        }
        if self.accept("\\Q") {
            while !self.rest().is_empty() && !self.accept("\\E") {
                if let Some(c) = self.next() {
                    parts.push(self.literal(c));
                }
            }
            return Ok(());
        }
        if let Some(class) = self.unicode_class()? {
            parts.push(self.class_tree(class));
            return Ok(());
        }
        if let Some(class) = self.perl_class() {
            parts.push(self.class_tree(class));
            return Ok(());
        }
        let c = self.escaped_character()?;
        parts.push(self.literal(c));
        Ok(())
    }

    /// Reads an escape that stands for one character.
    pub(super) fn escaped_character(&mut self) -> Result<char, RegexError> {
        let start = self.at;
        self.next();
        let Some(c) = self.next() else {
            return Err(error("trailing backslash at end of expression", ""));
        };
        let octal_follows = self.peek().is_some_and(|next| ('0'..='7').contains(&next));
        let found = match c {
            // One digit alone would be a reference to a group, which RE2 has not.
            '1'..='7' if !octal_follows => None,
            '0'..='7' => {
                let mut value = u32::from(c) - u32::from('0');
                for _ in 0..2 {
                    let Some(digit) = self.peek().and_then(|next| next.to_digit(8)) else { break };
                    value = value * 8 + digit;
                    self.next();
                }
                char::from_u32(value)
            }
            'x' => self.hexadecimal(),
            'a' => Some('\u{7}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\u{b}'),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(c),
            _ => None,
        };
        found.ok_or_else(|| error("invalid escape sequence", self.since(start)))
    }

    fn hexadecimal(&mut self) -> Option<char> {
        if !self.accept("{") {
            let high = self.next()?.to_digit(16)?;
            let low = self.next()?.to_digit(16)?;
            return char::from_u32(high * 16 + low);
        }
        let mut value: u32 = 0;
        let mut digits = 0;
        loop {
            match self.next()? {
                '}' => break,
                c => value = value.checked_mul(16)?.checked_add(c.to_digit(16)?)?,
            }
            digits += 1;
            if value > 0x10_ffff {
                return None;
            }
        }
        if digits == 0 { None } else { char::from_u32(value) }
    }
}
