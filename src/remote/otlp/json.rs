//! `ExportMetricsServiceRequest` of OTLP 1 as JSON: names in camel case, numbers of 64 bits also as text, identifiers in
//! hexadecimal digits, enumerations as numbers or names.

use super::message::{Attributes, Buckets, Kind, Metric, Point, PointExemplar, Resource, Scope};
use serde_json::{Map, Value};

/// What is wrong, and where.
type Wrong = String;

/// Reads a request.
pub(super) fn read(body: &[u8]) -> Result<Vec<Resource>, Wrong> {
    let root: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    list(&Node::root(&root)?, "resourceMetrics", |node| {
        let attributes = match node.child("resource")? {
            Some(resource) => attributes(&resource, "attributes")?,
            None => Vec::new(),
        };
        Ok(Resource { attributes, scopes: list(node, "scopeMetrics", scope)? })
    })
}

/// An object with the way that leads to it.
struct Node<'a> {
    object: &'a Map<String, Value>,
    path: String,
}

impl<'a> Node<'a> {
    fn root(value: &'a Value) -> Result<Self, Wrong> {
        Self::of(value, "the request")
    }

    fn of(value: &'a Value, path: &str) -> Result<Self, Wrong> {
        let object = value.as_object().ok_or_else(|| format!("{path}: expected an object"))?;
        Ok(Self { object, path: path.to_owned() })
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    fn wrong(&self, key: &str, expected: &str) -> Wrong {
        format!("{}.{key}: expected {expected}", self.path)
    }

    fn child(&self, key: &str) -> Result<Option<Self>, Wrong> {
        self.get(key).map(|value| Self::of(value, &format!("{}.{key}", self.path))).transpose()
    }

    fn text(&self, key: &str) -> Result<String, Wrong> {
        match self.get(key) {
            None => Ok(String::new()),
            Some(value) => value.as_str().map(str::to_owned).ok_or_else(|| self.wrong(key, "a text")),
        }
    }

    fn whole(&self, key: &str) -> Result<u64, Wrong> {
        self.get(key).map_or(Ok(0), |value| whole(value).ok_or_else(|| self.wrong(key, "a whole number")))
    }

    fn signed(&self, key: &str) -> Result<i64, Wrong> {
        self.get(key).map_or(Ok(0), |value| signed(value).ok_or_else(|| self.wrong(key, "a whole number")))
    }

    fn float(&self, key: &str) -> Result<Option<f64>, Wrong> {
        self.get(key).map(|value| float(value).ok_or_else(|| self.wrong(key, "a number"))).transpose()
    }

    fn numbers<T>(&self, key: &str, one: fn(&Value) -> Option<T>) -> Result<Vec<T>, Wrong> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let values = value.as_array().and_then(|values| values.iter().map(one).collect::<Option<Vec<T>>>());
        values.ok_or_else(|| self.wrong(key, "a list of numbers"))
    }
}

fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn signed(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn float(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| match value.as_str()? {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        text => text.parse().ok(),
    })
}

fn list<'a, T>(node: &Node<'a>, key: &str, one: impl Fn(&Node<'a>) -> Result<T, Wrong>) -> Result<Vec<T>, Wrong> {
    let Some(value) = node.get(key) else { return Ok(Vec::new()) };
    let values = value.as_array().ok_or_else(|| node.wrong(key, "a list"))?;
    let one = |(at, value)| one(&Node::of(value, &format!("{}.{key}[{at}]", node.path))?);
    values.iter().enumerate().map(one).collect()
}

fn scope(node: &Node<'_>) -> Result<Scope, Wrong> {
    let mut found = Scope { schema_url: node.text("schemaUrl")?, metrics: list(node, "metrics", metric)?, ..Scope::default() };
    if let Some(scope) = node.child("scope")? {
        found.name = scope.text("name")?;
        found.version = scope.text("version")?;
        found.attributes = attributes(&scope, "attributes")?;
    }
    Ok(found)
}

