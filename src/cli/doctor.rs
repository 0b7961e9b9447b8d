//! `watchkeeper doctor`: why is a scrape, ZooKeeper or a mail failing? Does what the server does, one step after the other,
//! and says in words how far it comes. Changes nothing and sends no mail.

use super::check::DiskFiles;
use super::output;
use crate::config::{self, Config, Files as _, ScrapeConfig};
use crate::discovery;
use crate::env::Env;
use crate::exposition::families::{About, Options, Sample, Sink};
use crate::exposition::{Dialect, Entry, Format, Parser, protobuf};
use crate::net::{Client, ClientOptions, Request};
use crate::scrape;
use crate::telemetry::metrics::Registry;
use crate::zookeeper;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::watch;

/// How long one step may take.
const STEP: Duration = Duration::from_secs(10);
/// How long discovery gets to find targets.
const DISCOVERY: Duration = Duration::from_secs(5);
/// How many targets of a job are tried.
const TARGETS_MAX: usize = 20;
/// The longest body of a target that is looked at.
const BODY_BYTES_MAX: u64 = 64 << 20;
/// The longest line that a mail server may say.
const LINE_BYTES_MAX: u64 = 4096;

/// What `doctor` takes.
#[derive(Debug, clap::Args)]
pub(super) struct DoctorArgs {
    /// The configuration to try; without it, what `serve` does without one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Tries everything; answers 0 where every step worked.
pub(super) fn run(args: &DoctorArgs) -> ExitCode {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let done = built.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(examine(args)));
    match done {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => super::fail(&error),
    }
}

/// The steps so far.
struct Chart {
    env: Env,
    failed: usize,
}

impl Chart {
    fn title(&self, text: &str) {
        output::show(&format!("{text}\n"));
    }

    fn fine(&self, text: &str) {
        output::show(&format!("  ok    {text}\n"));
    }

    fn hint(&self, text: &str) {
        output::show(&format!("  note  {text}\n"));
    }

    fn bad(&mut self, text: &str) {
        self.failed += 1;
        output::show(&format!("  FAIL  {text}\n"));
    }
}

async fn examine(args: &DoctorArgs) -> anyhow::Result<usize> {
    let mut chart = Chart { env: Env::real(), failed: 0 };
    chart.title("configuration");
    let config = match &args.config {
        None => {
            chart.fine("none given: this host and the server itself are watched, mails go to the outbox");
            Config::without_file()
        }
        Some(path) => {
            let text = DiskFiles.text(path)?;
            match config::load(path, &text, &DiskFiles) {
                Ok(config) => {
                    chart.fine(&format!("{} is well formed, {} jobs", path.display(), config.scrape_configs.len()));
                    config
                }
                Err(error) => {
                    chart.bad(&error.to_string());
                    return Ok(chart.failed);
                }
            }
        }
    };
    for wish in config.unsupported(config::SENDABLE) {
        chart.bad(&format!("the server will refuse this: {wish}"));
    }
    for (key, file) in config.named_files() {
        if let Err(error) = DiskFiles.read(file.path()) {
            chart.bad(&format!("{key}: {}: {error}", &**file));
        }
    }
    let config = Arc::new(config);
    try_targets(&mut chart, &config).await;
    try_zookeeper(&mut chart, &config).await;
    try_mail(&mut chart, &config).await;
    chart.title(&match chart.failed {
        0 => "everything works".to_owned(),
        1 => "1 step failed".to_owned(),
        failed => format!("{failed} steps failed"),
    });
    Ok(chart.failed)
}

async fn try_targets(chart: &mut Chart, config: &Arc<Config>) {
    if config.scrape_configs.is_empty() {
        return;
    }
    let (_keep, configs) = watch::channel(Arc::clone(config));
    let mut found = discovery::start(&chart.env, configs, &Registry::new(), None);
    // Slow sources get their time; what is there by then is tried.
    let complete = async {
        let all_there = |jobs: &Arc<std::collections::BTreeMap<_, crate::model::target::JobTargets>>| {
            config.scrape_configs.iter().all(|job| jobs.get(&job.job_name).is_some_and(|job| !job.groups.is_empty()))
        };
        found.wait_for(all_there).await.map(|_| ())
    };
    let waited = chart.env.clock.timeout(DISCOVERY, complete).await;
    let jobs = Arc::clone(&found.borrow());
    if waited.is_err() {
        chart.hint(&format!("not every job had targets within {DISCOVERY:?}"));
    }
    for job in &config.scrape_configs {
        chart.title(&format!("job {:?}", job.job_name));
        let Some(targets) = jobs.get(&job.job_name) else {
            chart.bad("discovery has not found any target");
            continue;
        };
        for error in &targets.errors {
            chart.bad(&format!("discovery: {error}"));
        }
        let urls = scrape::target_urls(job, &targets.groups);
        if urls.is_empty() {
            chart.hint("no targets (or relabelling drops them all)");
        }
        if urls.len() > TARGETS_MAX {
            chart.hint(&format!("{} targets; the first {TARGETS_MAX} are tried", urls.len()));
        }
        for url in urls.into_iter().take(TARGETS_MAX) {
            match url {
                Ok(url) => try_target(chart, job, &url).await,
                Err(reason) => chart.bad(&format!("no address: {reason}")),
            }
        }
    }
}

