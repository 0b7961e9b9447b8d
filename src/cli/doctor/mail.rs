//! Mail servers: name, connection, greeting, TLS, authentication; everything but a mail. TLS and AUTH are the notifier's own.

use super::{Chart, STEP, reach};
use crate::alerting::setup::try_mail_server;
use crate::config::Config;
use crate::config::receivers::EmailConfig;
use crate::env::network::BoxStream;
use std::collections::BTreeSet;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

/// The longest line that a mail server may say.
const LINE_BYTES_MAX: u64 = 4096;

pub(super) async fn examine(chart: &mut Chart, config: &Config) {
    let notifier = config.notifier();
    let mut tried = BTreeSet::new();
    for email in notifier.receivers.iter().flat_map(|receiver| &receiver.email_configs) {
        if email.smarthost.is_outbox() {
            continue;
        }
        let address = format!("{}:{}", email.smarthost.host, email.smarthost.port);
        if tried.insert((address.clone(), email.auth_username.clone(), is_implicit(email))) {
            server(chart, email, &address).await;
        }
    }
}

fn is_implicit(email: &EmailConfig) -> bool {
    email.force_implicit_tls.unwrap_or(email.smarthost.port == "465")
}

async fn server(chart: &mut Chart, email: &EmailConfig, address: &str) {
    let user = email.auth_username.as_str();
    let by_whom = if user.is_empty() { String::new() } else { format!(" as {user}") };
    chart.title(&format!("mail server {address}{by_whom}"));
    let Some(stream) = reach(chart, address).await else { return };
    let implicit = is_implicit(email);
    let requires = implicit || email.require_tls.unwrap_or(true);
    if implicit {
        drop(stream);
    } else {
        let offers = match chart.env.clock.timeout(STEP, greet(stream, &email.hello)).await {
            Err(_) => {
                chart.bad(&format!("no greeting within {STEP:?}"));
                return chart.hint("either the server hangs, or it waits for TLS from the first byte: then force_implicit_tls: true (port 465 has it by itself)");
            }
            Ok(Err(reason)) => return chart.bad(&reason),
            Ok(Ok(offers)) => offers,
        };
        chart.fine(&format!("greets, and offers {}", offers.join(", ")));
        let tls = offers.iter().any(|offer| offer.eq_ignore_ascii_case("STARTTLS"));
        if requires && !tls {
            chart.bad("require_tls is on (it is by default), but the server offers no STARTTLS: mails will not be sent");
            return chart
                .hint("another port (587, 465), a certificate for the server, or, within one machine, require_tls: false");
        }
    }
    match try_mail_server(&chart.env, email).await {
        Ok(rehearsed) => {
            if requires {
                chart.fine(if implicit {
                    "TLS from the first byte stands, the certificate is good"
                } else {
                    "STARTTLS stands, the certificate is good"
                });
            } else {
                chart.hint("require_tls is false: mails, and the password, go in the clear");
            }
            match (user.is_empty(), rehearsed) {
                (true, _) => chart.hint("no auth_username: the server must take mails from here without one"),
                (false, true) => chart.fine(&format!("AUTH as {user} is accepted")),
                (false, false) => {
                    chart.bad(&format!("auth_username is {user}, but the server offers no AUTH: mails go out without it"));
                    chart.hint("most servers refuse such mails; is this the port for clients (587, 465)?");
                }
            }
        }
        Err(reason) => {
            chart.bad(&reason);
            if let Some(advice) = advice(&reason) {
                chart.hint(advice);
            }
        }
    }
}

/// What to do about a failure of the notifier's own words.
fn advice(reason: &str) -> Option<&'static str> {
    let lower = reason.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if has(&["unknownissuer", "unknown issuer", "self-signed", "selfsigned", "badsignature", "causedasendentity"]) {
        Some("nobody whom this machine trusts has signed the server's certificate: name the authority in tls_config.ca_file")
    } else if has(&["notvalidforname", "not valid for name", "hostname mismatch"]) {
        Some("the certificate is for another name: use that name as smarthost, or tell it by tls_config.server_name")
    } else if has(&["expired"]) {
        Some("the server's certificate has expired: it must be renewed; or this machine's clock is wrong")
    } else if has(&["invalidcontenttype", "corrupt message", "invalid content type"]) {
        Some("the server speaks first in the clear: this port wants STARTTLS, so force_implicit_tls: false")
    } else if has(&["535", "534", "authentication"]) {
        Some(
            "user or password are not what the server knows: auth_username, auth_password or auth_password_file (some providers want a password made for programs)",
        )
    } else if has(&["not encrypted"]) {
        Some("a password is not sent in the clear: leave require_tls on")
    } else if has(&["unknown auth mechanism"]) {
        Some("the server offers only ways of authentication that are not known here (known: CRAM-MD5, PLAIN, LOGIN)")
    } else if has(&["missing password", "missing secret"]) {
        Some("auth_username is set, but neither auth_password nor auth_secret is")
    } else if has(&["not done within"]) {
        Some("the server takes the connection and then says nothing: it is overloaded, or waits for the DNS name of this machine")
    } else {
        None
    }
}

/// Says EHLO and QUIT; answers what the server offers.
async fn greet(stream: BoxStream, hello: &str) -> Result<Vec<String>, String> {
    let words = |error: std::io::Error| error.to_string();
    let hello = if hello.is_empty() { "localhost" } else { hello };
    let mut stream = BufReader::new(stream);
    let greeting = answer(&mut stream).await?;
    if !greeting.iter().all(|line| line.starts_with("220")) {
        return Err(format!("the server does not want to talk: {}", greeting.join(" ")));
    }
    stream.get_mut().write_all(format!("EHLO {hello}\r\n").as_bytes()).await.map_err(words)?;
    let offers = answer(&mut stream).await?;
    if !offers.iter().all(|line| line.starts_with("250")) {
        return Err(format!("EHLO {hello} was refused: {}", offers.join(" ")));
    }
    stream.get_mut().write_all(b"QUIT\r\n").await.map_err(words)?;
    Ok(offers.iter().skip(1).filter_map(|line| line.get(4..)).map(str::to_owned).collect())
}

/// Reads one answer of a mail server: lines `250-...` up to `250 ...`.
async fn answer(stream: &mut BufReader<BoxStream>) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    while lines.len() < 100 {
        let mut line = Vec::new();
        let mut bounded = tokio::io::AsyncReadExt::take(&mut *stream, LINE_BYTES_MAX);
        let read = bounded.read_until(b'\n', &mut line).await.map_err(|error| error.to_string())?;
        if read == 0 {
            return Err("the server hung up".to_owned());
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        let more = text.as_bytes().get(3) == Some(&b'-');
        lines.push(text);
        if !more {
            return Ok(lines);
        }
    }
    Err("the server does not stop talking".to_owned())
}

#[cfg(test)]
mod tests {
    use super::advice;

    #[test]
    fn failures_are_followed_by_what_to_do() {
        for (reason, words) in [
            ("STARTTLS: Connection error: invalid peer certificate: UnknownIssuer", "tls_config.ca_file"),
            ("STARTTLS: invalid peer certificate: certificate not valid for name \"x\"", "server_name"),
            ("TLS handshake: received corrupt message of type InvalidContentType", "force_implicit_tls: false"),
            ("auth: permanent error (535): Authentication credentials invalid", "auth_password"),
            ("auth: unknown auth mechanism: GSSAPI", "CRAM-MD5"),
        ] {
            assert!(advice(reason).is_some_and(|advice| advice.contains(words)), "{reason}: {:?}", advice(reason));
        }
        assert_eq!(advice("the server hung up"), None);
    }
}
