//! Any znodes by templates over their JSON fields, their name and its groups.

use super::LABELS_MAX;
use super::formats::{Member, sanitized, scalar};
use crate::config::discovery::ZnodeDiscovery;
use crate::model::labels::Labels;
use crate::model::regex::Regex;
use crate::template::{Limits, NoFunctions, Template, Value};
use serde_json::Value as Json;

const LIMITS: Limits = Limits { depth: 10, output_bytes: 4096, steps: 10_000 };
/// What Go's templates print for a field that is not there.
const NO_VALUE: &str = "<no value>";

/// The templates of one source, ready.
pub(super) struct Templates {
    /// `None`: the data are the address.
    address: Option<Template>,
    labels: Vec<(String, Template)>,
    name: Option<Regex>,
}

impl Templates {
    /// Reads the templates.
    ///
    /// # Errors
    /// When one is no template.
    pub(super) fn new(config: &ZnodeDiscovery) -> Result<Self, String> {
        let template = |name: &str, text: &str| {
            let made = Template::parse(name, text, &NoFunctions);
            made.map(|template| template.limits(LIMITS)).map_err(|error| format!("znode_sd_configs: {error}"))
        };
        let address = if config.address.is_empty() { None } else { Some(template("address", &config.address)?) };
        let labels = config.labels.iter().map(|(name, text)| Ok((name.clone(), template(name, text)?)));
        let labels = labels.collect::<Result<_, String>>()?;
        Ok(Self { address, labels, name: config.name_regex.as_ref().map(|pattern| pattern.0.clone()) })
    }

    /// Makes a target of a znode.
    pub(super) fn target(&self, path: &str, data: &[u8]) -> Member {
        let name = path.rsplit('/').next().unwrap_or_default();
        let groups = match &self.name {
            None if data.is_empty() => return Ok(None),
            None => Vec::new(),
            Some(pattern) => match pattern.groups(name) {
                None => return Ok(None),
                Some(groups) => groups,
            },
        };
        let text = String::from_utf8_lossy(data);
        let parsed: Result<Json, _> = serde_json::from_slice(data);
        let values = Value::map([
            ("path", Value::string(path)),
            ("name", Value::string(name)),
            ("match", Value::string_map(groups)),
            ("data", Value::string(&text)),
            ("json", parsed.as_ref().map_or(Value::Nil, value)),
        ]);
        let mut labels =
            vec![("__meta_znode_path".to_owned(), path.to_owned()), ("__meta_znode_name".to_owned(), name.to_owned())];
        if let Ok(Json::Object(fields)) = &parsed {
            let scalars = fields.iter().filter_map(|(key, value)| scalar(value).map(|text| (key, text)));
            labels.extend(scalars.take(LABELS_MAX).map(|(key, text)| (format!("__meta_znode_json_{}", sanitized(key)), text)));
        }
        let why = match &parsed {
            Err(wrong) if !data.is_empty() => format!(" (its data are not JSON: {wrong})"),
            _ => String::new(),
        };
        let fill = |name: &str, template: &Template| {
            template.execute(name, &values, &NoFunctions).map_err(|error| format!("{error}{why}"))
        };
        let address = match &self.address {
            Some(template) => fill("address", template)?,
            None => std::str::from_utf8(data).map_err(|_| "its data are not a text")?.trim().to_owned(),
        };
        if address.contains(NO_VALUE) {
            return Err(format!("the address comes to {address:?}: a field is not there{why}"));
        }
        if address.is_empty() || address.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(format!("{:?} is not an address", address.chars().take(60).collect::<String>()));
        }
        labels.push(("__address__".to_owned(), address));
        for (name, template) in &self.labels {
            // A label may be for some of them alone.
            labels.push((name.clone(), fill(name, template)?.replace(NO_VALUE, "")));
        }
        Ok(Some(Labels::from_pairs(labels)))
    }
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(truth) => Value::Bool(*truth),
        Json::Number(number) => number.as_i64().map_or_else(|| Value::Float(number.as_f64().unwrap_or(f64::NAN)), Value::Int),
        Json::String(text) => Value::string(text),
        Json::Array(items) => Value::list(items.iter().map(value)),
        Json::Object(fields) => Value::map(fields.iter().map(|(key, item)| (key.clone(), value(item)))),
    }
}
