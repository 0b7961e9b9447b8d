//! How plain structs are read from YAML nodes and shown again.
//!
//! A section of the configuration is declared once, by [`section!`]: its fields with their defaults make the struct, its
//! `Default`, its reader (which refuses unknown keys by name) and its printer. A field is read *into* its default, as Go
//! does; null is the type's zero.

use super::error::ConfigError;
use super::show::Shown;
use super::yaml::Node;
use crate::model::duration;
use crate::model::labels::{Labels, LabelsBuilder};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A value that a configuration file can hold.
pub(crate) trait Value: Default {
    /// Overwrites the value by what the node says.
    fn read(&mut self, node: &Node) -> Result<(), ConfigError>;

    /// Returns the value as it is shown, secrets hidden.
    fn show(&self) -> Shown;

    /// Returns the complaint about a null among a list's items, where null is not just the type's zero.
    fn null_item() -> Option<String> {
        None
    }
}

/// A group of keys, which may stand within another section's keys.
pub(crate) trait Section: Value {
    /// Reads one key, or answers false where it is not one of this section's.
    fn take(&mut self, key: &str, value: &Node) -> Result<bool, ConfigError>;

    /// Looks at the section as a whole, after all keys.
    fn check(&mut self, node: &Node) -> Result<(), ConfigError>;

    /// Lists the entries to show.
    fn entries(&self) -> Vec<(String, Shown)>;
}

/// Reads a node as a new value.
pub(crate) fn read_new<T: Value>(node: &Node) -> Result<T, ConfigError> {
    let mut value = T::default();
    value.read(node)?;
    Ok(value)
}

/// Adds an entry, unless neither the value nor its default says anything.
pub(crate) fn show_entry(entries: &mut Vec<(String, Shown)>, key: &str, value: &impl Value, default: &impl Value) {
    let shown = value.show();
    let usual = default.show();
    let says_nothing = shown.is_zero() && usual.is_zero() && usual != Shown::Nothing;
    if shown != Shown::Nothing && !says_nothing {
        entries.push((key.to_owned(), shown));
    }
}

/// Refuses a key that the section does not have.
pub(crate) fn unknown_key(key: &Node, section: &str) -> ConfigError {
    let name = key.text().unwrap_or_default();
    key.error(format!("unknown key \"{name}\": field {name} not found in {section}"))
}

/// Reads all keys of a section.
pub(crate) fn read_section<T: Section>(into: &mut T, node: &Node, section: &str) -> Result<(), ConfigError> {
    if node.is_null() {
        *into = T::default();
        return into.check(node);
    }
    for (key, value) in node.entries().map_err(|error| error.within(section))? {
        let name = key.text()?;
        if !into.take(name, value)? {
            return Err(unknown_key(key, section));
        }
    }
    into.check(node)
}

/// The check of a section that has none.
#[expect(clippy::unnecessary_wraps, reason = "stands in for checks that can fail")]
pub(crate) fn no_check<T>(_: &mut T, _: &Node) -> Result<(), ConfigError> {
    Ok(())
}

