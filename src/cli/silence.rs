//! `watchkeeper silence add|list|expire`: keeps alerts quiet for a while.

use super::client::{Server, ServerArgs, block_on, escape};
use super::output::Table;
use crate::alerting::persist::matchers_json;
use crate::env::Env;
use crate::model::duration;
use crate::model::labels::ALERT_NAME;
use crate::model::matcher::Matcher;
use crate::model::matcher_text;
use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};
use std::process::ExitCode;

/// What `silence` takes.
#[derive(Debug, Args)]
pub(super) struct SilenceArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Makes a silence and prints its id.
    Add(Box<AddArgs>),
    /// Lists silences.
    List {
        #[command(flatten)]
        server: ServerArgs,
        /// Expired ones too.
        #[arg(long)]
        expired: bool,
        /// The API's own JSON.
        #[arg(long)]
        json: bool,
        /// Only silences with these matchers.
        #[arg(value_name = "MATCHER")]
        matchers: Vec<String>,
    },
    /// Ends silences now.
    Expire {
        #[command(flatten)]
        server: ServerArgs,
        /// Their ids.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
}

#[derive(Debug, Args)]
struct AddArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Who asks for it; default: the user of this shell.
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
    /// Why.
    #[arg(long, default_value = "")]
    comment: String,
    /// When it begins, RFC 3339; default: now.
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// When it ends, RFC 3339.
    #[arg(long, value_name = "TIME", conflicts_with = "duration")]
    end: Option<String>,
    /// How long it lasts.
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    duration: String,
    /// Mutes only at these times while it lasts: `Sat,Sun 02:00-04:00`.
    #[arg(long, value_name = "WHEN")]
    every: Option<String>,
    /// The time zone of `--every`; default: UTC.
    #[arg(long, value_name = "ZONE", requires = "every")]
    time_zone: Option<String>,
    /// Ends as soon as no alert that it covers fires any more (at the latest after the duration).
    #[arg(long)]
    until_resolved: bool,
    /// It is meant so that it keeps quiet about every alert.
    #[arg(long)]
    confirm: bool,
    /// `name=value`, `name!=value`, `name=~pattern`, `name!~pattern`; a first word alone is the alert's name.
    #[arg(required = true, value_name = "MATCHER")]
    matchers: Vec<String>,
}

/// Does what was asked.
pub(super) fn run(args: &SilenceArgs) -> ExitCode {
    let done = match &args.what {
        What::Add(args) => block_on(add(args)),
        What::List { server, expired, json, matchers } => block_on(list(server, *expired, *json, matchers)),
        What::Expire { server, ids } => block_on(expire(server, ids)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::fail(&error),
    }
}

/// Reads matchers as amtool does: a first word without operator is the alert's name.
pub(super) fn read_matchers(words: &[String]) -> anyhow::Result<Vec<Matcher>> {
    let mut matchers = Vec::new();
    for (place, word) in words.iter().enumerate() {
        match matcher_text::parse(word) {
            Ok(parsed) if !parsed.is_empty() => matchers.extend(parsed),
            _ if place == 0 && !word.is_empty() && !word.contains(['=', '~', '!', '{', '}']) => {
                matchers.push(Matcher::equal(ALERT_NAME, word));
            }
            Ok(_) => bail!("{word:?} holds no matcher"),
            Err(error) => return Err(error).with_context(|| format!("matcher {word:?}")),
        }
    }
    Ok(matchers)
}

/// Returns the body of a good answer, or the server's words as an error.
pub(super) async fn ask(server: &Server, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
    let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
    let content_type = if body.is_some() { "application/json" } else { "" };
    let (status, answer) = server.send(method, path, content_type, bytes).await?;
    let parsed: Value = serde_json::from_slice(&answer).unwrap_or(Value::Null);
    if (200..300).contains(&status) {
        return Ok(parsed);
    }
    let words = parsed.as_str().or_else(|| parsed["message"].as_str()).or_else(|| parsed["error"].as_str());
    let text = String::from_utf8_lossy(&answer);
    let words = words.unwrap_or_else(|| text.trim());
    if words.is_empty() { bail!("the server answered {status}") } else { bail!("{words}") }
}

/// Writes a time of the wall clock.
pub(super) fn time(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map(|at| at.to_string()).unwrap_or_default()
}

async fn add(args: &AddArgs) -> anyhow::Result<()> {
    let now_ms = Env::real().clock.now_ms();
    let matchers = read_matchers(&args.matchers)?;
    let starts = args.start.clone().unwrap_or_else(|| time(now_ms));
    let start: jiff::Timestamp = starts.parse().with_context(|| format!("--start {starts:?}"))?;
    let length = duration::parse(&args.duration).with_context(|| format!("--duration {:?}", args.duration))?;
    let length_ms = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
    let ends = args.end.clone().unwrap_or_else(|| time(start.as_millisecond().saturating_add(length_ms)));
    let author = args.author.clone().or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "watchkeeper".to_owned());
    let mut body = json!({
        "matchers": matchers_json(&matchers),
        "startsAt": starts,
        "endsAt": ends,
        "createdBy": author,
        "comment": args.comment,
    });
    if let Some(every) = &args.every {
        body["every"] = Value::from(every.as_str());
        body["timeZone"] = Value::from(args.time_zone.as_deref().unwrap_or("UTC"));
    }
    if args.confirm {
        body["confirm"] = Value::Bool(true);
    }
    if args.until_resolved {
        body["untilResolved"] = Value::Bool(true);
    }
    let answer = ask(&Server::new(&args.server), Method::POST, "/api/v2/silences", Some(&body)).await?;
    super::output::show(&format!("{}\n", answer["silenceID"].as_str().context("the server gave no id")?));
    Ok(())
}

