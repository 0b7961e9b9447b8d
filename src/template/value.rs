//! The data that templates see: Go's values as far as templates can tell them apart.
//!
//! Go's templates are typed by reflection, so a value knows its Go type's name: it decides which functions take it and
//! stands in error messages. Values share their insides; cloning is cheap.

use super::time::{Time, duration_string};
use crate::model::labels::Labels;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What a typed string promises about itself to the HTML escaper (`template.HTML` and its like).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safe {
    /// `template.HTML`: markup that is not escaped in text.
    Html,
    /// `template.HTMLAttr`: an attribute, name and value.
    HtmlAttr,
    /// `template.URL`: an address that is not filtered.
    Url,
    /// `template.JS`: an expression of JavaScript.
    Js,
    /// `template.JSStr`: the inside of a JavaScript string.
    JsStr,
    /// `template.CSS`: style declarations.
    Css,
    /// `template.Srcset`: the value of a `srcset`.
    Srcset,
}

impl Safe {
    const fn type_name(self) -> &'static str {
        match self {
            Self::Html => "template.HTML",
            Self::HtmlAttr => "template.HTMLAttr",
            Self::Url => "template.URL",
            Self::Js => "template.JS",
            Self::JsStr => "template.JSStr",
            Self::Css => "template.CSS",
            Self::Srcset => "template.Srcset",
        }
    }
}

/// A value with behaviour of its own: methods, a Go type name, and a plain value behind it.
///
/// Alertmanager's `KV` is a map with `SortedPairs`, `Remove`, `Names`, `Values`; its `Alerts` a list with `Firing` and
/// `Resolved`.
pub trait Object: Send + Sync {
    /// Returns the name of the Go type, for example `template.KV`.
    fn type_name(&self) -> &str;

    /// Returns the map, list or struct behind it: for `range`, `len`, `index`, fields, and printing.
    fn plain(&self) -> Value;

    /// Calls a method; `None` where there is no such method.
    ///
    /// # Errors
    /// Within the `Some`: what the method says is wrong with its arguments.
    fn call(&self, method: &str, args: &[Value]) -> Option<Result<Value, String>>;

    /// Returns how it prints where Go's type has a `String` method; `None`: as the plain value prints.
    fn text(&self) -> Option<String> {
        None
    }

    /// Returns the value that stands for it in JSON, where that differs from the plain one.
    fn json(&self) -> Option<Value> {
        None
    }
}

/// A Go slice.
#[derive(Clone)]
pub struct List {
    type_name: &'static str,
    items: Arc<[Value]>,
}

/// A Go map with keys that are strings.
#[derive(Clone)]
pub struct Map {
    /// Whether the elements' type is `string`, so that an absent key gives the empty string.
    strings: bool,
    entries: Arc<BTreeMap<String, Value>>,
}

/// A Go struct: named fields in order.
pub struct Struct {
    type_name: &'static str,
    fields: Vec<(&'static str, Value)>,
}

/// A value of the template language.
#[derive(Clone, Default)]
pub enum Value {
    /// No value: Go's invalid value or a nil interface.
    #[default]
    Nil,
    /// `bool`
    Bool(bool),
    /// `int`
    Int(i64),
    /// `float64`
    Float(f64),
    /// `string`
    String(Arc<str>),
    /// A typed string of html/template.
    Safe(Safe, Arc<str>),
    /// `[]T`
    List(List),
    /// `map[string]T`
    Map(Map),
    /// A struct.
    Struct(Arc<Struct>),
    /// `time.Time`
    Time(Time),
    /// `time.Duration` in nanoseconds.
    Duration(i64),
    /// Anything with methods.
    Object(Arc<dyn Object>),
}

impl Value {
    /// Returns a string value.
    pub fn string(text: impl AsRef<str>) -> Self {
        Self::String(Arc::from(text.as_ref()))
    }

    /// Returns a typed string.
    pub fn safe(kind: Safe, text: impl AsRef<str>) -> Self {
        Self::Safe(kind, Arc::from(text.as_ref()))
    }

    /// Returns a `[]interface {}`.
    pub fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self::typed_list("[]interface {}", items)
    }

