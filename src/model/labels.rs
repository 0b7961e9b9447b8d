//! Label sets: the identity of a series, an alert or a target.
//!
//! A set is one shared allocation: for each label, sorted by name, `length name length value`. A length is written in
//! characters of the Basic Latin block (six bits each, lowest first; bit 6 says that another follows), so that the
//! whole buffer is valid UTF-8 and a name or value is a plain slice of it. Cloning is one reference count; equality and
//! hashing look at the bytes alone. An empty value means that the label is absent, as in Prometheus: a set never holds one.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// The label that holds the metric's name.
pub const METRIC_NAME: &str = "__name__";
/// The label that names an alert.
pub const ALERT_NAME: &str = "alertname";
/// The label that names the upper bound of a classic histogram's bucket.
pub const BUCKET_LABEL: &str = "le";
/// The label that tells targets of a job apart.
pub const INSTANCE: &str = "instance";
/// The label that names the scrape job.
pub const JOB: &str = "job";

/// An immutable label set, sorted by label name, without empty values. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<str>);

impl Labels {
    /// Returns the empty label set.
    #[must_use]
    pub fn empty() -> Self {
        static EMPTY: std::sync::LazyLock<Arc<str>> = std::sync::LazyLock::new(|| Arc::from(""));
        Self(Arc::clone(&EMPTY))
    }

    /// Builds a set from pairs in any order; the last of several equal names wins, empty values drop out.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut builder = LabelsBuilder::new();
        for (name, value) in pairs {
            builder.set(name.as_ref(), value.as_ref());
        }
        builder.build()
    }

    /// Builds a set from pairs that the caller guarantees to be sorted by name, unique and non-empty.
    pub fn from_sorted<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut packed = String::with_capacity(128);
        for (name, value) in pairs {
            push_label(&mut packed, name, value);
        }
        Self(Arc::from(packed))
    }

    /// Returns the value of `name`, or `None` where the label is absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        for (candidate, value) in self {
            match candidate.cmp(name) {
                Ordering::Less => {}
                Ordering::Equal => return Some(value),
                Ordering::Greater => return None,
            }
        }
        None
    }

    /// Returns the value of `name`, or the empty string where the label is absent.
    #[must_use]
    pub fn value(&self, name: &str) -> &str {
        self.get(name).unwrap_or("")
    }

    /// Returns the metric's name, or the empty string.
    #[must_use]
    pub fn metric_name(&self) -> &str {
        self.value(METRIC_NAME)
    }

    /// Returns whether the label is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Walks the labels in order of their names.
    #[must_use]
    pub fn iter(&self) -> LabelsIter<'_> {
        LabelsIter { rest: &self.0 }
    }

    /// Returns how many labels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Returns whether the set has no label.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns where the set lies in memory. As long as both live, sets at the same address are equal; the reverse does not hold.
    #[must_use]
    pub fn address(&self) -> usize {
        self.0.as_ptr().addr()
    }

    /// Returns the packed form: equal sets have equal bytes, which makes it a key for maps and hashes.
    #[must_use]
    pub fn packed(&self) -> &str {
        &self.0
    }

    /// Returns the set without the labels for which `drop` says yes.
    #[must_use]
    pub fn without(&self, mut drop: impl FnMut(&str) -> bool) -> Self {
        Self::from_sorted(self.iter().filter(|(name, _)| !drop(name)))
    }

    /// Returns the set with only the labels for which `keep` says yes.
    #[must_use]
    pub fn only(&self, mut keep: impl FnMut(&str) -> bool) -> Self {
        Self::from_sorted(self.iter().filter(|(name, _)| keep(name)))
    }

    /// Returns the set with `name` set to `value` (an empty value removes the label).
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut builder = LabelsBuilder::from(self);
        builder.set(name, value);
        builder.build()
    }

    /// Returns the FNV-1a fingerprint that Alertmanager gives this set (`model.LabelSet.Fingerprint`).
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hash = FNV_OFFSET;
        for (name, value) in self {
            for byte in name.bytes().chain([255]).chain(value.bytes()).chain([255]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
            }
        }
        hash
    }
}

const FNV_OFFSET: u64 = 14_695_981_039_346_656_037;
const FNV_PRIME: u64 = 1_099_511_628_211;

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Orders as Prometheus's `labels.Compare` does: label by label, name before value; a prefix comes first.
impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        // Sets that are compared mostly share their first labels: those are passed over by their lengths.
        let common = common_bytes(self.0.as_bytes(), other.0.as_bytes());
        if common == self.0.len() && common == other.0.len() {
            return Ordering::Equal;
        }
        let (mut at, mut walk) = (0, self.iter());
        while walk.next().is_some() {
            let end = self.0.len() - walk.rest.len();
            if end > common {
                break;
            }
            at = end;
        }
        // A label ends there in both.
        let (mine, theirs) = (self.0.get(at..).unwrap_or_default(), other.0.get(at..).unwrap_or_default());
        LabelsIter { rest: mine }.cmp(LabelsIter { rest: theirs })
    }
}

/// Returns how many bytes two texts begin with alike.
fn common_bytes(left: &[u8], right: &[u8]) -> usize {
    let (left_words, right_words) = (left.as_chunks::<8>().0, right.as_chunks::<8>().0);
    let words = left_words.iter().zip(right_words).take_while(|(left, right)| left == right).count() * 8;
    let rest = left.get(words..).unwrap_or_default().iter().zip(right.get(words..).unwrap_or_default());
    words + rest.take_while(|(left, right)| left == right).count()
}

