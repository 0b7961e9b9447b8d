//! The one YAML reader: text in, a tree with places out.
//!
//! Every node knows its line and column, so that every complaint about a configuration can say where. Scalars keep their
//! text as written: whether `010` is a number or a name is decided by the key that it stands under, by the rules of Go's
//! `yaml.v2`, which Prometheus and Alertmanager read with. Duplicate keys are refused, `<<` merges, aliases share one node;
//! size, depth, number of nodes and what aliases would expand to have limits, so that a small file cannot become a large tree.
//!
//! This is the only file that names the YAML crate. It uses its event parser, not its serde side: derive-made readers would
//! lose the places and the text of scalars.

use super::error::ConfigError;
use super::place::{Layout, Spot, TextPlace};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span, Tag};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How much one YAML text may ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Length of the text.
    pub(crate) bytes: usize,
    /// Nodes written in the text.
    pub(crate) nodes: usize,
    /// Nodes after aliases were followed.
    pub(crate) expanded_nodes: usize,
    /// Lists and maps within each other.
    pub(crate) depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: crate::model::limits::YAML_BYTES, nodes: 4_000_000, expanded_nodes: 8_000_000, depth: 100 }
    }
}

/// The file that a tree was read from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Source {
    /// Its name, for messages.
    pub(crate) file: String,
    /// The folder that relative paths in it start from; empty: they stay as they are.
    pub(crate) folder: PathBuf,
    /// Whether it may not name files: what comes from ZooKeeper is not to open files of this machine.
    pub(crate) without_files: bool,
}

impl Source {
    /// Names a file; relative paths in it start from its folder.
    #[must_use]
    pub(crate) fn of_file(path: &Path) -> Self {
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        Self { file: path.display().to_string(), folder, without_files: false }
    }

    /// Names a text that may be no file; relative paths in it stay as they are.
    pub(crate) fn named(name: impl Into<String>) -> Self {
        Self { file: name.into(), ..Self::default() }
    }

    /// Names a znode, whose text may not name files.
    pub(crate) fn znode(path: impl Into<String>) -> Self {
        Self { file: path.into(), without_files: true, ..Self::default() }
    }
}

/// A node of the tree. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Where it stands (for an alias: where the alias stands).
    pub(crate) spot: Spot,
    /// Which file it stands in.
    pub(crate) source: Arc<Source>,
    layout: Layout,
    content: Arc<Content>,
}

/// What a node is.
#[derive(Debug)]
enum Content {
    Scalar { text: String, kind: ScalarKind },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ScalarKind {
    /// Without quotes: its type follows from its text.
    Plain,
    /// Quoted, a block, or tagged `!!str`.
    Text,
}

impl Node {
    /// Returns a null node, for a key that is not there.
    #[must_use]
    pub(crate) fn null(source: Arc<Source>, spot: Spot) -> Self {
        let content = Arc::new(Content::Scalar { text: String::new(), kind: ScalarKind::Plain });
        Self { spot, source, layout: Layout::Unknown, content }
    }

    /// Returns where the node stands and how its text lies there.
    #[must_use]
    pub(crate) fn place(&self) -> TextPlace {
        TextPlace { spot: self.spot, layout: self.layout }
    }