/// Declares sections: `pub struct Name "words for messages" { field "key": Type = default, ... } inline { field: Section } check function`.
macro_rules! section {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident $label:literal {
            $( $(#[$field_meta:meta])* $field:ident $($key:literal)? : $type:ty = $default:expr, )*
        }
        $( inline { $( $(#[$inline_meta:meta])* $inline:ident : $inline_type:ty, )* } )?
        $( check $check:path; )?
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $type, )*
            $($( $(#[$inline_meta])* pub $inline: $inline_type, )*)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* $($( $inline: <$inline_type>::default(), )*)? }
            }
        }

        impl $crate::config::section::Section for $name {
            #[allow(unused_variables, reason = "a section may be without keys")]
            fn take(
                &mut self,
                key: &str,
                value: &$crate::config::yaml::Node,
            ) -> Result<bool, $crate::config::error::ConfigError> {
                $(
                    if key == $crate::config::section::section!(@key $field $($key)?) {
                        $crate::config::section::Value::read(&mut self.$field, value)?;
                        return Ok(true);
                    }
                )*
                $($(
                    if $crate::config::section::Section::take(&mut self.$inline, key, value)? {
                        return Ok(true);
                    }
                )*)?
                Ok(false)
            }

            #[allow(unused_assignments, unused_mut, reason = "a section may be without check")]
            fn check(&mut self, node: &$crate::config::yaml::Node) -> Result<(), $crate::config::error::ConfigError> {
                $($( $crate::config::section::Section::check(&mut self.$inline, node)?; )*)?
                $crate::config::section::section!(@check self node $($check)?)
            }

            #[allow(unused_variables, reason = "a section may be without keys")]
            fn entries(&self) -> Vec<(String, $crate::config::show::Shown)> {
                let default = Self::default();
                let mut entries = Vec::new();
                $(
                    let key = $crate::config::section::section!(@key $field $($key)?);
                    $crate::config::section::show_entry(&mut entries, key, &self.$field, &default.$field);
                )*
                $($( entries.extend($crate::config::section::Section::entries(&self.$inline)); )*)?
                entries
            }
        }

        impl $crate::config::section::Value for $name {
            fn read(&mut self, node: &$crate::config::yaml::Node) -> Result<(), $crate::config::error::ConfigError> {
                $crate::config::section::read_section(self, node, $label)
            }

            fn show(&self) -> $crate::config::show::Shown {
                $crate::config::show::Shown::Map($crate::config::section::Section::entries(self))
            }

            fn null_item() -> Option<String> {
                Some(concat!("empty or null ", $label).to_owned())
            }
        }
    )*};
    (@key $field:ident $key:literal) => { $key };
    (@key $field:ident) => { stringify!($field) };
    (@check $self:ident $node:ident $check:path) => { $check($self, $node) };
    (@check $self:ident $node:ident) => { $crate::config::section::no_check($self, $node) };
}
pub(crate) use section;

/// Declares enums of words: `pub enum Name "words for messages" { Variant = "word", ... }`; the first is the default.
macro_rules! words {
    ($(
        $(#[$meta:meta])*
        pub enum $name:ident $label:literal { $( $(#[$variant_meta:meta])* $variant:ident = $word:literal, )+ }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $( $(#[$variant_meta])* $variant, )+ }

        impl $name {
            /// All values.
            pub const ALL: &'static [Self] = &[$( Self::$variant, )+];

            /// Returns the word of the configuration file.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word, )+ }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::ALL[0]
            }
        }

        impl $crate::config::section::Value for $name {
            fn read(&mut self, node: &$crate::config::yaml::Node) -> Result<(), $crate::config::error::ConfigError> {
                let text = node.text()?;
                if node.is_null() {
                    return Ok(());
                }
                match Self::ALL.iter().find(|value| value.as_str() == text) {
                    Some(value) => *self = *value,
                    None => {
                        let known: Vec<_> = Self::ALL.iter().map(|value| value.as_str()).collect();
                        return Err(node.error(format!(concat!("unknown ", $label, " {:?}, expected one of {}"), text, known.join(", "))));
                    }
                }
                Ok(())
            }

            fn show(&self) -> $crate::config::show::Shown {
                $crate::config::show::Shown::Text(self.as_str().to_owned())
            }
        }
    )*};
}
pub(crate) use words;

impl Value for bool {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        *self = match node.plain() {
            Some("y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON") => true,
            Some("n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF") => false,
            Some(_) if node.is_null() => false,
            Some(_) | None => return Err(node.error("expected true or false")),
        };
        Ok(())
    }

    fn show(&self) -> Shown {
        Shown::Word(self.to_string())
    }
}

/// Reads a whole number as `yaml.v2` does: underscores, `0x`, `0b`, `0o` and a leading zero for octal.
pub(crate) fn parse_integer(text: &str) -> Option<i128> {
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    if digits.starts_with(['-', '+']) {
        return None;
    }
    let prefixed = |prefix: &str, radix| digits.strip_prefix(prefix).map(|rest| i128::from_str_radix(rest, radix).ok());
    let number = prefixed("0x", 16)
        .or_else(|| prefixed("0b", 2))
        .or_else(|| prefixed("0o", 8))
        .or_else(|| (digits.len() > 1).then(|| prefixed("0", 8)).flatten())
        .unwrap_or_else(|| digits.parse().ok())?;
    Some(if negative { -number } else { number })
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Value for $type {
            fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
                let text = node.text()?;
                if node.is_null() {
                    *self = 0;
                    return Ok(());
                }
                // Go's reader cuts fractions off.
                let whole = |value: f64| (value.abs() < 9e18).then_some(value.trunc() as i128);
                let number = node.plain().and_then(|text| {
                    parse_integer(text).or_else(|| text.parse::<f64>().ok().and_then(whole))
                });
                let fitting = number.and_then(|number| Self::try_from(number).ok());
                *self = fitting.ok_or_else(|| node.error(format!("expected a whole number, found {text:?}")))?;
                Ok(())
            }

            fn show(&self) -> Shown {
                Shown::Word(self.to_string())
            }
        }
    )*};
}
integers!(u16, u32, u64, i32, i64, usize);

impl Value for f64 {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        let text = node.text()?;
        if node.is_null() {
            *self = 0.0;
            return Ok(());
        }
        let number = node.plain().and_then(|text| match text {
            ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Some(Self::INFINITY),
            "-.inf" | "-.Inf" | "-.INF" => Some(Self::NEG_INFINITY),
            ".nan" | ".NaN" | ".NAN" => Some(Self::NAN),
            _ => parse_integer(text).map(|number| number as Self).or_else(|| {
                let first = text.trim_start_matches(['-', '+']).bytes().next();
                first.filter(|byte| byte.is_ascii_digit() || *byte == b'.').and_then(|_| text.replace('_', "").parse().ok())
            }),
        });
        *self = number.ok_or_else(|| node.error(format!("expected a number, found {text:?}")))?;
        Ok(())
    }

    fn show(&self) -> Shown {
        Shown::Word(crate::model::number::format_g(*self))
    }
}

impl Value for String {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        node.text()?.clone_into(self);
        Ok(())
    }

    fn show(&self) -> Shown {
        Shown::Text(self.clone())
    }
}

impl Value for Duration {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        let text = node.text()?;
        *self = if node.is_null() { Self::ZERO } else { duration::parse(text).map_err(|error| node.error(error.to_string()))? };
        Ok(())
    }

    fn show(&self) -> Shown {
        Shown::Word(duration::format(*self))
    }
}

