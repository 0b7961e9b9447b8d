//! A real ZooKeeper: Debian's, started with a data folder and a port of its own.

use super::{Process, Scratch, free_port, run, wait_until};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

pub(super) const JARS: &str = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar:/usr/share/java/commons-cli.jar:/usr/share/java/jline3.jar:/usr/share/java/jline2.jar";

pub(crate) struct ZooKeeper {
    process: Option<Process>,
    config: PathBuf,
    log: PathBuf,
    host: String,
    pub(crate) port: u16,
}

impl ZooKeeper {
    pub(crate) fn start(scratch: &Scratch) -> Self {
        Self::start_with(scratch, "127.0.0.1", "admin.enableServer=false\n4lw.commands.whitelist=*\n")
    }

    /// Starts one that listens at another address of the loopback network, with further settings; `ruok` must be allowed.
    pub(crate) fn start_with(scratch: &Scratch, host: &str, settings: &str) -> Self {
        let port = free_port();
        let name = if host == "127.0.0.1" { "zookeeper".to_owned() } else { format!("zookeeper-{host}") };
        let data = scratch.join(&name);
        let config = scratch.write(
            &format!("{name}.cfg"),
            &format!("tickTime=500\ndataDir={}\nclientPort={port}\nclientPortAddress={host}\n{settings}", data.display()),
        );
        let mut server = Self { process: None, config, log: scratch.join(&format!("{name}.log")), host: host.to_owned(), port };
        server.resume();
        server
    }

    /// Starts one that has a second port, for TLS, and wants certificates there. Beside it lie `ca.pem`, `us.pem` and `us.key`.
    pub(crate) fn start_tls(scratch: &Scratch) -> (Self, u16) {
        let secure = free_port();
        certificates(scratch);
        let place = |name: &str| scratch.join(name).display().to_string();
        let settings = format!(
            "secureClientPort={secure}\nsecureClientPortAddress=127.0.0.1\nadmin.enableServer=false\n4lw.commands.whitelist=*\nserverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\nssl.keyStore.type=PEM\nssl.keyStore.location={}\nssl.trustStore.type=PEM\nssl.trustStore.location={}\nssl.clientAuth=need\n",
            place("server.pem"),
            place("ca.pem"),
        );
        (Self::start_with(scratch, "127.0.0.1", &settings), secure)
    }

    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Starts it (again) and waits until it serves.
    pub(crate) fn resume(&mut self) {
        assert!(std::path::Path::new("/usr/share/java/zookeeper.jar").exists(), "no ZooKeeper here: apt-get install zookeeper");
        let mut command = Command::new("java");
        let netty = ["buffer", "codec", "common", "handler", "resolver", "transport", "transport-native-unix-common"];
        let netty: String = netty.iter().map(|name| format!(":/usr/share/java/netty-{name}.jar")).collect();
        let epoll = "/usr/share/java/netty-transport-native-epoll.jar";
        let classes = format!("{JARS}{netty}:{epoll}:{}", admin_jars());
        command.args(["-Xmx96m", "-XX:TieredStopAtLevel=1", "-cp", &classes, "org.apache.zookeeper.server.ZooKeeperServerMain"]);
        command.arg(&self.config);
        self.process = Some(Process::start(&mut command, "zookeeper", self.log.clone()));
        let address = self.address();
        wait_until("ZooKeeper to serve", Duration::from_secs(30), || ask(&address, "ruok").is_ok_and(|answer| answer == "imok"));
    }

    /// Ends it as a crash would.
    pub(crate) fn stop(&mut self) {
        self.process = None;
    }

    /// Runs a command of ZooKeeper's own client: what another person would type.
    pub(crate) fn client(&self, words: &[&str]) -> String {
        client(&self.address(), words)
    }
}

/// Runs a command of ZooKeeper's own client.
pub(super) fn client(address: &str, words: &[&str]) -> String {
    let mut command = Command::new("java");
    command.args(["-Xmx64m", "-XX:TieredStopAtLevel=1", "-cp", JARS, "org.apache.zookeeper.ZooKeeperMain", "-server"]);
    command.arg(address).args(words);
    run(&mut command).1
}

/// What the AdminServer needs.
pub(super) fn admin_jars() -> String {
    let all = std::fs::read_dir("/usr/share/java").into_iter().flatten().flatten().map(|entry| entry.path());
    let fits = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        ["jetty9-", "jackson-", "servlet-api", "libservlet"].iter().any(|begin| name.starts_with(begin)) && name.ends_with(".jar")
    };
    all.filter(fits).map(|path| path.display().to_string()).collect::<Vec<_>>().join(":")
}

/// Makes an authority, and what it signed for `localhost` and for us.
fn certificates(scratch: &Scratch) {
    let openssl = |words: &[&str]| {
        let (code, told) = run(Command::new("openssl").args(words).current_dir(scratch.path()));
        assert_eq!(code, 0, "openssl {words:?}: {told}");
    };
    openssl(&[
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2",
    ]);
    scratch.write("names", "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
    for (name, subject) in [("server", "/CN=localhost"), ("us", "/CN=us")] {
        let (key, request, signed) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        openssl(&["req", "-newkey", "rsa:2048", "-nodes", "-keyout", &key, "-out", &request, "-subj", subject]);
        openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-out",
            &signed,
            "-days",
            "2",
            "-extfile",
            "names",
        ]);
    }
    // Java takes key and certificate from one file.
    let read = |name: &str| std::fs::read_to_string(scratch.join(name)).unwrap();
    scratch.write("server.pem", &format!("{}{}", read("server.key"), read("server.pem")));
}

pub(crate) fn ask(address: &str, word: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(word.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Another client of the ensemble: somebody who writes to it without asking us.
pub(crate) struct OtherClient {
    runtime: tokio::runtime::Runtime,
    client: std::sync::Arc<dyn watchkeeper::zookeeper::Client>,
}

impl OtherClient {
    pub(crate) fn connect(address: String) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let options = watchkeeper::zookeeper::Options {
            connect: address,
            root: "/watchkeeper".to_owned(),
            session_timeout: Duration::from_secs(10),
            ..watchkeeper::zookeeper::Options::default()
        };
        let connector = watchkeeper::zookeeper::real_connector(&watchkeeper::env::Env::real());
        let client = runtime.block_on(connector.connect(&options)).unwrap();
        Self { runtime, client }
    }

    /// Sets a znode's data, making it and the folders above it where they are not there.
    pub(crate) fn put(&self, path: &str, data: &[u8]) {
        if self.runtime.block_on(self.client.set(path, data, None)).is_ok() {
            return;
        }
        let (above, _) = path.rsplit_once('/').unwrap();
        self.runtime.block_on(self.client.make_folders(above)).unwrap();
        self.runtime.block_on(self.client.create(path, data, watchkeeper::zookeeper::Lifetime::Persistent)).unwrap();
    }

    pub(crate) fn delete(&self, path: &str) {
        self.runtime.block_on(self.client.delete(path, None)).unwrap();
    }

    pub(crate) fn get(&self, path: &str) -> Option<Vec<u8>> {
        Some(self.runtime.block_on(self.client.get(path)).unwrap()?.data.to_vec())
    }
}
