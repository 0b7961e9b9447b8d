//! Templates of alert labels and annotations: Prometheus's data and functions.

use crate::model::labels::Labels;
use crate::model::sample;
use crate::promql::value::VectorSample;
use crate::template::{Functions, Limits, Safe, Scope, Signature, Template, TemplateError, Value, library};

/// What stands before each template, so that `$labels`, `$value` and the like exist.
const DEFINITIONS: &str =
    "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}";

/// The type of what `query` answers.
const QUERY_RESULT: &str = "template.queryResult";
/// The type of its elements.
const SAMPLE: &str = "*template.sample";

/// Bounds of one label or annotation.
pub const LIMITS: Limits = Limits { depth: 30, output_bytes: 1 << 20, steps: 200_000 };

/// Answers the queries of templates.
pub type Query<'a> = dyn Fn(&str) -> Result<Vec<VectorSample>, String> + 'a;

/// Prometheus's template functions.
pub struct RuleFunctions<'a> {
    /// Answers `query`.
    pub query: &'a Query<'a>,
    /// The time of the evaluation.
    pub now_ms: i64,
    /// The address of this server as users reach it.
    pub external_url: &'a str,
}

/// Returns a sample as templates see it.
fn sample_value(found: &VectorSample) -> Value {
    let value = match &found.value {
        sample::Value::Float(value) => Value::Float(*value),
        sample::Value::Histogram(histogram) => Value::Float(histogram.sum),
    };
    Value::structure(SAMPLE, vec![("Labels", Value::labels(&found.labels)), ("Value", value)])
}

/// Returns what a template's dot holds for one element of an alert's vector.
#[must_use]
pub fn alert_data(labels: &Labels, value: Value, external_labels: &Labels, external_url: &str) -> Value {
    Value::structure(
        "template.alertTemplateData",
        vec![
            ("Labels", Value::labels(labels)),
            ("ExternalLabels", Value::labels(external_labels)),
            ("ExternalURL", Value::string(external_url)),
            ("Value", value),
        ],
    )
}

/// Expands one label or annotation; a failing one says why in its place, as Prometheus does.
#[must_use]
pub fn expand(alert: &str, text: &str, data: &Value, functions: &RuleFunctions<'_>) -> String {
    // Most labels are no templates.
    if !text.contains("{{") {
        return text.to_owned();
    }
    match try_expand(alert, text, data, functions) {
        Ok(text) => text,
        Err(error) => format!("<error expanding template: {error}>"),
    }
}

fn try_expand(alert: &str, text: &str, data: &Value, functions: &RuleFunctions<'_>) -> Result<String, TemplateError> {
    let name = format!("__alert_{alert}");
    let mut set = Template::text().limits(LIMITS);
    let parsed = set.add(&name, &format!("{DEFINITIONS}{text}"), functions);
    parsed.map_err(|error| error.behind(DEFINITIONS.len(), &format!("error parsing template {name}: ")))?;
    let done = set.execute(&name, data, functions);
    done.map_err(|error| error.behind(0, &format!("error executing template {name}: ")))
}

/// Checks a template as rule files are checked: does it parse, and does it run on empty data?
///
/// # Errors
/// In Go's words.
pub fn check(alert: &str, text: &str) -> Result<(), TemplateError> {
    if !text.contains("{{") {
        return Ok(());
    }
    let functions = RuleFunctions { query: &|_| Ok(Vec::new()), now_ms: 0, external_url: "" };
    let name = format!("__alert_{alert}");
    let mut set = Template::text().limits(LIMITS);
    set.add(&name, &format!("{DEFINITIONS}{text}"), &functions)
        .map_err(|error| error.behind(DEFINITIONS.len(), &format!("error parsing template {name}: ")))
}

const SIGNATURES: &[(&str, &[&str], bool)] = &[
    ("query", &["string"], false),
    ("first", &[QUERY_RESULT], false),
    ("label", &["string", SAMPLE], false),
    ("value", &[SAMPLE], false),
    ("strvalue", &[SAMPLE], false),
    ("args", &["any"], true),
    ("reReplaceAll", &["string", "string", "string"], false),
    ("safeHtml", &["string"], false),
    ("match", &["string", "string"], false),
    ("title", &["string"], false),
    ("toUpper", &["string"], false),
    ("toLower", &["string"], false),
    ("graphLink", &["string"], false),
    ("tableLink", &["string"], false),
    ("sortByLabel", &["string", QUERY_RESULT], false),
    ("stripPort", &["string"], false),
    ("stripDomain", &["string"], false),
    ("humanize", &["any"], false),
    ("humanize1024", &["any"], false),
    ("humanizeDuration", &["any"], false),
    ("humanizePercentage", &["any"], false),
    ("humanizeTimestamp", &["any"], false),
    ("toTime", &["any"], false),
    ("toDuration", &["any"], false),
    ("now", &[], false),
    ("pathPrefix", &[], false),
    ("externalURL", &[], false),
    ("parseDuration", &["string"], false),
    ("urlQueryEscape", &["string"], false),
    ("tmpl", &["string", "any"], false),
];

