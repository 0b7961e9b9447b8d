//! Random expressions that have a type: every operator, modifier, aggregation and function that both servers know.

use fastrand::Rng;

/// What an expression gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Scalar,
    Vector,
    Matrix,
    Text,
}

/// An expression: `parts` with the children between them.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) parts: Vec<String>,
    pub(crate) children: Vec<Self>,
    /// Whether it sums or is transcendental.
    pub(super) is_rough: bool,
    /// The same with less around the children.
    pub(crate) simpler: Vec<Vec<String>>,
}

impl Node {
    fn leaf(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, parts: vec![text.into()], children: Vec::new(), is_rough: false, simpler: Vec::new() }
    }

    fn new(kind: Kind, parts: Vec<String>, children: Vec<Self>) -> Self {
        assert_eq!(parts.len(), children.len() + 1, "{parts:?}");
        Self { kind, parts, children, is_rough: false, simpler: Vec::new() }
    }

    /// `name(child, child, ...)`.
    fn call(kind: Kind, name: &str, children: Vec<Self>) -> Self {
        let mut parts = vec![format!("{name}(")];
        parts.extend(children.iter().skip(1).map(|_| ", ".to_owned()));
        parts.push(")".to_owned());
        Self::new(kind, parts, children)
    }

    fn rough(mut self) -> Self {
        self.is_rough = true;
        self
    }

    fn or(mut self, simpler: &[&str]) -> Self {
        let parts: Vec<String> = simpler.iter().map(|&part| part.to_owned()).collect();
        if parts != self.parts {
            self.simpler.push(parts);
        }
        self
    }

    pub(crate) fn text(&self) -> String {
        let mut text = self.parts[0].clone();
        for (child, part) in self.children.iter().zip(&self.parts[1..]) {
            text.push_str(&child.text());
            text.push_str(part);
        }
        text
    }

    /// Whether nothing in it sums or is transcendental, so that every bit must be the same.
    pub(crate) fn is_exact(&self) -> bool {
        !self.is_rough && self.children.iter().all(Self::is_exact)
    }

    /// How far values may be apart: what is computed from rough values is rougher.
    pub(crate) fn tolerance(&self) -> f64 {
        match self.rough_count() {
            0 => 0.0,
            1 => 1e-12,
            _ => 1e-9,
        }
    }

    fn rough_count(&self) -> usize {
        usize::from(self.is_rough) + self.children.iter().map(Self::rough_count).sum::<usize>()
    }

    /// Whether it may meet native histograms.
    pub(crate) fn has_histograms(&self) -> bool {
        let text = self.text();
        ["nh", "nc", "gh", "mixed", "job=\"api\", instance"].iter().any(|name| text.contains(name))
    }

    pub(crate) fn orders_by_value(&self) -> bool {
        ["sort(", "sort_desc(", "topk", "bottomk"].iter().any(|name| self.parts[0].starts_with(name))
    }

    pub(crate) fn orders_by_labels(&self) -> bool {
        self.parts[0].starts_with("sort_by_label")
    }

    /// The labels that a sort looks at.
    pub(crate) fn sorting_labels(&self) -> Vec<&str> {
        self.parts.last().map(|rest| rest.split('"').skip(1).step_by(2).collect()).unwrap_or_default()
    }

    /// The least that has the same type.
    pub(crate) fn simplest(&self) -> Vec<Self> {
        let all: &[&str] = match self.kind {
            Kind::Scalar => &["1"],
            Kind::Vector => &["n", "g", "nh", "vector(1)"],
            Kind::Matrix => &["n[1m]", "g[1m]", "nh[1m]", "g[5m]", "nh[5m]"],
            Kind::Text => &[],
        };
        all.iter().map(|&text| Self::leaf(self.kind, text)).collect()
    }
}