/// Writes matchers of the API's JSON in one line.
fn matchers_text(matchers: &Value) -> String {
    let parsed = crate::alerting::persist::matchers_of(matchers).unwrap_or_default();
    parsed.iter().map(matcher_text::one_to_text).collect::<Vec<_>>().join(" ")
}

async fn list(server: &ServerArgs, expired: bool, as_json: bool, matchers: &[String]) -> anyhow::Result<()> {
    let filters = read_matchers(matchers)?;
    let query: Vec<String> =
        filters.iter().map(|filter| format!("filter={}", escape(&matcher_text::one_to_text(filter)))).collect();
    let path = format!("/api/v2/silences?{}", query.join("&"));
    let mut silences = ask(&Server::new(server), Method::GET, &path, None).await?;
    if let Some(all) = silences.as_array_mut() {
        all.retain(|silence| expired || silence["status"]["state"] != "expired");
    }
    if as_json {
        super::output::show(&format!("{silences:#}\n"));
        return Ok(());
    }
    let mut table = Table::new(["ID", "STATE", "MATCHERS", "ENDS AT", "CREATED BY", "COMMENT"]);
    for silence in silences.as_array().into_iter().flatten() {
        let text = |name: &str| silence[name].as_str().unwrap_or("").to_owned();
        let state = silence["status"]["state"].as_str().unwrap_or("").to_owned();
        let matchers = matchers_text(&silence["matchers"]);
        // What a recurring one does, and when one ends by itself, stands with its end.
        let mut end = text("endsAt");
        if !text("every").is_empty() {
            end = format!("{end}, only {} {}", text("every"), text("timeZone"));
        }
        if silence["untilResolved"] == true {
            end = format!("{end}, or with its alerts");
        }
        table.rows.push(vec![text("id"), state, matchers, end, text("createdBy"), text("comment")]);
    }
    super::output::show(&table.aligned());
    Ok(())
}

async fn expire(server: &ServerArgs, ids: &[String]) -> anyhow::Result<()> {
    let server = Server::new(server);
    for id in ids {
        let path = format!("/api/v2/silence/{}", escape(id));
        ask(&server, Method::DELETE, &path, None).await.with_context(|| format!("silence {id}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_are_read_as_amtool_reads_them() {
        let cases = [
            (vec!["Down", "instance=~a.*"], Some(r#"{alertname="Down",instance=~"a.*"}"#)),
            (vec!["{a=b,c!=d}"], Some(r#"{a="b",c!="d"}"#)),
            (vec!["a=b", "Down"], None),
            (vec!["a=~["], None),
            (vec!["{}"], None),
        ];
        for (words, wanted) in cases {
            let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
            let read = read_matchers(&words).ok().map(|matchers| matcher_text::to_text(&matchers));
            assert_eq!(read.as_deref(), wanted, "{words:?}");
        }
    }
}
