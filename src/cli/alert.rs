//! `watchkeeper alert list|send|why|test`: what fires, posting an alert by hand, who is told of it, and whether that arrives.

use super::client::{Server, ServerArgs, block_on, escape};
use super::output::{Table, shown};
use super::silence::{ask, read_matchers, time};
use crate::env::Env;
use crate::model::labels::{ALERT_NAME, Labels};
use crate::model::{duration, matcher_text};
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// How long a test waits for its outcome.
const WAIT: &str = "2m";

/// What `alert` takes.
#[derive(Debug, Args)]
pub(super) struct AlertArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Lists alerts.
    List {
        #[command(flatten)]
        server: ServerArgs,
        /// Only alerts that nothing keeps quiet.
        #[arg(long)]
        active: bool,
        /// The API's own JSON.
        #[arg(long)]
        json: bool,
        /// Only alerts with these labels.
        #[arg(value_name = "MATCHER")]
        matchers: Vec<String>,
    },
    /// Posts an alert.
    Send {
        #[command(flatten)]
        server: ServerArgs,
        /// Texts for people: `summary=...`.
        #[arg(long, value_name = "NAME=TEXT")]
        annotation: Vec<String>,
        /// When it began, RFC 3339; default: now.
        #[arg(long, value_name = "TIME")]
        start: Option<String>,
        /// When it ends, RFC 3339; default: after the server's `resolve_timeout`.
        #[arg(long, value_name = "TIME")]
        end: Option<String>,
        /// It ends now.
        #[arg(long, conflicts_with = "end")]
        resolved: bool,
        /// It is a test: the same as `alert test`.
        #[arg(long, conflicts_with_all = ["annotation", "start", "end", "resolved"])]
        test: bool,
        /// `name=value`; a first word alone is the alert's name.
        #[arg(required_unless_present = "test", value_name = "LABEL")]
        labels: Vec<String>,
    },
    /// Says why somebody is told of an alert, or not; also for labels that no alert has yet.
    Why {
        #[command(flatten)]
        server: ServerArgs,
        /// The API's own JSON.
        #[arg(long)]
        json: bool,
        /// `name=value`; a first word alone is the alert's name.
        #[arg(required = true, value_name = "LABEL")]
        labels: Vec<String>,
    },
    /// Posts a test alert, waits until somebody was told, and says how it went. Then it ends the alert.
    Test {
        #[command(flatten)]
        server: ServerArgs,
        /// How long to wait.
        #[arg(long, value_name = "DURATION", default_value = WAIT)]
        wait: String,
        /// Tells this receiver at once, instead of sending an alert through routes and groups.
        #[arg(long, value_name = "NAME", conflicts_with = "labels")]
        receiver: Option<String>,
        /// Labels beside `alertname=WatchkeeperTest`, to choose a route.
        #[arg(value_name = "LABEL")]
        labels: Vec<String>,
    },
}

/// Does what was asked.
pub(super) fn run(args: &AlertArgs) -> ExitCode {
    let done = match &args.what {
        What::List { server, active, json, matchers } => block_on(list(server, *active, *json, matchers)),
        What::Send { server, test: true, labels, .. } => block_on(test(server, WAIT, labels)),
        What::Send { server, annotation, start, end, resolved, labels, .. } => {
            block_on(send(server, labels, annotation, [start.as_deref(), end.as_deref()], *resolved))
        }
        What::Test { server, wait, receiver: Some(receiver), .. } => block_on(test_receiver(server, wait, receiver)),
        What::Test { server, wait, labels, receiver: None } => block_on(test(server, wait, labels)),
        What::Why { server, json, labels } => block_on(why(server, *json, labels)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::fail(&error),
    }
}

async fn list(server: &ServerArgs, active: bool, as_json: bool, matchers: &[String]) -> anyhow::Result<()> {
    let filters = read_matchers(matchers)?;
    let mut query: Vec<String> =
        filters.iter().map(|filter| format!("filter={}", escape(&matcher_text::one_to_text(filter)))).collect();
    if active {
        query.push("silenced=false&inhibited=false".to_owned());
    }
    let alerts = ask(&Server::new(server), Method::GET, &format!("/api/v2/alerts?{}", query.join("&")), None).await?;
    if as_json {
        super::output::show(&format!("{alerts:#}\n"));
        return Ok(());
    }
    let mut table = Table::new(["ALERT", "STATE", "SINCE", "LABELS", "SUMMARY"]);
    for alert in alerts.as_array().into_iter().flatten() {
        let labels = alert["labels"].as_object().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let others = labels.iter().filter(|(name, _)| *name != ALERT_NAME);
        let others = others.map(|(name, value)| format!("{name}={}", text(value))).collect::<Vec<_>>().join(" ");
        let summary = &alert["annotations"]["summary"];
        let name = labels.get(ALERT_NAME).map(&text).unwrap_or_default();
        table.rows.push(vec![name, text(&alert["status"]["state"]), text(&alert["startsAt"]), others, text(summary)]);
    }
    super::output::show(&table.aligned());
    Ok(())
}

/// Reads `name=value` pairs; a first word alone is the alert's name.
fn pairs(words: &[String], first_is_name: bool) -> anyhow::Result<Map<String, Value>> {
    let mut map = Map::new();
    for (place, word) in words.iter().enumerate() {
        match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
                map.insert(name.to_owned(), Value::from(value));
            }
            None if place == 0 && first_is_name => {
                map.insert(ALERT_NAME.to_owned(), Value::from(word.as_str()));
            }
            _ => bail!("{word:?} is not of the form name=value"),
        }
    }
    Ok(map)
}