fn metric(node: &Node<'_>) -> Result<Metric, Wrong> {
    let mut found = Metric {
        name: node.text("name")?,
        description: node.text("description")?,
        unit: node.text("unit")?,
        ..Metric::default()
    };
    let kinds = [
        ("gauge", Kind::Gauge),
        ("sum", Kind::Sum),
        ("histogram", Kind::Histogram),
        ("exponentialHistogram", Kind::Exponential),
        ("summary", Kind::Summary),
    ];
    for (key, kind) in kinds {
        if let Some(data) = node.child(key)? {
            found.kind = kind;
            found.temporality = match data.get("aggregationTemporality").and_then(Value::as_str) {
                Some("AGGREGATION_TEMPORALITY_DELTA") => 1,
                Some("AGGREGATION_TEMPORALITY_CUMULATIVE") => 2,
                _ => data.whole("aggregationTemporality")?,
            };
            found.is_monotonic = data.get("isMonotonic").and_then(Value::as_bool).unwrap_or_default();
            found.points = list(&data, "dataPoints", point)?;
        }
    }
    Ok(found)
}

fn point(node: &Node<'_>) -> Result<Point, Wrong> {
    Ok(Point {
        attributes: attributes(node, "attributes")?,
        start_ns: node.whole("startTimeUnixNano")?,
        time_ns: node.whole("timeUnixNano")?,
        flags: node.whole("flags")?,
        value: value(node)?,
        count: node.whole("count")?,
        sum: node.float("sum")?,
        counts: node.numbers("bucketCounts", whole)?,
        bounds: node.numbers("explicitBounds", float)?,
        scale: node.signed("scale")?,
        zero_count: node.whole("zeroCount")?,
        zero_threshold: node.float("zeroThreshold")?.unwrap_or(0.0),
        positive: buckets(node, "positive")?,
        negative: buckets(node, "negative")?,
        quantiles: list(node, "quantileValues", |node| {
            Ok((node.float("quantile")?.unwrap_or(0.0), node.float("value")?.unwrap_or(0.0)))
        })?,
        exemplars: list(node, "exemplars", |node| {
            Ok(PointExemplar {
                attributes: attributes(node, "filteredAttributes")?,
                time_ns: node.whole("timeUnixNano")?,
                value: value(node)?,
                span_id: node.text("spanId")?.to_ascii_lowercase(),
                trace_id: node.text("traceId")?.to_ascii_lowercase(),
            })
        })?,
    })
}

fn value(node: &Node<'_>) -> Result<f64, Wrong> {
    Ok(match node.float("asDouble")? {
        Some(value) => value,
        None => node.signed("asInt")? as f64,
    })
}

fn buckets(node: &Node<'_>, key: &str) -> Result<Buckets, Wrong> {
    let Some(buckets) = node.child(key)? else { return Ok(Buckets::default()) };
    Ok(Buckets { offset: buckets.signed("offset")?, counts: buckets.numbers("bucketCounts", whole)? })
}

fn attributes(node: &Node<'_>, key: &str) -> Result<Attributes, Wrong> {
    list(node, key, |node| {
        let value = node.child("value")?.map_or(Ok(Value::Null), |value| any_value(&value))?;
        Ok((node.text("key")?, value))
    })
}

fn any_value(node: &Node<'_>) -> Result<Value, Wrong> {
    let Some((key, value)) = node.object.iter().find(|(_, value)| !value.is_null()) else { return Ok(Value::Null) };
    Ok(match key.as_str() {
        "intValue" => Value::from(signed(value).ok_or_else(|| node.wrong(key, "a whole number"))?),
        "doubleValue" => Value::from(float(value).ok_or_else(|| node.wrong(key, "a number"))?),
        "arrayValue" => match node.child(key)? {
            Some(array) => Value::Array(list(&array, "values", any_value)?),
            None => Value::Null,
        },
        "kvlistValue" => match node.child(key)? {
            Some(pairs) => Value::Object(attributes(&pairs, "values")?.into_iter().collect()),
            None => Value::Null,
        },
        _ => value.clone(),
    })
}
