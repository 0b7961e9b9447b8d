//! The functions that notification templates may call: Alertmanager's `DefaultFuncs`.

use super::base64;
use super::mail::{Language, OwnMail};
use crate::template::{Functions, Safe, Scope, Signature, Time, Value, json, library};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The largest JSON text that `toJson` writes.
const JSON_BYTES_MAX: usize = 1 << 20;

/// Alertmanager's functions at some moment, for some route.
#[derive(Debug, Default)]
pub struct NotificationFunctions {
    /// What `since` counts from.
    pub now_ms: i64,
    /// The route's label templates.
    pub route_labels: BTreeMap<String, String>,
    /// What route labels are expanded with.
    pub data: Value,
    /// Our own mail in English and in Chinese, for `email.default.html` and `email.zh.html`.
    pub own_mails: [OwnMail; 2],
    /// Route labels that are being expanded: one must not need itself.
    expanding: RefCell<Vec<String>>,
}

impl NotificationFunctions {
    /// Returns the functions.
    #[must_use]
    pub fn new(now_ms: i64, route_labels: BTreeMap<String, String>, data: Value) -> Self {
        Self { now_ms, route_labels, data, ..Self::default() }
    }

    /// Returns our own mail in a language.
    #[must_use]
    pub fn own_mail(&self, language: Language) -> &OwnMail {
        let [english, chinese] = &self.own_mails;
        match language {
            Language::English => english,
            Language::Chinese => chinese,
        }
    }

    fn route_label(&self, name: &str, scope: &Scope<'_>) -> Result<Value, String> {
        let Some(text) = self.route_labels.get(name) else { return Ok(Value::string("")) };
        if self.expanding.borrow().iter().any(|other| other == name) {
            return Err(format!("cycle in route labels at {name:?}"));
        }
        self.expanding.borrow_mut().push(name.to_owned());
        let expanded = scope.expand(name, text, &self.data);
        self.expanding.borrow_mut().pop();
        expanded.map(Value::from)
    }
}

const STRING: &[&str] = &["string"];
const ANY: &[&str] = &["any"];

fn fixed(params: &'static [&'static str]) -> Signature {
    Signature { params, variadic: false }
}

fn text(args: &[Value], at: usize) -> &str {
    args.get(at).and_then(Value::as_text).unwrap_or("")
}

fn time(args: &[Value], at: usize) -> Time {
    match args.get(at) {
        Some(Value::Time(time)) => time.clone(),
        _ => Time::zero(),
    }
}

/// Upper-cases the first letter of each word and lower-cases the others, as Go's `cases.Title`.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut within = false;
    for c in text.chars() {
        let is_letter = c.is_alphanumeric() || c == '_' || c == '\'';
        match (is_letter, within) {
            (true, false) => out.extend(c.to_uppercase()),
            (true, true) => out.extend(c.to_lowercase()),
            (false, _) => out.push(c),
        }
        within = is_letter;
    }
    out
}

impl Functions for NotificationFunctions {
    fn signature(&self, name: &str) -> Option<Signature> {
        Some(match name {
            "toUpper" | "toLower" | "title" | "trimSpace" | "safeHtml" | "safeUrl" | "urlUnescape" | "base64encode"
            | "base64decode" | "routeLabels" => fixed(STRING),
            "toJson" | "humanizeDuration" => fixed(ANY),
            "watchkeeperMail" | "watchkeeperMailText" | "watchkeeperMailSubject" => Signature { params: STRING, variadic: true },
            "join" => fixed(&["string", "[]string"]),
            "match" | "toDate" | "mustToDate" => fixed(&["string", "string"]),
            "reReplaceAll" => fixed(&["string", "string", "string"]),
            "date" | "tz" => fixed(&["string", "time.Time"]),
            "since" => fixed(&["time.Time"]),
            "now" => fixed(&[]),
            "stringSlice" => Signature { params: STRING, variadic: true },
            "dict" | "list" => Signature { params: ANY, variadic: true },
            "append" => Signature { params: &["any", "any"], variadic: true },
            _ => return None,
        })
    }