async fn send(
    server: &ServerArgs,
    labels: &[String],
    annotations: &[String],
    [start, end]: [Option<&str>; 2],
    resolved: bool,
) -> anyhow::Result<()> {
    let mut alert = json!({"labels": pairs(labels, true)?, "annotations": pairs(annotations, false)?});
    if let Some(start) = start {
        alert["startsAt"] = Value::from(start);
    }
    let now = time(Env::real().clock.now_ms());
    if let Some(end) = end.or(resolved.then_some(now.as_str())) {
        alert["endsAt"] = Value::from(end);
    }
    ask(&Server::new(server), Method::POST, "/api/v2/alerts", Some(&json!([alert]))).await?;
    let name = alert["labels"][ALERT_NAME].as_str().unwrap_or("the alert");
    super::output::show(&format!("{}: {}\n", if alert["endsAt"].is_null() { "sent" } else { "sent with an end" }, shown(name)));
    Ok(())
}

/// Returns the notification about the alert that has an outcome, if there is one.
fn outcome<'a>(notifications: &'a Value, fingerprint: &str) -> Option<&'a Value> {
    let about = |entry: &&Value| {
        entry["alerts"].as_array().into_iter().flatten().any(|alert| alert["fingerprint"] == fingerprint)
            && matches!(entry["state"].as_str(), Some("sent" | "outbox" | "failed" | "not_sent"))
    };
    notifications["data"]["entries"].as_array()?.iter().find(about)
}

async fn test(server: &ServerArgs, wait: &str, words: &[String]) -> anyhow::Result<()> {
    let env = Env::real();
    let server = Server::new(server);
    let limit = duration::parse(wait).with_context(|| format!("--wait {wait:?}"))?;
    let mut labels = pairs(words, true)?;
    labels.entry(ALERT_NAME).or_insert_with(|| Value::from("WatchkeeperTest"));
    labels.insert("test_id".to_owned(), Value::from(env.random.uuid()));
    let texts = labels.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap_or("")));
    let fingerprint = format!("{:016x}", Labels::from_pairs(texts).fingerprint());
    let mut alert = json!({"labels": labels, "annotations": {"summary": "This is a test: nothing is wrong."}});
    ask(&server, Method::POST, "/api/v2/alerts", Some(&json!([alert]))).await?;
    super::output::show(&format!("posted {}; waiting until somebody was told\n", labels[ALERT_NAME]));
    let until_ms = env.clock.now_ms().saturating_add(i64::try_from(limit.as_millis()).unwrap_or(i64::MAX));
    let found = loop {
        let notifications = ask(&server, Method::GET, "/api/watchkeeper/v1/notifications", None).await?;
        if let Some(entry) = outcome(&notifications, &fingerprint) {
            break Some(entry.clone());
        }
        if env.clock.now_ms() >= until_ms {
            break None;
        }
        env.clock.sleep(Duration::from_millis(300)).await;
    };
    alert["endsAt"] = Value::from(time(env.clock.now_ms()));
    ask(&server, Method::POST, "/api/v2/alerts", Some(&json!([alert]))).await?;
    let Some(entry) = found else { bail!("nobody was told within {wait}; the route's group_wait may be longer") };
    let text = |name: &str| entry[name].as_str().unwrap_or("").to_owned();
    super::output::show(&format!("{}: receiver {}, {} {}\n", text("state"), text("receiver"), text("integration"), text("to")));
    super::output::show(&format!("{}\n", text("reason")));
    if matches!(text("state").as_str(), "sent" | "outbox") { Ok(()) } else { bail!("nobody was told") }
}

