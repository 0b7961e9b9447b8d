//! A real mail server: Python's aiosmtpd with STARTTLS and AUTH; mails become files.

use super::{Process, Scratch, free_port, run, wait_until};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const SERVER: &str = r"
import asyncio, os, ssl, sys, threading
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
port, folder = int(sys.argv[1]), sys.argv[2]
count = 0
class Handler:
    async def handle_DATA(self, server, session, envelope):
        global count
        count += 1
        path = os.path.join(folder, 'mail-%04d' % count)
        with open(path + '.tmp', 'wb') as f:
            f.write(('X-Rcpt: %s\r\n' % ','.join(envelope.rcpt_tos)).encode())
            f.write(envelope.content)
        os.rename(path + '.tmp', path + '.eml')
        while os.path.exists(os.path.join(folder, 'hold')):
            await asyncio.sleep(0.02)
        return '250 OK queued as %d' % count
def check(server, session, envelope, mechanism, data):
    ok = isinstance(data, LoginPassword) and data.login == b'wk' and data.password == b'secret'
    return AuthResult(success=ok, handled=ok)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(os.path.join(folder, 'cert.pem'), os.path.join(folder, 'key.pem'))
c = Controller(Handler(), hostname='127.0.0.1', port=port, tls_context=context, require_starttls=True,
               auth_required=True, authenticator=check, auth_require_tls=True)
c.start()
threading.Event().wait()
";

/// The server, and the mails that it took.
pub(crate) struct MailServer {
    process: Option<Process>,
    folder: PathBuf,
    log: PathBuf,
    pub(crate) port: u16,
}

impl MailServer {
    pub(crate) fn start(scratch: &Scratch) -> Self {
        let folder = scratch.join("mails");
        std::fs::create_dir_all(&folder).unwrap();
        let mut certify = Command::new("openssl");
        certify.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]);
        certify.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]);
        certify.arg("-keyout").arg(folder.join("key.pem")).arg("-out").arg(folder.join("cert.pem"));
        let (code, text) = run(&mut certify);
        assert_eq!(code, 0, "openssl: {text}");
        let mut server = Self { process: None, folder, log: scratch.join("mail.log"), port: free_port() };
        server.resume();
        server
    }

    pub(crate) fn resume(&mut self) {
        let mut command = Command::new("python3");
        command.arg("-c").arg(SERVER).arg(self.port.to_string()).arg(&self.folder);
        self.process = Some(Process::start(&mut command, "mail server (python3, aiosmtpd)", self.log.clone()));
        let address = ("127.0.0.1", self.port);
        wait_until("the mail server to serve", Duration::from_secs(20), || TcpStream::connect(address).is_ok());
    }

    pub(crate) fn stop(&mut self) {
        self.process = None;
    }

    /// While this holds, mails are taken but nobody is told so: the server's 250 does not come.
    pub(crate) fn hold(&self, holds: bool) {
        let path = self.folder.join("hold");
        if holds { std::fs::write(path, "").unwrap() } else { std::fs::remove_file(path).unwrap() }
    }

    /// When a mail came; the first has number 1.
    pub(crate) fn came_at(&self, number: usize) -> std::time::SystemTime {
        let file = self.folder.join(format!("mail-{number:04}.eml"));
        std::fs::metadata(file).unwrap().modified().unwrap()
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.join("cert.pem")
    }

    /// All mails so far, in order.
    pub(crate) fn mails(&self) -> Vec<String> {
        let mut paths: Vec<_> = std::fs::read_dir(&self.folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "eml"))
            .collect();
        paths.sort();
        paths.iter().map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()).collect()
    }
}

/// A header of a mail, unfolded.
pub(crate) fn header(mail: &str, name: &str) -> String {
    let head = mail.split("\r\n\r\n").next().unwrap_or(mail).replace("\r\n ", " ").replace("\r\n\t", " ");
    let prefix = format!("{}:", name.to_lowercase());
    let line = head.lines().find(|line| line.to_lowercase().starts_with(&prefix));
    line.map(|line| line[prefix.len()..].trim().to_owned()).unwrap_or_default()
}