impl Functions for RuleFunctions<'_> {
    fn signature(&self, name: &str) -> Option<Signature> {
        let (_, params, variadic) = SIGNATURES.iter().find(|(known, ..)| *known == name)?;
        Some(Signature { params, variadic: *variadic })
    }

    fn call(&self, name: &str, args: &[Value], scope: &Scope<'_>) -> Result<Value, String> {
        let text = |place: usize| args.get(place).and_then(Value::as_text).unwrap_or("");
        let any = |place: usize| args.get(place).unwrap_or(&Value::Nil);
        match name {
            "query" => {
                let found = (self.query)(text(0))?;
                Ok(Value::typed_list(QUERY_RESULT, found.iter().map(sample_value)))
            }
            "first" => {
                let items = any(0).items().unwrap_or_default();
                items.first().cloned().ok_or_else(|| "first() called on vector with no elements".to_owned())
            }
            "label" => sample_label(any(1), text(0)),
            "strvalue" => sample_label(any(0), "__value__"),
            "value" => match any(0) {
                Value::Struct(sample) => Ok(sample.get("Value").cloned().unwrap_or_default()),
                _ => Err("invalid memory address or nil pointer dereference".to_owned()),
            },
            "sortByLabel" => Ok(sort_by_label(text(0), any(1))),
            "args" => Ok(Value::map(args.iter().enumerate().map(|(i, arg)| (format!("arg{i}"), arg.clone())))),
            "safeHtml" => Ok(Value::safe(Safe::Html, text(0))),
            "match" => library::is_match(text(0), text(1)).map(Value::Bool),
            "reReplaceAll" => library::replace_all(text(0), text(1), text(2)).map(Value::from),
            "title" => Ok(Value::from(library::title(text(0)))),
            "toUpper" => Ok(Value::from(text(0).to_uppercase())),
            "toLower" => Ok(Value::from(text(0).to_lowercase())),
            "graphLink" => Ok(Value::from(expression_link(text(0), 0))),
            "tableLink" => Ok(Value::from(expression_link(text(0), 1))),
            "stripPort" => Ok(Value::from(library::strip_port(text(0)))),
            "stripDomain" => Ok(Value::from(library::strip_domain(text(0)))),
            "humanize" => library::humanize(any(0)).map(Value::from),
            "humanize1024" => library::humanize_1024(any(0)).map(Value::from),
            "humanizeDuration" => library::humanize_duration(any(0)).map(Value::from),
            "humanizePercentage" => library::humanize_percentage(any(0)).map(Value::from),
            "humanizeTimestamp" => library::humanize_timestamp(any(0)).map(Value::from),
            "toTime" => library::to_time(any(0)),
            "toDuration" => library::to_duration(any(0)),
            "now" => Ok(Value::Float(self.now_ms as f64 / 1000.0)),
            "pathPrefix" => Ok(Value::from(path_of(self.external_url))),
            "externalURL" => Ok(Value::from(self.external_url)),
            "parseDuration" => library::parse_duration(text(0)).map(Value::Float),
            "urlQueryEscape" => Ok(Value::from(library::query_escape(text(0)))),
            "tmpl" => scope.execute(text(0), any(1)).map(|text| Value::safe(Safe::Html, text)),
            _ => Err(format!("no function {name}")),
        }
    }
}

fn sample_label(sample: &Value, name: &str) -> Result<Value, String> {
    match sample {
        Value::Struct(sample) => {
            let labels = sample.get("Labels").and_then(Value::entries).unwrap_or_default();
            Ok(labels.get(name).cloned().unwrap_or_else(|| Value::from("")))
        }
        _ => Err("invalid memory address or nil pointer dereference".to_owned()),
    }
}

