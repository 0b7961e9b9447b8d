//! The syntax tree of a template. Every node knows its place and prints as Go prints it in messages.

use super::html::Escaper;
use crate::model::number::quote;
use std::fmt;
use std::sync::Arc;

/// One defined template: its name, the text it was read from, its nodes.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) name: String,
    /// The name of the text it stands in, for messages.
    pub(super) source_name: String,
    pub(super) source: Arc<str>,
    pub(super) root: Vec<Node>,
}

impl Tree {
    /// Returns whether there is nothing in it but space, comments and definitions.
    pub(super) fn is_empty(&self) -> bool {
        self.root.iter().all(|node| matches!(&node.kind, NodeKind::Text(text) if text.trim().is_empty()))
    }

    /// Returns line (from 1) and byte within the line (from 0) of a position.
    pub(super) fn line_and_byte(&self, at: usize) -> (usize, usize) {
        let before = self.source.get(..at).unwrap_or(&self.source);
        let line = 1 + before.bytes().filter(|b| *b == b'\n').count();
        (line, before.rfind('\n').map_or(at, |newline| at - newline - 1))
    }
}

/// A node with its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: usize,
    pub(super) kind: NodeKind,
}

#[derive(Clone, Debug)]
pub(super) enum NodeKind {
    Text(String),
    /// `{{pipeline}}`; the escapers are what html/template adds.
    Action(Pipe, Vec<Escaper>),
    If(Branch),
    Range(Branch),
    With(Branch),
    /// `{{template "name" pipeline}}`; for HTML the name of the variant for this context.
    Template(String, Option<Pipe>),
    Break,
    Continue,
}

/// A condition or range with its two bodies.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub(super) pipe: Pipe,
    pub(super) body: Vec<Node>,
    pub(super) otherwise: Option<Vec<Node>>,
}

/// `$x, $y := command | command`.
#[derive(Clone, Debug)]
pub(super) struct Pipe {
    pub(super) at: usize,
    /// `=` and not `:=`.
    pub(super) is_assignment: bool,
    /// Variables with the dollar sign.
    pub(super) variables: Vec<String>,
    pub(super) commands: Vec<Command>,
}

/// A function or value with its arguments; there is at least one.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) at: usize,
    pub(super) args: Vec<Arg>,
}

/// A word of a command.
#[derive(Clone, Debug)]
pub(super) struct Arg {
    pub(super) at: usize,
    pub(super) kind: ArgKind,
}

#[derive(Clone, Debug)]
pub(super) enum ArgKind {
    Dot,
    Nil,
    Bool(bool),
    Number(Number),
    /// As written, and unquoted.
    String(String, Arc<str>),
    /// `.a.b`
    Field(Vec<String>),
    /// `$x.a`: the variable first.
    Variable(Vec<String>),
    Identifier(String),
    /// `(pipeline).a.b`
    Chain(Box<Arg>, Vec<String>),
    Pipe(Pipe),
}

/// A constant, which may serve as different types.
#[derive(Clone, Debug)]
pub(super) struct Number {
    pub(super) text: String,
    pub(super) int: Option<i64>,
    pub(super) float: Option<f64>,
    /// Written as a character constant, hexadecimal or without a point: an int when nothing else is asked.
    pub(super) prefers_int: bool,
}

/// A node that an error message can point at.
#[derive(Clone, Copy)]
pub(super) enum Place<'t> {
    Node(&'t Node),
    Pipe(&'t Pipe),
    Command(&'t Command),
    Arg(&'t Arg),
}

impl Place<'_> {
    pub(super) fn at(&self) -> usize {
        match self {
            Self::Node(node) => node.at,
            Self::Pipe(pipe) => pipe.at,
            Self::Command(command) => command.at,
            Self::Arg(arg) => arg.at,
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => fmt::Display::fmt(node, f),
            Self::Pipe(pipe) => fmt::Display::fmt(pipe, f),
            Self::Command(command) => fmt::Display::fmt(command, f),
            Self::Arg(arg) => fmt::Display::fmt(arg, f),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let branch = |f: &mut fmt::Formatter<'_>, word: &str, branch: &Branch| {
            write!(f, "{{{{{word} {}}}}}", branch.pipe)?;
            branch.body.iter().try_for_each(|node| fmt::Display::fmt(node, f))?;
            if let Some(otherwise) = &branch.otherwise {
                f.write_str("{{else}}")?;
                otherwise.iter().try_for_each(|node| fmt::Display::fmt(node, f))?;
            }
            f.write_str("{{end}}")
        };
        match &self.kind {
            NodeKind::Text(text) => f.write_str(text),
            NodeKind::Action(pipe, _) => write!(f, "{{{{{pipe}}}}}"),
            NodeKind::If(found) => branch(f, "if", found),
            NodeKind::Range(found) => branch(f, "range", found),
            NodeKind::With(found) => branch(f, "with", found),
            NodeKind::Template(name, None) => write!(f, "{{{{template {}}}}}", quote(name)),
            NodeKind::Template(name, Some(pipe)) => write!(f, "{{{{template {} {pipe}}}}}", quote(name)),
            NodeKind::Break => f.write_str("{{break}}"),
            NodeKind::Continue => f.write_str("{{continue}}"),
        }
    }
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            let sign = if self.is_assignment { "=" } else { ":=" };
            write!(f, "{} {sign} ", self.variables.join(", "))?;
        }
        for (i, command) in self.commands.iter().enumerate() {
            write!(f, "{}{command}", if i == 0 { "" } else { " | " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, arg) in self.args.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { " " })?;
            match &arg.kind {
                ArgKind::Pipe(pipe) => write!(f, "({pipe})")?,
                _ => write!(f, "{arg}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ArgKind::Dot => f.write_str("."),
            ArgKind::Nil => f.write_str("nil"),
            ArgKind::Bool(value) => write!(f, "{value}"),
            ArgKind::Number(number) => f.write_str(&number.text),
            ArgKind::String(written, _) => f.write_str(written),
            ArgKind::Field(names) => names.iter().try_for_each(|name| write!(f, ".{name}")),
            ArgKind::Variable(names) => f.write_str(&names.join(".")),
            ArgKind::Identifier(name) => f.write_str(name),
            ArgKind::Chain(base, names) => {
                match &base.kind {
                    ArgKind::Pipe(pipe) => write!(f, "({pipe})")?,
                    _ => write!(f, "{base}")?,
                }
                names.iter().try_for_each(|name| write!(f, ".{name}"))
            }
            ArgKind::Pipe(pipe) => fmt::Display::fmt(pipe, f),
        }
    }
}
