//! The syntax tree of a PromQL expression. Every node knows its place in the text.

use crate::model::matcher::Matcher;
use crate::promql::deep::deep;

/// Byte positions of a node in the text, end exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// The type of an expression's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// A float.
    Scalar,
    /// One value for each series at one time.
    Vector,
    /// A range of values for each series.
    Matrix,
    /// A text.
    String,
}

impl Expr {
    /// Returns the type of the expression's value.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::String(_) => ValueType::String,
            ExprKind::Selector(_) | ExprKind::Aggregate(_) => ValueType::Vector,
            ExprKind::Matrix(_) | ExprKind::Subquery(_) => ValueType::Matrix,
            ExprKind::Unary(_, expr) | ExprKind::Paren(expr) => expr.value_type(),
            ExprKind::Binary(binary) => {
                // The right side first: it is seldom high, and mostly enough.
                let is_scalar = |side: &Self| side.value_type() == ValueType::Scalar;
                let both_scalar = deep(|| is_scalar(&binary.right) && is_scalar(&binary.left));
                if both_scalar { ValueType::Scalar } else { ValueType::Vector }
            }
            ExprKind::Call(call) => super::signatures::find(call.function).map_or(ValueType::Vector, |found| found.returns),
        }
    }
}

impl Expr {
    /// Returns the expressions directly within it.
    #[must_use]
    pub fn children(&self) -> Vec<&Self> {
        match &self.kind {
            ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Selector(_) | ExprKind::Matrix(_) => Vec::new(),
            ExprKind::Subquery(subquery) => vec![&subquery.expr],
            ExprKind::Unary(_, inner) | ExprKind::Paren(inner) => vec![inner],
            ExprKind::Binary(binary) => vec![&binary.left, &binary.right],
            ExprKind::Aggregate(aggregate) => aggregate.param.iter().chain([&aggregate.expr]).collect(),
            ExprKind::Call(call) => call.args.iter().collect(),
        }
    }
}

impl ValueType {
    /// Returns the word of Prometheus's messages and API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
            Self::String => "string",
        }
    }

    /// Returns the words that Prometheus's parser uses in errors.
    #[must_use]
    pub const fn documented(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            Self::String => "string",
        }
    }
}

/// An expression with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub kind: ExprKind,
}

/// What an expression is.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `1.5`, `0x1f`, `5m` as a number of seconds.
    Number(NumberLiteral),
    /// `"text"`, unquoted.
    String(String),
    /// `up{job="a"} offset 5m @ 10`.
    Selector(VectorSelector),
    /// `up[5m]`, with the selector's modifiers inside.
    Matrix(MatrixSelector),
    /// `expr[1h:5m] offset 1m @ end()`.
    Subquery(Box<Subquery>),
    /// `-expr`, `+expr`.
    Unary(UnaryOp, Box<Expr>),
    /// `left op right`.
    Binary(Box<Binary>),
    /// `sum by (job) (expr)`.
    Aggregate(Box<Aggregate>),
    /// `rate(expr)`.
    Call(Call),
    /// `(expr)`.
    Paren(Box<Expr>),
}

/// A number as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberLiteral {
    /// Its value; a duration counts in seconds.
    pub value: f64,
    /// Whether it was written as a duration (`5m`).
    pub is_duration: bool,
}

/// Where `@` pins the evaluation time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum At {
    /// Milliseconds since 1970.
    Timestamp(i64),
    /// The start of the query's range.
    Start,
    /// The end of the query's range.
    End,
}

/// A duration that is a literal or an expression over literals, `step()`, `range()`, `min_of`, `max_of`.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationExpr {
    /// `5m`, or a plain number of seconds.
    Literal {
        /// Seconds; may be negative in offsets.
        seconds: f64,
        /// Written with a unit.
        is_duration: bool,
    },
    /// `step()`.
    Step,
    /// `range()`.
    Range,
    /// `min_of(a, b)`.
    Min(Box<(Self, Self)>),
    /// `max_of(a, b)`.
    Max(Box<(Self, Self)>),
    /// `-a`; a plus in front leaves nothing behind.
    Negate(Box<Self>),
    /// `a op b` with `+ - * / % ^`.
    Binary(DurationOp, Box<(Self, Self)>),
    /// `(a)`.
    Paren(Box<Self>),
}

impl DurationExpr {
    /// Returns the milliseconds of a plain literal, as Prometheus rounds them, or `None` for an expression.
    #[must_use]
    pub fn literal_ms(&self) -> Option<i64> {
        match self {
            // Go's float is rounded to nanoseconds first and cut to milliseconds then.
            Self::Literal { seconds, .. } => Some((seconds * 1e9).round() as i64 / 1_000_000),
            _ => None,
        }
    }
}

/// Arithmetic on durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the operators")]
pub enum DurationOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
}

impl DurationOp {
    /// Returns the operator as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
        }
    }
}

/// How samples at a window's edges are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Extension {
    /// As Prometheus always did.
    #[default]
    None,
    /// `anchored`: the sample before the window counts as its first.
    Anchored,
    /// `smoothed`: values at the edges are interpolated.
    Smoothed,
}

/// Offset and pin of a selector or subquery.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shift {
    /// `offset 5m`; `None` where nothing was written.
    pub offset: Option<DurationExpr>,
    /// `@ 10`.
    pub at: Option<At>,
}

/// An instant selector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSelector {
    /// The metric's name where it was written before the braces; a name within them is a matcher alone.
    pub name: Option<String>,
    /// All matchers, that of the name included, in the order of the text (the name's last, as Prometheus keeps it).
    pub matchers: Vec<Matcher>,
    /// Offset and pin.
    pub shift: Shift,
    /// `anchored` or `smoothed`.
    pub extension: Extension,
}

