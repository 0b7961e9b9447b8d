//! The ZooKeeper session against the real server: what the crate forgets must not be forgotten by us.

use crate::support::proxy::Proxy;
use crate::support::zookeeper::ZooKeeper;
use crate::support::{Scratch, wait_for};
use std::sync::Arc;
use std::time::Duration;
use watchkeeper::env::Env;
use watchkeeper::telemetry::metrics::Registry;
use watchkeeper::zookeeper::{self, Lifetime, Link, Options, SessionStatus, Tree};

const BOUND: Duration = Duration::from_secs(20);

fn options(connect: String) -> Options {
    let (root, unread) = ("/watchkeeper".to_owned(), Vec::new());
    Options { connect, root, session_timeout: Duration::from_secs(4), digest: None, unread, ..Options::default() }
}

fn link(connect: String) -> Link {
    let env = Env::real();
    let folders = vec!["/watchkeeper/rules".to_owned()];
    let connector = zookeeper::real_connector(&env);
    zookeeper::start(&env, connector, options(connect), folders, &Registry::new()).0
}

fn tree(link: &Link) -> Option<Arc<Tree>> {
    link.tree.borrow().clone()
}

fn data(link: &Link, path: &str) -> Option<String> {
    let tree = tree(link)?;
    Some(String::from_utf8_lossy(&tree.nodes.get(path)?.data).into_owned())
}

fn wait_data(link: &Link, path: &str, text: &str) {
    wait_for(&format!("{path} to hold {text}"), BOUND, || (data(link, path).as_deref() == Some(text)).then_some(()));
}

#[test]
fn sees_changes_through_reconnects_expiry_and_a_chroot() {
    let scratch = Scratch::new("session");
    let server = ZooKeeper::start(&scratch);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let proxy = Proxy::start(server.address());
    let watching = link(format!("127.0.0.1:{}/deep/chroot", proxy.port));
    let writing = link(format!("{}/deep/chroot", server.address()));
    wait_for("both sessions", BOUND, || (tree(&watching).is_some() && tree(&writing).is_some()).then_some(()));
    let client = writing.client().unwrap();
    let path = "/watchkeeper/rules/a.yml";

    runtime.block_on(client.create(path, b"one", Lifetime::Persistent)).unwrap();
    wait_data(&watching, path, "one");

    // Connection lost and back within the session: changes made meanwhile and after it are seen.
    for (round, during, after) in [(1, "two", "three"), (2, "four", "five")] {
        proxy.cut();
        wait_for("the loss to be noticed", BOUND, || watching.client().is_err().then_some(()));
        runtime.block_on(client.set(path, during.as_bytes(), None)).unwrap();
        proxy.heal();
        wait_data(&watching, path, during);
        runtime.block_on(client.set(path, after.as_bytes(), None)).unwrap();
        wait_data(&watching, path, after);
        assert_eq!(watching.status.borrow().expirations, 0, "round {round} must stay within the session");
    }

    // A session that expired is replaced, and what was known stays known meanwhile.
    proxy.cut();
    wait_for("the session to expire", Duration::from_secs(40), || (watching.status.borrow().expirations == 1).then_some(()));
    assert_eq!(data(&watching, path).as_deref(), Some("five"));
    runtime.block_on(client.delete(path, None)).unwrap();
    proxy.heal();
    wait_for("the deletion to be seen", Duration::from_secs(30), || data(&watching, path).is_none().then_some(()));
    wait_for("the session to be live", BOUND, || (watching.status.borrow().state == SessionStatus::Live).then_some(()));
    assert!(tree(&watching).unwrap().nodes.contains_key("/watchkeeper/rules"));

    watching.stop();
    writing.stop();
    wait_for("the sessions to end", BOUND, || {
        let ended = watching.status.borrow().state == SessionStatus::Away && writing.status.borrow().state == SessionStatus::Away;
        ended.then_some(())
    });
}

#[test]
fn a_burst_of_two_hundred_files_is_few_activations() {
    let scratch = Scratch::new("burst");
    let server = ZooKeeper::start(&scratch);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let link = link(server.address());
    let client = wait_for("the session", BOUND, || tree(&link).and(link.client().ok()));
    let operations: Vec<_> = (0..200)
        .map(|i| zookeeper::Operation::Create {
            path: format!("/watchkeeper/rules/{i:03}.yml"),
            data: vec![b'#'; 1000],
            lifetime: Lifetime::Persistent,
        })
        .collect();
    let mut seen = link.tree.clone();
    seen.borrow_and_update();
    runtime.block_on(client.multi(&operations)).unwrap();
    let activations = runtime.block_on(async {
        let mut count = 0;
        loop {
            seen.changed().await.unwrap();
            count += 1;
            let whole = seen.borrow_and_update().as_ref().is_some_and(|tree| tree.nodes.len() == 202);
            if whole {
                return count;
            }
        }
    });
    assert!(activations <= 4, "one push of 200 files took {activations} activations");
    // What would make the server close the connection is refused before it is sent.
    let large = vec![0; zookeeper::ZNODE_BYTES_MAX + 1];
    let refused = runtime.block_on(client.set("/watchkeeper/rules/000.yml", &large, None));
    assert!(matches!(refused, Err(zookeeper::ZooKeeperError::TooLarge { .. })), "{refused:?}");
    link.stop();
}