    /// Returns whether the node is null: nothing, `~` or `null`.
    #[must_use]
    pub(crate) fn is_null(&self) -> bool {
        matches!(&*self.content, Content::Scalar { text, kind: ScalarKind::Plain } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Makes an error that points at this node.
    pub(crate) fn error(&self, message: impl Into<String>) -> ConfigError {
        ConfigError::at(self.spot, message).in_file(&self.source.file)
    }

    /// Returns the text of a scalar as written; null is the empty text.
    ///
    /// # Errors
    /// When the node is a list or a map.
    pub(crate) fn text(&self) -> Result<&str, ConfigError> {
        match &*self.content {
            Content::Scalar { .. } if self.is_null() => Ok(""),
            Content::Scalar { text, .. } => Ok(text),
            Content::List(_) | Content::Map(_) => Err(self.error(format!("expected a text, found a {}", self.kind_name()))),
        }
    }

    /// Returns the text of a scalar that has no quotes, whose type follows from its text.
    #[must_use]
    pub(crate) fn plain(&self) -> Option<&str> {
        match &*self.content {
            Content::Scalar { text, kind: ScalarKind::Plain } => Some(text),
            Content::Scalar { .. } | Content::List(_) | Content::Map(_) => None,
        }
    }

    /// Returns whether the node is a scalar.
    #[must_use]
    pub(crate) fn is_scalar(&self) -> bool {
        matches!(&*self.content, Content::Scalar { .. })
    }

    /// Returns whether the node is a map.
    #[must_use]
    pub(crate) fn is_map(&self) -> bool {
        matches!(&*self.content, Content::Map(_))
    }

    /// Returns the items of a list; null is the empty list.
    ///
    /// # Errors
    /// When the node is something else.
    pub(crate) fn items(&self) -> Result<&[Self], ConfigError> {
        match &*self.content {
            Content::List(items) => Ok(items),
            Content::Scalar { .. } if self.is_null() => Ok(&[]),
            Content::Scalar { .. } | Content::Map(_) => Err(self.error(format!("expected a list, found a {}", self.kind_name()))),
        }
    }

    /// Returns the entries of a map in the order of the text; null is the empty map.
    ///
    /// # Errors
    /// When the node is something else.
    pub(crate) fn entries(&self) -> Result<&[(Self, Self)], ConfigError> {
        match &*self.content {
            Content::Map(entries) => Ok(entries),
            Content::Scalar { .. } if self.is_null() => Ok(&[]),
            Content::Scalar { .. } | Content::List(_) => Err(self.error(format!("expected a map, found a {}", self.kind_name()))),
        }
    }

    /// Returns the value under `key` of a map, or `None` where there is none.
    #[must_use]
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &*self.content {
            Content::Map(entries) => entries.iter().find(|(name, _)| name.text() == Ok(key)).map(|(_, value)| value),
            Content::Scalar { .. } | Content::List(_) => None,
        }
    }

    /// Returns the map without the entry under `key`.
    #[must_use]
    pub(crate) fn without(&self, key: &str) -> Self {
        let Content::Map(entries) = &*self.content else { return self.clone() };
        let kept = entries.iter().filter(|(name, _)| name.text() != Ok(key)).cloned().collect();
        Self { content: Arc::new(Content::Map(kept)), ..self.clone() }
    }

    /// Names every file that the node or anything within it stands in, each once, in the order of the text.
    pub(crate) fn sources(&self, into: &mut Vec<Arc<Source>>) {
        match &*self.content {
            // What replaces a list or a scalar replaces it whole.
            Content::Map(entries) if !entries.is_empty() => entries.iter().for_each(|(_, value)| value.sources(into)),
            _ if into.contains(&self.source) => {}
            _ => into.push(Arc::clone(&self.source)),
        }
    }

    /// Returns the map with another value under `key`.
    #[must_use]
    pub(crate) fn with(&self, key: &str, value: &Self) -> Self {
        let Content::Map(entries) = &*self.content else { return self.clone() };
        let put = |(name, old): &(Self, Self)| (name.clone(), if name.text() == Ok(key) { value.clone() } else { old.clone() });
        let content = Arc::new(Content::Map(entries.iter().map(put).collect()));
        Self { content, ..self.clone() }
    }

    /// Returns the map with the entries of another map laid over it: maps within each other merge, all else is replaced.
    #[must_use]
    pub(crate) fn overlaid(&self, over: &Self) -> Self {
        let (Content::Map(below), Content::Map(above)) = (&*self.content, &*over.content) else { return over.clone() };
        let mut entries = below.clone();
        let places: HashMap<&str, usize> =
            below.iter().enumerate().filter_map(|(place, (name, _))| Some((name.text().ok()?, place))).collect();
        for (key, value) in above {
            let below = key.text().ok().and_then(|name| places.get(name)).and_then(|place| entries.get_mut(*place));
            match below {
                Some(entry) => *entry = (key.clone(), entry.1.overlaid(value)),
                None => entries.push((key.clone(), value.clone())),
            }
        }
        Self { content: Arc::new(Content::Map(entries)), ..over.clone() }
    }

    /// Makes an error that points at the value under `key`, or at the node itself where there is none.
    pub(crate) fn error_at(&self, key: &str, message: impl Into<String>) -> ConfigError {
        self.get(key).unwrap_or(self).error(message)
    }

    fn kind_name(&self) -> &'static str {
        match &*self.content {
            Content::Scalar { .. } => "plain value",
            Content::List(_) => "list",
            Content::Map(_) => "map",
        }
    }
}

/// Reads the first document of `text`. An empty text is a null node.
///
/// # Errors
/// With line and column, when the text is no YAML, a key is there twice, or a limit is passed.
pub(crate) fn parse(text: &str, source: &Source, limits: Limits) -> Result<Node, ConfigError> {
    parse_first(text, source, limits).map(|(node, _)| node)
}

/// Reads the first document of `text`, and tells whether more documents follow.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_first(text: &str, source: &Source, limits: Limits) -> Result<(Node, bool), ConfigError> {
    if text.len() > limits.bytes {
        let message = format!("the file has {} bytes, more than the limit of {}", text.len(), limits.bytes);
        return Err(ConfigError::at(Spot { line: 1, column: 1 }, message).in_file(&source.file));
    }
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        source: Arc::new(source.clone()),
        anchors: HashMap::new(),
        nodes: 0,
        expanded: 0,
        limits,
    };
    reader.document().map_err(|error| error.in_file(&source.file))
}

