//! Tokens to a tree, after Go's `text/template/parse`, with its messages.

use super::lex::{Kind, Place, Token, lex};
use super::tree::{Arg, ArgKind, Branch, Command, Node, NodeKind, Number, Pipe, Tree};
use super::{TemplateError, literal};
use crate::model::number::quote;
use std::sync::Arc;

/// How deep blocks and parentheses may lie within each other.
const DEPTH_MAX: usize = 60;

/// Reads one text: the trees it defines, the text's own tree (named `name`) last.
pub(super) fn parse(name: &str, text: &str, is_function: &dyn Fn(&str) -> bool) -> Result<Vec<Tree>, TemplateError> {
    let mut parser = Parser {
        name,
        source: Arc::from(text),
        tokens: lex(text),
        next: 0,
        variables: vec!["$".to_owned()],
        range_depth: 0,
        depth: 0,
        action_line: 0,
        is_function,
        trees: Vec::new(),
    };
    let root = parser.top()?;
    let tree = parser.tree(name.to_owned(), root);
    parser.add(tree)?;
    Ok(parser.trees)
}

/// What ends a list of nodes.
enum End {
    End,
    /// `{{else}}`, or `{{else if` and `{{else with` up to the keyword.
    Else,
}

struct Parser<'a> {
    name: &'a str,
    source: Arc<str>,
    tokens: Vec<Token>,
    next: usize,
    variables: Vec<String>,
    range_depth: usize,
    depth: usize,
    action_line: usize,
    is_function: &'a dyn Fn(&str) -> bool,
    trees: Vec<Tree>,
}

type Parsed<T> = Result<T, TemplateError>;

