//! Escaping by context, after Go's `html/template`: what an action prints is escaped for the place where it stands.
//!
//! `<a href="/x?q={{.}}" onclick="f({{.}})">{{.}}</a>` escapes the dot in three different ways. Typed strings
//! (`safeHtml`, `safeUrl`) pass where their promise fits the place. What could only be harmful prints as `ZgotmplZ`.

mod context;
pub(super) mod escape;
pub(super) mod escapers;
mod transition;

#[cfg(test)]
mod tests;

use super::value::Value;

/// One step of escaping a printed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escaper {
    /// Text between tags.
    Html,
    /// In `<textarea>` and `<title>`.
    Rcdata,
    /// In a quoted attribute.
    Attribute,
    /// In an attribute without quotes.
    Unquoted,
    /// The name of an attribute.
    HtmlName,
    /// In a comment: nothing is printed.
    Comment,
    /// The beginning of a URL: harmless schemes alone.
    UrlFilter,
    /// In a URL, before `?` and `#`.
    UrlNormalize,
    /// In a URL, behind `?` or `#`.
    UrlEscape,
    /// A `srcset`.
    Srcset,
    /// An expression of JavaScript.
    JsValue,
    /// In a string of JavaScript.
    JsString,
    /// In a template literal of JavaScript.
    JsTemplate,
    /// In a regular expression of JavaScript.
    JsRegexp,
    /// A value in a style sheet.
    CssValue,
    /// In a string of a style sheet.
    CssString,
}

/// Prints a value through the escapers.
pub(super) fn apply(escapers: &[Escaper], value: &Value, limit: usize) -> Result<String, String> {
    let mut value = value.clone();
    for escaper in escapers {
        let text = escapers::apply(*escaper, &value, limit)?;
        if text.len() > limit {
            return Err(format!("more than {limit} bytes of output"));
        }
        value = Value::from(text);
    }
    match value {
        Value::Nil => Ok(String::new()),
        value => super::eval::bounded_text(&value, limit),
    }
}
