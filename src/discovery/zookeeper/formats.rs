//! Members as serversets, Nerve, Curator and Kafka write them: JSON in a znode.
//!
//! `Ok(None)`: the znode is a folder or not meant. `Err`: why it cannot be read, in words.

use super::LABELS_MAX;
use crate::model::labels::Labels;
use serde_json::{Map, Value};

type Object = Map<String, Value>;
pub(super) type Member = Result<Option<Labels>, String>;

/// Labels under a common prefix, as they come.
struct Writer {
    prefix: &'static str,
    pairs: Vec<(String, String)>,
}

impl Writer {
    fn new(prefix: &'static str, address: String) -> Self {
        Self { prefix, pairs: vec![("__address__".to_owned(), address)] }
    }

    fn put(&mut self, name: &str, value: impl Into<String>) {
        self.pairs.push((format!("__meta_{}_{name}", self.prefix), value.into()));
    }

    fn put_scalar(&mut self, name: &str, value: Option<&Value>) {
        if let Some(text) = value.and_then(scalar) {
            self.put(name, text);
        }
    }

    fn labels(self) -> Labels {
        Labels::from_pairs(self.pairs)
    }
}

/// Makes a label's name of any text, as Prometheus's `SanitizeLabelName`.
pub(super) fn sanitized(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

/// Joins host and port, as Go's `net.JoinHostPort`.
pub(super) fn address(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Returns the text of a string, number or truth value.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn object(data: &[u8]) -> Result<Object, String> {
    match serde_json::from_slice(data) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("its data are JSON, but no object".to_owned()),
        Err(error) => Err(format!("its data are not JSON: {error}")),
    }
}

/// Finds a key as Go's JSON does: exactly, else in any case.
fn field<'o>(object: &'o Object, name: &str) -> Option<&'o Value> {
    let found =
        object.get(name).or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value));
    found.filter(|value| !value.is_null())
}

fn text<'o>(object: &'o Object, name: &str) -> Result<&'o str, String> {
    match field(object, name) {
        None => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(format!("{name} is not a text but {}", shown(other))),
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn host<'o>(object: &'o Object, name: &str) -> Result<&'o str, String> {
    match text(object, name)? {
        "" => Err(format!("it has no {name}")),
        host => Ok(host),
    }
}

/// Returns a port; `None` where there is none.
fn optional_port(object: &Object, name: &str) -> Result<Option<u16>, String> {
    let Some(value) = field(object, name) else { return Ok(None) };
    let number = value.as_u64().and_then(|number| u16::try_from(number).ok()).filter(|port| *port > 0);
    number.map(Some).ok_or_else(|| format!("{name} is not a port: {}", shown(value)))
}

fn port(object: &Object, name: &str) -> Result<u16, String> {
    optional_port(object, name)?.ok_or_else(|| format!("it has no {name}"))
}

fn endpoint(value: &Value) -> Result<(String, u16), String> {
    let object = value.as_object().ok_or_else(|| format!("an endpoint is not an object but {}", shown(value)))?;
    Ok((host(object, "host")?.to_owned(), port(object, "port")?))
}

/// A member of a serverset, as Finagle and Aurora write it.
pub(super) fn serverset(path: &str, data: &[u8]) -> Member {
    if data.is_empty() {
        return Ok(None);
    }
    let member = object(data)?;
    let main = field(&member, "serviceEndpoint").ok_or("it has no serviceEndpoint")?;
    let (host, port) = endpoint(main).map_err(|error| format!("serviceEndpoint: {error}"))?;
    let mut labels = Writer::new("serverset", address(&host, port));
    labels.put("path", path);
    labels.put("endpoint_host", host);
    labels.put("endpoint_port", port.to_string());
    match field(&member, "additionalEndpoints") {
        None => {}
        Some(Value::Object(more)) => {
            for (name, value) in more.iter().take(LABELS_MAX) {
                let (host, port) = endpoint(value).map_err(|error| format!("additionalEndpoints, {name:?}: {error}"))?;
                let name = sanitized(name);
                labels.put(&format!("endpoint_host_{name}"), host);
                labels.put(&format!("endpoint_port_{name}"), port.to_string());
            }
        }
        Some(other) => return Err(format!("additionalEndpoints is not an object but {}", shown(other))),
    }
    labels.put("status", text(&member, "status")?);
    let shard = match field(&member, "shard") {
        None => 0,
        Some(value) => value.as_i64().ok_or_else(|| format!("shard is not a number but {}", shown(value)))?,
    };
    labels.put("shard", shard.to_string());
    Ok(Some(labels.labels()))
}

