//! Walks trees, following the place in the document, and gives each action the escapers of its place.
//!
//! A template that is called from different places is kept once for each of them, as in Go. Branches must end at the same
//! place, and a document must end in plain text.

use super::Escaper;
use super::context::{Context, Delimiter, Slash, State, UrlPart};
use super::transition;
use crate::model::number::quote;
use crate::template::TemplateError;
use crate::template::tree::{Arg, ArgKind, Branch, Node, NodeKind, Pipe, Tree};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Trees whose actions have their escapers.
pub(in crate::template) struct Escaped {
    /// The template that was asked for.
    pub(in crate::template) root: Arc<Tree>,
    /// The templates that it calls, by names that tell the place too.
    pub(in crate::template) trees: BTreeMap<String, Arc<Tree>>,
}

/// Gives the actions of a template, and of those that it calls, their escapers.
pub(in crate::template) fn escape_tree(trees: &BTreeMap<String, Arc<Tree>>, name: &str) -> Result<Escaped, TemplateError> {
    let mut walker = Walker { trees, done: BTreeMap::new(), out: BTreeMap::new(), loops: Vec::new() };
    let end = walker.template(name, Context::default())?;
    let root = walker.out.get(&variant(name, Context::default())).map(Arc::clone);
    let Some(root) = root else { return Err(TemplateError::new(format!("html/template: {} is undefined", quote(name)))) };
    if end.state != State::Text {
        return Err(TemplateError::new(format!("html/template:{name}: ends in a non-text context: {end:?}")));
    }
    Ok(Escaped { root, trees: walker.out })
}

/// Returns the name of a template as it is called from a place.
fn variant(name: &str, at: Context) -> String {
    if at == Context::default() { name.to_owned() } else { format!("{name}$htmltemplate_{at:?}") }
}

/// How deep templates may call each other while their places are found.
const DEPTH_MAX: usize = 100;

struct Walker<'t> {
    trees: &'t BTreeMap<String, Arc<Tree>>,
    /// Name and place of the call -> place behind it.
    done: BTreeMap<(String, Context), Context>,
    out: BTreeMap<String, Arc<Tree>>,
    /// Where the loops around the present node begin.
    loops: Vec<Context>,
}

/// What is written down while walking one tree.
struct Writer<'t> {
    tree: &'t Tree,
    depth: usize,
}

impl Writer<'_> {
    fn error<T>(&self, at: usize, message: &str) -> Result<T, TemplateError> {
        let (line, _) = self.tree.line_and_byte(at);
        Err(TemplateError::new(format!("html/template:{}:{line}: {message}", self.tree.name)))
    }
}