impl Parser<'_> {
    fn peek(&self) -> &Token {
        // The last token is the end or an error and is never passed.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    fn skip_space(&mut self) {
        while self.peek().kind == Kind::Space {
            self.next += 1;
        }
    }

    fn peek_word(&mut self) -> &Token {
        self.skip_space();
        self.peek()
    }

    fn take_word(&mut self) -> Token {
        self.skip_space();
        self.take()
    }

    fn error_at<T>(&self, place: Place, message: &str) -> Parsed<T> {
        Err(TemplateError::at(format!("template: {}:{}: ", self.name, place.line), message, place.at))
    }

    fn unexpected<T>(&self, token: &Token, context: &str) -> Parsed<T> {
        if token.kind != Kind::Error {
            return self.error_at(token.place(), &format!("unexpected {} in {context}", token.shown()));
        }
        let mut extra = String::new();
        if self.action_line != 0 && self.action_line != token.line {
            let words = if token.text.ends_with(" action") { " started" } else { " in action started" };
            extra = format!("{words} at {}:{}", self.name, self.action_line);
        }
        self.error_at(token.place(), &format!("{}{extra}", token.text))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Parsed<Token> {
        let token = self.take_word();
        if token.kind == kind { Ok(token) } else { self.unexpected(&token, context) }
    }

    fn tree(&self, name: String, root: Vec<Node>) -> Tree {
        Tree { name, source_name: self.name.to_owned(), source: Arc::clone(&self.source), root }
    }

    fn add(&mut self, tree: Tree) -> Parsed<()> {
        let known = self.trees.iter().position(|known| known.name == tree.name);
        match known {
            Some(at) if self.trees[at].is_empty() => self.trees[at] = tree,
            Some(_) if !tree.is_empty() => {
                let message = format!("template: multiple definition of template {}", quote(&tree.name));
                return self.error_at(self.peek().place(), &message);
            }
            Some(_) => {}
            None => self.trees.push(tree),
        }
        Ok(())
    }

    fn enter(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return self.error_at(self.peek().place(), &format!("nested more than {DEPTH_MAX} deep"));
        }
        Ok(())
    }

    fn top(&mut self) -> Parsed<Vec<Node>> {
        let mut nodes = Vec::new();
        while self.peek().kind != Kind::Eof {
            if self.peek().kind == Kind::Left {
                let start = self.next;
                self.take();
                let word = self.take_word();
                if word.kind == Kind::Keyword && word.text == "define" {
                    self.definition()?;
                    continue;
                }
                self.next = start;
            }
            let place = self.peek().place();
            match self.text_or_action()? {
                Ok(node) => nodes.push(node),
                Err(End::End) => return self.error_at(place, "unexpected {{end}}"),
                Err(End::Else) => return self.error_at(place, "unexpected {{else}}"),
            }
        }
        Ok(nodes)
    }

    fn definition(&mut self) -> Parsed<()> {
        let context = "define clause";
        let name = self.template_name(context)?;
        self.expect(Kind::Right, context)?;
        let body = self.scoped_body(context)?;
        let tree = self.tree(name, body);
        self.add(tree)
    }

    /// Reads the body of a definition, which sees no variables but `$`.
    fn scoped_body(&mut self, context: &str) -> Parsed<Vec<Node>> {
        let outer = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let range_depth = std::mem::take(&mut self.range_depth);
        self.enter()?;
        let (body, end) = self.nodes()?;
        self.depth -= 1;
        self.variables = outer;
        self.range_depth = range_depth;
        match end {
            End::End => Ok(body),
            End::Else => self.error_at(self.peek().place(), &format!("unexpected {{{{else}}}} in {context}")),
        }
    }

    fn template_name(&mut self, context: &str) -> Parsed<String> {
        let token = self.take_word();
        if !matches!(token.kind, Kind::String | Kind::RawString) {
            return self.unexpected(&token, context);
        }
        self.unquote(&token).map(|name| name.to_string())
    }

    fn unquote(&self, token: &Token) -> Parsed<Arc<str>> {
        literal::unquote(&token.text).map_or_else(|| self.error_at(token.place(), "invalid syntax"), Ok)
    }

    /// Reads nodes up to `{{end}}` or `{{else}}`.
    fn nodes(&mut self) -> Parsed<(Vec<Node>, End)> {
        let mut nodes = Vec::new();
        while self.peek().kind != Kind::Eof {
            match self.text_or_action()? {
                Ok(node) => nodes.push(node),
                Err(end) => return Ok((nodes, end)),
            }
        }
        self.error_at(self.peek().place(), "unexpected EOF")
    }

    fn text_or_action(&mut self) -> Parsed<Result<Node, End>> {
        let token = self.take_word();
        match token.kind {
            Kind::Text => Ok(Ok(Node { at: token.at, kind: NodeKind::Text(token.text) })),
            Kind::Left => {
                self.action_line = token.line;
                let action = self.action()?;
                self.action_line = 0;
                Ok(action)
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Parsed<Result<Node, End>> {
        let token = self.peek_word().clone();
        if token.kind != Kind::Keyword {
            let pipe = self.pipeline("command", Kind::Right)?;
            return Ok(Ok(Node { at: token.at, kind: NodeKind::Action(pipe, Vec::new()) }));
        }
        self.take();
        let name_at = self.peek_word().at;
        let kind = match token.text.as_str() {
            "if" => NodeKind::If(self.branch("if")?),
            "range" => NodeKind::Range(self.branch("range")?),
            "with" => NodeKind::With(self.branch("with")?),
            "template" => self.template_call()?,
            "block" => self.block()?,
            "end" => {
                self.expect(Kind::Right, "end")?;
                return Ok(Err(End::End));
            }
            "else" => {
                let next = self.peek_word();
                let continues = next.kind == Kind::Keyword && matches!(next.text.as_str(), "if" | "with");
                if !continues {
                    self.expect(Kind::Right, "else")?;
                }
                return Ok(Err(End::Else));
            }
            word @ ("break" | "continue") => {
                self.expect(Kind::Right, &format!("{{{{{word}}}}}"))?;
                if self.range_depth == 0 {
                    return self.error_at(token.place(), &format!("{{{{{word}}}}} outside {{{{range}}}}"));
                }
                if word == "break" { NodeKind::Break } else { NodeKind::Continue }
            }
            _ => return self.unexpected(&token, "command"),
        };
        // As in Go: blocks lie where their pipeline begins, calls where the template's name stands.
        let at = match &kind {
            NodeKind::If(branch) | NodeKind::Range(branch) | NodeKind::With(branch) => branch.pipe.at,
            NodeKind::Template(..) => name_at,
            _ => token.at,
        };
        Ok(Ok(Node { at, kind }))
    }

    fn branch(&mut self, word: &str) -> Parsed<Branch> {
        self.enter()?;
        let visible = self.variables.len();
        let pipe = self.pipeline(word, Kind::Right)?;
        self.range_depth += usize::from(word == "range");
        let (body, end) = self.nodes()?;
        self.range_depth -= usize::from(word == "range");
        let otherwise = match end {
            End::End => None,
            End::Else => Some(self.otherwise(word)?),
        };
        self.variables.truncate(visible);
        self.depth -= 1;
        Ok(Branch { pipe, body, otherwise })
    }

    fn otherwise(&mut self, word: &str) -> Parsed<Vec<Node>> {
        let token = self.peek_word().clone();
        if token.kind == Kind::Keyword && token.text == word && matches!(word, "if" | "with") {
            // `{{else if` is `{{else}}{{if`; one `{{end}}` closes both.
            self.take();
            let branch = self.branch(word)?;
            let at = branch.pipe.at;
            let kind = if word == "if" { NodeKind::If(branch) } else { NodeKind::With(branch) };
            return Ok(vec![Node { at, kind }]);
        }
        if token.kind == Kind::Keyword && matches!(token.text.as_str(), "if" | "with") {
            // `{{if}}...{{else with` and the like.
            return self.unexpected(&token, "else");
        }
        let (body, end) = self.nodes()?;
        match end {
            End::End => Ok(body),
            End::Else => self.error_at(self.peek().place(), "expected end; found {{else}}"),
        }
    }

    fn template_call(&mut self) -> Parsed<NodeKind> {
        let context = "template clause";
        let name = self.template_name(context)?;
        if self.peek_word().kind == Kind::Right {
            self.take();
            return Ok(NodeKind::Template(name, None));
        }
        Ok(NodeKind::Template(name, Some(self.pipeline(context, Kind::Right)?)))
    }

    fn block(&mut self) -> Parsed<NodeKind> {
        let context = "block clause";
        let name = self.template_name(context)?;
        let pipe = self.pipeline(context, Kind::Right)?;
        let body = self.scoped_body(context)?;
        let tree = self.tree(name.clone(), body);
        self.add(tree)?;
        Ok(NodeKind::Template(name, Some(pipe)))
    }

    fn pipeline(&mut self, context: &str, end: Kind) -> Parsed<Pipe> {
        self.enter()?;
        let at = self.peek_word().at;
        let mut pipe = Pipe { at, is_assignment: false, variables: Vec::new(), commands: Vec::new() };
        self.declarations(&mut pipe, context)?;
        loop {
            let token = self.peek_word().clone();
            match token.kind {
                kind if kind == end => {
                    self.take();
                    self.check_pipeline(&pipe, context, token.place())?;
                    self.depth -= 1;
                    return Ok(pipe);
                }
                Kind::Bool
                | Kind::CharConstant
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen => {
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                _ => return self.unexpected(&token, context),
            }
        }
    }

    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Parsed<()> {
        loop {
            if self.peek_word().kind != Kind::Variable {
                return Ok(());
            }
            let start = self.next;
            let variable = self.take();
            let next = self.peek_word().clone();
            match next.kind {
                Kind::Assign | Kind::Declare => {
                    self.take();
                    pipe.is_assignment = next.kind == Kind::Assign;
                    pipe.variables.push(variable.text.clone());
                    self.variables.push(variable.text);
                    return Ok(());
                }
                Kind::Char if next.text == "," => {
                    self.take();
                    pipe.variables.push(variable.text.clone());
                    self.variables.push(variable.text);
                    if context != "range" || pipe.variables.len() >= 2 {
                        return self.error_at(next.place(), &format!("too many declarations in {context}"));
                    }
                    if !matches!(self.peek_word().kind, Kind::Variable | Kind::Right | Kind::RightParen) {
                        return self.error_at(next.place(), "range can only initialize variables");
                    }
                }
                _ => {
                    self.next = start;
                    return Ok(());
                }
            }
        }
    }

    fn check_pipeline(&self, pipe: &Pipe, context: &str, place: Place) -> Parsed<()> {
        if pipe.commands.is_empty() {
            return self.error_at(place, &format!("missing value for {context}"));
        }
        for (stage, command) in pipe.commands.iter().enumerate().skip(1) {
            if let Some(ArgKind::Bool(_) | ArgKind::Dot | ArgKind::Nil | ArgKind::Number(_) | ArgKind::String(..)) =
                command.args.first().map(|arg| &arg.kind)
            {
                return self.error_at(place, &format!("non executable command in pipeline stage {}", stage + 1));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Parsed<Command> {
        let mut command = Command { at: self.peek_word().at, args: Vec::new() };
        loop {
            self.skip_space();
            if let Some(operand) = self.operand()? {
                command.args.push(operand);
            }
            let token = self.peek().clone();
            match token.kind {
                Kind::Space => self.skip_space(),
                Kind::Right | Kind::RightParen => break,
                Kind::Pipe => {
                    self.take();
                    break;
                }
                _ => return self.unexpected(&token, "operand"),
            }
        }
        if command.args.is_empty() {
            return self.error_at(self.peek().place(), "empty command");
        }
        Ok(command)
    }

    fn operand(&mut self) -> Parsed<Option<Arg>> {
        let Some(mut term) = self.term()? else { return Ok(None) };
        if self.peek().kind != Kind::Field {
            return Ok(Some(term));
        }
        let place = self.peek().place();
        let at = place.at;
        let mut names = Vec::new();
        while self.peek().kind == Kind::Field {
            names.push(field_name(&self.take().text));
        }
        match &mut term.kind {
            ArgKind::Field(fields) | ArgKind::Variable(fields) => {
                fields.append(&mut names);
                term.at = at;
                Ok(Some(term))
            }
            ArgKind::Bool(_) | ArgKind::String(..) | ArgKind::Number(_) | ArgKind::Nil | ArgKind::Dot => {
                self.error_at(place, &format!("unexpected . after term {}", quote(&term.to_string())))
            }
            _ => Ok(Some(Arg { at, kind: ArgKind::Chain(Box::new(term), names) })),
        }
    }

    fn term(&mut self) -> Parsed<Option<Arg>> {
        let token = self.peek_word().clone();
        let kind = match token.kind {
            Kind::Identifier if !(self.is_function)(&token.text) => {
                return self.error_at(token.place(), &format!("function {} not defined", quote(&token.text)));
            }
            Kind::Identifier => ArgKind::Identifier(token.text.clone()),
            Kind::Dot => ArgKind::Dot,
            Kind::Nil => ArgKind::Nil,
            Kind::Variable if !self.variables.contains(&token.text) => {
                return self.error_at(token.place(), &format!("undefined variable {}", quote(&token.text)));
            }
            Kind::Variable => ArgKind::Variable(vec![token.text.clone()]),
            Kind::Field => ArgKind::Field(vec![field_name(&token.text)]),
            Kind::Bool => ArgKind::Bool(token.text == "true"),
            Kind::Number => match number(&token.text) {
                Some(number) => ArgKind::Number(number),
                None => return self.error_at(token.place(), &format!("illegal number syntax: {}", quote(&token.text))),
            },
            Kind::CharConstant => match literal::unquote_char(&token.text) {
                Some(c) => ArgKind::Number(Number {
                    text: token.text.clone(),
                    int: Some(i64::from(u32::from(c))),
                    float: Some(f64::from(u32::from(c))),
                    prefers_int: true,
                }),
                None => return self.error_at(token.place(), &format!("malformed character constant: {}", token.text)),
            },
            Kind::String | Kind::RawString => ArgKind::String(token.text.clone(), self.unquote(&token)?),
            Kind::LeftParen => {
                self.take();
                return Ok(Some(self.parenthesis()?));
            }
            _ => return Ok(None),
        };
        self.take();
        Ok(Some(Arg { at: token.at, kind }))
    }

    fn parenthesis(&mut self) -> Parsed<Arg> {
        let pipe = self.pipeline("parenthesized pipeline", Kind::RightParen)?;
        Ok(Arg { at: pipe.at, kind: ArgKind::Pipe(pipe) })
    }
}

fn field_name(token: &str) -> String {
    token.trim_start_matches('.').to_owned()
}

/// Reads a constant as Go does: decimal, `0x`, `0o`, `0b`, underscores, exponents.
pub(super) fn number(text: &str) -> Option<Number> {
    let int = literal::int(text);
    let float = match int {
        Some(value) => Some(value as f64),
        None => literal::float(text),
    };
    float?;
    // `1e3` may serve as an int too, but is a float when nothing is asked.
    let is_hex = text.trim_start_matches(['+', '-']).starts_with("0x");
    let prefers_int = int.is_some() && (is_hex || !text.contains(['.', 'e', 'E', 'p', 'P']));
    let whole = float.filter(|value| value.fract() == 0.0 && value.abs() < 9e18).map(|value| value as i64);
    Some(Number { text: text.to_owned(), int: int.or(whole), float, prefers_int })
}
