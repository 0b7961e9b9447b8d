//! What notification templates see: Alertmanager's `Data`, `Alert`, `KV` and `Pairs`, with `.Value` beside them.

use crate::alerting::machine::{Delivery, ToldAlert};
use crate::model::labels::{ALERT_NAME, Labels};
use crate::template::{Object, Time, Value};
use std::collections::BTreeMap;

/// Alertmanager's `KV`: a map of texts with methods.
#[derive(Clone, Debug, Default)]
pub struct Kv(pub BTreeMap<String, String>);

impl Kv {
    /// Takes a label set.
    #[must_use]
    pub fn of(labels: &Labels) -> Self {
        Self(labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// Returns the pairs by name, the alert's name first.
    #[must_use]
    pub fn sorted_pairs(&self) -> Pairs {
        let mut pairs: Vec<(String, String)> = self.0.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        pairs.sort_by_key(|(name, _)| (name != ALERT_NAME, name.clone()));
        Pairs(pairs)
    }
}

impl Object for Kv {
    fn type_name(&self) -> &str {
        "template.KV"
    }

    fn plain(&self) -> Value {
        Value::string_map(self.0.clone())
    }

    fn call(&self, method: &str, args: &[Value]) -> Option<Result<Value, String>> {
        Some(Ok(match method {
            "SortedPairs" => Value::object(self.sorted_pairs()),
            "Names" => self.sorted_pairs().names(),
            "Values" => self.sorted_pairs().values(),
            "Remove" => {
                let names = args.first().and_then(Value::items).unwrap_or_default();
                let is_named = |name: &str| names.iter().any(|gone| gone.as_text() == Some(name));
                let kept = self.0.iter().filter(|(name, _)| !is_named(name));
                Value::object(Self(kept.map(|(name, value)| (name.clone(), value.clone())).collect()))
            }
            _ => return None,
        }))
    }

    fn text(&self) -> Option<String> {
        self.sorted_pairs().text()
    }
}

/// Alertmanager's `Pairs`: names and values in order.
#[derive(Clone, Debug)]
pub struct Pairs(Vec<(String, String)>);

impl Pairs {
    fn names(&self) -> Value {
        Value::strings(self.0.iter().map(|(name, _)| name))
    }

    fn values(&self) -> Value {
        Value::strings(self.0.iter().map(|(_, value)| value))
    }
}

impl Object for Pairs {
    fn type_name(&self) -> &str {
        "template.Pairs"
    }

    fn plain(&self) -> Value {
        let pair = |(name, value): &(String, String)| {
            Value::structure("template.Pair", vec![("Name", Value::string(name)), ("Value", Value::string(value))])
        };
        Value::typed_list("template.Pairs", self.0.iter().map(pair))
    }

    fn call(&self, method: &str, _args: &[Value]) -> Option<Result<Value, String>> {
        match method {
            "Names" => Some(Ok(self.names())),
            "Values" => Some(Ok(self.values())),
            _ => None,
        }
    }

    fn text(&self) -> Option<String> {
        Some(self.0.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", "))
    }
}

/// One alert. Fields that are nil are absent in the data it was made from.
#[derive(Clone, Debug)]
pub struct AlertData {
    /// `firing` or `resolved`.
    pub status: String,
    /// Labels.
    pub labels: Value,
    /// Annotations.
    pub annotations: Value,
    /// When it began.
    pub starts_at: Time,
    /// When it ended; zero while it fires.
    pub ends_at: Time,
    /// A link to what is behind it.
    pub generator_url: String,
    /// In hexadecimal digits.
    pub fingerprint: String,
    /// The value when last evaluated, or nil.
    pub value: Value,
}

impl AlertData {
    /// Takes an alert as it is told.
    #[must_use]
    pub fn of(told: &ToldAlert) -> Self {
        let alert = &told.alert;
        Self {
            status: if told.resolved { "resolved" } else { "firing" }.to_owned(),
            labels: Value::object(Kv::of(&alert.labels)),
            annotations: Value::object(Kv::of(&alert.annotations)),
            starts_at: Time::from_ms(alert.starts_at_ms),
            ends_at: if told.resolved { Time::from_ms(alert.ends_at_ms) } else { Time::zero() },
            generator_url: alert.generator_url.clone(),
            fingerprint: format!("{:016x}", alert.fingerprint),
            value: alert.value.map_or(Value::Nil, Value::Float),
        }
    }