impl Walker<'_> {
    fn template(&mut self, name: &str, at: Context) -> Result<Context, TemplateError> {
        self.template_at(name, at, 0)
    }

    fn template_at(&mut self, name: &str, at: Context, depth: usize) -> Result<Context, TemplateError> {
        let key = (name.to_owned(), at);
        if let Some(end) = self.done.get(&key) {
            return Ok(*end);
        }
        // An unknown template is an error only when it is executed.
        let Some(tree) = self.trees.get(name).map(Arc::clone) else { return Ok(at) };
        let writer = Writer { tree: &tree, depth };
        if depth > DEPTH_MAX {
            return writer.error(0, "templates call each other too deep");
        }
        // A template that calls itself is first taken to end where it began.
        let mut assumed = at;
        for _ in 0..2 {
            self.done.insert(key.clone(), assumed);
            let (root, end) = self.nodes(&writer, &tree.root, at)?;
            if end == assumed || !calls(&root, &variant(name, at)) {
                self.done.insert(key, end);
                let root = Tree {
                    name: tree.name.clone(),
                    source_name: tree.source_name.clone(),
                    source: Arc::clone(&tree.source),
                    root,
                };
                self.out.insert(variant(name, at), Arc::new(root));
                return Ok(end);
            }
            assumed = end;
        }
        writer.error(0, &format!("cannot compute output context for template {name}"))
    }

    fn nodes(&mut self, writer: &Writer<'_>, nodes: &[Node], mut at: Context) -> Result<(Vec<Node>, Context), TemplateError> {
        let mut out = Vec::with_capacity(nodes.len());
        for node in nodes {
            let (kind, next) = self.node(writer, node, at)?;
            out.push(Node { at: node.at, kind });
            at = next;
        }
        Ok((out, at))
    }

    fn node(&mut self, writer: &Writer<'_>, node: &Node, at: Context) -> Result<(NodeKind, Context), TemplateError> {
        match &node.kind {
            NodeKind::Text(text) => {
                let (text, next) = text_node(text, at).or_else(|message| writer.error(node.at, &message))?;
                Ok((NodeKind::Text(text), next))
            }
            NodeKind::Action(pipe, _) if !pipe.variables.is_empty() => Ok((node.kind.clone(), at)),
            NodeKind::Action(pipe, _) => {
                let (escapers, next) = action(pipe, at).or_else(|message| writer.error(node.at, &message))?;
                Ok((NodeKind::Action(without_own_escaper(pipe, &escapers), escapers), next))
            }
            NodeKind::If(branch) => {
                let (branch, next) = self.branch(writer, node, branch, at, "if")?;
                Ok((NodeKind::If(branch), next))
            }
            NodeKind::With(branch) => {
                let (branch, next) = self.branch(writer, node, branch, at, "with")?;
                Ok((NodeKind::With(branch), next))
            }
            NodeKind::Range(branch) => {
                let (branch, next) = self.branch(writer, node, branch, at, "range")?;
                Ok((NodeKind::Range(branch), next))
            }
            NodeKind::Template(name, pipe) => {
                let next = self.template_at(name, at, writer.depth + 1)?;
                let known = self.trees.contains_key(name);
                let called = if known { variant(name, at) } else { name.clone() };
                Ok((NodeKind::Template(called, pipe.clone()), next))
            }
            NodeKind::Break | NodeKind::Continue => {
                // The next round, and what follows the loop, begin here as well.
                match self.loops.last() {
                    Some(start) if start.joined(at).is_none() => {
                        writer.error(node.at, &format!("at range loop {node}: different contexts: {start:?}, {at:?}"))
                    }
                    _ => Ok((node.kind.clone(), at)),
                }
            }
        }
    }

    fn branch(
        &mut self,
        writer: &Writer<'_>,
        node: &Node,
        branch: &Branch,
        at: Context,
        word: &str,
    ) -> Result<(Branch, Context), TemplateError> {
        self.loops.extend((word == "range").then_some(at));
        let (mut body, mut end) = self.nodes(writer, &branch.body, at)?;
        if word == "range" {
            // The body may come again behind itself.
            let Some(again) = at.joined(end) else {
                return writer.error(
                    node.at,
                    &format!("on range loop re-entry: {{{{range}}}} branches end in different contexts: {at:?}, {end:?}"),
                );
            };
            (body, end) = self.nodes(writer, &branch.body, again)?;
            self.loops.pop();
        }
        let (otherwise, other_end) = match &branch.otherwise {
            Some(nodes) => {
                let (nodes, end) = self.nodes(writer, nodes, at)?;
                (Some(nodes), end)
            }
            None => (None, at),
        };
        let Some(next) = end.joined(other_end) else {
            return writer.error(node.at, &format!("{{{{{word}}}}} branches end in different contexts: {end:?}, {other_end:?}"));
        };
        Ok((Branch { pipe: branch.pipe.clone(), body, otherwise }, next))
    }
}

/// Returns whether nodes call a template.
fn calls(nodes: &[Node], name: &str) -> bool {
    nodes.iter().any(|node| match &node.kind {
        NodeKind::Template(called, _) => called == name,
        NodeKind::If(branch) | NodeKind::With(branch) | NodeKind::Range(branch) => {
            calls(&branch.body, name) || branch.otherwise.as_ref().is_some_and(|nodes| calls(nodes, name))
        }
        _ => false,
    })
}

/// Follows a text; leaves comments out, and writes a lone `<` as what it means.
fn text_node(text: &str, mut at: Context) -> Result<(String, Context), String> {
    let bytes = text.as_bytes();
    let mut out: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut place = 0;
    while place < bytes.len() {
        let (next, taken) = transition::step(at, &bytes[place..])?;
        if taken == 0 && next == at {
            return Err(format!("cannot follow {}", quote(text)));
        }
        let piece = &bytes[place..place + taken];
        let hidden = at.state.is_comment() && at.delimiter == Delimiter::None;
        let enters_comment = next.state != at.state && next.state.is_comment() && next.delimiter == Delimiter::None;
        let comment_mark = if next.state == State::Comment { 4 } else { 2 };
        let shown = if enters_comment { &piece[..piece.len().saturating_sub(comment_mark)] } else { piece };
        if hidden {
            // What separates words goes on separating them.
            if next.state != at.state && at.state != State::Comment {
                out.push(b' ');
            }
        } else if matches!(at.state, State::Text | State::Rcdata) {
            // The last `<` begins the tag that the text ends in.
            let tag = (next.state != at.state && !enters_comment).then(|| shown.iter().rposition(|byte| *byte == b'<')).flatten();
            push_text(&mut out, shown, tag.unwrap_or(shown.len()));
        } else {
            out.extend_from_slice(shown);
        }
        place += taken;
        at = next;
    }
    Ok((String::from_utf8_lossy(&out).into_owned(), at))
}

