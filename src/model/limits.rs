//! What anything from outside may ask for where the configuration says nothing: all defaults in one place.
//!
//! A limit is there to end what is broken or hostile, far above what honest programs send. Prometheus's own limits
//! (`body_size_limit`, `label_limit`, ...) replace those of a scrape where they are set. `docs/limits.md` lists them for users.

use super::labels::Labels;

/// One body of a scrape, packed or unpacked, where `body_size_limit` says nothing.
pub const SCRAPE_BODY_BYTES: u64 = 64 << 20;
/// All bodies that scrapes receive at one moment, together.
pub const SCRAPE_BODIES_BYTES: u64 = 128 << 20;
/// A line of an exposition up to its value; a line of HELP, TYPE, UNIT or a comment.
pub const LINE_BYTES: usize = 1 << 20;
/// What follows a sample's labels on its line: value, timestamp, exemplar.
pub const VALUE_BYTES: usize = 64 << 10;
/// Labels of one series, the name included.
pub const LABELS: usize = 256;
/// A label's name.
pub const LABEL_NAME_BYTES: usize = 1 << 10;
/// A label's value; a metric's name is one, too.
pub const LABEL_VALUE_BYTES: usize = 64 << 10;
/// Buckets, spans and exemplars of one histogram that is scraped, quantiles of one summary.
pub const HISTOGRAM_BUCKETS: usize = 16 << 10;
/// Exemplars of one scrape; more are left out.
pub const SCRAPE_EXEMPLARS: usize = 100_000;
/// Names and values of an exemplar, characters, as OpenMetrics bounds them; longer ones are left out.
pub const EXEMPLAR_CHARS: usize = 128;
/// All names and values of one series together. Even escaped they fit a line of an exposition: what is stored can be exported
/// and read again.
pub const LABEL_SET_BYTES: usize = 256 << 10;
/// Labels of one alert, and annotations of one.
pub const ALERT_LABELS: usize = 128;
/// All names and values of one posted alert together, the link to its origin included: a mail holds them several times.
pub const ALERT_BYTES: usize = 256 << 10;
/// A body that is pushed to us, packed or unpacked.
pub const PUSH_BODY_BYTES: usize = 64 << 20;
/// What another server answers to one remote read, packed or unpacked.
pub const READ_BODY_BYTES: u64 = 128 << 20;
/// All answers to remote reads that queries hold at one moment, together.
pub const READ_BODIES_BYTES: u64 = 256 << 20;
/// A form or a JSON text that the API takes.
pub const FORM_BYTES: usize = 10 << 20;
/// The text of a query.
pub const QUERY_BYTES: usize = 1 << 20;
/// Matchers of one query, or of all selectors of one request.
pub const QUERY_MATCHERS: usize = 10_000;
/// Different regular expressions among them.
pub const QUERY_REGEXES: usize = 1_000;
/// What those compile to, together.
pub const QUERY_REGEX_BYTES: usize = 32 << 20;
/// Steps of a range query.
pub const QUERY_STEPS: i64 = 11_000;
/// One YAML text: configuration, rule file, unit tests.
pub const YAML_BYTES: usize = 32 << 20;
/// A file or an answer that names targets.
pub const TARGETS_BYTES: u64 = 64 << 20;

/// Checks a series' labels.
///
/// # Errors
/// Which limit they pass, in words.
pub fn check_labels(labels: &Labels) -> Result<(), String> {
    if labels.len() > LABELS {
        let metric = shortened(labels.metric_name());
        return Err(format!("too many labels (metric: {metric}, number of labels: {}, limit: {LABELS})", labels.len()));
    }
    for (name, value) in labels {
        if name.len() > LABEL_NAME_BYTES {
            return Err(too_long("label name", labels, name, name.len(), LABEL_NAME_BYTES));
        }
        if value.len() > LABEL_VALUE_BYTES {
            return Err(too_long("label value", labels, name, value.len(), LABEL_VALUE_BYTES));
        }
    }
    check_label_set(labels)
}

/// Checks how much all labels of a series are together.
///
/// # Errors
/// In words.
pub fn check_label_set(labels: &Labels) -> Result<(), String> {
    let length = labels.packed().len();
    if length > LABEL_SET_BYTES {
        let metric = shortened(labels.metric_name());
        return Err(format!("labels too long (metric: {metric}, length: {length}, limit: {LABEL_SET_BYTES})"));
    }
    Ok(())
}