    /// Returns a `[]string`.
    pub fn strings<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::typed_list("[]string", items.into_iter().map(Self::string))
    }

    /// Returns a list of a Go type of that name.
    pub fn typed_list(type_name: &'static str, items: impl IntoIterator<Item = Self>) -> Self {
        Self::List(List { type_name, items: items.into_iter().collect() })
    }

    /// Returns a `map[string]interface {}`.
    pub fn map<K: Into<String>>(entries: impl IntoIterator<Item = (K, Self)>) -> Self {
        let entries = entries.into_iter().map(|(key, value)| (key.into(), value)).collect();
        Self::Map(Map { strings: false, entries: Arc::new(entries) })
    }

    /// Returns a `map[string]string`.
    pub fn string_map<K: Into<String>, V: AsRef<str>>(entries: impl IntoIterator<Item = (K, V)>) -> Self {
        let entries = entries.into_iter().map(|(key, value)| (key.into(), Self::string(value))).collect();
        Self::Map(Map { strings: true, entries: Arc::new(entries) })
    }

    /// Returns a label set as a `map[string]string`.
    #[must_use]
    pub fn labels(labels: &Labels) -> Self {
        Self::string_map(labels)
    }

    /// Returns a struct of a Go type of that name.
    #[must_use]
    pub fn structure(type_name: &'static str, fields: Vec<(&'static str, Self)>) -> Self {
        Self::Struct(Arc::new(Struct { type_name, fields }))
    }

    /// Returns an object.
    pub fn object(object: impl Object + 'static) -> Self {
        Self::Object(Arc::new(object))
    }

    /// Returns the name of the Go type; nil has `nil`.
    #[must_use]
    pub fn type_name(&self) -> &str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::String(_) => "string",
            Self::Safe(kind, _) => kind.type_name(),
            Self::List(list) => list.type_name,
            Self::Map(map) if map.strings => "map[string]string",
            Self::Map(_) => "map[string]interface {}",
            Self::Struct(structure) => structure.type_name,
            Self::Time(_) => "time.Time",
            Self::Duration(_) => "time.Duration",
            Self::Object(object) => object.type_name(),
        }
    }

    /// Returns whether it counts as true: not nil, false, zero or empty. Structs are always true.
    #[must_use]
    pub fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(value) | Self::Duration(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::String(text) | Self::Safe(_, text) => !text.is_empty(),
            Self::List(list) => !list.items.is_empty(),
            Self::Map(map) => !map.entries.is_empty(),
            Self::Struct(_) | Self::Time(_) => true,
            Self::Object(object) => object.plain().is_true(),
        }
    }

    /// Returns the text of a string, typed or not.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::Safe(_, text) => Some(text),
            _ => None,
        }
    }

    /// Returns the items of a list, looking behind an object.
    #[must_use]
    pub fn items(&self) -> Option<Arc<[Self]>> {
        match self {
            Self::List(list) => Some(Arc::clone(&list.items)),
            Self::Object(object) => object.plain().items(),
            _ => None,
        }
    }

    /// Returns the entries of a map, looking behind an object.
    #[must_use]
    pub fn entries(&self) -> Option<Arc<BTreeMap<String, Self>>> {
        match self {
            Self::Map(map) => Some(Arc::clone(&map.entries)),
            Self::Object(object) => object.plain().entries(),
            _ => None,
        }
    }

    /// Returns the length of a string in bytes, of a list or of a map.
    #[must_use]
    pub fn length(&self) -> Option<usize> {
        match self {
            Self::String(text) | Self::Safe(_, text) => Some(text.len()),
            Self::List(list) => Some(list.items.len()),
            Self::Map(map) => Some(map.entries.len()),
            Self::Object(object) => object.plain().length(),
            _ => None,
        }
    }

    /// Returns the plain value behind an object, or itself.
    #[must_use]
    pub fn plain(&self) -> Self {
        match self {
            Self::Object(object) => object.plain().plain(),
            other => other.clone(),
        }
    }
}

impl Map {
    /// Returns what an absent key gives: the element type's zero value.
    #[must_use]
    pub fn zero(&self) -> Value {
        if self.strings { Value::string("") } else { Value::Nil }
    }

    /// Returns the value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.get(key)
    }
}

impl Struct {
    /// Returns a field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value)
    }

    /// Walks the fields in order.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.fields.iter().map(|(name, value)| (*name, value))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::string(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(Arc::from(text))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({self})", self.type_name())
    }
}

/// Prints as Go's `fmt.Sprint` does; nil is `<nil>`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("<nil>"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => f.write_str(&crate::model::number::format_g(*value)),
            Self::String(text) | Self::Safe(_, text) => f.write_str(text),
            Self::List(list) => {
                f.write_str("[")?;
                for (i, item) in list.items.iter().enumerate() {
                    write!(f, "{}{item}", if i == 0 { "" } else { " " })?;
                }
                f.write_str("]")
            }
            Self::Map(map) => {
                f.write_str("map[")?;
                for (i, (key, value)) in map.entries.iter().enumerate() {
                    write!(f, "{}{key}:{value}", if i == 0 { "" } else { " " })?;
                }
                f.write_str("]")
            }
            Self::Struct(structure) => {
                f.write_str("{")?;
                for (i, (_, value)) in structure.fields.iter().enumerate() {
                    write!(f, "{}{value}", if i == 0 { "" } else { " " })?;
                }
                f.write_str("}")
            }
            Self::Time(time) => write!(f, "{time}"),
            Self::Duration(nanoseconds) => f.write_str(&duration_string(*nanoseconds)),
            Self::Object(object) => match object.text() {
                Some(text) => f.write_str(&text),
                None => write!(f, "{}", object.plain()),
            },
        }
    }
}
