//! Where something stands in a file: lines and columns, and how a text within a file maps to them.

use std::fmt;

/// Line and column, both from 1. Two spots always count as equal: where something stands is no part of what it says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spot {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl PartialEq for Spot {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Spot {}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Spot {
    /// Returns the place of a byte of a whole file's text.
    #[must_use]
    pub fn within(text: &str, offset: usize) -> Self {
        let (lines, characters) = passed(text, offset);
        Self { line: lines + 1, column: characters + 1 }
    }
}

/// Returns how many line ends lie before a byte of a text, and how many characters between the last one and it.
fn passed(text: &str, offset: usize) -> (u32, u32) {
    let before = text.get(..text.floor_char_boundary(offset)).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or(before);
    let lines = before.bytes().filter(|byte| *byte == b'\n').count();
    (u32::try_from(lines).unwrap_or(u32::MAX), u32::try_from(line.chars().count()).unwrap_or(u32::MAX))
}

/// How a value's text lies in its file. Always equal, as [`Spot`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Layout {
    /// Escapes or folded lines: what lies where is not known.
    #[default]
    Unknown,
    /// On one line, character for character, from this column on.
    Line(u32),
    /// Line for line, each from this column on, the first of the text on this line.
    Block(Spot),
}

/// Where a value stands, and where each part of its text does, as far as that can be told.
#[derive(Clone, Copy, Debug, Default)]
pub struct TextPlace {
    /// Where the value begins.
    pub spot: Spot,
    pub(super) layout: Layout,
}

impl PartialEq for TextPlace {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for TextPlace {}

impl TextPlace {
    /// Returns the place of a byte of the value's text; where that is not known, the value's own.
    #[must_use]
    pub fn of(&self, text: &str, offset: usize) -> Spot {
        let (lines, characters) = passed(text, offset);
        match self.layout {
            Layout::Unknown => self.spot,
            Layout::Line(column) => Spot { line: self.spot.line, column: column + characters },
            Layout::Block(first) => Spot { line: first.line + lines, column: first.column + characters },
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::yaml::{self, Limits, Source};

    #[test]
    fn each_part_of_a_text_has_its_place() {
        // The place of the `!` in the value of `a`, where the text is as it stands; else the place of the value.
        let cases = [
            ("a: x!y", "1:5"),
            ("a: 'x!y'", "1:6"),
            ("a: \"x!y\"", "1:6"),
            ("{b: c, a: 'ä!'}", "1:13"),
            ("a: 'it''s!'", "1:4"),
            ("a: \"\\t!\"", "1:4"),
            ("a: x\n  y!", "1:4"),
            ("a: |\n  x\n   !", "3:4"),
            ("a: |\n\n\n  x\n  ä!\n", "5:4"),
            ("a: |2-\n   x!\n", "2:5"),
            ("a: >-\n  x!", "2:4"),
            ("a: >-\n  x!\nb: c", "2:4"),
            ("a: >-\n  x\n  y!\nb: c", "2:3"),
            ("a: !!str x!", "1:10"),
            ("b: &b x!\na: *b", "2:4"),
        ];
        for (text, want) in cases {
            let root = yaml::parse(text, &Source::default(), Limits::default()).unwrap_or_else(|error| panic!("{text}: {error}"));
            let node = root.get("a").unwrap();
            let value = node.text().unwrap();
            let at = value.find('!').unwrap();
            assert_eq!(node.place().of(value, at).to_string(), want, "{text:?}");
        }
    }
}