    fn call(&self, name: &str, args: &[Value], scope: &Scope<'_>) -> Result<Value, String> {
        Ok(match name {
            "toUpper" => text(args, 0).to_uppercase().into(),
            "toLower" => text(args, 0).to_lowercase().into(),
            "title" => title(text(args, 0)).into(),
            "trimSpace" => text(args, 0).trim().into(),
            "safeHtml" => Value::safe(Safe::Html, text(args, 0)),
            "safeUrl" => Value::safe(Safe::Url, text(args, 0)),
            "urlUnescape" => library::query_unescape(text(args, 0))?.into(),
            "base64encode" => base64::encode_url(text(args, 0).as_bytes()).into(),
            "base64decode" => base64::decode_url(text(args, 0)).ok_or("illegal base64 data")?.into(),
            "watchkeeperMail" => Value::safe(Safe::Html, &self.own_mail(language(args)).html),
            "watchkeeperMailText" => Value::string(&self.own_mail(language(args)).text),
            "watchkeeperMailSubject" => Value::string(&self.own_mail(language(args)).subject),
            "routeLabels" => self.route_label(text(args, 0), scope)?,
            "toJson" => json::to_json(args.first().unwrap_or(&Value::Nil), JSON_BYTES_MAX)?.into(),
            "humanizeDuration" => library::humanize_duration(args.first().unwrap_or(&Value::Nil))?.into(),
            "join" => {
                let items = args.get(1).and_then(Value::items).unwrap_or_default();
                items.iter().map(ToString::to_string).collect::<Vec<_>>().join(text(args, 0)).into()
            }
            "match" => library::is_match(text(args, 0), text(args, 1))?.into(),
            "toDate" => Value::Time(Time::parse(text(args, 0), text(args, 1)).unwrap_or_else(|_| Time::zero())),
            "mustToDate" => Value::Time(Time::parse(text(args, 0), text(args, 1))?),
            "reReplaceAll" => library::replace_all(text(args, 0), text(args, 1), text(args, 2))?.into(),
            "date" => time(args, 1).format(text(args, 0)).into(),
            "tz" => Value::Time(time(args, 1).in_zone(text(args, 0))?),
            "now" => Value::Time(Time::from_ms(self.now_ms)),
            "since" => Value::Duration(Time::from_ms(self.now_ms).since(&time(args, 0))),
            "stringSlice" => Value::strings(args.iter().filter_map(Value::as_text)),
            "dict" => dict(args)?,
            "list" => Value::list(args.iter().cloned()),
            "append" => {
                let items = args.first().and_then(Value::items).ok_or("append: the first argument is not a list")?;
                Value::list(items.iter().chain(args.get(1..).unwrap_or(&[])).cloned())
            }
            _ => return Err(format!("no function {name}")),
        })
    }
}

/// Reads the language that a template asks for; English where it names none.
fn language(args: &[Value]) -> Language {
    if text(args, 0) == "zh" { Language::Chinese } else { Language::English }
}

fn dict(args: &[Value]) -> Result<Value, String> {
    if !args.len().is_multiple_of(2) {
        return Err("dict: odd number of arguments".to_owned());
    }
    let pair = |pair: &[Value]| match pair {
        [Value::String(key), value] => Ok((key.to_string(), value.clone())),
        _ => Err("dict: keys must be strings".to_owned()),
    };
    Ok(Value::map(args.chunks(2).map(pair).collect::<Result<Vec<_>, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::super::template_data::{AlertData, Alerts, AsAlert, Kv};
    use super::*;
    use crate::template::Template;
    use serde_json::Value as Json;

    /// Makes template data of a vector's JSON: names of `Data` get Alertmanager's types.
    fn data(json: &Json) -> Value {
        match json {
            Json::Null => Value::Nil,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => number.as_i64().map_or_else(|| Value::Float(number.as_f64().unwrap_or(0.0)), Value::Int),
            Json::String(text) => Value::string(text),
            Json::Array(items) if items.iter().all(Json::is_string) => Value::strings(items.iter().filter_map(Json::as_str)),
            Json::Array(items) => Value::list(items.iter().map(data)),
            Json::Object(entries) => Value::map(entries.iter().map(|(name, value)| {
                let value = match name.as_str() {
                    "GroupLabels" | "CommonLabels" | "CommonAnnotations" | "Labels" => kv(value),
                    "Alerts" => Value::object(Alerts(value.as_array().into_iter().flatten().map(alert).collect())),
                    _ => data(value),
                };
                (name.clone(), value)
            })),
        }
    }

    impl AsAlert for AlertData {
        fn alert(&self) -> AlertData {
            self.clone()
        }

        fn fires(&self) -> bool {
            self.status == "firing"
        }
    }

    fn kv(json: &Json) -> Value {
        let Some(entries) = json.as_object() else { return Value::Nil };
        Value::object(Kv(entries.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap_or("").to_owned())).collect()))
    }

    fn alert(json: &Json) -> AlertData {
        AlertData {
            status: json["Status"].as_str().unwrap_or("").to_owned(),
            labels: kv(&json["Labels"]),
            annotations: kv(&json["Annotations"]),
            starts_at: Time::zero(),
            ends_at: Time::zero(),
            generator_url: String::new(),
            fingerprint: String::new(),
            value: Value::Nil,
        }
    }

    #[test]
    fn calls_as_alertmanager() {
        let Some(file) = crate::model::shared_data::json("alerting/templates/notification.json") else { return };
        let cases = file["cases"].as_array().expect("cases");
        println!("cases: {}", cases.len());
        let mut wrong = Vec::new();
        for case in cases {
            let labels = case["data"]["RouteLabels"].as_object().into_iter().flatten();
            let labels = labels.map(|(name, value)| (name.clone(), value.as_str().unwrap_or("").to_owned())).collect();
            let functions = NotificationFunctions::new(0, labels, data(&case["data"]));
            let mut template = if case["html"] == true { Template::html() } else { Template::text() };
            let text = case["template"].as_str().expect("a template");
            let made = template.add("", text, &functions).and_then(|()| template.execute("", &data(&case["data"]), &functions));
            let fits = match (&made, case["output"].as_str()) {
                (Ok(made), Some(output)) => made == output,
                (Err(_), None) => true,
                _ => false,
            };
            if !fits {
                wrong.push(format!("{}: {made:?}, not {}", case["title"], case["output"]));
            }
        }
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    }
}
