//! Saying who we are to a mail server: CRAM-MD5, PLAIN and LOGIN, chosen as Alertmanager chooses, and XOAUTH2 beyond it.
//!
//! The server's list is walked in its order; the first mechanism that is known and for which there is a secret is taken. lettre
//! does not keep the list and knows no CRAM-MD5, so EHLO is asked once more and the exchange is made command by command. A password
//! `Bearer TOKEN` is an access token for XOAUTH2; in a file, it may be renewed by whoever gets tokens.

use super::email::{STEP, step};
use super::{EmailTarget, Failure, SecretSource};
use crate::alerting::notification_log::hex;
use crate::config::decode_base64;
use crate::env::Env;
use crate::model::base64::encode as base64;
use crate::model::md5;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::Ehlo;
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;

/// What an access token in place of a password begins with.
const TOKEN: &str = "Bearer ";

/// Returns what stands behind `AUTH` in the answer to EHLO; `None` where the server offers no authentication.
fn offered(response: &Response) -> Option<Vec<String>> {
    let words = |line: &str| line.split_whitespace().map(str::to_uppercase).collect::<Vec<_>>();
    let lines = response.message().map(words);
    let auth = |words: Vec<String>| words.split_first().filter(|(first, _)| *first == "AUTH").map(|(_, rest)| rest.to_vec());
    lines.into_iter().find_map(auth)
}

/// The answer to a challenge: the user and the challenge's HMAC-MD5 under the secret (RFC 2195).
fn cram_md5_answer(user: &str, secret: &str, challenge: &[u8]) -> String {
    const BLOCK: usize = 64;
    let mut key = if secret.len() > BLOCK { md5::digest(secret.as_bytes()).to_vec() } else { secret.as_bytes().to_vec() };
    key.resize(BLOCK, 0);
    let padded = |pad: u8| key.iter().map(|byte| byte ^ pad).collect::<Vec<u8>>();
    let mut inner = padded(0x36);
    inner.extend_from_slice(challenge);
    let mut outer = padded(0x5c);
    outer.extend_from_slice(&md5::digest(&inner));
    base64(format!("{user} {}", hex(&md5::digest(&outer))).as_bytes())
}

async fn read(env: &Env, what: &str, source: &SecretSource) -> Result<String, Failure> {
    source.read(env).await.map_err(|error| Failure::transient(format!("{what}: {error}")))
}

/// Authenticates where the server offers it and a user is configured; returns whether it did.
pub(super) async fn authenticate(
    env: &Env,
    target: &EmailTarget,
    host: &str,
    hello: &ClientId,
    connection: &mut AsyncSmtpConnection,
) -> Result<bool, Failure> {
    if target.auth_username.is_empty() {
        return Ok(false);
    }
    let answer = step(env, "EHLO", STEP, connection.command(Ehlo::new(hello.clone()))).await?;
    let Some(mechanisms) = offered(&answer) else {
        // As Alertmanager does where nothing is offered; but not without a word.
        tracing::warn!(%host, "the mail server offers no AUTH: sending without the configured user");
        return Ok(false);
    };
    let mut missing = Vec::new();
    for mechanism in &mechanisms {
        match mechanism.as_str() {
            "CRAM-MD5" => {
                let secret = read(env, "auth_secret_file", &target.auth_secret).await?;
                if !secret.is_empty() {
                    return cram_md5(env, target, &secret, connection).await.map(|()| true);
                }
                missing.push("missing secret for CRAM-MD5 auth mechanism");
            }
            "XOAUTH2" => {
                let password = read(env, "auth_password_file", &target.auth_password).await?;
                if let Some(token) = password.strip_prefix(TOKEN) {
                    check_encrypted(connection.is_encrypted() || target.implicit_tls, host)?;
                    let credentials = Credentials::new(target.auth_username.clone(), token.trim().to_owned());
                    return step(env, "auth", STEP, connection.auth(&[Mechanism::Xoauth2], &credentials)).await.map(|_| true);
                }
                missing.push("missing token for XOAUTH2 auth mechanism (auth_password: Bearer TOKEN)");
            }
            "PLAIN" | "LOGIN" => {
                let password = read(env, "auth_password_file", &target.auth_password).await?;
                if password.starts_with(TOKEN) && mechanisms.iter().any(|other| other == "XOAUTH2") {
                    continue;
                }
                if !password.is_empty() {
                    check_encrypted(connection.is_encrypted() || target.implicit_tls, host)?;
                    if mechanism == "PLAIN" {
                        let (identity, user) = (&target.auth_identity, &target.auth_username);
                        let secret = base64(format!("{identity}\0{user}\0{password}").as_bytes());
                        return said(env, format!("AUTH PLAIN {secret}\r\n"), connection).await.map(|_| true);
                    }
                    let credentials = Credentials::new(target.auth_username.clone(), password);
                    return step(env, "auth", STEP, connection.auth(&[Mechanism::Login], &credentials)).await.map(|_| true);
                }
                missing.push(if mechanism == "PLAIN" {
                    "missing password for PLAIN auth mechanism"
                } else {
                    "missing password for LOGIN auth mechanism"
                });
            }
            _ => {}
        }
    }
    let why = if missing.is_empty() { format!("unknown auth mechanism: {}", mechanisms.join(" ")) } else { missing.join("; ") };
    Err(Failure::transient(format!("find auth mechanism: {why}")))
}

