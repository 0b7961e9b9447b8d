//! `watchkeeper query`: asks a running server.

use super::client::{Answer, Server, ServerArgs, block_on, escape};
use super::output::{self, graph, query_table, series_table, text_table};
use clap::{Args, Subcommand, ValueEnum};
use std::process::ExitCode;

/// How answers are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Aligned columns.
    #[default]
    Table,
    /// The API's own data.
    Json,
    /// Comma-separated values.
    Csv,
    /// A line of blocks for each series.
    Graph,
}

/// What `query` takes.
#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    server: ServerArgs,
    /// How the answer is shown.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, Args)]
struct Span {
    /// First time: seconds since 1970, or RFC 3339.
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// Last time.
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Evaluates an expression at one time.
    Instant {
        #[command(flatten)]
        common: Common,
        /// When; default: now.
        #[arg(long, value_name = "TIME")]
        time: Option<String>,
        /// PromQL.
        expr: String,
    },
    /// Evaluates an expression over a range; without `--start` over the last hour.
    Range {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        span: Span,
        /// Time between two points; default: a 250th of the range.
        #[arg(long, value_name = "DURATION")]
        step: Option<String>,
        /// PromQL.
        expr: String,
    },
    /// Lists series that match selectors.
    Series {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        span: Span,
        /// Selectors.
        #[arg(required = true, value_name = "EXPR")]
        selectors: Vec<String>,
    },
    /// Lists label names, of all series or of those that match selectors.
    Labels {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        span: Span,
        /// Selectors.
        #[arg(value_name = "EXPR")]
        selectors: Vec<String>,
    },
    /// Lists the values of a label, of all series or of those that match selectors.
    LabelValues {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        span: Span,
        /// The label.
        label: String,
        /// Selectors.
        #[arg(value_name = "EXPR")]
        selectors: Vec<String>,
    },
}

/// Asks and shows the answer.
pub(super) fn run(args: &QueryArgs) -> ExitCode {
    match block_on(ask(&args.what)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::fail(&error),
    }
}

fn push<'a>(form: &mut Vec<(&'a str, &'a str)>, name: &'a str, value: Option<&'a String>) {
    if let Some(value) = value {
        form.push((name, value));
    }
}

fn selection<'a>(span: &'a Span, selectors: &'a [String]) -> Vec<(&'a str, &'a str)> {
    let mut form: Vec<(&str, &str)> = selectors.iter().map(|selector| ("match[]", selector.as_str())).collect();
    push(&mut form, "start", span.start.as_ref());
    push(&mut form, "end", span.end.as_ref());
    form
}

async fn ask(what: &What) -> anyhow::Result<()> {
    match what {
        What::Instant { common, time, expr } => {
            let mut form = vec![("query", expr.as_str())];
            push(&mut form, "time", time.as_ref());
            let answer = Server::new(&common.server).data("/api/v1/query", Some(&form)).await?;
            show_query(&answer, common.format);
        }
        What::Range { common, span, step, expr } => {
            let times = range(span, step.as_deref())?;
            let form = [("query", expr.as_str()), ("start", &times.0), ("end", &times.1), ("step", &times.2)];
            let answer = Server::new(&common.server).data("/api/v1/query_range", Some(&form)).await?;
            show_query(&answer, common.format);
        }
        What::Series { common, span, selectors } => {
            let answer = Server::new(&common.server).data("/api/v1/series", Some(&selection(span, selectors))).await?;
            show(&answer, common.format, &series_table(&answer.data));
        }
        What::Labels { common, span, selectors } => {
            let answer = Server::new(&common.server).data("/api/v1/labels", Some(&selection(span, selectors))).await?;
            show(&answer, common.format, &text_table("label", &answer.data));
        }
        What::LabelValues { common, span, label, selectors } => {
            let query = super::client::encode(&selection(span, selectors));
            let path = format!("/api/v1/label/{}/values?{query}", escape(label));
            let answer = Server::new(&common.server).data(&path, None).await?;
            show(&answer, common.format, &text_table(label, &answer.data));
        }
    }
    Ok(())
}

/// Fills in what was not said: the last hour, in 250 steps of whole seconds.
fn range(span: &Span, step: Option<&str>) -> anyhow::Result<(String, String, String)> {
    let seconds = |text: &str| -> anyhow::Result<f64> {
        if let Some(seconds) = crate::model::number::parse_float(text) {
            return Ok(seconds);
        }
        let at: jiff::Timestamp =
            text.parse().map_err(|_| anyhow::anyhow!("{text} is not a time: seconds since 1970 or RFC 3339"))?;
        Ok(at.as_millisecond() as f64 / 1000.0)
    };
    let end = match &span.end {
        Some(text) => seconds(text)?,
        None => crate::env::Env::real().clock.now_ms() as f64 / 1000.0,
    };
    let start = match &span.start {
        Some(text) => seconds(text)?,
        None => end - 3600.0,
    };
    let step = step.map_or_else(|| ((end - start) / 250.0).ceil().max(1.0).to_string(), str::to_owned);
    Ok((start.to_string(), end.to_string(), step))
}

fn show_query(answer: &Answer, format: Format) {
    if format == Format::Graph {
        output::note(&answer.notes);
        output::show(&graph(&answer.data));
    } else {
        show(answer, format, &query_table(&answer.data));
    }
}

fn show(answer: &Answer, format: Format, table: &output::Table) {
    output::note(&answer.notes);
    match format {
        Format::Json => output::show(&format!("{}\n", answer.data)),
        Format::Csv => output::show(&table.csv()),
        Format::Table | Format::Graph => output::show(&table.aligned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_filled_in() {
        let span = Span { start: Some("1970-01-01T00:00:00Z".to_owned()), end: Some("500".to_owned()) };
        assert_eq!(range(&span, None).unwrap(), ("0".to_owned(), "500".to_owned(), "2".to_owned()));
        assert_eq!(range(&span, Some("1m")).unwrap().2, "1m");
        assert!(range(&Span { start: Some("x".to_owned()), end: None }, None).is_err());
    }
}
