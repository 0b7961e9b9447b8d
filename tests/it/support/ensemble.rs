//! A real ensemble of three: Debian's ZooKeeper on loopback, with a fault proxy in front of each server and between a server and the
//! leader that it follows.

use super::proxy::Proxy;
use super::zookeeper::{JARS, admin_jars, ask, client};
use super::{Process, Scratch, free_port, wait_for, wait_until};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// How many servers.
pub(crate) const SERVERS: usize = 3;
/// How long starting, or electing a leader, may take on a busy machine.
const BOUND: Duration = Duration::from_secs(60);

struct Member {
    process: Option<Process>,
    config: PathBuf,
    data: PathBuf,
    log: PathBuf,
    port: u16,
    /// What goes from this server to each other one that leads; none to itself.
    to_leaders: Vec<Option<Proxy>>,
}

/// The ensemble. Its ports stay the same while it lives.
pub(crate) struct Ensemble {
    members: Vec<Member>,
    /// In front of the client port of each server.
    pub(crate) proxies: Vec<Proxy>,
}

impl Ensemble {
    /// Starts all and waits until one of them leads.
    pub(crate) fn start(scratch: &Scratch) -> Self {
        let quorum: Vec<u16> = (0..SERVERS).map(|_| free_port()).collect();
        let election: Vec<u16> = (0..SERVERS).map(|_| free_port()).collect();
        let members: Vec<Member> = (0..SERVERS).map(|place| Member::prepare(scratch, place, &quorum, &election)).collect();
        let proxies = members.iter().map(|member| Proxy::start(member.address())).collect();
        let mut ensemble = Self { members, proxies };
        ensemble.start_all();
        ensemble
    }

    /// What a client connects to that shall meet all faults.
    pub(crate) fn connect(&self) -> String {
        self.proxies.iter().map(Proxy::address).collect::<Vec<_>>().join(",")
    }

    /// What a client connects to that shall meet none but those of the servers themselves.
    pub(crate) fn direct(&self) -> String {
        self.members.iter().map(Member::address).collect::<Vec<_>>().join(",")
    }

    /// A server's own address.
    pub(crate) fn address(&self, place: usize) -> String {
        self.members[place].address()
    }

    /// `leader`, `follower`, or that it serves nobody.
    fn mode(&self, place: usize) -> Option<String> {
        self.members[place].process.as_ref()?;
        let answer = ask(&self.members[place].address(), "srvr").ok()?;
        answer.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::to_owned)
    }

    /// Waits until one of these leads and the others of them follow; returns which.
    pub(crate) fn leader_of(&self, places: &[usize]) -> usize {
        wait_for("the ensemble to have a leader", BOUND, || {
            let modes: Vec<_> = places.iter().map(|place| self.mode(*place)).collect();
            let leads = |mode: &Option<String>| mode.as_deref() == Some("leader");
            let is_whole = modes.iter().all(Option::is_some) && modes.iter().filter(|mode| leads(mode)).count() == 1;
            is_whole.then(|| places[modes.iter().position(leads).unwrap()])
        })
    }

    /// Waits until the ensemble is whole; returns which one leads.
    pub(crate) fn leader(&self) -> usize {
        self.leader_of(&(0..SERVERS).collect::<Vec<_>>())
    }

    /// All but one.
    pub(crate) fn others(place: usize) -> Vec<usize> {
        (0..SERVERS).filter(|other| *other != place).collect()
    }

    /// Ends one as a crash would.
    pub(crate) fn kill(&mut self, place: usize) {
        self.members[place].process = None;
    }

    pub(crate) fn kill_all(&mut self) {
        (0..SERVERS).for_each(|place| self.kill(place));
    }

    /// Starts one (again); does not wait.
    pub(crate) fn restart(&mut self, place: usize) {
        self.members[place].start();
    }

    /// Starts all (again) and waits until one leads.
    pub(crate) fn start_all(&mut self) {
        self.members.iter_mut().for_each(Member::start);
        self.leader();
    }

    /// Stands still, as a machine does that swaps.
    pub(crate) fn pause(&self, place: usize) {
        self.members[place].signal("STOP");
    }

    pub(crate) fn resume(&self, place: usize) {
        self.members[place].signal("CONT");
    }

    /// Runs a command of ZooKeeper's own client at a server.
    pub(crate) fn client(&self, place: usize, words: &[&str]) -> String {
        client(&self.address(place), words)
    }

    /// Takes away all data while the servers are down: somebody restored an empty ensemble.
    pub(crate) fn empty(&self) {
        for member in &self.members {
            assert!(member.process.is_none(), "it runs");
            std::fs::remove_dir_all(member.data.join("version-2")).unwrap();
        }
    }

    /// Does the same to the proxies in front of all servers.
    pub(crate) fn all_proxies(&self, act: impl Fn(&Proxy)) {
        self.proxies.iter().for_each(act);
    }

    /// Cuts a server off from whoever leads, without a word; clients still reach it.
    pub(crate) fn isolate(&self, place: usize) {
        self.members[place].to_leaders.iter().flatten().for_each(Proxy::black_hole);
    }

    pub(crate) fn rejoin(&self, place: usize) {
        for proxy in self.members[place].to_leaders.iter().flatten() {
            // What was held back is of connections that nobody knows any more.
            proxy.cut();
            proxy.heal();
        }
    }

    /// Waits until a server serves clients.
    pub(crate) fn wait_serving(&self, place: usize) {
        wait_until("the server to serve again", BOUND, || self.mode(place).is_some());
    }
}

impl Member {
    fn prepare(scratch: &Scratch, place: usize, quorum: &[u16], election: &[u16]) -> Self {
        let (name, port) = (format!("zookeeper-{place}"), free_port());
        let data = scratch.join(&name);
        scratch.write(&format!("{name}/myid"), &(place + 1).to_string());
        let to_leaders: Vec<Option<Proxy>> =
            (0..SERVERS).map(|other| (other != place).then(|| Proxy::start(format!("127.0.0.1:{}", quorum[other])))).collect();
        let mut text = format!(
            "tickTime=500\ninitLimit=10\nsyncLimit=4\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n4lw.commands.whitelist=*\n",
            data.display()
        );
        for (other, proxy) in to_leaders.iter().enumerate() {
            let leads_at = proxy.as_ref().map_or(quorum[other], |proxy| proxy.port);
            writeln!(text, "server.{}=127.0.0.1:{leads_at}:{}", other + 1, election[other]).unwrap();
        }
        let config = scratch.write(&format!("{name}.cfg"), &text);
        Self { process: None, config, data, log: scratch.join(&format!("{name}.log")), port, to_leaders }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn start(&mut self) {
        if self.process.is_some() {
            return;
        }
        assert!(std::path::Path::new("/usr/share/java/zookeeper.jar").exists(), "no ZooKeeper here: apt-get install zookeeper");
        let mut command = Command::new("java");
        let classes = format!("{JARS}:{}", admin_jars());
        command.args(["-Xmx64m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", &classes]);
        command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain").arg(&self.config);
        self.process = Some(Process::start(&mut command, "zookeeper", self.log.clone()));
    }

    fn signal(&self, signal: &str) {
        self.process.as_ref().unwrap().signal(signal);
    }
}
