//! Dashboards on a state in memory.

use super::read::{self, NotADashboard, megabytes};
use super::*;
use crate::env::Env;
use crate::state::State;
use crate::state::memory::MemoryState;
use std::sync::Arc;
use tokio::sync::watch;

const PLAIN: &str = r#"{"title": "Disks", "uid": "abc-1", "tags": ["host", 1], "panels": []}"#;

fn file(path: &str, text: &str) -> Source {
    Source { origin: Origin::File(path.to_owned()), text: Ok(text.into()), modified_ms: Some(1) }
}

fn znode(path: &str, text: &str) -> Source {
    Source { origin: Origin::Znode(path.to_owned()), text: Ok(text.into()), modified_ms: Some(2) }
}

fn save(id: Option<&str>, text: &str, base: Option<&str>) -> Save {
    Save {
        id: id.map(ToOwned::to_owned),
        text: text.into(),
        base: base.map(ToOwned::to_owned),
        overwrite: false,
        by: "li".to_owned(),
    }
}

fn ids(dashboards: &Dashboards) -> Vec<String> {
    dashboards.catalogue().entries.iter().map(|entry| entry.id.clone()).collect()
}

#[test]
fn tells_what_a_dashboard_is_and_where_it_is_none() {
    let read = read::read(PLAIN).unwrap();
    assert_eq!((read.summary.title.as_str(), read.summary.uid.as_deref()), ("Disks", Some("abc-1")));
    assert_eq!((read.summary.tags, read.text), (vec!["host".to_owned()], PLAIN));
    // As Grafana's API answers it.
    let wrapped = format!("\u{feff}{{\"meta\": {{}}, \"dashboard\": {PLAIN}}}\n");
    assert_eq!(read::read(&wrapped).unwrap().text, PLAIN);
    // Rows are how it was written long ago; a uid that cannot stand in an address is none.
    assert_eq!(read::read(r#"{"rows": [], "uid": "a/b"}"#).unwrap().summary, read::Summary::default());
    let deep = format!("{{\"panels\": {}{}}}", "[".repeat(5000), "]".repeat(5000));
    let large = format!("{{\"panels\": [\"{}\"]}}", "x".repeat(read::BYTES_MAX));
    for (text, told) in [
        ("\n{\n  \"panels\": [,]\n}", "line 3, column 14: expected value"),
        ("", "line 1, column 0: EOF while parsing a value"),
        (&*deep, "line 1, column 138: nested more than 127 deep"),
        ("[]", "this is JSON, but no dashboard: a dashboard is an object"),
        ("{\"title\": \"x\"}", "this is JSON, but no dashboard: it has neither `panels` nor `rows`"),
        ("{\"panels\": {}}", "`panels` must be a list"),
        (&*large, "This dashboard has 5.1 MB; the limit is 5 MB."),
    ] {
        assert_eq!(read::read(text).unwrap_err().to_string(), told);
    }
    assert_eq!(NotADashboard::TooLarge(50 << 20).to_string(), "This dashboard has 50 MB; the limit is 5 MB.");
    assert_eq!([megabytes(5 << 20), megabytes((5 << 20) + 1), megabytes(1)], ["5 MB", "5.1 MB", "0.1 MB"]);
    assert!(read::decode(b"{\n\xff".to_vec()).unwrap_err().to_string().starts_with("line 2, column 1: "));
}

#[test]
fn ids_can_stand_in_an_address() {
    for (words, slug) in [("Node Exporter: Full!", "node-exporter-full"), ("磁盘", "dashboard"), ("  a  ", "a"), ("É1", "1")] {
        assert_eq!(read::slug(words), slug);
    }
    assert_eq!(read::free_id("a", |id| id != "a-3"), "a-3");
    assert_eq!(read::free_id("order", |_| false), "order-2");
    assert!(!["", "a b", "a/b", "order", "ü"].iter().any(|id| read::is_id(id)));
}

#[tokio::test]
async fn own_ones_outlive_a_restart_and_know_who_was_faster() {
    let env = Env::real();
    let state: Arc<dyn State> = Arc::new(MemoryState::new());
    let (_feed, sources) = watch::channel(Arc::default());
    let dashboards = Dashboards::start(&env, Arc::clone(&state), sources.clone()).await.unwrap();
    let (first, version) = dashboards.save(save(None, PLAIN, None)).await.unwrap();
    assert_eq!(first, "abc-1");
    let (second, _) = dashboards.save(save(None, PLAIN, None)).await.unwrap();
    let (third, _) = dashboards.save(save(None, r#"{"title": "A", "panels": []}"#, None)).await.unwrap();
    assert_eq!((second.as_str(), third.as_str()), ("disks", "a"));
    let newer = PLAIN.replace("Disks", "Disks of hosts");
    let (_, newer_version) = dashboards.save(save(Some("abc-1"), &newer, Some(&version))).await.unwrap();
    let late = dashboards.save(save(Some("abc-1"), PLAIN, Some(&version))).await.unwrap_err();
    assert!(late.to_string().starts_with("\"Disks of hosts\" was changed by li at 20"), "{late}");
    assert!(matches!(dashboards.delete("abc-1".to_owned(), Some(version)).await, Err(DashboardError::Conflict(_))));
    assert!(dashboards.save(save(None, "{}", None)).await.is_err());
    dashboards.order(vec!["disks".to_owned(), "gone".to_owned(), "abc-1".to_owned()]).await.unwrap();
    assert!(dashboards.order(vec!["a b".to_owned()]).await.is_err());
    assert_eq!(ids(&dashboards), ["disks", "abc-1", "a"]);

    let again = Dashboards::start(&env, Arc::clone(&state), sources).await.unwrap();
    assert_eq!(*again.catalogue(), *dashboards.catalogue());
    let kept = again.catalogue();
    let entry = kept.get("abc-1").unwrap();
    assert_eq!((entry.text.as_deref(), entry.by.as_deref(), &entry.version), (Ok(&*newer), Some("li"), &newer_version));
    again.delete("abc-1".to_owned(), Some(newer_version.clone())).await.unwrap();
    let gone = again.save(save(Some("abc-1"), PLAIN, Some(&newer_version))).await.unwrap_err();
    assert!(gone.to_string().contains("was deleted meanwhile"), "{gone}");
    let forced = Save { overwrite: true, ..save(Some("abc-1"), PLAIN, Some(&newer_version)) };
    assert_eq!(again.save(forced).await.unwrap().0, "abc-1");
}

#[tokio::test]
async fn files_and_znodes_are_listed_with_ids_that_stay() {
    let env = Env::real();
    let state: Arc<dyn State> = Arc::new(MemoryState::new());
    let broken = Source { text: Err(NotADashboard::Missing("no permission")), ..znode("/w/dashboards/secret.json", "") };
    let all = vec![
        file("dashboards/b.json", PLAIN),
        file("dashboards/a.json", "{\"panels\": [],}"),
        znode("/w/dashboards/b.json", PLAIN),
        broken,
    ];
    let (feed, sources) = watch::channel(Arc::new(all));
    let dashboards = Dashboards::start(&env, state, sources).await.unwrap();
    // The title of what cannot be read is its name; the uid is the first one's.
    assert_eq!(ids(&dashboards), ["file-a", "abc-1", "zk-b", "zk-secret"]);
    let listed = dashboards.catalogue();
    let error = |id: &str| listed.get(id).unwrap().text.as_ref().map(|_| ()).map_err(ToString::to_string);
    assert_eq!(error("file-a"), Err("line 1, column 15: trailing comma".to_owned()));
    assert_eq!((error("zk-secret"), error("zk-b")), (Err("no permission".to_owned()), Ok(())));
    // A file is not written: what is saved over it is a new one.
    let (id, _) = dashboards.save(save(Some("abc-1"), PLAIN, None)).await.unwrap();
    assert_eq!(id, "disks");
    let refused = dashboards.delete("abc-1".to_owned(), None).await.unwrap_err();
    assert!(matches!(refused, DashboardError::ReadOnly(_)));
    let mut seen = dashboards.follow();
    seen.mark_unchanged();
    feed.send_replace(Arc::new(vec![znode("/w/dashboards/b.json", PLAIN)]));
    seen.changed().await.unwrap();
    // Where nobody else has it, the uid is the id.
    assert_eq!(ids(&dashboards), ["abc-1", "disks"]);
}