async fn try_target(chart: &mut Chart, job: &ScrapeConfig, url: &str) {
    match chart.env.clock.timeout(job.scrape_timeout.max(Duration::from_secs(1)), fetch(&chart.env, job, url)).await {
        Err(_) => chart.bad(&format!("{url}: no answer within the scrape_timeout of {:?}", job.scrape_timeout)),
        Ok(Err(reason)) => chart.bad(&format!("{url}: {reason}")),
        Ok(Ok((content_type, body))) => match count_samples(&content_type, &body) {
            Ok((samples, note)) => {
                chart.fine(&format!("{url}: {samples} samples, {} bytes", body.len()));
                if let Some(note) = note {
                    chart.hint(&note);
                }
            }
            Err(reason) => chart.bad(&format!("{url}: {reason}")),
        },
    }
}

async fn fetch(env: &Env, job: &ScrapeConfig, url: &str) -> Result<(String, Vec<u8>), String> {
    let options = ClientOptions::from_config(&job.http, url.starts_with("https:"))?;
    let client = Client::new(env, options);
    let request = Request::get(url, BODY_BYTES_MAX).map_err(|error| error.to_string())?;
    let response = client.send(request).await.map_err(|error| error.to_string())?;
    if !response.status.is_success() {
        let hint = match response.status.as_u16() {
            401 | 403 => " (it wants other credentials: basic_auth, authorization or a client certificate)",
            404 => " (is metrics_path right?)",
            _ => "",
        };
        return Err(format!("server returned HTTP status {}{hint}", response.status));
    }
    Ok((response.header("content-type").to_owned(), response.body))
}

/// Counts the samples of an exposition; with a note where a second reader sees it differently.
fn count_samples(content_type: &str, body: &[u8]) -> Result<(usize, Option<String>), String> {
    let dialect = match Format::of_content_type(content_type) {
        Some(Format::Protobuf) => return count_messages(body).map(|samples| (samples, None)),
        Some(Format::Lines(dialect)) => dialect,
        None => Dialect::Text,
    };
    let mut parser = Parser::new(body, dialect);
    let mut samples = 0;
    loop {
        match parser.next() {
            Ok(Some(Entry::Sample)) => samples += 1,
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => {
                let what = if content_type.contains("html") { "this is a web page, not an exposition: " } else { "" };
                return Err(format!("{what}line {}, column {}: {error}", error.line, error.column));
            }
        }
    }
    let lines = String::from_utf8_lossy(body).into_owned();
    let second = prometheus_parse::Scrape::parse(lines.lines().map(|line| Ok(line.to_owned())));
    let note = match second {
        Ok(_) => None,
        Err(error) => Some(format!("a stricter reader stumbles over this body: {error}")),
    };
    Ok((samples, note))
}