/// Whether a notification has come to its end.
fn has_ended(entry: &Value) -> bool {
    matches!(entry["state"].as_str(), Some("sent" | "partly" | "outbox" | "failed" | "not_sent"))
}

async fn test_receiver(server: &ServerArgs, wait: &str, receiver: &str) -> anyhow::Result<()> {
    let env = Env::real();
    let server = Server::new(server);
    let limit = duration::parse(wait).with_context(|| format!("--wait {wait:?}"))?;
    let path = "/api/watchkeeper/v1/notifications/test";
    let told = ask(&server, Method::POST, path, Some(&json!({"receiver": receiver}))).await?;
    let ids: Vec<String> =
        told["data"]["ids"].as_array().into_iter().flatten().filter_map(|id| Some(id.as_str()?.to_owned())).collect();
    let until_ms = env.clock.now_ms().saturating_add(i64::try_from(limit.as_millis()).unwrap_or(i64::MAX));
    let mut failed = 0;
    for id in &ids {
        let entry = loop {
            let entry = ask(&server, Method::GET, &format!("/api/watchkeeper/v1/notifications/{id}"), None).await?;
            if has_ended(&entry["data"]) {
                break entry;
            }
            if env.clock.now_ms() >= until_ms {
                bail!("no outcome within {wait}: {}", entry["data"]["reason"].as_str().unwrap_or(""));
            }
            env.clock.sleep(Duration::from_millis(100)).await;
        };
        let text = |name: &str| entry["data"][name].as_str().unwrap_or("");
        let words = format!("{}: {} {}: {}\n", text("state"), text("integration"), text("to"), text("reason"));
        super::output::show(&words);
        for one in entry["data"]["recipients"].as_array().into_iter().flatten().filter(|one| one["code"].as_u64() >= Some(500)) {
            let word = |name: &str| one[name].as_str().unwrap_or("");
            super::output::show(&format!("  refused: {}: {}\n", word("address"), word("message")));
        }
        failed += usize::from(!matches!(text("state"), "sent" | "outbox"));
    }
    if failed == 0 { Ok(()) } else { bail!("{failed} of {} did not work", ids.len()) }
}

async fn why(server: &ServerArgs, as_json: bool, words: &[String]) -> anyhow::Result<()> {
    let labels = pairs(words, true)?;
    let texts = labels.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap_or("")));
    let path = format!("/api/watchkeeper/v1/why?labels={}", escape(&Labels::from_pairs(texts).to_string()));
    let answer = ask(&Server::new(server), Method::GET, &path, None).await?;
    let answer = &answer["data"];
    if as_json {
        super::output::show(&format!("{answer:#}\n"));
        return Ok(());
    }
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or("").to_owned();
    let steps = |list: &Value| {
        for step in list.as_array().into_iter().flatten() {
            let mark = if step["passes"] == true { "      " } else { " STOP " };
            super::output::show(&format!("{mark}{}: {}\n", text(step, "place"), shown(&text(step, "text"))));
        }
    };
    let labels_text = |labels: &Value| {
        let labels = labels.as_object().into_iter().flatten();
        labels.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or(""))).collect::<Vec<_>>().join(" ")
    };
    super::output::show(&format!("{}\n", shown(&labels_text(&answer["labels"]))));
    for other in answer["alike"].as_array().into_iter().flatten() {
        super::output::show(&format!("  see also {}\n", shown(&labels_text(other))));
    }
    steps(&answer["before"]);
    for way in answer["ways"].as_array().into_iter().flatten() {
        super::output::show(&format!("{}: {}\n", text(way, "verdict"), shown(&text(way, "text"))));
        steps(&way["steps"]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read() {
        let words = ["Down".to_owned(), "a=b=c".to_owned(), "d=\"e f\"".to_owned()];
        assert_eq!(Value::Object(pairs(&words, true).expect("good")), json!({"alertname": "Down", "a": "b=c", "d": "e f"}));
        assert!(pairs(&["a=b".to_owned(), "Down".to_owned()], true).is_err());
        assert!(pairs(&["summary".to_owned()], false).is_err());
    }
}
