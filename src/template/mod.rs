//! Go's template languages, text and HTML, as Prometheus's rules and Alertmanager's notifications use them.
//!
//! ```text
//! text -> lex -> parse -> tree -> (html: escape by context) -> eval with data and functions -> text
//! ```
//!
//! A [`Template`] is a set of named trees, as in Go: texts added to it may define and call each other. Functions beyond
//! Go's own come from the caller as [`Functions`]: rules bring Prometheus's, notifications Alertmanager's. What both
//! share is in [`library`]. Templates come from people and from ZooKeeper, so depth, steps and output are bounded
//! ([`Limits`]). Messages are Go's, place included.

/// Writes into a `String`, which cannot fail.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {{
        let written = std::fmt::Write::write_fmt($out, format_args!($($arg)*));
        debug_assert!(written.is_ok());
    }};
}

mod builtin;
mod eval;
mod html;
pub mod json;
mod lex;
pub mod library;
mod literal;
mod parse;
pub mod printf;
pub mod time;
mod time_parse;
mod tree;
mod value;

pub use eval::Scope;
pub use time::Time;
pub use value::{List, Map, Object, Safe, Struct, Value};

use std::collections::BTreeMap;
use std::sync::Arc;

/// Why a template could not be read or executed; Go's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}{message}")]
pub struct TemplateError {
    /// Go's `template: name:line: `, where that is known; for messages that name the place in another way.
    origin: String,
    message: String,
    at: Option<usize>,
}

impl TemplateError {
    /// Makes an error without a place.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { origin: String::new(), message: message.into(), at: None }
    }

    /// Makes an error at a byte of the text.
    fn at(origin: String, message: &str, at: usize) -> Self {
        Self { origin, message: message.to_owned(), at: Some(at) }
    }

    /// Returns the byte of the text where reading ended; `None` for errors of execution.
    #[must_use]
    pub const fn position(&self) -> Option<usize> {
        self.at
    }

    /// Returns what is wrong, without the place.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.message
    }

    /// Puts words in front, where `length` bytes of the text were not the writer's own.
    #[must_use]
    pub fn behind(self, length: usize, words: &str) -> Self {
        Self { origin: format!("{words}{}", self.origin), at: self.at.map(|at| at.saturating_sub(length)), ..self }
    }
}

/// What a function takes. A type is named as in Go (`string`, `int`, `float64`, `[]string`, `time.Time`, the names that
/// the caller's own values have); `any` takes everything.
#[derive(Clone, Copy, Debug)]
pub struct Signature {
    /// Types of the parameters in order.
    pub params: &'static [&'static str],
    /// Whether the last parameter may come any number of times.
    pub variadic: bool,
}

/// Functions that templates may call beyond Go's own; they may also replace Go's own.
pub trait Functions {
    /// Returns what a function takes; `None` where there is no such function.
    fn signature(&self, name: &str) -> Option<Signature>;

    /// Calls a function with arguments that fit its signature.
    ///
    /// # Errors
    /// With the function's own words; the evaluator adds place and name.
    fn call(&self, name: &str, args: &[Value], scope: &Scope<'_>) -> Result<Value, String>;
}

/// No functions but Go's own.
#[derive(Clone, Copy, Debug)]
pub struct NoFunctions;

impl Functions for NoFunctions {
    fn signature(&self, _name: &str) -> Option<Signature> {
        None
    }

    fn call(&self, name: &str, _args: &[Value], _scope: &Scope<'_>) -> Result<Value, String> {
        Err(format!("no function {name}"))
    }
}

/// What a key that a map lacks gives (Go's option `missingkey`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingKey {
    /// The zero value of the map's elements, as Prometheus and Alertmanager want it.
    #[default]
    Zero,
    /// No value, which prints as `<no value>`.
    Default,
    /// An error.
    Error,
}

/// Bounds of one execution.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Templates calling templates.
    pub depth: usize,
    /// Bytes of the output, and of every text on the way.
    pub output_bytes: usize,
    /// Nodes visited and functions called.
    pub steps: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 50, output_bytes: 4 << 20, steps: 1_000_000 }
    }
}

/// A set of named templates.
#[derive(Clone, Debug)]
pub struct Template {
    trees: BTreeMap<String, Arc<tree::Tree>>,
    is_html: bool,
    missing_key: MissingKey,
    limits: Limits,
}

impl Template {
    /// Returns an empty set that writes plain text.
    #[must_use]
    pub fn text() -> Self {
        Self { trees: BTreeMap::new(), is_html: false, missing_key: MissingKey::Zero, limits: Limits::default() }
    }

    /// Returns an empty set that writes HTML, escaping what actions print by where they stand.
    #[must_use]
    pub fn html() -> Self {
        Self { is_html: true, ..Self::text() }
    }

    /// Sets what absent keys give.
    #[must_use]
    pub const fn missing_key(mut self, missing_key: MissingKey) -> Self {
        self.missing_key = missing_key;
        self
    }

    /// Sets the bounds.
    #[must_use]
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Returns a set of one text.
    ///
    /// # Errors
    /// When the text is no template or calls a function that does not exist.
    pub fn parse(name: &str, text: &str, functions: &dyn Functions) -> Result<Self, TemplateError> {
        let mut set = Self::text();
        set.add(name, text, functions)?;
        Ok(set)
    }

    /// Adds a text and what it defines; a later definition replaces an earlier one of the same name.
    ///
    /// # Errors
    /// When the text is no template or calls a function that does not exist. Nothing is added then.
    pub fn add(&mut self, name: &str, text: &str, functions: &dyn Functions) -> Result<(), TemplateError> {
        let is_function = |name: &str| functions.signature(name).is_some() || builtin::signature(name).is_some();
        for tree in parse::parse(name, text, &is_function)? {
            let keeps_old = tree.is_empty() && self.trees.contains_key(&tree.name);
            if !keeps_old {
                self.trees.insert(tree.name.clone(), Arc::new(tree));
            }
        }
        Ok(())
    }

    /// Returns the names of the templates in it, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.trees.keys().map(String::as_str)
    }

    /// Executes the template of that name.
    ///
    /// # Errors
    /// When there is none, a function fails, a value has the wrong type, or a limit is passed.
    pub fn execute(&self, name: &str, data: &Value, functions: &dyn Functions) -> Result<String, TemplateError> {
        eval::execute(self, name, data, functions)
    }
}

#[cfg(test)]
mod tests;
