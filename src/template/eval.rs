//! Walks a tree with data, after Go's `text/template`: the same order, the same messages, the same places in them. Long: one walk over all kinds of nodes.

use super::html::escape::{Escaped, escape_tree};
use super::tree::{Arg, ArgKind, Branch, Command, Node, NodeKind, Number, Pipe, Place, Tree};
use super::value::Value;
use super::{Functions, MissingKey, Signature, Template, TemplateError, builtin, html, time};
use crate::model::number::quote;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// Executes one template of a set.
pub(super) fn execute(set: &Template, name: &str, data: &Value, functions: &dyn Functions) -> Result<String, TemplateError> {
    let run = Run { set, functions, steps: Cell::new(0), depth: Cell::new(0), escaped: RefCell::new(BTreeMap::new()) };
    run.execute(name, data)
}

/// One execution.
struct Run<'t> {
    set: &'t Template,
    functions: &'t dyn Functions,
    steps: Cell<usize>,
    depth: Cell<usize>,
    /// HTML alone: trees with their escapers, by the name of the template that was asked for.
    escaped: RefCell<BTreeMap<String, Arc<Escaped>>>,
}

/// What a function may do with the execution that called it.
pub struct Scope<'r> {
    run: &'r Run<'r>,
}

impl Scope<'_> {
    /// Executes another template of the set; Prometheus's `tmpl`.
    ///
    /// # Errors
    /// As [`Template::execute`].
    pub fn execute(&self, name: &str, data: &Value) -> Result<String, String> {
        self.run.execute(name, data).map_err(|error| error.to_string())
    }

    /// Reads and executes a text as a template with the functions of this execution; Alertmanager's `routeLabels`.
    ///
    /// # Errors
    /// As [`Template::add`] and [`Template::execute`].
    pub fn expand(&self, name: &str, text: &str, data: &Value) -> Result<String, String> {
        let mut set = self.run.set.clone();
        set.add(name, text, self.run.functions).map_err(|error| error.to_string())?;
        let run = Run {
            set: &set,
            functions: self.run.functions,
            steps: self.run.steps.clone(),
            depth: self.run.depth.clone(),
            escaped: RefCell::new(BTreeMap::new()),
        };
        let done = run.execute(name, data).map_err(|error| error.to_string());
        self.run.steps.set(run.steps.get());
        done
    }

    /// Returns whether the output is HTML.
    #[must_use]
    pub fn is_html(&self) -> bool {
        self.run.set.is_html
    }
}

/// Why a list of nodes ended early.
enum Stop {
    Break,
    Continue,
    Error(TemplateError),
}

impl From<TemplateError> for Stop {
    fn from(error: TemplateError) -> Self {
        Self::Error(error)
    }
}

type Evaluated<T> = Result<T, TemplateError>;

impl Run<'_> {
    fn execute(&self, name: &str, data: &Value) -> Evaluated<String> {
        let Some(tree) = self.set.trees.get(name) else {
            let message = if self.set.is_html {
                format!("html/template: {} is undefined", quote(name))
            } else {
                format!("template: no template {} associated with template {}", quote(name), quote(name))
            };
            return Err(TemplateError::new(message));
        };
        let mut out = String::new();
        if self.set.is_html {
            let known = self.escaped.borrow().get(name).map(Arc::clone);
            let escaped = match known {
                Some(escaped) => escaped,
                None => {
                    let escaped = Arc::new(escape_tree(&self.set.trees, name)?);
                    self.escaped.borrow_mut().insert(name.to_owned(), Arc::clone(&escaped));
                    escaped
                }
            };
            self.frame(&escaped.root, &escaped.trees, data, &mut out)?;
        } else {
            self.frame(tree, &self.set.trees, data, &mut out)?;
        }
        Ok(out)
    }

    fn frame(&self, tree: &Tree, trees: &BTreeMap<String, Arc<Tree>>, data: &Value, out: &mut String) -> Evaluated<()> {
        let depth = self.depth.get();
        let limit = self.set.limits.depth;
        if depth > limit {
            return Err(TemplateError::new(format!("exceeded maximum template depth ({limit})")));
        }
        self.depth.set(depth + 1);
        let variables = vec![("$".to_owned(), data.clone())];
        let mut frame = Frame { run: self, tree, trees, variables, at: None };
        let done = match frame.nodes(&tree.root, data, out) {
            Ok(()) | Err(Stop::Break | Stop::Continue) => Ok(()),
            Err(Stop::Error(error)) => Err(error),
        };
        self.depth.set(depth);
        done
    }
}

