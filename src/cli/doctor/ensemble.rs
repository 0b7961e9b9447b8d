//! ZooKeeper: name and connection of each server, its mode, the quorum, a session, the chroot, and what we may do below the root.

use super::super::check::DiskFiles;
use super::{Chart, STEP, reach};
use crate::config::{Config, Files as _};
use crate::env::network::BoxStream;
use crate::zookeeper::{self, Client, Lifetime, Operation, Tls, ZooKeeperError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The longest answer of a server about itself.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// What a server says of itself.
enum Mode {
    /// It serves, as leader, follower, observer or alone.
    Serves(String),
    /// It runs, but is no part of a quorum.
    NoQuorum,
    /// It does not say.
    Silent(String),
}

/// Asks a server how it is; `srvr` is what every version answers unless it is told not to.
async fn mode(stream: &mut BoxStream) -> Result<Mode, std::io::Error> {
    stream.write_all(b"srvr").await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    let text = String::from_utf8_lossy(&answer);
    let mode = text.lines().find_map(|line| line.strip_prefix("Mode: "));
    Ok(match mode {
        Some(mode) => Mode::Serves(mode.trim().to_owned()),
        None if text.contains("not currently serving") => Mode::NoQuorum,
        None => Mode::Silent(text.lines().next().unwrap_or_default().to_owned()),
    })
}

/// What became of the servers.
struct Found {
    serving: usize,
    /// That do not say.
    silent: usize,
    /// To which a connection stands.
    reached: usize,
}

/// Tries the servers one by one.
async fn servers(chart: &mut Chart, addresses: &[String], is_tls: bool) -> Found {
    let (mut serving, mut silent, mut reached) = (0, 0, 0);
    for address in addresses {
        let Some(mut stream) = reach(chart, address).await else { continue };
        reached += 1;
        if is_tls {
            // It speaks only after a handshake, which the session below makes.
            silent += 1;
            continue;
        }
        match chart.env.clock.timeout(STEP, mode(&mut stream)).await {
            Ok(Ok(Mode::Serves(mode))) => {
                serving += 1;
                chart.fine(&format!("{address} serves as {mode}"));
            }
            Ok(Ok(Mode::NoQuorum)) => {
                chart.bad(&format!("{address} runs, but serves nobody: it does not find a quorum"));
                chart.hint(
                    "do the other servers run, and can they reach each other on the ports of the lines `server.N=` (2888, 3888)?",
                );
            }
            Ok(Ok(Mode::Silent(words))) => {
                silent += 1;
                let words = if words.is_empty() { "nothing".to_owned() } else { format!("{words:?}") };
                chart.hint(&format!("{address} does not tell its mode ({words}): `srvr` is not in its 4lw.commands.whitelist, or this is no ZooKeeper"));
            }
            Ok(Err(error)) => {
                chart.bad(&format!("{address}: {error}"));
                chart.hint("it hangs up: too many connections from here (maxClientCnxns), or this port wants TLS");
            }
            Err(_) => chart.bad(&format!("{address}: says nothing within {STEP:?}: it hangs, or this is no ZooKeeper")),
        }
    }
    Found { serving, silent, reached }
}

pub(super) async fn examine(chart: &mut Chart, config: &Config) {
    let Some(zookeeper) = &config.zookeeper else { return };
    chart.title(&format!("zookeeper {}", zookeeper.connect));
    let digest = zookeeper.auth.as_ref().map(|auth| match auth.digest_file.is_empty() {
        true => Ok(auth.digest.reveal().to_owned()),
        false => DiskFiles.text(auth.digest_file.path()).map(|text| text.trim().to_owned()),
    });
    // A failure was told above, among the files.
    let Ok(digest) = digest.transpose() else { return };
    let whole = zookeeper::Options {
        connect: zookeeper.connect.clone(),
        root: format!("/{}", zookeeper.root.trim_matches('/')),
        session_timeout: zookeeper.session_timeout,
        digest,
        tls: zookeeper.tls.as_ref().map(Tls::from_config),
        ..zookeeper::Options::default()
    };
    let (hosts, chroot) = whole.hosts_and_chroot();
    let with_port = |host: &str| if host.contains(':') { host.to_owned() } else { format!("{host}:2181") };
    let addresses: Vec<String> = hosts.split(',').map(with_port).collect();
    let Found { serving, silent, reached } = servers(chart, &addresses, whole.tls.is_some()).await;
    let needed = addresses.len() / 2 + 1;
    if addresses.len() > 1 && serving + silent < needed {
        let all = addresses.len();
        chart.bad(&format!("{serving} of {all} servers serve: an ensemble of {all} needs {needed}"));
    }
    if reached == 0 {
        return chart.bad("no session: none of the servers takes a connection");
    }
    // Without the chroot: a session that has it would make it, and nothing is to be changed here.
    let options = zookeeper::Options { connect: hosts.to_owned(), ..whole.clone() };
    let connector = zookeeper::real_connector(&chart.env);
    let client = match chart.env.clock.timeout(STEP, connector.connect(&options)).await {
        Err(_) => return chart.bad(&format!("no session within {STEP:?}: is there a quorum?")),
        Ok(Err(error)) => {
            chart.bad(&format!("no session: {error}"));
            return chart.hint(match (error, whole.tls.is_some()) {
                (ZooKeeperError::SessionEnded, _) => "the servers refuse our credentials: look at zookeeper.auth",
                (_, true) => "connections stand, but no server opens a session: no quorum, the port is not one for TLS (secureClientPort), the authority in zookeeper.tls did not sign the servers' certificates, they are for other names, or the servers want a certificate of ours",
                (_, false) => "connections stand, but no server opens a session: no quorum, or the client port wants TLS (zookeeper.tls)",
            });
        }
        Ok(Ok(client)) => client,
    };
    chart.fine(&format!("session of {:?} (asked for {:?})", client.session_timeout(), zookeeper.session_timeout));
    if client.session_timeout() != zookeeper.session_timeout {
        chart.hint("the servers bound it by minSessionTimeout and maxSessionTimeout (2 and 20 times tickTime by default)");
    }
    if whole.digest.is_none() {
        chart.hint("no zookeeper.auth: everything is made open to everybody who reaches the ensemble");
    }
    rights(chart, &*client, chroot.trim_end_matches('/'), &whole.root).await;
}

/// What we may do below the root.
async fn rights(chart: &mut Chart, client: &dyn Client, chroot: &str, root: &str) {
    let mut parent = String::new();
    if !chroot.is_empty() {
        match may_read(chart, client, chroot).await {
            Some(true) => parent = chroot.to_owned(),
            Some(false) => {
                chart.hint(&format!("the chroot {chroot} is not there yet; the server will make it"));
                return may_make(chart, client, nearest(client, chroot).await.as_str()).await;
            }
            None => return,
        }
    }
    let root = format!("{parent}{root}");
    match may_read(chart, client, &root).await {
        Some(true) => {
            for folder in ["rules", "config", "members", "election", "silences"] {
                let path = format!("{root}/{folder}");
                if may_read(chart, client, &path).await == Some(true) {
                    may_make(chart, client, &path).await;
                }
            }
        }
        Some(false) => {
            chart.hint(&format!("{root} is not there yet; the server will make it"));
            may_make(chart, client, nearest(client, &root).await.as_str()).await;
        }
        None => {}
    }
}

/// Returns the nearest folder above that is there.
async fn nearest(client: &dyn Client, path: &str) -> String {
    let mut path = path;
    while let Some((above, _)) = path.rsplit_once('/').filter(|(above, _)| !above.is_empty()) {
        if matches!(client.get(above).await, Ok(Some(_))) {
            return above.to_owned();
        }
        path = above;
    }
    "/".to_owned()
}

/// Lists a folder; `Some(false)`: it is not there; `None`: it cannot be read, which was said.
async fn may_read(chart: &mut Chart, client: &dyn Client, path: &str) -> Option<bool> {
    match client.children(path).await {
        Ok(None) => Some(false),
        Ok(Some(children)) => {
            chart.fine(&format!("{path} can be read, it holds {}", children.len()));
            Some(true)
        }
        Err(error) => {
            chart.bad(&format!("{path}: {error}"));
            if matches!(error, ZooKeeperError::NoAuth(_)) {
                chart.hint("its ACL does not let this user in: another zookeeper.auth.digest, or `setAcl` by who made it (`getAcl` shows whom it knows)");
            }
            None
        }
    }
}

/// Whether something may be made in a folder: a step that would make it stands in one transaction with one that must fail, so
/// that nothing is made.
async fn may_make(chart: &mut Chart, client: &dyn Client, folder: &str) {
    let path = format!("{}/doctor-{}", folder.trim_end_matches('/'), client.session_id());
    let steps = [
        Operation::Create { path, data: Vec::new(), lifetime: Lifetime::Ephemeral },
        Operation::Check { path: folder.to_owned(), version: i32::MAX },
    ];
    match client.multi(&steps).await {
        Err(ZooKeeperError::NoAuth(_)) => {
            chart.bad(&format!("{folder}: nothing may be made in it"));
            chart.hint("its ACL gives this user no right to create: silences, members and saved rules cannot be kept there");
        }
        Err(ZooKeeperError::BadVersion(_)) => chart.fine(&format!("{folder} can be written")),
        Err(error) => chart.bad(&format!("{folder}: {error}")),
        Ok(()) => chart.hint(&format!("{folder}: whether it can be written is not known")),
    }
}