/// Returns whether more documents follow the first one of a text that can be read: they do not count.
#[must_use]
pub fn has_more_documents(text: &str) -> bool {
    parse_first(text, &Source::default(), Limits::default()).is_ok_and(|(_, more)| more)
}

struct Reader<'a> {
    parser: Parser<'a, serde_saphyr::granit_parser::StrInput<'a>>,
    /// Anchor number -> node and how many nodes it stands for.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    expanded: usize,
    limits: Limits,
    source: Arc<Source>,
}

fn spot(span: &Span) -> Spot {
    Spot { line: span.start.line() as u32, column: span.start.col() as u32 + 1 }
}

/// Tells how a scalar's text lies within its span.
fn layout(text: &str, style: ScalarStyle, span: &Span) -> Layout {
    let Spot { line, column } = spot(span);
    let lines = span.end.line() - span.start.line();
    match style {
        // The span of a block begins with its first line that is not empty.
        ScalarStyle::Literal => {
            let empty = text.bytes().take_while(|byte| *byte == b'\n').count() as u32;
            Layout::Block(Spot { line: line.saturating_sub(empty), column })
        }
        ScalarStyle::Folded if lines <= 1 => Layout::Block(Spot { line, column }),
        ScalarStyle::Folded => Layout::Unknown,
        ScalarStyle::Plain | ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
            let quote = u32::from(style != ScalarStyle::Plain);
            let length = span.end.index() - span.start.index();
            let is_verbatim = lines == 0 && text.chars().count() + 2 * quote as usize == length;
            if is_verbatim { Layout::Line(column + quote) } else { Layout::Unknown }
        }
    }
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, TextPlace), ConfigError> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => {
                let layout = match &event {
                    Event::Scalar(text, style, _, None) => layout(text, *style, &span),
                    _ => Layout::Unknown,
                };
                Ok((event, TextPlace { spot: spot(&span), layout }))
            }
            Some(Err(error)) => {
                let marker = *error.marker();
                let place = Spot { line: marker.line() as u32, column: marker.col() as u32 + 1 };
                Err(ConfigError::at(place, format!("not valid YAML: {}", error.info())))
            }
            None => Ok((Event::StreamEnd, TextPlace::default())),
        }
    }

    fn document(&mut self) -> Result<(Node, bool), ConfigError> {
        let mut root = None;
        loop {
            let (event, place) = self.next()?;
            match event {
                Event::StreamEnd => {
                    return Ok((
                        root.unwrap_or_else(|| Node::null(Arc::clone(&self.source), Spot { line: 1, column: 1 })),
                        false,
                    ));
                }
                // Only the first document counts; what follows is not even read.
                Event::DocumentStart(..) if root.is_some() => {
                    return Ok((root.unwrap_or_else(|| Node::null(Arc::clone(&self.source), place.spot)), true));
                }
                Event::DocumentStart(..) => {
                    let (event, place) = self.next()?;
                    root = Some(self.node(event, place, 0)?.0);
                }
                _ => {}
            }
        }
    }

    /// Builds the node that `event` begins; returns it with how many nodes it stands for.
    fn node(&mut self, event: Event<'a>, text_place: TextPlace, depth: usize) -> Result<(Node, usize), ConfigError> {
        let TextPlace { spot: place, layout } = text_place;
        self.nodes += 1;
        if self.nodes > self.limits.nodes {
            return Err(ConfigError::at(place, format!("more than {} values in one file", self.limits.nodes)));
        }
        if depth > self.limits.depth {
            return Err(ConfigError::at(place, format!("more than {} lists and maps within each other", self.limits.depth)));
        }
        let (content, weight, anchor) = match event {
            Event::Alias(anchor) => {
                let Some((target, weight)) = self.anchors.get(&anchor) else {
                    return Err(ConfigError::at(place, "an alias within what it stands for"));
                };
                let source = Arc::clone(&self.source);
                let node = Node { spot: place, source, layout: Layout::Unknown, content: Arc::clone(&target.content) };
                let weight = *weight;
                self.expand(weight, place)?;
                return Ok((node, weight));
            }
            Event::Scalar(text, style, anchor, tag) => (scalar(&text, style, tag.as_deref(), place)?, 1, anchor),
            Event::SequenceStart(_, anchor, _) => {
                let (items, weight) = self.list(depth)?;
                (Content::List(items), weight, anchor)
            }
            Event::MappingStart(_, anchor, _) => {
                let (entries, weight) = self.map(depth)?;
                (Content::Map(entries), weight, anchor)
            }
            _ => return Err(ConfigError::at(place, "not valid YAML: expected a value")),
        };
        let node = Node { spot: place, source: Arc::clone(&self.source), layout, content: Arc::new(content) };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), weight));
        }
        Ok((node, weight))
    }

    fn expand(&mut self, weight: usize, place: Spot) -> Result<(), ConfigError> {
        self.expanded = self.expanded.saturating_add(weight);
        if self.expanded > self.limits.expanded_nodes {
            let message = format!("aliases stand for more than {} values", self.limits.expanded_nodes);
            return Err(ConfigError::at(place, message));
        }
        Ok(())
    }

    fn list(&mut self, depth: usize) -> Result<(Vec<Node>, usize), ConfigError> {
        let mut items = Vec::new();
        let mut total = 1_usize;
        loop {
            let (event, place) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok((items, total));
            }
            let (node, weight) = self.node(event, place, depth + 1)?;
            total = total.saturating_add(weight);
            items.push(node);
        }
    }

    fn map(&mut self, depth: usize) -> Result<(Vec<(Node, Node)>, usize), ConfigError> {
        let mut entries: Vec<(Node, Node)> = Vec::new();
        let mut merges = Vec::new();
        let mut places: HashMap<String, Spot> = HashMap::new();
        let mut total = 1_usize;
        loop {
            let (event, place) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let (key, key_weight) = self.node(event, place, depth + 1)?;
            let (event, place) = self.next()?;
            let (value, weight) = self.node(event, place, depth + 1)?;
            total = total.saturating_add(weight).saturating_add(key_weight);
            if key.plain() == Some("<<") {
                merges.push(value);
                continue;
            }
            let name = key.text().map_err(|_| key.error("a key must be a plain value"))?.to_owned();
            if let Some(first) = places.get(&name) {
                return Err(key.error(format!("key \"{name}\" is already set at line {}", first.line)));
            }
            places.insert(name, key.spot);
            entries.push((key, value));
        }
        for merged in merges {
            total = total.saturating_add(self.merge(&merged, &mut entries, &mut places)?);
        }
        Ok((entries, total))
    }

    /// Adds the entries of a `<<` value that are not there yet.
    fn merge(
        &mut self,
        merged: &Node,
        entries: &mut Vec<(Node, Node)>,
        places: &mut HashMap<String, Spot>,
    ) -> Result<usize, ConfigError> {
        let sources = match &*merged.content {
            Content::List(items) => items.clone(),
            Content::Map(_) => vec![merged.clone()],
            Content::Scalar { .. } => return Err(merged.error("map merge requires map or sequence of maps as the value")),
        };
        let mut added = 0;
        for source in sources {
            if !source.is_map() {
                return Err(source.error("map merge requires map or sequence of maps as the value"));
            }
            for (key, value) in source.entries()? {
                let name = key.text()?;
                self.expand(1, merged.spot)?;
                if !places.contains_key(name) {
                    places.insert(name.to_owned(), key.spot);
                    entries.push((key.clone(), value.clone()));
                    added += 2;
                }
            }
        }
        Ok(added)
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, place: Spot) -> Result<Content, ConfigError> {
    let suffix = tag.map(|tag| if tag.handle() == "tag:yaml.org,2002:" { tag.suffix() } else { "" });
    match suffix {
        Some("str") => Ok(Content::Scalar { text: text.to_owned(), kind: ScalarKind::Text }),
        Some("binary") => {
            let bytes = base64(text).ok_or_else(|| ConfigError::at(place, "!!binary value contains invalid base64 data"))?;
            let text = String::from_utf8(bytes).map_err(|_| ConfigError::at(place, "!!binary value is not valid UTF-8"))?;
            Ok(Content::Scalar { text, kind: ScalarKind::Text })
        }
        Some("int" | "float" | "bool" | "null") => Ok(Content::Scalar { text: text.to_owned(), kind: ScalarKind::Plain }),
        Some(_) | None => {
            let kind = if style == ScalarStyle::Plain { ScalarKind::Plain } else { ScalarKind::Text };
            Ok(Content::Scalar { text: text.to_owned(), kind })
        }
    }
}

/// Decodes standard base64, ignoring white space.
#[must_use]
pub fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut bits, mut have) = (0_u32, 0);
    let mut digits = 0;
    let mut padding = 0;
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                padding += 1;
                continue;
            }
            _ => return None,
        };
        if padding > 0 {
            return None;
        }
        digits += 1;
        bits = (bits << 6 | u32::from(digit)) & 0x00ff_ffff;
        have += 6;
        if have >= 8 {
            have -= 8;
            out.push((bits >> have) as u8);
        }
    }
    ((digits + padding) % 4 == 0 && padding <= 2).then_some(out)
}