/// One template being executed.
struct Frame<'r, 't> {
    run: &'r Run<'r>,
    tree: &'t Tree,
    trees: &'t BTreeMap<String, Arc<Tree>>,
    variables: Vec<(String, Value)>,
    /// The node that messages point at.
    at: Option<Place<'t>>,
}

impl<'t> Frame<'_, 't> {
    fn error<T>(&self, message: &str) -> Evaluated<T> {
        let text = match &self.at {
            None => format!("template: {}: {message}", self.tree.name),
            Some(place) => {
                let (line, byte) = self.tree.line_and_byte(place.at());
                let (source, name) = (&self.tree.source_name, quote(&self.tree.name));
                format!("template: {source}:{line}:{byte}: executing {name} at <{place}>: {message}")
            }
        };
        Err(TemplateError::new(text))
    }

    fn step(&self) -> Evaluated<()> {
        let steps = self.run.steps.get() + 1;
        self.run.steps.set(steps);
        if steps > self.run.set.limits.steps {
            return self.error(&format!("more than {} steps", self.run.set.limits.steps));
        }
        Ok(())
    }

    fn check_size(&self, bytes: usize) -> Evaluated<()> {
        let limit = self.run.set.limits.output_bytes;
        if bytes > limit { self.error(&format!("more than {limit} bytes of output")) } else { Ok(()) }
    }

    fn nodes(&mut self, nodes: &'t [Node], dot: &Value, out: &mut String) -> Result<(), Stop> {
        nodes.iter().try_for_each(|node| self.node(node, dot, out))
    }

    fn node(&mut self, node: &'t Node, dot: &Value, out: &mut String) -> Result<(), Stop> {
        self.step()?;
        self.at = Some(Place::Node(node));
        match &node.kind {
            NodeKind::Text(text) => {
                self.check_size(out.len() + text.len())?;
                out.push_str(text);
            }
            NodeKind::Action(pipe, escapers) => {
                let value = self.pipe(pipe, dot)?;
                if pipe.variables.is_empty() {
                    self.at = Some(Place::Node(node));
                    self.print(&value, escapers, out)?;
                }
            }
            NodeKind::If(branch) => self.condition(branch, dot, false, out)?,
            NodeKind::With(branch) => self.condition(branch, dot, true, out)?,
            NodeKind::Range(branch) => self.range(branch, dot, out)?,
            NodeKind::Template(name, pipe) => self.template(name, pipe.as_ref(), dot, out)?,
            NodeKind::Break => return Err(Stop::Break),
            NodeKind::Continue => return Err(Stop::Continue),
        }
        Ok(())
    }

    fn print(&self, value: &Value, escapers: &[html::Escaper], out: &mut String) -> Evaluated<()> {
        let limit = self.run.set.limits.output_bytes;
        if !escapers.is_empty() {
            let escaped = html::apply(escapers, value, limit).or_else(|message| self.error(&message))?;
            self.check_size(out.len() + escaped.len())?;
            out.push_str(&escaped);
        } else if matches!(value, Value::Nil) {
            self.check_size(out.len())?;
            out.push_str("<no value>");
        } else {
            let mut bounded = Bounded { out, limit };
            if write!(bounded, "{value}").is_err() {
                return self.check_size(limit + 1);
            }
        }
        Ok(())
    }

    fn condition(&mut self, branch: &'t Branch, dot: &Value, is_with: bool, out: &mut String) -> Result<(), Stop> {
        let visible = self.variables.len();
        let value = self.pipe(&branch.pipe, dot)?;
        let done = match (&branch.otherwise, value.is_true()) {
            (_, true) => self.nodes(&branch.body, if is_with { &value } else { dot }, out),
            (Some(otherwise), false) => self.nodes(otherwise, dot, out),
            (None, false) => Ok(()),
        };
        self.variables.truncate(visible);
        done
    }

    fn range(&mut self, branch: &'t Branch, dot: &Value, out: &mut String) -> Result<(), Stop> {
        let visible = self.variables.len();
        let value = self.pipe(&branch.pipe, dot)?;
        let pairs: Vec<(Value, Value)> = match value.plain() {
            Value::Nil => Vec::new(),
            Value::Int(count) => {
                let limit = i64::try_from(self.run.set.limits.steps).unwrap_or(i64::MAX);
                if count > limit {
                    return Err(self.fail(&format!("more than {limit} steps")));
                }
                (0..count).map(|i| (Value::Int(i), Value::Int(i))).collect()
            }
            plain => {
                let indexed = plain.items().map(|items| {
                    items.iter().enumerate().map(|(i, item)| (Value::Int(i as i64), item.clone())).collect::<Vec<_>>()
                });
                let keyed = || {
                    let entries = plain.entries()?;
                    Some(entries.iter().map(|(key, value)| (Value::string(key), value.clone())).collect())
                };
                match indexed.or_else(keyed) {
                    Some(pairs) => pairs,
                    None => return Err(self.fail(&format!("range can't iterate over {plain}"))),
                }
            }
        };
        if pairs.is_empty() {
            let done = branch.otherwise.as_ref().map_or(Ok(()), |otherwise| self.nodes(otherwise, dot, out));
            self.variables.truncate(visible);
            return done;
        }
        let inner = self.variables.len();
        for (key, element) in pairs {
            self.step()?;
            self.set_range_variables(&branch.pipe, &key, &element)?;
            let done = self.nodes(&branch.body, &element, out);
            self.variables.truncate(inner);
            match done {
                Ok(()) | Err(Stop::Continue) => {}
                Err(Stop::Break) => break,
                error => return error,
            }
        }
        self.variables.truncate(visible);
        Ok(())
    }

    fn fail(&self, message: &str) -> Stop {
        match self.error::<()>(message) {
            Err(error) => Stop::Error(error),
            Ok(()) => Stop::Error(TemplateError::new(message.to_owned())),
        }
    }

    /// Sets the variables of a range: with one it is the element, with two the index comes first.
    fn set_range_variables(&mut self, pipe: &Pipe, key: &Value, element: &Value) -> Evaluated<()> {
        let values: &[&Value] = if pipe.variables.len() > 1 { &[key, element] } else { &[element] };
        for (name, value) in pipe.variables.iter().zip(values) {
            self.set_variable(name, (*value).clone())?;
        }
        Ok(())
    }

    fn template(&mut self, name: &str, pipe: Option<&'t Pipe>, dot: &Value, out: &mut String) -> Result<(), Stop> {
        let Some(tree) = self.trees.get(name) else {
            return Err(self.fail(&format!("template {} not defined", quote(name))));
        };
        let limit = self.run.set.limits.depth;
        if self.run.depth.get() >= limit {
            return Err(self.fail(&format!("exceeded maximum template depth ({limit})")));
        }
        let data = match pipe {
            Some(pipe) => self.pipe(pipe, dot)?,
            None => Value::Nil,
        };
        self.run.frame(tree, self.trees, &data, out)?;
        Ok(())
    }

    fn pipe(&mut self, pipe: &'t Pipe, dot: &Value) -> Evaluated<Value> {
        self.at = Some(Place::Pipe(pipe));
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(command, dot, value.take())?);
        }
        let value = value.unwrap_or_default();
        for name in &pipe.variables {
            if pipe.is_assignment {
                self.set_variable(name, value.clone())?;
            } else {
                self.variables.push((name.clone(), value.clone()));
            }
        }
        Ok(value)
    }

    fn set_variable(&mut self, name: &str, value: Value) -> Evaluated<()> {
        match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            Some((_, place)) => *place = value,
            None => return self.error(&format!("undefined variable: {name}")),
        }
        Ok(())
    }

    fn variable(&self, name: &str) -> Evaluated<Value> {
        match self.variables.iter().rev().find(|(known, _)| known == name) {
            Some((_, value)) => Ok(value.clone()),
            None => self.error(&format!("undefined variable: {name}")),
        }
    }

    /// Evaluates a command; `last` is what came through the pipe.
    fn command(&mut self, command: &'t Command, dot: &Value, last: Option<Value>) -> Evaluated<Value> {
        let Some((first, rest)) = command.args.split_first() else { return Ok(Value::Nil) };
        match &first.kind {
            ArgKind::Field(_) | ArgKind::Chain(..) | ArgKind::Variable(_) => self.chain(first, rest, dot, last.as_ref()),
            ArgKind::Identifier(name) => {
                self.at = Some(Place::Arg(first));
                self.function(name, Place::Command(command), rest, dot, last)
            }
            ArgKind::Pipe(pipe) => {
                self.refuse_arguments(first, rest, last.as_ref())?;
                self.pipe(pipe, dot)
            }
            _ => {
                self.at = Some(Place::Arg(first));
                self.refuse_arguments(first, rest, last.as_ref())?;
                match &first.kind {
                    ArgKind::Nil => self.error("nil is not a command"),
                    _ => self.constant(first, dot),
                }
            }
        }
    }

    fn refuse_arguments(&self, first: &Arg, rest: &[Arg], last: Option<&Value>) -> Evaluated<()> {
        if rest.is_empty() && last.is_none() {
            return Ok(());
        }
        self.error(&format!("can't give argument to non-function {first}"))
    }

    /// Evaluates a word that is a value by itself, where any type will do.
    fn constant(&self, arg: &'t Arg, dot: &Value) -> Evaluated<Value> {
        match &arg.kind {
            ArgKind::Dot => Ok(dot.clone()),
            ArgKind::Bool(value) => Ok(Value::Bool(*value)),
            ArgKind::String(_, text) => Ok(Value::String(Arc::clone(text))),
            ArgKind::Number(number) => Ok(ideal(number)),
            ArgKind::Nil => Ok(Value::Nil),
            _ => self.error(&format!("can't evaluate command {}", quote(&arg.to_string()))),
        }
    }

    /// Evaluates `.a.b`, `$x.a.b` or `(pipe).a.b`; the last name may be a method and then gets the arguments.
    fn chain(&mut self, arg: &'t Arg, rest: &'t [Arg], dot: &Value, last: Option<&Value>) -> Evaluated<Value> {
        self.at = Some(Place::Arg(arg));
        let (mut receiver, names) = match &arg.kind {
            ArgKind::Field(names) => (dot.clone(), names.as_slice()),
            ArgKind::Variable(names) => {
                let Some((name, fields)) = names.split_first() else { return Ok(Value::Nil) };
                (self.variable(name)?, fields)
            }
            ArgKind::Chain(base, names) => {
                if matches!(base.kind, ArgKind::Nil) {
                    return self.error(&format!("indirection through explicit nil in {arg}"));
                }
                (self.argument("any", base, dot)?, names.as_slice())
            }
            _ => (Value::Nil, &[][..]),
        };
        let Some((final_name, inner)) = names.split_last() else {
            if !rest.is_empty() || last.is_some() {
                return self.error(&format!("can't give argument to non-function {arg}"));
            }
            return Ok(receiver);
        };
        for name in inner {
            receiver = self.field(&receiver, name, Place::Arg(arg), &[], dot, None)?;
        }
        self.field(&receiver, final_name, Place::Arg(arg), rest, dot, last)
    }

    fn field(
        &mut self,
        receiver: &Value,
        name: &str,
        place: Place<'t>,
        rest: &'t [Arg],
        dot: &Value,
        last: Option<&Value>,
    ) -> Evaluated<Value> {
        self.step()?;
        let has_arguments = !rest.is_empty() || last.is_some();
        if matches!(receiver, Value::Nil) {
            if self.run.set.missing_key == MissingKey::Error {
                return self.error(&format!("nil data; no entry for key {}", quote(name)));
            }
            return Ok(Value::Nil);
        }
        if let Some(value) = self.method(receiver, name, place, rest, dot, last)? {
            return Ok(value);
        }
        match receiver.plain() {
            Value::Struct(structure) => {
                if let Some(value) = structure.get(name) {
                    if has_arguments {
                        return self.error(&format!("{name} has arguments but cannot be invoked as function"));
                    }
                    return Ok(value.clone());
                }
            }
            Value::Map(map) => {
                if has_arguments {
                    return self.error(&format!("{name} is not a method but has arguments"));
                }
                return match (map.get(name), self.run.set.missing_key) {
                    (Some(value), _) => Ok(value.clone()),
                    (None, MissingKey::Zero) => Ok(map.zero()),
                    (None, MissingKey::Default) => Ok(Value::Nil),
                    (None, MissingKey::Error) => self.error(&format!("map has no entry for key {}", quote(name))),
                };
            }
            _ => {}
        }
        self.error(&format!("can't evaluate field {name} in type {}", receiver.type_name()))
    }

    /// Calls a method; `None` where the value has none of that name. Arguments are evaluated only when there may be one.
    fn method(
        &mut self,
        receiver: &Value,
        name: &str,
        place: Place<'t>,
        rest: &'t [Arg],
        dot: &Value,
        last: Option<&Value>,
    ) -> Evaluated<Option<Value>> {
        if !matches!(receiver, Value::Object(_) | Value::Time(_) | Value::Duration(_)) {
            return Ok(None);
        }
        let mut args = Vec::with_capacity(rest.len() + 1);
        for arg in rest {
            args.push(self.argument("any", arg, dot)?);
        }
        args.extend(last.cloned());
        let called = match receiver {
            Value::Object(object) => object.call(name, &args),
            Value::Time(at) => at.call(name, &args),
            Value::Duration(nanoseconds) => time::call_duration(*nanoseconds, name, &args),
            _ => None,
        };
        match called {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(message)) => {
                self.at = Some(place);
                self.error(&format!("error calling {name}: {message}"))
            }
        }
    }

    fn function(&mut self, name: &str, place: Place<'t>, rest: &'t [Arg], dot: &Value, last: Option<Value>) -> Evaluated<Value> {
        self.step()?;
        let own = self.run.functions.signature(name);
        let Some(signature) = own.or_else(|| builtin::signature(name)) else {
            return self.error(&format!("{} is not a defined function", quote(name)));
        };
        self.check_count(name, signature, rest.len(), last.is_some())?;
        if own.is_none() && matches!(name, "and" | "or") {
            return self.and_or(name == "or", rest, dot, last);
        }
        let mut args = Vec::with_capacity(rest.len() + 1);
        for (i, arg) in rest.iter().enumerate() {
            args.push(self.argument(param(signature, i), arg, dot)?);
        }
        if let Some(value) = last {
            args.push(self.fitting(value, param(signature, rest.len()))?);
        }
        let called = if own.is_some() {
            self.run.functions.call(name, &args, &Scope { run: self.run })
        } else {
            builtin::call(name, &args, self.run.set.limits.output_bytes)
        };
        match called {
            Ok(value) => {
                if let Some(text) = value.as_text() {
                    self.check_size(text.len())?;
                }
                Ok(value)
            }
            Err(message) => {
                self.at = Some(place);
                self.error(&format!("error calling {name}: {message}"))
            }
        }
    }

    fn check_count(&self, name: &str, signature: Signature, given: usize, has_last: bool) -> Evaluated<()> {
        let total = given + usize::from(has_last);
        let wanted = signature.params.len();
        if signature.variadic && total + 1 < wanted {
            return self.error(&format!("wrong number of args for {name}: want at least {} got {given}", wanted - 1));
        }
        if !signature.variadic && total != wanted {
            return self.error(&format!("wrong number of args for {name}: want {wanted} got {total}"));
        }
        Ok(())
    }

    /// `and` and `or` stop at the first argument that decides.
    fn and_or(&mut self, is_or: bool, rest: &'t [Arg], dot: &Value, last: Option<Value>) -> Evaluated<Value> {
        let mut value = Value::Nil;
        for arg in rest {
            value = self.argument("any", arg, dot)?;
            if value.is_true() == is_or {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    /// Evaluates an argument for a parameter of that type.
    fn argument(&mut self, wanted: &str, arg: &'t Arg, dot: &Value) -> Evaluated<Value> {
        self.at = Some(Place::Arg(arg));
        match &arg.kind {
            ArgKind::Dot => self.fitting(dot.clone(), wanted),
            ArgKind::Nil if can_be_nil(wanted) => Ok(Value::Nil),
            ArgKind::Nil => self.error(&format!("cannot assign nil to {wanted}")),
            ArgKind::Field(_) | ArgKind::Variable(_) | ArgKind::Chain(..) => {
                let value = self.chain(arg, &[], dot, None)?;
                self.fitting(value, wanted)
            }
            ArgKind::Pipe(pipe) => {
                let value = self.pipe(pipe, dot)?;
                self.fitting(value, wanted)
            }
            ArgKind::Identifier(name) => {
                let value = self.function(name, Place::Arg(arg), &[], dot, None)?;
                self.fitting(value, wanted)
            }
            kind => match (wanted, kind) {
                ("any", _) => self.constant(arg, dot),
                ("bool", ArgKind::Bool(value)) => Ok(Value::Bool(*value)),
                ("bool", _) => self.error(&format!("expected bool; found {arg}")),
                ("string", ArgKind::String(_, text)) => Ok(Value::String(Arc::clone(text))),
                ("string", _) => self.error(&format!("expected string; found {arg}")),
                ("int", ArgKind::Number(Number { int: Some(value), .. })) => Ok(Value::Int(*value)),
                ("int", _) => self.error(&format!("expected integer; found {arg}")),
                ("time.Duration", ArgKind::Number(Number { int: Some(value), .. })) => Ok(Value::Duration(*value)),
                ("float64", ArgKind::Number(Number { float: Some(value), .. })) => Ok(Value::Float(*value)),
                ("float64", _) => self.error(&format!("expected float; found {arg}")),
                _ => self.error(&format!("can't handle {arg} for arg of type {wanted}")),
            },
        }
    }

    /// Checks that a value is of the type that a parameter wants.
    fn fitting(&self, value: Value, wanted: &str) -> Evaluated<Value> {
        match &value {
            _ if wanted == "any" => Ok(value),
            Value::Nil if can_be_nil(wanted) => Ok(value),
            Value::Nil => self.error(&format!("invalid value; expected {wanted}")),
            _ if value.type_name() == wanted => Ok(value),
            _ => self.error(&format!("wrong type for value; expected {wanted}; got {}", value.type_name())),
        }
    }
}

fn ideal(number: &Number) -> Value {
    match (number.int, number.float) {
        (Some(value), _) if number.prefers_int => Value::Int(value),
        (_, Some(value)) => Value::Float(value),
        (int, None) => Value::Int(int.unwrap_or(0)),
    }
}

fn param(signature: Signature, place: usize) -> &'static str {
    let last = signature.params.len().saturating_sub(1);
    signature.params.get(place.min(last)).copied().unwrap_or("any")
}

fn can_be_nil(wanted: &str) -> bool {
    wanted == "any" || wanted.starts_with("[]") || wanted.starts_with("map[") || wanted.starts_with('*')
}

/// Writes to a string, up to a length.
struct Bounded<'o> {
    out: &'o mut String,
    limit: usize,
}

impl std::fmt::Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.out.len() + text.len() > self.limit {
            return Err(std::fmt::Error);
        }
        self.out.push_str(text);
        Ok(())
    }
}

/// Prints a value into a string of at most `limit` bytes.
pub(super) fn bounded_text(value: &Value, limit: usize) -> Result<String, String> {
    let mut out = String::new();
    let mut bounded = Bounded { out: &mut out, limit };
    write!(bounded, "{value}").map_err(|_| format!("more than {limit} bytes of output"))?;
    Ok(out)
}
