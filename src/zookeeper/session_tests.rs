//! The session on a made-up server of an old version, which knows no recursive watches.

use super::*;
use crate::env::Env;
use crate::env::clock::TokioClock;
use crate::telemetry::metrics::Registry;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// By path: the transaction that last changed it, and the data.
type Nodes = BTreeMap<String, (i64, Vec<u8>)>;

#[derive(Clone, Default)]
struct Old(Arc<Mutex<Nodes>>);

impl Old {
    fn put(&self, path: &str, data: &[u8]) {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = nodes.values().map(|(mzxid, _)| *mzxid).max().unwrap_or(0) + 1;
        nodes.insert(path.to_owned(), (next, data.to_vec()));
    }
}

impl Connector for Old {
    fn connect<'a>(&'a self, _: &'a Options) -> BoxFuture<'a, Result<Arc<dyn Client>>> {
        Box::pin(async { Ok(Arc::new(self.clone()) as Arc<dyn Client>) })
    }
}

impl Client for Old {
    fn get<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Znode>>> {
        Box::pin(async move {
            let nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(nodes.get(path).map(|(mzxid, data)| Znode {
                data: Arc::from(data.as_slice()),
                mzxid: *mzxid,
                czxid: 1,
                version: 0,
                modified_ms: 0,
                owner: 0,
                denied: false,
            }))
        })
    }

    fn children<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Vec<String>>>> {
        Box::pin(async move {
            let nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let name = |full: &String| {
                let name = full.strip_prefix(path)?.strip_prefix('/')?;
                (!name.contains('/')).then(|| name.to_owned())
            };
            Ok(Some(nodes.keys().filter_map(name).collect()))
        })
    }

    fn create<'a>(&'a self, _: &'a str, _: &'a [u8], _: Lifetime) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Err(ZooKeeperError::Unimplemented) })
    }

    fn create_sequential<'a>(&'a self, _: &'a str, _: &'a [u8]) -> BoxFuture<'a, Result<String>> {
        Box::pin(async { Err(ZooKeeperError::Unimplemented) })
    }

    fn make_folders<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.put(path, b"");
            Ok(())
        })
    }

    fn set<'a>(&'a self, _: &'a str, _: &'a [u8], _: Option<i32>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Err(ZooKeeperError::Unimplemented) })
    }

    fn delete<'a>(&'a self, _: &'a str, _: Option<i32>) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Err(ZooKeeperError::Unimplemented) })
    }

    fn multi<'a>(&'a self, _: &'a [Operation]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Err(ZooKeeperError::Unimplemented) })
    }

    fn sync<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn watch_tree<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Box<dyn TreeWatch>>> {
        Box::pin(async { Err(ZooKeeperError::Unimplemented) })
    }

    fn next_event(&self) -> BoxFuture<'_, SessionEvent> {
        Box::pin(std::future::pending())
    }

    fn session_timeout(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn session_id(&self) -> String {
        "1".to_owned()
    }

    fn session(&self) -> i64 {
        1
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_without_recursive_watches_is_asked_often_enough_and_the_session_stays_live() {
    let env = Env { clock: Arc::new(TokioClock::starting_at(0)), ..Env::real() };
    let server = Old::default();
    let options = Options {
        connect: "old:2181".to_owned(),
        root: "/w".to_owned(),
        session_timeout: Duration::from_secs(10),
        ..Options::default()
    };
    let registry = Registry::new();
    let folders = vec!["/w".to_owned(), "/w/rules".to_owned()];
    let (link, task) = start(&env, Arc::new(server.clone()), options, folders, &registry);
    let mut status = link.status.clone();
    assert!(status.wait_for(|status| status.state == SessionStatus::Live).await.is_ok());
    status.borrow_and_update();
    let mut tree = link.tree.clone();
    for number in 0..10 {
        server.put("/w/rules/a.yml", format!("{number}").as_bytes());
        tree.borrow_and_update();
        let began = env.clock.monotonic();
        assert!(tree.changed().await.is_ok());
        assert!(env.clock.monotonic() - began < Duration::from_secs(1));
        let held = tree.borrow().clone().and_then(|tree| Some(tree.nodes.get("/w/rules/a.yml")?.data.to_vec()));
        assert_eq!(held, Some(format!("{number}").into_bytes()));
    }
    assert!(!status.has_changed().unwrap_or(true), "reading again is no change of the session's state");
    let counted = |op| registry.counter("watchkeeper_zookeeper_requests_total", "", &[("op", op), ("result", "ok")]).get();
    assert!(counted("get") >= 30, "{}", counted("get"));
    link.stop();
    assert!(task.await.is_ok());
}