/// Counts the samples of a protobuf exposition.
fn count_messages(body: &[u8]) -> Result<usize, String> {
    struct Counter(usize);
    impl Sink for Counter {
        fn about(&mut self, _metric: &str, _about: About<'_>) {}

        fn sample(&mut self, _sample: Sample<'_>) -> Result<(), String> {
            self.0 += 1;
            Ok(())
        }
    }
    let mut counter = Counter(0);
    let options = Options { native: true, ..Options::default() };
    protobuf::read(body, options, &mut counter).map_err(|error| error.to_string())?;
    Ok(counter.0)
}

async fn try_zookeeper(chart: &mut Chart, config: &Config) {
    let Some(zookeeper) = &config.zookeeper else { return };
    chart.title(&format!("zookeeper {}", zookeeper.connect));
    let hosts = zookeeper.connect.split('/').next().unwrap_or_default();
    for host in hosts.split(',') {
        let address = if host.contains(':') { host.to_owned() } else { format!("{host}:2181") };
        match chart.env.clock.timeout(STEP, chart.env.network.connect(&address)).await {
            Ok(Ok(_)) => chart.fine(&format!("{address} takes connections")),
            Ok(Err(error)) => chart.bad(&format!("{address}: {error}")),
            Err(_) => chart.bad(&format!("{address}: no connection within {STEP:?}")),
        }
    }
    let digest = zookeeper.auth.as_ref().map(|auth| match auth.digest_file.is_empty() {
        true => Ok(auth.digest.reveal().to_owned()),
        false => DiskFiles.text(auth.digest_file.path()).map(|text| text.trim().to_owned()),
    });
    // A failure was told above, among the files.
    let Ok(digest) = digest.transpose() else { return };
    let options = zookeeper::Options {
        connect: zookeeper.connect.clone(),
        root: zookeeper.root.clone(),
        session_timeout: zookeeper.session_timeout,
        digest,
    };
    let connector = zookeeper::real_connector(&chart.env);
    match chart.env.clock.timeout(STEP, connector.connect(&options)).await {
        Err(_) => chart.bad(&format!("no session within {STEP:?}: is there a quorum?")),
        Ok(Err(error)) => chart.bad(&format!("no session: {error}")),
        Ok(Ok(client)) => {
            chart.fine(&format!("session of {:?}", client.session_timeout()));
            match chart.env.clock.timeout(STEP, client.children(&zookeeper.root)).await {
                Err(_) => chart.bad(&format!("{}: no answer within {STEP:?}", zookeeper.root)),
                Ok(Err(error)) => chart.bad(&format!("{}: {error}", zookeeper.root)),
                Ok(Ok(None)) => chart.hint(&format!("{} is not there yet; the server will make it", zookeeper.root)),
                Ok(Ok(Some(children))) => chart.fine(&format!("{} holds {}", zookeeper.root, children.join(", "))),
            }
        }
    }
}

async fn try_mail(chart: &mut Chart, config: &Config) {
    let notifier = config.notifier();
    let mut tried = BTreeSet::new();
    for email in notifier.receivers.iter().flat_map(|receiver| &receiver.email_configs) {
        if email.smarthost.is_outbox() {
            continue;
        }
        let address = format!("{}:{}", email.smarthost.host, email.smarthost.port);
        if !tried.insert(address.clone()) {
            continue;
        }
        chart.title(&format!("mail server {address}"));
        if email.force_implicit_tls.unwrap_or(email.smarthost.port == "465") {
            match chart.env.clock.timeout(STEP, chart.env.network.connect(&address)).await {
                Ok(Ok(_)) => chart.fine("takes connections (TLS from the first byte; not looked into further)"),
                Ok(Err(error)) => chart.bad(&error.to_string()),
                Err(_) => chart.bad(&format!("no connection within {STEP:?}")),
            }
            continue;
        }
        match chart.env.clock.timeout(STEP, greet(&chart.env, &address, &email.hello)).await {
            Err(_) => chart.bad(&format!("no greeting within {STEP:?}")),
            Ok(Err(reason)) => chart.bad(&reason),
            Ok(Ok(offers)) => {
                chart.fine(&format!("greets, and offers {}", offers.join(", ")));
                let tls = offers.iter().any(|offer| offer.eq_ignore_ascii_case("STARTTLS"));
                if email.require_tls.unwrap_or(true) && !tls {
                    chart.bad("require_tls is on, but the server offers no STARTTLS: mails will not be sent");
                }
                let auth = offers.iter().any(|offer| offer.to_ascii_uppercase().starts_with("AUTH"));
                if !email.auth_username.is_empty() && !auth && !tls {
                    chart.bad("auth_username is set, but the server offers no AUTH");
                }
            }
        }
    }
}

/// Says EHLO and QUIT; answers what the server offers.
async fn greet(env: &Env, address: &str, hello: &str) -> Result<Vec<String>, String> {
    let words = |error: std::io::Error| error.to_string();
    let stream = env.network.connect(address).await.map_err(words)?;
    let mut stream = BufReader::new(stream);
    let greeting = answer(&mut stream).await?;
    if !greeting.iter().all(|line| line.starts_with("220")) {
        return Err(format!("the server does not want to talk: {}", greeting.join(" ")));
    }
    stream.get_mut().write_all(format!("EHLO {hello}\r\n").as_bytes()).await.map_err(words)?;
    let offers = answer(&mut stream).await?;
    if !offers.iter().all(|line| line.starts_with("250")) {
        return Err(format!("EHLO {hello} was refused: {}", offers.join(" ")));
    }
    stream.get_mut().write_all(b"QUIT\r\n").await.map_err(words)?;
    Ok(offers.iter().skip(1).filter_map(|line| line.get(4..)).map(str::to_owned).collect())
}

/// Reads one answer of a mail server: lines `250-...` up to `250 ...`.
async fn answer(stream: &mut BufReader<crate::env::network::BoxStream>) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    while lines.len() < 100 {
        let mut line = Vec::new();
        let mut bounded = tokio::io::AsyncReadExt::take(&mut *stream, LINE_BYTES_MAX);
        let read = bounded.read_until(b'\n', &mut line).await.map_err(|error| error.to_string())?;
        if read == 0 {
            return Err("the server hung up".to_owned());
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        let more = text.as_bytes().get(3) == Some(&b'-');
        lines.push(text);
        if !more {
            return Ok(lines);
        }
    }
    Err("the server does not stop talking".to_owned())
}