fn sort_by_label(label: &str, samples: &Value) -> Value {
    let mut items: Vec<Value> = samples.items().unwrap_or_default().to_vec();
    let key =
        |value: &Value| sample_label(value, label).ok().and_then(|label| label.as_text().map(str::to_owned)).unwrap_or_default();
    items.sort_by_cached_key(key);
    Value::typed_list(QUERY_RESULT, items)
}

/// What the address of an expression's page begins with, relative to the server's own.
pub const EXPRESSION_LINK: &str = "/graph?g0.expr=";

/// Returns the address of an expression's page, relative to the server's own.
#[must_use]
pub fn expression_link(expression: &str, tab: u8) -> String {
    format!("{EXPRESSION_LINK}{}&g0.tab={tab}", library::query_escape(expression))
}

/// Returns the path of an address, without a slash at its end.
fn path_of(url: &str) -> &str {
    let behind = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = behind.find('/').and_then(|at| behind.get(at..)).unwrap_or("");
    path.split(['?', '#']).next().unwrap_or(path).trim_end_matches('/')
}

/// Returns a value as templates take it.
#[must_use]
pub fn value_of(value: &sample::Value) -> Value {
    match value {
        sample::Value::Float(value) => Value::Float(*value),
        sample::Value::Histogram(histogram) => Value::Float(histogram.sum),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::shared_data;
    use crate::template::MissingKey;

    const NOW_MS: i64 = 1_353_755_652_000;

    fn samples(list: &serde_json::Value) -> Vec<VectorSample> {
        let read = |item: &serde_json::Value| {
            let metric = item.get("metric").and_then(serde_json::Value::as_object).cloned().unwrap_or_default();
            let labels = Labels::from_pairs(metric.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap_or(""))));
            let value = item.get("value").or_else(|| item.get("F")).and_then(serde_json::Value::as_f64).unwrap_or(0.0);
            VectorSample { labels, at_ms: 0, value: sample::Value::Float(value) }
        };
        list.as_array().map(|items| items.iter().map(read).collect()).unwrap_or_default()
    }

    fn input(value: &serde_json::Value) -> Value {
        match value {
            serde_json::Value::Null => Value::Nil,
            serde_json::Value::Bool(value) => Value::Bool(*value),
            serde_json::Value::Number(number) => {
                number.as_i64().map_or_else(|| Value::Float(number.as_f64().unwrap_or(0.0)), Value::Int)
            }
            serde_json::Value::String(text) => Value::from(text.as_str()),
            serde_json::Value::Array(items) => Value::list(items.iter().map(input)),
            serde_json::Value::Object(map) => Value::map(map.iter().map(|(key, value)| (key.clone(), input(value)))),
        }
    }

    fn run(case: &serde_json::Value, text: &str, fails: bool) -> Result<String, String> {
        let found = samples(case.get("query_result").or_else(|| case.get("queryResult")).unwrap_or(&serde_json::Value::Null));
        let functions =
            RuleFunctions { query: &|_| Ok(found.clone()), now_ms: NOW_MS, external_url: "http://testhost:9090/path/prefix" };
        let is_html = case.get("html").and_then(serde_json::Value::as_bool).unwrap_or(false);
        // The cases that fail for a missing key ask for that option.
        let missing = if fails { MissingKey::Error } else { MissingKey::Zero };
        let mut set = if is_html { Template::html() } else { Template::text() }.missing_key(missing);
        set.add("test", text, &functions).map_err(|error| format!("error parsing template test: {error}"))?;
        let data = case.get("input").map_or(Value::Nil, input);
        set.execute("test", &data, &functions).map_err(|error| format!("error executing template test: {error}"))
    }

    #[test]
    fn prometheus_vectors() {
        let mut count = 0;
        for (path, text, error) in
            [("promql/templates.json", "text", "errorMsg"), ("alerting/templates/rule.json", "template", "error")]
        {
            let Some(file) = shared_data::json(path) else { return };
            for case in file["cases"].as_array().unwrap() {
                let template = case[text].as_str().unwrap();
                let expected = case.get(error).and_then(serde_json::Value::as_str);
                let result = run(case, template, expected.is_some());
                match expected {
                    Some(message) => assert_eq!(result, Err(message.to_owned()), "{template}"),
                    None => assert_eq!(result.as_deref(), Ok(case["output"].as_str().unwrap()), "{template}"),
                }
                count += 1;
            }
        }
        assert!(count > 90, "{count} cases");
    }
}