fn push_text(out: &mut Vec<u8>, text: &[u8], until: usize) {
    for (place, byte) in text.iter().enumerate() {
        let is_doctype = || text.get(place..place + 9).is_some_and(|here| here.eq_ignore_ascii_case(b"<!DOCTYPE"));
        if *byte == b'<' && place < until && !is_doctype() {
            out.extend_from_slice(b"&lt;");
        } else {
            out.push(*byte);
        }
    }
}

/// Returns the escapers of an action at a place, and the place behind it.
fn action(pipe: &Pipe, at: Context) -> Result<(Vec<Escaper>, Context), String> {
    let mut at = at.nudged();
    let mut escapers = Vec::new();
    match at.state {
        State::Url | State::CssDouble | State::CssSingle | State::CssDoubleUrl | State::CssSingleUrl | State::CssUrl => {
            let is_css_text = matches!(at.state, State::CssDouble | State::CssSingle);
            match at.url {
                UrlPart::None => {
                    escapers.push(Escaper::UrlFilter);
                    escapers.push(if is_css_text { Escaper::CssString } else { Escaper::UrlNormalize });
                }
                UrlPart::PreQuery => escapers.push(if is_css_text { Escaper::CssString } else { Escaper::UrlNormalize }),
                UrlPart::QueryOrFragment => escapers.push(Escaper::UrlEscape),
                UrlPart::Unknown => return Err(format!("{{{{{pipe}}}}} appears in an ambiguous context within a URL")),
            }
        }
        State::Js => {
            escapers.push(Escaper::JsValue);
            at.slash = Slash::Division;
        }
        State::JsDouble | State::JsSingle => escapers.push(Escaper::JsString),
        State::JsTemplate => escapers.push(Escaper::JsTemplate),
        State::JsRegexp => escapers.push(Escaper::JsRegexp),
        State::Css => escapers.push(Escaper::CssValue),
        State::Text => escapers.push(Escaper::Html),
        State::Rcdata => escapers.push(Escaper::Rcdata),
        State::Srcset => escapers.push(Escaper::Srcset),
        State::AttributeName => escapers.push(Escaper::HtmlName),
        State::Value | State::Tag | State::AfterName | State::BeforeValue => {}
        State::Comment | State::JsBlockComment | State::JsLineComment | State::CssBlockComment => escapers.push(Escaper::Comment),
    }
    match at.delimiter {
        Delimiter::None => {}
        Delimiter::SpaceOrTagEnd => escapers.push(Escaper::Unquoted),
        Delimiter::Double | Delimiter::Single => escapers.push(Escaper::Attribute),
    }
    Ok((escapers, at))
}

/// Drops a trailing `| html` or `| urlquery` that says what the place asks for anyway, so that nothing is escaped twice.
fn without_own_escaper(pipe: &Pipe, escapers: &[Escaper]) -> Pipe {
    let mut pipe = pipe.clone();
    let Some(Arg { kind: ArgKind::Identifier(name), .. }) = pipe.commands.last().and_then(|command| command.args.first()) else {
        return pipe;
    };
    let is_same = |escaper: &Escaper| match name.as_str() {
        "html" => matches!(escaper, Escaper::Html | Escaper::Attribute | Escaper::Unquoted | Escaper::Rcdata),
        "urlquery" => matches!(escaper, Escaper::UrlEscape | Escaper::UrlNormalize),
        _ => false,
    };
    if !escapers.iter().any(is_same) {
        return pipe;
    }
    let has_arguments = pipe.commands.last().is_some_and(|command| command.args.len() > 1);
    if pipe.commands.len() > 1 && !has_arguments {
        pipe.commands.pop();
    } else if let Some(Arg { kind: ArgKind::Identifier(name), .. }) =
        pipe.commands.last_mut().and_then(|command| command.args.first_mut())
    {
        "print".clone_into(name);
    }
    pipe
}
