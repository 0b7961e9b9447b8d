//! Where in an HTML document a piece of a template stands.

/// The place, as far as escaping must know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Context {
    pub(super) state: State,
    pub(super) delimiter: Delimiter,
    pub(super) url: UrlPart,
    pub(super) slash: Slash,
    pub(super) attribute: Attribute,
    pub(super) element: Element,
}

/// What the text is, at that place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum State {
    /// Between tags.
    #[default]
    Text,
    /// Within a tag, before an attribute.
    Tag,
    /// In an attribute's name.
    AttributeName,
    /// Behind an attribute's name, before `=`.
    AfterName,
    /// Behind `=`.
    BeforeValue,
    /// `<!-- here -->`
    Comment,
    /// In `<textarea>` or `<title>`.
    Rcdata,
    /// In an ordinary attribute's value.
    Value,
    /// In a URL.
    Url,
    /// In a `srcset`.
    Srcset,
    /// In JavaScript.
    Js,
    /// In `"..."` of JavaScript.
    JsDouble,
    /// In `'...'` of JavaScript.
    JsSingle,
    /// In `` `...` `` of JavaScript.
    JsTemplate,
    /// In `/.../` of JavaScript.
    JsRegexp,
    /// In `/* */` of JavaScript.
    JsBlockComment,
    /// In `//` of JavaScript.
    JsLineComment,
    /// In a style sheet.
    Css,
    /// In `"..."` of a style sheet.
    CssDouble,
    /// In `'...'` of a style sheet.
    CssSingle,
    /// In `url("...")`.
    CssDoubleUrl,
    /// In `url('...')`.
    CssSingleUrl,
    /// In `url(...)`.
    CssUrl,
    /// In `/* */` of a style sheet.
    CssBlockComment,
}

impl State {
    /// Returns whether nothing here reaches the reader.
    pub(super) const fn is_comment(self) -> bool {
        matches!(self, Self::Comment | Self::JsBlockComment | Self::JsLineComment | Self::CssBlockComment)
    }
}

/// What ends an attribute's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Delimiter {
    /// No value here.
    #[default]
    None,
    /// `"`
    Double,
    /// `'`
    Single,
    /// A space or `>`.
    SpaceOrTagEnd,
}

/// Where in a URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum UrlPart {
    /// At its beginning: a scheme may come.
    #[default]
    None,
    /// In scheme, host or path.
    PreQuery,
    /// Behind `?` or `#`.
    QueryOrFragment,
    /// One branch here, another there.
    Unknown,
}

/// What a slash means in JavaScript.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Slash {
    /// It begins a regular expression.
    #[default]
    Regexp,
    /// It divides.
    Division,
    /// One branch this, another that.
    Unknown,
}

/// What the attribute at hand holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Attribute {
    #[default]
    Plain,
    Script,
    Style,
    Url,
    Srcset,
    /// The `type` of a `<script>`.
    ScriptType,
}

/// Elements whose content is not markup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Element {
    #[default]
    None,
    Script,
    Style,
    Textarea,
    Title,
}

impl Element {
    pub(super) fn named(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "script" => Self::Script,
            "style" => Self::Style,
            "textarea" => Self::Textarea,
            "title" => Self::Title,
            _ => Self::None,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Script => "script",
            Self::Style => "style",
            Self::Textarea => "textarea",
            Self::Title => "title",
        }
    }

    /// Returns what its content is.
    pub(super) const fn content(self) -> State {
        match self {
            Self::None => State::Text,
            Self::Script => State::Js,
            Self::Style => State::Css,
            Self::Textarea | Self::Title => State::Rcdata,
        }
    }
}

impl Attribute {
    /// Returns what an attribute of that name holds; unknown names are judged by how they sound, as in Go.
    pub(super) fn named(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let name = name.strip_prefix("data-").unwrap_or(&name);
        let name = match name.split_once(':') {
            Some(("xmlns", _)) => return Self::Url,
            Some((_, local)) => local,
            None => name,
        };
        match name {
            "style" => Self::Style,
            "srcset" | "imagesrcset" => Self::Srcset,
            "action" | "archive" | "background" | "cite" | "classid" | "codebase" | "data" | "formaction" | "href" | "icon"
            | "longdesc" | "manifest" | "poster" | "profile" | "src" | "usemap" | "xmlns" => Self::Url,
            "srcdoc" | "source" => Self::Plain,
            _ if name.starts_with("on") => Self::Script,
            _ if name.contains("src") || name.contains("uri") || name.contains("url") => Self::Url,
            _ => Self::Plain,
        }
    }

    /// Returns what the inside of a value is.
    pub(super) const fn start(self) -> State {
        match self {
            Self::Plain | Self::ScriptType => State::Value,
            Self::Script => State::Js,
            Self::Style => State::Css,
            Self::Url => State::Url,
            Self::Srcset => State::Srcset,
        }
    }
}

impl Context {
    /// Returns the place as an action sees it that stands where a value or an attribute could begin.
    pub(super) fn nudged(self) -> Self {
        match self.state {
            State::Tag => Self { state: State::AttributeName, ..self },
            State::BeforeValue => {
                Self { state: self.attribute.start(), delimiter: Delimiter::SpaceOrTagEnd, attribute: Attribute::Plain, ..self }
            }
            State::AfterName => Self { state: State::AttributeName, attribute: Attribute::Plain, ..self },
            _ => self,
        }
    }

    /// Returns the place behind two branches that end at these places; `None` where they cannot be one.
    pub(super) fn joined(self, other: Self) -> Option<Self> {
        if self == other {
            return Some(self);
        }
        if (Self { url: other.url, ..self }) == other {
            return Some(Self { url: UrlPart::Unknown, ..self });
        }
        if (Self { slash: other.slash, ..self }) == other {
            return Some(Self { slash: Slash::Unknown, ..self });
        }
        let (left, right) = (self.nudged(), other.nudged());
        if left != self || right != other { left.joined(right) } else { None }
    }
}