/// Checks what a posted alert says.
///
/// # Errors
/// Which label or annotation passes which limit, in words.
pub fn check_alert(labels: &Labels, annotations: &Labels, generator_url: &str) -> Result<(), String> {
    for (what, pairs) in [("label", labels), ("annotation", annotations)] {
        if pairs.len() > ALERT_LABELS {
            return Err(format!("too many {what}s ({}, limit: {ALERT_LABELS})", pairs.len()));
        }
        for (name, value) in pairs {
            let shown = shortened(name);
            if name.len() > LABEL_NAME_BYTES {
                let length = name.len();
                return Err(format!("{what} name too long ({what}: {shown}, length: {length}, limit: {LABEL_NAME_BYTES})"));
            }
            if value.len() > LABEL_VALUE_BYTES {
                let length = value.len();
                return Err(format!("{what} value too long ({what}: {shown}, length: {length}, limit: {LABEL_VALUE_BYTES})"));
            }
        }
    }
    if generator_url.len() > LABEL_VALUE_BYTES {
        return Err(format!("generatorURL too long (length: {}, limit: {LABEL_VALUE_BYTES})", generator_url.len()));
    }
    let length = labels.packed().len() + annotations.packed().len() + generator_url.len();
    if length > ALERT_BYTES {
        return Err(format!("alert too long (length: {length}, limit: {ALERT_BYTES})"));
    }
    Ok(())
}

fn too_long(what: &str, labels: &Labels, name: &str, length: usize, limit: usize) -> String {
    let (metric, name) = (shortened(labels.metric_name()), shortened(name));
    format!("{what} too long (metric: {metric}, label name: {name}, length: {length}, limit: {limit})")
}

/// Returns the first 50 characters, for messages.
#[must_use]
pub fn shortened(text: &str) -> String {
    text.chars().take(50).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_pass_up_to_the_limit() {
        let at = |name: usize, value: usize| {
            check_labels(&Labels::from_pairs([("__name__".to_owned(), "m".to_owned()), ("n".repeat(name), "v".repeat(value))]))
        };
        assert_eq!(at(LABEL_NAME_BYTES, LABEL_VALUE_BYTES), Ok(()));
        assert!(at(LABEL_NAME_BYTES + 1, 1).unwrap_err().starts_with("label name too long (metric: m, label name: nnn"));
        let long = at(1, LABEL_VALUE_BYTES + 1).unwrap_err();
        assert_eq!(long, "label value too long (metric: m, label name: n, length: 65537, limit: 65536)");
        let many = |count: usize| check_labels(&Labels::from_pairs((0..count).map(|number| (format!("l{number}"), "v"))));
        assert_eq!(many(LABELS), Ok(()));
        assert!(many(LABELS + 1).unwrap_err().contains("number of labels: 257"));
        let large =
            |count: usize| check_labels(&Labels::from_pairs((0..count).map(|number| (format!("l{number}"), "v".repeat(60_000)))));
        assert_eq!(large(4), Ok(()));
        assert!(large(5).unwrap_err().starts_with("labels too long (metric: , length: 3000"), "{large:?}", large = large(5));
    }

    #[test]
    fn alerts_pass_up_to_the_limit() {
        let pair = |name: usize, value: usize| Labels::from_pairs([("n".repeat(name), "v".repeat(value))]);
        let many =
            |count: usize, length: usize| Labels::from_pairs((0..count).map(|number| (format!("l{number}"), "v".repeat(length))));
        let none = Labels::empty();
        assert_eq!(check_alert(&pair(1024, 65_536), &many(128, 9), ""), Ok(()));
        let refused = |labels: &Labels, annotations: &Labels| check_alert(labels, annotations, "").unwrap_err();
        assert_eq!(refused(&pair(1, 65_537), &none), "label value too long (label: n, length: 65537, limit: 65536)");
        assert_eq!(refused(&none, &pair(1, 65_537)), "annotation value too long (annotation: n, length: 65537, limit: 65536)");
        assert!(refused(&none, &pair(1025, 1)).starts_with("annotation name too long (annotation: nnn"));
        assert_eq!(refused(&many(129, 1), &none), "too many labels (129, limit: 128)");
        assert_eq!(refused(&none, &many(129, 1)), "too many annotations (129, limit: 128)");
        assert!(refused(&many(3, 50_000), &many(3, 50_000)).starts_with("alert too long (length: 300"));
    }
}