/// A member as Nerve writes it.
pub(super) fn nerve(path: &str, data: &[u8]) -> Member {
    if data.is_empty() {
        return Ok(None);
    }
    let member = object(data)?;
    let (host, port) = (host(&member, "host")?, port(&member, "port")?);
    let mut labels = Writer::new("nerve", address(host, port));
    labels.put("path", path);
    labels.put("endpoint_host", host);
    labels.put("endpoint_port", port.to_string());
    labels.put("endpoint_name", text(&member, "name")?);
    Ok(Some(labels.labels()))
}

/// An instance as Curator's service discovery writes it, `<base>/<service>/<id>`; also Spring Cloud's and Dubbo 3's.
pub(super) fn curator(path: &str, below: &str, data: &[u8]) -> Member {
    let Some((service, id)) = below.split_once('/') else { return Ok(None) };
    if id.is_empty() || id.contains('/') || data.is_empty() {
        return Ok(None);
    }
    let instance = object(data)?;
    let host = host(&instance, "address")?;
    let (plain, ssl) = (optional_port(&instance, "port")?, optional_port(&instance, "sslPort")?);
    let port = plain.or(ssl).ok_or("it has neither port nor sslPort")?;
    let mut labels = Writer::new("curator", address(host, port));
    if plain.is_none() {
        labels.pairs.push(("__scheme__".to_owned(), "https".to_owned()));
    }
    labels.put("path", path);
    labels.put("service", service);
    labels.put("id", id);
    labels.put("address", host);
    labels.put_scalar("port", field(&instance, "port"));
    labels.put_scalar("ssl_port", field(&instance, "sslPort"));
    labels.put_scalar("type", field(&instance, "serviceType"));
    labels.put_scalar("enabled", field(&instance, "enabled"));
    if let Some(Value::Object(payload)) = field(&instance, "payload") {
        let metadata = payload.get("metadata").and_then(Value::as_object).unwrap_or(payload);
        for (key, value) in metadata.iter().filter(|(_, value)| scalar(value).is_some()).take(LABELS_MAX) {
            labels.put_scalar(&format!("metadata_{}", sanitized(key)), Some(value));
        }
    }
    Ok(Some(labels.labels()))
}

/// A broker as Kafka registers it, `/brokers/ids/<id>`.
pub(super) fn kafka(below: &str, data: &[u8]) -> Member {
    if below.is_empty() || below.contains('/') || data.is_empty() {
        return Ok(None);
    }
    let broker = object(data)?;
    let mut endpoints = Vec::new();
    if let Some(listed) = field(&broker, "endpoints") {
        let listed = listed.as_array().ok_or_else(|| format!("endpoints is not a list but {}", shown(listed)))?;
        for one in listed.iter().take(LABELS_MAX) {
            let parts = one.as_str().and_then(listener);
            endpoints.push(parts.ok_or_else(|| format!("an endpoint is not like LISTENER://host:port: {}", shown(one)))?);
        }
    }
    // Without a listener in plain text the host is null and the port -1.
    let plain = match (field(&broker, "host"), field(&broker, "port").and_then(Value::as_i64)) {
        (Some(Value::String(host)), Some(port)) if !host.is_empty() && port > 0 => {
            let port = u16::try_from(port).map_err(|_| format!("port is not a port: {port}"))?;
            Some((host.clone(), port))
        }
        _ => None,
    };
    let first = || endpoints.first().map(|(_, host, port)| (host.clone(), *port));
    let (host, port) = plain.or_else(first).ok_or("it has neither host and port nor endpoints")?;
    let mut labels = Writer::new("kafka", address(&host, port));
    labels.put("broker_id", below);
    labels.put("host", host);
    labels.put("port", port.to_string());
    labels.put_scalar("jmx_port", field(&broker, "jmx_port"));
    labels.put_scalar("rack", field(&broker, "rack"));
    for (listener, host, port) in &endpoints {
        labels.put(&format!("endpoint_{}", sanitized(listener)), address(host, *port));
    }
    Ok(Some(labels.labels()))
}

fn listener(text: &str) -> Option<(String, String, u16)> {
    let (name, place) = text.split_once("://")?;
    let (host, port) = host_and_port(place)?;
    (!host.is_empty()).then(|| (name.to_owned(), host.to_owned(), port))
}

/// Splits `host:port`; an IPv6 address stands in brackets, which go.
pub(super) fn host_and_port(place: &str) -> Option<(&str, u16)> {
    let (host, port) = place.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port = port.parse::<u16>().ok().filter(|port| *port > 0)?;
    Some((host, port))
}