/// As Go's PLAIN: a password is not spoken in the clear, except to this very machine.
fn check_encrypted(is_encrypted: bool, host: &str) -> Result<(), Failure> {
    if is_encrypted || matches!(host, "localhost" | "127.0.0.1" | "::1") {
        return Ok(());
    }
    Err(Failure::transient("auth: the connection is not encrypted; the password was not sent"))
}

async fn said(env: &Env, line: String, connection: &mut AsyncSmtpConnection) -> Result<Response, Failure> {
    step(env, "auth", STEP, connection.command(line)).await
}

async fn cram_md5(env: &Env, target: &EmailTarget, secret: &str, connection: &mut AsyncSmtpConnection) -> Result<(), Failure> {
    let challenge = said(env, "AUTH CRAM-MD5\r\n".to_owned(), connection).await?;
    let decoded = challenge.first_word().filter(|_| challenge.has_code(334)).and_then(decode_base64);
    let Some(decoded) = decoded else {
        return Err(Failure::transient("auth: the server's CRAM-MD5 challenge is not one"));
    };
    let answer = cram_md5_answer(&target.auth_username, secret, &decoded);
    said(env, format!("{answer}\r\n"), connection).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_a_challenge_as_rfc_2195_does() {
        let challenge = b"<1896.697170952@postoffice.reston.mci.net>";
        let answer = decode_base64(&cram_md5_answer("tim", "tanstaaftanstaaf", challenge)).unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), "tim b913a602c7eda7a495b4e6e7334d3890");
        let long = cram_md5_answer("tim", &"x".repeat(100), challenge);
        assert_eq!(long, cram_md5_answer("tim", &"x".repeat(100), challenge));
        assert_ne!(long, cram_md5_answer("tim", &"x".repeat(101), challenge));
    }

    #[test]
    fn reads_what_the_server_offers() {
        let response = |lines: &[&str]| {
            let text: String = lines
                .iter()
                .enumerate()
                .map(|(at, line)| format!("250{}{line}\r\n", if at + 1 == lines.len() { ' ' } else { '-' }))
                .collect();
            text.parse::<Response>().unwrap()
        };
        assert_eq!(offered(&response(&["mail.example.org", "SIZE 1", "8BITMIME"])), None);
        let both = offered(&response(&["mail.example.org", "auth cram-md5 PLAIN", "8BITMIME"]));
        assert_eq!(both, Some(vec!["CRAM-MD5".to_owned(), "PLAIN".to_owned()]));
    }
}