impl<T: Value> Value for Option<T> {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        *self = if node.is_null() { None } else { Some(read_new(node)?) };
        Ok(())
    }

    fn show(&self) -> Shown {
        // A value that is set is shown even where it is zero; the caller compares with the default's `Nothing`.
        self.as_ref().map_or(Shown::Nothing, T::show)
    }
}

impl<T: Value> Value for Vec<T> {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        let mut values = Self::new();
        for item in node.items()? {
            if item.is_null()
                && let Some(complaint) = T::null_item()
            {
                return Err(item.error(complaint));
            }
            values.push(read_new(item)?);
        }
        *self = values;
        Ok(())
    }

    fn show(&self) -> Shown {
        Shown::List(self.iter().map(T::show).collect())
    }
}

impl<T: Value> Value for Arc<T> {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        *self = Self::new(read_new(node)?);
        Ok(())
    }

    fn show(&self) -> Shown {
        (**self).show()
    }

    fn null_item() -> Option<String> {
        T::null_item()
    }
}

impl<T: Value> Value for BTreeMap<String, T> {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        for (key, value) in node.entries()? {
            self.insert(key.text()?.to_owned(), read_new(value)?);
        }
        if node.is_null() {
            self.clear();
        }
        Ok(())
    }

    fn show(&self) -> Shown {
        Shown::Map(self.iter().map(|(key, value)| (key.clone(), value.show())).collect())
    }
}

impl Value for Labels {
    fn read(&mut self, node: &Node) -> Result<(), ConfigError> {
        let mut labels = LabelsBuilder::new();
        for (key, value) in node.entries()? {
            let name = key.text()?;
            if name.is_empty() {
                return Err(key.error("\"\" is not a valid label name"));
            }
            labels.set(name, value.text()?);
        }
        *self = labels.build();
        Ok(())
    }

    fn show(&self) -> Shown {
        Shown::Map(self.iter().map(|(name, value)| (name.to_owned(), Shown::Text(value.to_owned()))).collect())
    }
}