    fn fields(&self, names: [&'static str; 7]) -> Vec<(&'static str, Value)> {
        let values = [
            Value::string(&self.status),
            self.labels.clone(),
            self.annotations.clone(),
            Value::Time(self.starts_at.clone()),
            Value::Time(self.ends_at.clone()),
            Value::string(&self.generator_url),
            Value::string(&self.fingerprint),
        ];
        names.into_iter().zip(values).collect()
    }
}

impl Object for AlertData {
    fn type_name(&self) -> &str {
        "template.Alert"
    }

    fn plain(&self) -> Value {
        let mut fields = self.fields(["Status", "Labels", "Annotations", "StartsAt", "EndsAt", "GeneratorURL", "Fingerprint"]);
        fields.push(("Value", self.value.clone()));
        Value::structure("template.Alert", fields)
    }

    fn call(&self, _method: &str, _args: &[Value]) -> Option<Result<Value, String>> {
        None
    }

    fn json(&self) -> Option<Value> {
        let names = ["status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint"];
        Some(Value::structure("template.Alert", self.fields(names)))
    }
}

/// Alertmanager's `Alerts`: a list with `Firing` and `Resolved`. Each alert is made when a template asks: most never do, and
/// there may be thousands.
#[derive(Clone, Debug, Default)]
pub struct Alerts<T>(pub Vec<T>);

/// What an alert of a template is made from.
pub trait AsAlert {
    /// Returns the alert.
    fn alert(&self) -> AlertData;

    /// Returns whether it fires.
    fn fires(&self) -> bool;
}

impl AsAlert for ToldAlert {
    fn alert(&self) -> AlertData {
        AlertData::of(self)
    }

    fn fires(&self) -> bool {
        !self.resolved
    }
}

impl<T: AsAlert> Alerts<T> {
    fn that(&self, fire: bool) -> Value {
        let fits = self.0.iter().filter(|alert| alert.fires() == fire);
        Value::typed_list("[]template.Alert", fits.map(|alert| Value::object(alert.alert())))
    }
}

impl<T: AsAlert + std::fmt::Debug + Send + Sync + 'static> Object for Alerts<T> {
    fn type_name(&self) -> &str {
        "template.Alerts"
    }

    fn plain(&self) -> Value {
        Value::typed_list("template.Alerts", self.0.iter().map(|alert| Value::object(alert.alert())))
    }

    fn call(&self, method: &str, _args: &[Value]) -> Option<Result<Value, String>> {
        match method {
            "Firing" => Some(Ok(self.that(true))),
            "Resolved" => Some(Ok(self.that(false))),
            _ => None,
        }
    }
}

/// Returns the labels that all sets share with the same value.
pub fn common<'a>(mut sets: impl Iterator<Item = &'a Labels>) -> Labels {
    let Some(first) = sets.next() else { return Labels::empty() };
    let rest: Vec<&Labels> = sets.collect();
    let shared = first.iter().filter(|(name, value)| rest.iter().all(|other| other.get(name) == Some(value)));
    Labels::from_pairs(shared)
}

/// Returns the status of a whole notification: `firing` while one alert fires.
#[must_use]
pub fn status(alerts: &[ToldAlert]) -> &'static str {
    if alerts.iter().any(|told| !told.resolved) { "firing" } else { "resolved" }
}

/// Makes the data of a delivery.
#[must_use]
pub fn data(delivery: &Delivery, external_url: &str) -> Value {
    let alerts = &delivery.alerts;
    let kv = |labels: &Labels| Value::object(Kv::of(labels));
    Value::structure(
        "*template.Data",
        vec![
            ("Receiver", Value::string(receiver_word(&delivery.receiver.name))),
            ("Status", Value::string(status(alerts))),
            ("Alerts", Value::object(Alerts(alerts.clone()))),
            ("GroupLabels", kv(&delivery.group.labels)),
            ("CommonLabels", kv(&common(alerts.iter().map(|told| &told.alert.labels)))),
            ("CommonAnnotations", kv(&common(alerts.iter().map(|told| &told.alert.annotations)))),
            ("ExternalURL", Value::string(external_url)),
            ("RouteLabels", Value::object(Kv(delivery.route_labels.clone()))),
            ("NotificationReason", Value::string(delivery.due.as_str())),
        ],
    )
}

/// Alertmanager quotes the receiver's name and takes the quotes off again, which leaves escapes.
fn receiver_word(name: &str) -> String {
    let quoted = crate::model::number::quote(name);
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(name).to_owned()
}