const SELECTORS: &[&str] = &[
    "g",
    "g{zone=\"eu\"}",
    "g{instance=~\"1|2\", zone!=\"eu\"}",
    "g{job=\"api\"}",
    "n",
    "n",
    "n{instance!~\"2.*\"}",
    "c_total",
    "c_total{code=\"500\"}",
    "seconds_total",
    "target_info",
    "h_bucket",
    "h_bucket{le=~\"0.5|1|.*Inf\"}",
    "nh",
    "nh{job=\"db\"}",
    "gh",
    "nc",
    "mixed",
    "short",
    "still",
    "{\"http.size\"}",
    "{\"http.size\", \"status.code\"=\"200\"}",
    "huge",
    "tiny",
    "absent_metric",
    "{__name__=~\"n|still\"}",
    "{__name__=~\"nh|nc|mixed\"}",
    "{__name__=~\".+_total\", job=\"db\"}",
    "{job=\"api\", instance=\"1\", __name__!~\"h_.*\"}",
];
const HISTOGRAMS: &[&str] = &["nh", "gh", "nc", "nh{instance=\"2\"}", "nc{instance=\"1\"}", "mixed"];
const RANGES: &[&str] = &["15s", "1m", "2m30s", "5m", "10m", "1m + 15s", "47s"];
const LABELS: &[&str] = &["instance", "job", "zone", "code", "le", "version", "missing"];

/// Functions of one vector: name, whether it is rough.
const OF_VECTOR: &[(&str, bool)] = &[
    ("abs", false),
    ("absent", false),
    ("acos", true),
    ("acosh", true),
    ("asin", true),
    ("asinh", true),
    ("atan", true),
    ("atanh", true),
    ("ceil", false),
    ("cos", true),
    ("cosh", true),
    ("day_of_month", false),
    ("day_of_week", false),
    ("day_of_year", false),
    ("days_in_month", false),
    ("deg", false),
    ("exp", true),
    ("floor", false),
    ("histogram_avg", false),
    ("histogram_count", false),
    ("histogram_stddev", true),
    ("histogram_stdvar", true),
    ("histogram_sum", false),
    ("hour", false),
    ("ln", true),
    ("log10", true),
    ("log2", true),
    ("minute", false),
    ("month", false),
    ("rad", false),
    ("round", false),
    ("sgn", false),
    ("sin", true),
    ("sinh", true),
    ("sort", false),
    ("sort_desc", false),
    ("sqrt", false),
    ("tan", true),
    ("tanh", true),
    ("timestamp", false),
    ("year", false),
];

/// Functions of one range: name, whether it is rough.
const OF_MATRIX: &[(&str, bool)] = &[
    ("absent_over_time", false),
    ("avg_over_time", true),
    ("changes", false),
    ("count_over_time", false),
    ("delta", true),
    ("deriv", true),
    ("idelta", false),
    ("increase", true),
    ("irate", true),
    ("last_over_time", false),
    ("mad_over_time", true),
    ("max_over_time", false),
    ("min_over_time", false),
    ("present_over_time", false),
    ("rate", true),
    ("resets", false),
    ("stddev_over_time", true),
    ("stdvar_over_time", true),
    ("sum_over_time", true),
    ("ts_of_last_over_time", false),
    ("ts_of_max_over_time", false),
    ("ts_of_min_over_time", false),
];

/// Functions whose results may be far apart where their arguments are near.
const JUMPING: &[&str] = &[
    "ceil",
    "floor",
    "round",
    "sgn",
    "tan",
    "sin",
    "cos",
    "minute",
    "hour",
    "day_of_week",
    "day_of_month",
    "day_of_year",
    "days_in_month",
    "month",
    "year",
];

/// Makes expressions from chance.
pub(crate) struct Generator<'a> {
    random: &'a mut Rng,
}

impl<'a> Generator<'a> {
    pub(crate) fn new(random: &'a mut Rng) -> Self {
        Self { random }
    }

    pub(crate) fn expression(&mut self) -> Node {
        let depth = self.random.u8(1..5);
        match self.random.u8(0..20) {
            0 => self.scalar(depth),
            1 => self.matrix(depth.min(2)),
            _ => self.vector(depth),
        }
    }