/// A range selector.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSelector {
    /// The selector before the brackets, its span without them; modifiers written behind the brackets are here.
    pub selector: VectorSelector,
    /// Span of the selector alone.
    pub selector_span: Span,
    /// The window.
    pub range: DurationExpr,
}

/// An expression evaluated over a range of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// The inner expression, an instant vector or scalar.
    pub expr: Expr,
    /// The window.
    pub range: DurationExpr,
    /// The step; `None`: the default evaluation interval.
    pub step: Option<DurationExpr>,
    /// Offset and pin.
    pub shift: Shift,
}

/// `+` or `-` in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the operators")]
pub enum UnaryOp {
    Plus,
    Minus,
}

/// A binary operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the operators")]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    And,
    Or,
    Unless,
    /// `</` keeps the part of a histogram's observations below a bound.
    TrimUpper,
    /// `>/` keeps the part above a bound.
    TrimLower,
}

impl BinaryOp {
    /// Returns the operator as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
        }
    }

    /// Returns whether it compares.
    #[must_use]
    pub const fn is_comparison(self) -> bool {
        matches!(self, Self::Equal | Self::NotEqual | Self::Less | Self::LessEqual | Self::Greater | Self::GreaterEqual)
    }

    /// Returns whether it works on sets of series.
    #[must_use]
    pub const fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

impl UnaryOp {
    /// Returns the operator as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plus => "+",
            Self::Minus => "-",
        }
    }
}

/// How many series of one side may meet one of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cardinality {
    /// One to one.
    #[default]
    OneToOne,
    /// `group_left`: many on the left.
    ManyToOne,
    /// `group_right`: many on the right.
    OneToMany,
    /// Set operators.
    ManyToMany,
}

/// How the two sides of a binary operation find each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VectorMatching {
    /// How many meet.
    pub cardinality: Cardinality,
    /// `on(...)` (true) or `ignoring(...)`.
    pub on: bool,
    /// The labels of `on` or `ignoring`, as written.
    pub labels: Vec<String>,
    /// The labels of `group_left` or `group_right`.
    pub include: Vec<String>,
    /// `fill_left` / `fill`: the value for a missing left side.
    pub fill_left: Option<f64>,
    /// `fill_right` / `fill`: the value for a missing right side.
    pub fill_right: Option<f64>,
}

/// A binary operation.
#[derive(Debug)]
pub struct Binary {
    /// The operator.
    pub op: BinaryOp,
    /// Left side.
    pub left: Expr,
    /// Right side.
    pub right: Expr,
    /// `bool` was written.
    pub return_bool: bool,
    /// How the sides match; `None` unless both are vectors.
    pub matching: Option<VectorMatching>,
}

impl Clone for Binary {
    fn clone(&self) -> Self {
        deep(|| Self {
            op: self.op,
            left: self.left.clone(),
            right: self.right.clone(),
            return_bool: self.return_bool,
            matching: self.matching.clone(),
        })
    }
}

impl PartialEq for Binary {
    fn eq(&self, other: &Self) -> bool {
        let same = self.op == other.op && self.return_bool == other.return_bool && self.matching == other.matching;
        same && deep(|| self.right == other.right && self.left == other.left)
    }
}

/// Takes a chain of operations apart from its end on: one drop within the other would need stack for each.
impl Drop for Binary {
    fn drop(&mut self) {
        let mut next = std::mem::take(&mut self.left);
        while let ExprKind::Binary(binary) = &mut next.kind {
            next = std::mem::take(&mut binary.left);
        }
    }
}

/// The number 0, nowhere.
impl Default for Expr {
    fn default() -> Self {
        Self { span: Span::default(), kind: ExprKind::Number(NumberLiteral { value: 0.0, is_duration: false }) }
    }
}

impl Expr {
    /// Returns how many operations stand above each other, at most.
    #[must_use]
    pub fn height(&self) -> usize {
        let below = match &self.kind {
            ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Selector(_) | ExprKind::Matrix(_) => 0,
            ExprKind::Subquery(subquery) => subquery.expr.height(),
            ExprKind::Unary(_, inner) | ExprKind::Paren(inner) => inner.height(),
            ExprKind::Binary(binary) => deep(|| binary.left.height().max(binary.right.height())),
            ExprKind::Aggregate(aggregate) => {
                aggregate.param.iter().chain([&aggregate.expr]).map(Self::height).max().unwrap_or(0)
            }
            ExprKind::Call(call) => call.args.iter().map(Self::height).max().unwrap_or(0),
        };
        below + 1
    }
}

/// An aggregation operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the operators")]
pub enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    TopK,
    BottomK,
    CountValues,
    Quantile,
    LimitK,
    LimitRatio,
}

impl AggregateOp {
    /// Returns whether a parameter precedes the aggregated expression.
    #[must_use]
    pub const fn has_param(self) -> bool {
        matches!(self, Self::TopK | Self::BottomK | Self::CountValues | Self::Quantile | Self::LimitK | Self::LimitRatio)
    }

    /// Returns the operator as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::TopK => "topk",
            Self::BottomK => "bottomk",
            Self::CountValues => "count_values",
            Self::Quantile => "quantile",
            Self::LimitK => "limitk",
            Self::LimitRatio => "limit_ratio",
        }
    }
}

/// An aggregation.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// The operator.
    pub op: AggregateOp,
    /// The aggregated expression.
    pub expr: Expr,
    /// The parameter of topk, quantile, count_values and so on.
    pub param: Option<Expr>,
    /// `without` (true) or `by`.
    pub without: bool,
    /// The grouping labels, as written.
    pub grouping: Vec<String>,
}

/// A function call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The function's name as Prometheus spells it.
    pub function: &'static str,
    /// Its arguments.
    pub args: Vec<Expr>,
}