/// Prints as Prometheus does, metric name within the braces: `{__name__="up", job="node"}`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            if is_legacy_name(name) {
                write!(f, "{name}=")?;
            } else {
                write!(f, "{}=", super::number::quote(name))?;
            }
            f.write_str(&super::number::quote(value))?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = LabelsIter<'a>;

    fn into_iter(self) -> LabelsIter<'a> {
        self.iter()
    }
}

/// Walks a label set: `(name, value)` in order of names.
#[derive(Clone, Debug)]
pub struct LabelsIter<'a> {
    rest: &'a str,
}

impl<'a> LabelsIter<'a> {
    #[inline]
    fn take(&mut self) -> Option<&'a str> {
        match self.rest.as_bytes().first() {
            // Most texts are short: their length is one byte.
            Some(length) if length & 0x40 == 0 => {
                let (text, rest) = self.rest.split_at(1).1.split_at(usize::from(length & 0x3f));
                self.rest = rest;
                Some(text)
            }
            _ => self.take_long(),
        }
    }

    fn take_long(&mut self) -> Option<&'a str> {
        let mut length = 0_usize;
        let mut used = 0;
        for byte in self.rest.bytes() {
            length |= usize::from(byte & 0x3f) << (6 * used);
            used += 1;
            if byte & 0x40 == 0 {
                break;
            }
        }
        if used == 0 {
            return None;
        }
        let (text, rest) = self.rest.split_at(used).1.split_at(length);
        self.rest = rest;
        Some(text)
    }
}

impl<'a> Iterator for LabelsIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let name = self.take()?;
        let value = self.take()?;
        Some((name, value))
    }
}

fn push_text(packed: &mut String, text: &str) {
    let mut length = text.len();
    while length > 0x3f {
        packed.push(char::from((length & 0x3f) as u8 | 0x40));
        length >>= 6;
    }
    packed.push(char::from(length as u8));
    packed.push_str(text);
}

fn push_label(packed: &mut String, name: &str, value: &str) {
    push_text(packed, name);
    push_text(packed, value);
}

/// Builds or edits a label set. Names are kept sorted; setting an empty value removes.
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// Returns a builder without labels.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a label, replacing an earlier value; an empty value removes the label.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        match self.pairs.binary_search_by(|(candidate, _)| candidate.as_str().cmp(name)) {
            Ok(at) if value.is_empty() => {
                self.pairs.remove(at);
            }
            Ok(at) => value.clone_into(&mut self.pairs[at].1),
            Err(_) if value.is_empty() => {}
            Err(at) => self.pairs.insert(at, (name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Removes a label.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.set(name, "")
    }

    /// Returns the present value of a label, or the empty string.
    #[must_use]
    pub fn value(&self, name: &str) -> &str {
        match self.pairs.binary_search_by(|(candidate, _)| candidate.as_str().cmp(name)) {
            Ok(at) => &self.pairs[at].1,
            Err(_) => "",
        }
    }

    /// Walks the present labels in order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Keeps only the labels for which `keep` says yes.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) {
        self.pairs.retain(|(name, value)| keep(name, value));
    }

    /// Returns the finished set.
    #[must_use]
    pub fn build(&self) -> Labels {
        Labels::from_sorted(self.iter())
    }
}

impl From<&Labels> for LabelsBuilder {
    fn from(labels: &Labels) -> Self {
        Self { pairs: labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect() }
    }
}

/// Returns whether `name` is a label name of the classic grammar `[a-zA-Z_][a-zA-Z0-9_]*`.
#[must_use]
pub fn is_legacy_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_') && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Returns whether `name` is a metric name of the classic grammar `[a-zA-Z_:][a-zA-Z0-9_:]*`.
#[must_use]
pub fn is_legacy_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b':')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_drops_empty_values_and_finds() {
        let labels = Labels::from_pairs([("job", "a"), ("__name__", "up"), ("none", ""), ("job", "b")]);
        assert_eq!(labels.to_string(), r#"{__name__="up", job="b"}"#);
        assert_eq!(labels.get("job"), Some("b"));
        assert_eq!(labels.get("none"), None);
        assert_eq!(labels.len(), 2);
    }

    #[test]
    fn long_and_foreign_texts_come_back() {
        for length in [0, 1, 63, 64, 65, 4095, 4096, 300_000] {
            let long = "é".repeat(length);
            let labels = Labels::from_pairs([("a", long.as_str()), ("zwölf", "日本")]);
            assert_eq!(labels.value("a"), long);
            assert_eq!(labels.value("zwölf"), "日本");
        }
    }

    #[test]
    fn compares_label_by_label() {
        let small = Labels::from_pairs([("a", "1")]);
        let large = Labels::from_pairs([("a", "1"), ("b", "1")]);
        assert!(small < large);
        assert!(Labels::from_pairs([("a", "2")]) > large);
    }

    proptest::proptest! {
        #[test]
        fn order_is_that_of_the_labels(
            left in proptest::collection::btree_map("[ab]{1,2}", "[abé]{1,70}", 0..4),
            right in proptest::collection::btree_map("[ab]{1,2}", "[abé]{1,70}", 0..4),
            shared in proptest::collection::btree_map("[A-C]", "[ab]{1,3}", 0..3),
        ) {
            let labels = |own: &std::collections::BTreeMap<String, String>| {
                Labels::from_pairs(shared.iter().chain(own))
            };
            let (left, right) = (labels(&left), labels(&right));
            proptest::prop_assert_eq!(left.cmp(&right), left.iter().cmp(right.iter()));
            proptest::prop_assert_eq!(left.cmp(&left.clone()), Ordering::Equal);
        }
    }

    #[test]
    fn fingerprints_as_alertmanager() {
        assert_eq!(Labels::empty().fingerprint(), 14_695_981_039_346_656_037);
    }
}
