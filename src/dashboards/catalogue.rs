//! Which dashboards there are: own ones, files and znodes, each with an id that stays, in the order that people gave by hand.

use super::own::Own;
use super::read::{self, NotADashboard, Summary};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Dashboards that are listed.
pub const ENTRIES_MAX: usize = 1000;
/// Bytes of all texts together that are kept; what comes after is listed and not shown.
pub const TEXTS_BYTES_MAX: usize = 128 << 20;

/// Where a dashboard lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// In the state store, under its id.
    Own,
    /// A file.
    File(String),
    /// A znode.
    Znode(String),
}

impl Origin {
    /// Returns the word of it: `own`, `file`, `zookeeper`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::File(_) => "file",
            Self::Znode(_) => "zookeeper",
        }
    }

    /// Returns the path; empty for own ones.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Own => "",
            Self::File(path) | Self::Znode(path) => path,
        }
    }
}

/// A text from outside: a file or a znode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where it lies.
    pub origin: Origin,
    /// What is there, or why it cannot be read.
    pub text: Result<Arc<str>, NotADashboard>,
    /// When it was last changed, milliseconds since 1970.
    pub modified_ms: Option<i64>,
}

/// One dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Fit for an address, unique.
    pub id: String,
    /// Its title, or the name of its file.
    pub title: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Where it lies.
    pub origin: Origin,
    /// Hash of its text; empty where there is none.
    pub version: String,
    /// When it was last changed, milliseconds since 1970.
    pub modified_ms: Option<i64>,
    /// Who changed it, where that is known.
    pub by: Option<String>,
    /// Its text, or why it cannot be shown.
    pub text: Result<Arc<str>, NotADashboard>,
}

/// All of them, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue {
    /// One entry each.
    pub entries: Vec<Entry>,
}

impl Catalogue {
    /// Returns the dashboard of an id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id == id)
    }
}

/// A text as it was read before.
type Known = (Result<(Summary, Arc<str>), NotADashboard>, String);

/// What texts turned out to be: each is read once.
#[derive(Debug, Default)]
pub(super) struct Readings(HashMap<Arc<str>, Known>);

impl Readings {
    fn read(&mut self, text: &Arc<str>) -> Known {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let found = read::read(text).map(|found| {
            let own = if found.text.len() == text.len() { Arc::clone(text) } else { found.text.into() };
            (found.summary, own)
        });
        let version = read::version(found.as_ref().map_or(text, |(_, own)| own));
        self.0.insert(Arc::clone(text), (found.clone(), version.clone()));
        (found, version)
    }

    /// Forgets what is not there any more.
    fn keep(&mut self, there: &BTreeSet<Arc<str>>) {
        self.0.retain(|text, _| there.contains(text));
    }
}

/// Returns the name of a file without its folder and endings.
fn stem(path: &str) -> &str {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    name.strip_suffix(".gz").unwrap_or(name).trim_end_matches(".json")
}

fn entry(source: &Source, readings: &mut Readings) -> (Entry, Option<String>) {
    let name = stem(source.origin.path());
    let mut made = Entry {
        id: String::new(),
        title: name.to_owned(),
        tags: Vec::new(),
        origin: source.origin.clone(),
        version: String::new(),
        modified_ms: source.modified_ms,
        by: None,
        text: source.text.clone(),
    };
    let mut uid = None;
    if let Ok(text) = &source.text {
        let (found, version) = readings.read(text);
        made.version = version;
        made.text = found.map(|(summary, text)| {
            if !summary.title.is_empty() {
                made.title = summary.title;
            }
            made.tags = summary.tags;
            uid = summary.uid;
            text
        });
    }
    (made, uid)
}

fn own_entry(id: &str, own: &Own, readings: &mut Readings) -> Entry {
    let source = Source { origin: Origin::Own, text: Ok(Arc::clone(&own.text)), modified_ms: Some(own.modified_ms) };
    let (mut made, _) = entry(&source, readings);
    if made.title.is_empty() {
        id.clone_into(&mut made.title);
    }
    Entry { id: id.to_owned(), by: Some(own.by.clone()).filter(|by| !by.is_empty()), ..made }
}

/// Puts all together. Ids: own ones have theirs; a file or znode has its `uid` where that is nobody else's, else one of its name.
pub(super) fn make(own: &BTreeMap<String, Own>, sources: &[Source], order: &[String], readings: &mut Readings) -> Catalogue {
    let mut entries: Vec<Entry> = own.iter().map(|(id, own)| own_entry(id, own, readings)).collect();
    let mut taken: BTreeSet<String> = own.keys().cloned().collect();
    let mut sorted: Vec<&Source> = sources.iter().collect();
    sorted.sort_by(|a, b| a.origin.cmp(&b.origin));
    let mut bytes: usize = own.values().map(|own| own.text.len()).sum();
    for source in sorted {
        if entries.len() >= ENTRIES_MAX {
            tracing::warn!(most = ENTRIES_MAX, "there are more dashboards than are listed");
            break;
        }
        let mut source = source.clone();
        bytes += source.text.as_ref().map_or(0, |text| text.len());
        if bytes > TEXTS_BYTES_MAX {
            source.text = Err(NotADashboard::Missing("not read: all dashboards together have more than 128 MB"));
        }
        let (mut made, uid) = entry(&source, readings);
        made.id = uid.filter(|uid| !taken.contains(uid)).unwrap_or_else(|| {
            let kind = if matches!(source.origin, Origin::File(_)) { "file" } else { "zk" };
            read::free_id(&format!("{kind}-{}", read::slug(stem(source.origin.path()))), |id| taken.contains(id))
        });
        taken.insert(made.id.clone());
        entries.push(made);
    }
    let there = own.values().map(|own| &own.text).chain(sources.iter().filter_map(|source| source.text.as_ref().ok()));
    readings.keep(&there.cloned().collect());
    let places: HashMap<&str, usize> = order.iter().enumerate().map(|(place, id)| (id.as_str(), place)).collect();
    entries.sort_by_cached_key(|entry| {
        let place = places.get(entry.id.as_str()).copied().unwrap_or(usize::MAX);
        (place, entry.title.to_lowercase(), entry.id.clone())
    });
    Catalogue { entries }
}
