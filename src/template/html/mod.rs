//! Escaping by context, after Go's `html/template`: what an action prints is escaped for the place where it stands.

pub(super) mod escape;
pub(super) mod escapers;

use super::value::Value;

/// One step of escaping a printed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escaper {
    /// Text between tags.
    Html,
}

/// Prints a value through the escapers.
pub(super) fn apply(escapers: &[Escaper], value: &Value, limit: usize) -> Result<String, String> {
    let mut value = value.clone();
    for escaper in escapers {
        value = Value::from(escapers::apply(*escaper, &value, limit)?);
    }
    Ok(value.as_text().unwrap_or("").to_owned())
}
