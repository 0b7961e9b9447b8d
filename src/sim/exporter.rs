//! An exporter whose values are set by the test.

use super::http;
use super::network::Host;
use crate::env::network::BoxStream;
use futures_util::future::BoxFuture;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::BufReader;

/// The exporter. Cheap to clone; clones share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exporter(Arc<Mutex<Page>>);

#[derive(Debug, Default)]
struct Page {
    values: BTreeMap<String, f64>,
    is_failing: bool,
    scrapes: u64,
}

impl Exporter {
    fn page(&self) -> std::sync::MutexGuard<'_, Page> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets a series (`name` or `name{label="value"}`).
    pub(crate) fn set(&self, series: &str, value: f64) {
        self.page().values.insert(series.to_owned(), value);
    }

    /// Takes a series off the page.
    pub(crate) fn remove(&self, series: &str) {
        self.page().values.remove(series);
    }

    /// Lets it answer 500, or no longer.
    pub(crate) fn fail(&self, is_failing: bool) {
        self.page().is_failing = is_failing;
    }

    /// Returns how often it was scraped.
    pub(crate) fn scrapes(&self) -> u64 {
        self.page().scrapes
    }

    fn answer(&self) -> (u16, String) {
        let mut page = self.page();
        page.scrapes += 1;
        if page.is_failing {
            return (500, "out of order".to_owned());
        }
        let mut text = String::new();
        for (series, value) in &page.values {
            writeln!(text, "{series} {value}").expect("a string takes everything");
        }
        (200, text)
    }
}

impl Host for Exporter {
    fn serve(&self, stream: BoxStream) -> BoxFuture<'static, io::Result<()>> {
        let this = self.clone();
        Box::pin(async move {
            let mut stream = BufReader::new(stream);
            while http::request(&mut stream).await?.is_some() {
                let (status, text) = this.answer();
                http::answer_as(&mut stream, status, "text/plain; version=0.0.4", &text).await?;
            }
            Ok(())
        })
    }
}