    fn pick<'b>(&mut self, list: &[&'b str]) -> &'b str {
        list[self.random.usize(0..list.len())]
    }

    fn chance(&mut self, one_in: u8) -> bool {
        self.random.u8(0..one_in) == 0
    }

    /// `offset`, `@`, both or none.
    fn shift(&mut self) -> String {
        let offset = self.pick(&[" offset 1m", " offset -30s", " offset 7s", " offset 20m", " offset (30s * 2)"]);
        let at = self.pick(&[" @ 1700000700", " @ start()", " @ end()", " @ 1700001000.5", " @ 1600000000"]);
        match self.random.u8(0..16) {
            0 => at.to_owned(),
            1 | 2 => offset.to_owned(),
            3 => format!("{at}{offset}"),
            4 => format!("{offset}{at}"),
            _ => String::new(),
        }
    }

    fn selector(&mut self) -> Node {
        let (name, shift) = (self.pick(SELECTORS), self.shift());
        Node::leaf(Kind::Vector, format!("{name}{shift}"))
    }

    fn matrix(&mut self, depth: u8) -> Node {
        if depth == 0 || !self.chance(3) {
            let (name, range, shift) = (self.pick(SELECTORS), self.pick(RANGES), self.shift());
            return Node::leaf(Kind::Matrix, format!("{name}[{range}]{shift}"));
        }
        let inner = self.vector(depth - 1);
        let range = self.pick(&["1m", "2m30s", "5m"]);
        let step = self.pick(&["", "15s", "30s", "17s", "1m"]);
        let shift = self.shift();
        Node::new(Kind::Matrix, vec!["(".into(), format!(")[{range}:{step}]{shift}")], vec![inner]).or(&["(", ")[1m:15s]"])
    }

    fn scalar(&mut self, depth: u8) -> Node {
        if depth == 0 || self.chance(2) {
            let leaf =
                self.pick(&["0", "1", "2", "-1.5", "0.3", "Inf", "-Inf", "NaN", "0x1F", "1e-3", "time()", "pi()", "10", "1m30s"]);
            return Node::leaf(Kind::Scalar, leaf);
        }
        match self.random.u8(0..4) {
            0 => {
                let inner = self.vector(depth - 1);
                Node::call(Kind::Scalar, "scalar", vec![inner])
            }
            1 => {
                let inner = self.scalar(depth - 1);
                let sign = self.pick(&["-", "+"]);
                Node::new(Kind::Scalar, vec![format!("{sign}("), ")".into()], vec![inner])
            }
            _ => {
                let (left, right) = (self.scalar(depth - 1), self.scalar(depth - 1));
                let op = self.pick(&["+", "-", "*", "/", "%", "^", "atan2", "> bool", "<= bool", "== bool", "!= bool"]);
                // Between scalars the rough are few; what could jump is computed otherwise.
                let op = if left.is_exact() && right.is_exact() { op } else { "*" };
                let node = Node::new(Kind::Scalar, vec!["(".into(), format!(") {op} ("), ")".into()], vec![left, right]);
                if matches!(op, "^" | "atan2") { node.rough() } else { node }
            }
        }
    }

    fn vector(&mut self, depth: u8) -> Node {
        if depth == 0 {
            return self.selector();
        }
        match self.random.u8(0..24) {
            0 => self.selector(),
            1..=5 => self.aggregation(depth),
            6..=9 => self.binary(depth),
            10 => self.set(depth),
            11 | 12 => self.with_scalar(depth),
            13..=15 => self.of_matrix(depth),
            16..=18 => self.of_vector(depth),
            19 => self.histogram(depth),
            20 => self.of_labels(depth),
            21 => {
                let inner = self.scalar(depth - 1);
                Node::call(Kind::Vector, "vector", vec![inner])
            }
            22 => {
                let inner = self.vector(depth - 1);
                Node::new(Kind::Vector, vec!["-(".into(), ")".into()], vec![inner])
            }
            _ => self.with_numbers(depth),
        }
    }

    fn labels(&mut self) -> String {
        let count = self.random.usize(0..3);
        (0..count).map(|_| self.pick(LABELS)).collect::<Vec<_>>().join(", ")
    }

    fn grouping(&mut self) -> String {
        match self.random.u8(0..4) {
            0 => String::new(),
            1 => format!(" without ({})", self.labels()),
            _ => format!(" by ({})", self.labels()),
        }
    }

    fn aggregation(&mut self, depth: u8) -> Node {
        let grouping = self.grouping();
        let inner = self.vector(depth - 1);
        let plain = |op: &str| {
            Node::new(Kind::Vector, vec![format!("{op}{grouping} ("), ")".into()], vec![inner.clone()])
                .or(&[&format!("{op} ("), ")"])
        };
        match self.random.u8(0..14) {
            0 | 1 => plain("sum").rough(),
            2 => plain("avg").rough(),
            3 => plain("min"),
            4 => plain("max"),
            5 => plain("count"),
            6 => plain("group"),
            op @ (7 | 8) => {
                // In what order computed values are added is chance, and where they are much alike it is seen.
                let inner = self.selector();
                let op = if op == 7 { "stddev" } else { "stdvar" };
                Node::new(Kind::Vector, vec![format!("{op}{grouping} ("), ")".into()], vec![inner]).rough()
            }
            9 => {
                let label = self.pick(&["value", "job", "new.label", "instance"]);
                let begin = format!("count_values{grouping} (\"{label}\", ");
                // What is near would be another label.
                let inner = if inner.is_exact() { inner } else { self.selector() };
                Node::new(Kind::Vector, vec![begin, ")".into()], vec![inner])
            }
            op => {
                let name = ["topk", "bottomk", "quantile", "limitk"][usize::from(op - 10)];
                // Between equals, and with limitk among all, chance decides in Prometheus unless they come from the store.
                let inner = if name == "quantile" { inner } else { self.selector() };
                // What is near would be another text in the warning.
                let param = self.scalar(depth.min(2) - 1);
                let param = if param.is_exact() && self.chance(3) {
                    param
                } else {
                    Node::leaf(Kind::Scalar, self.pick(&["1", "2", "0.5", "3", "0.9"]))
                };
                let node =
                    Node::new(Kind::Vector, vec![format!("{name}{grouping} ("), ", ".into(), ")".into()], vec![param, inner]);
                node.or(&[&format!("{name} ("), ", ", ")"])
            }
        }
    }

    /// `on`, `ignoring`, `group_left` and all that.
    fn matching(&mut self, may_group: bool) -> String {
        let labels = match self.random.u8(0..6) {
            0 => return String::new(),
            1 => format!(" ignoring ({})", self.labels()),
            2 => " on (instance, job)".to_owned(),
            3 => " on (job)".to_owned(),
            4 => " ignoring (zone, code, le, version)".to_owned(),
            _ => format!(" on ({})", self.labels()),
        };
        if !may_group || self.chance(2) {
            return labels;
        }
        let side = self.pick(&["left", "right"]);
        let included = self.pick(&[" ()", " ()", " (version)", " (zone, code)", " (missing)"]);
        format!("{labels} group_{side}{included}")
    }

    fn binary(&mut self, depth: u8) -> Node {
        let (left, right) = (self.vector(depth - 1), self.vector(depth.min(2) - 1));
        let op =
            self.pick(&["+", "-", "*", "/", "%", "^", "atan2", "==", "!=", ">", "<", ">=", "<=", "> bool", "== bool", "<= bool"]);
        let jumps = op == "%" || op.contains(['=', '<', '>']);
        let (left, right) = (self.calm(left, jumps), self.calm(right, jumps));
        let matching = self.matching(true);
        let node = Node::new(Kind::Vector, vec!["(".into(), format!(") {op}{matching} ("), ")".into()], vec![left, right])
            .or(&["(", &format!(") {op} ("), ")"])
            .or(&["(", &format!(") {op} on (instance, job) ("), ")"]);
        if matches!(op, "^" | "atan2") { node.rough() } else { node }
    }

    fn set(&mut self, depth: u8) -> Node {
        let (left, right) = (self.vector(depth - 1), self.vector(depth - 1));
        let op = self.pick(&["and", "or", "unless"]);
        let matching = self.matching(false);
        Node::new(Kind::Vector, vec!["(".into(), format!(") {op}{matching} ("), ")".into()], vec![left, right]).or(&[
            "(",
            &format!(") {op} ("),
            ")",
        ])
    }

    fn with_scalar(&mut self, depth: u8) -> Node {
        let (vector, scalar) = (self.vector(depth - 1), self.scalar(depth.min(2) - 1));
        let op =
            self.pick(&["+", "-", "*", "/", "%", "^", "atan2", "==", "!=", ">", "<", ">=", "<=", "> bool", "== bool", "<= bool"]);
        let jumps = op == "%" || op.contains(['=', '<', '>']);
        let vector = self.calm(vector, jumps);
        let scalar = if jumps && !scalar.is_exact() { Node::leaf(Kind::Scalar, "0.3") } else { scalar };
        let children = if self.chance(2) { vec![vector, scalar] } else { vec![scalar, vector] };
        let node = Node::new(Kind::Vector, vec!["(".into(), format!(") {op} ("), ")".into()], children);
        if matches!(op, "^" | "atan2") { node.rough() } else { node }
    }

    fn of_vector(&mut self, depth: u8) -> Node {
        let inner = self.vector(depth - 1);
        let (name, is_rough) = OF_VECTOR[self.random.usize(0..OF_VECTOR.len())];
        let inner = self.calm(inner, JUMPING.contains(&name));
        let node = Node::call(Kind::Vector, name, vec![inner]);
        if is_rough { node.rough() } else { node }
    }

    /// Takes something exact instead of what is rough, where the result may jump between what is near.
    fn calm(&mut self, inner: Node, jumps: bool) -> Node {
        if jumps && !inner.is_exact() { self.selector() } else { inner }
    }

    fn of_matrix(&mut self, depth: u8) -> Node {
        let inner = self.matrix(depth - 1);
        // A slope over what is computed and nearly the same everywhere is all rounding.
        let inner = if inner.is_exact() { inner } else { self.matrix(0) };
        let small =
            |this: &mut Self| Node::leaf(Kind::Scalar, this.pick(&["0.5", "0.1", "0.9", "0", "1", "60", "-2", "NaN", "1.5"]));
        match self.random.u8(0..8) {
            0 => Node::call(Kind::Vector, "quantile_over_time", vec![small(self), inner]).rough(),
            1 => Node::call(Kind::Vector, "predict_linear", vec![inner, small(self)]).rough(),
            2 if self.chance(2) => {
                Node::call(Kind::Vector, "double_exponential_smoothing", vec![inner, small(self), small(self)]).rough()
            }
            _ => {
                let (name, is_rough) = OF_MATRIX[self.random.usize(0..OF_MATRIX.len())];
                let node = Node::call(Kind::Vector, name, vec![inner]);
                if is_rough { node.rough() } else { node }
            }
        }
    }

    /// Functions of histograms, classic or native.
    fn histogram(&mut self, depth: u8) -> Node {
        let range = self.pick(RANGES);
        let inner = match self.random.u8(0..6) {
            0 => Node::leaf(Kind::Vector, format!("rate(h_bucket[{range}])")),
            1 => Node::leaf(Kind::Vector, format!("sum by (le, job) (rate(h_bucket[{range}]))")),
            2 => Node::leaf(Kind::Vector, format!("{}{}", self.pick(HISTOGRAMS), self.shift())),
            3 => Node::leaf(Kind::Vector, format!("rate({}[{range}])", self.pick(HISTOGRAMS))),
            4 => Node::leaf(Kind::Vector, format!("sum by (job) (increase({}[{range}]))", self.pick(HISTOGRAMS))),
            _ => self.vector(depth - 1),
        };
        let quantile = Node::leaf(Kind::Scalar, self.pick(&["0.5", "0.9", "0", "1", "0.25", "-1", "2", "NaN"]));
        match self.random.u8(0..7) {
            0..=2 => Node::call(Kind::Vector, "histogram_quantile", vec![quantile, inner]).rough(),
            3 => {
                let bounds = self
                    .pick(&["0, 1", "0.2, 0.7", "-1, 5", "1, 0", "0.1, Inf", "-Inf, 0.3"])
                    .split_once(", ")
                    .unwrap_or_default();
                let bounds = [bounds.0, bounds.1].map(|bound| Node::leaf(Kind::Scalar, bound));
                Node::call(Kind::Vector, "histogram_fraction", bounds.into_iter().chain([inner]).collect()).rough()
            }
            4 => Node::call(Kind::Vector, self.pick(&["histogram_stddev", "histogram_stdvar"]), vec![inner]).rough(),
            5 => Node::call(Kind::Vector, self.pick(&["histogram_avg", "histogram_sum", "histogram_count"]), vec![inner]).rough(),
            _ => inner.rough(),
        }
    }

    fn of_labels(&mut self, depth: u8) -> Node {
        let inner = self.vector(depth - 1);
        match self.random.u8(0..4) {
            0 | 1 => {
                let rest = self.pick(&[
                    "\"job\", \"$1-x\", \"job\", \"(.*)\"",
                    "\"new\", \"${1}_$2\", \"instance\", \"(.)(.*)\"",
                    "\"zone\", \"\", \"zone\", \".*\"",
                    "\"__name__\", \"n\", \"\", \"\"",
                    "\"le\", \"a\", \"job\", \"a\"",
                    "\"job\", \"same\", \"job\", \".*\"",
                    "\"utf.8\", \"$x\", \"job\", \"(?P<x>a).*\"",
                ]);
                Node::new(Kind::Vector, vec!["label_replace(".into(), format!(", {rest})")], vec![inner])
            }
            2 => {
                let rest = self.pick(&[
                    "\"new\", \"-\", \"instance\", \"job\"",
                    "\"job\", \"\"",
                    "\"instance\", \"\", \"job\", \"missing\"",
                    "\"__name__\", \"_\", \"job\"",
                ]);
                Node::new(Kind::Vector, vec!["label_join(".into(), format!(", {rest})")], vec![inner])
            }
            _ => {
                let (name, rest) = (
                    self.pick(&["sort_by_label", "sort_by_label_desc"]),
                    self.pick(&["\"instance\"", "\"job\", \"zone\"", "\"le\""]),
                );
                Node::new(Kind::Vector, vec![format!("{name}("), format!(", {rest})")], vec![inner])
            }
        }
    }

    /// Functions of a vector and numbers.
    fn with_numbers(&mut self, depth: u8) -> Node {
        let inner = self.vector(depth - 1);
        let number = |this: &mut Self| Node::leaf(Kind::Scalar, this.pick(&["0", "1", "-2", "5", "0.25", "NaN", "Inf", "10"]));
        match self.random.u8(0..7) {
            0 => Node::call(Kind::Vector, "clamp", vec![inner, number(self), number(self)]),
            1 => Node::call(Kind::Vector, "clamp_min", vec![inner, number(self)]),
            2 => Node::call(Kind::Vector, "clamp_max", vec![inner, number(self)]),
            3 => {
                let grouping = self.grouping();
                let ratio = Node::leaf(Kind::Scalar, self.pick(&["0.5", "-0.5", "0.1", "1", "0"]));
                Node::new(Kind::Vector, vec![format!("limit_ratio{grouping} ("), ", ".into(), ")".into()], vec![ratio, inner])
            }
            4 => {
                let data = self.pick(&["", ", {version=~\".+\"}", ", {__name__=\"target_info\"}", ", {version=\"2\"}"]);
                // Without `@` and `offset`: 3.5 reads the info series of another time than that of the others.
                let inner =
                    Node::leaf(Kind::Vector, self.pick(&["n", "g", "c_total{code=\"500\"}", "still", "nh", "{\"http.size\"}"]));
                Node::new(Kind::Vector, vec!["info(".into(), format!("{data})")], vec![inner])
            }
            5 => Node::leaf(
                Kind::Vector,
                self.pick(&["hour()", "minute()", "day_of_week()", "day_of_year()", "month()", "year()"]),
            ),
            _ => Node::call(Kind::Vector, "round", vec![inner, number(self)]),
        }
    }
}
