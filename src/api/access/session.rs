//! Sessions of people at the dashboard: a signed cookie, and nothing that is kept for it on the server.
//!
//! `v1.KIND.EXPIRY.FINGERPRINT.NAME.SIGNATURE`, hexadecimal but for the kind (`u`: user, `t`: token). The signature is HMAC-SHA-256
//! under a key of the state store over all before it. What the user may do is looked up at each request, and the fingerprint
//! is that of the password's hash or the token: who gets another one, or is taken out of the configuration, is logged out.

use super::credentials::{self, Identity, token_of};
use crate::api::state::ApiState;
use crate::config::web::WebConfig;
use axum::http::{HeaderMap, header};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::fmt::Write as _;

/// The cookie's name.
pub(super) const COOKIE: &str = "watchkeeper_session";
/// How long a session lasts, in seconds.
pub(super) const LASTS_S: i64 = 30 * 86_400;
/// Bytes of a fingerprint.
const FINGERPRINT_BYTES: usize = 12;

fn mac(key: &[u8; 32], parts: &[&str]) -> Hmac<Sha256> {
    // A key of any length will do; this one has the hash's.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| Hmac::<Sha256>::new(&Default::default()));
    for part in parts {
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(part.as_bytes());
    }
    mac
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing into a text cannot fail.
        let _always = write!(out, "{byte:02x}");
        out
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| Some(c.to_digit(16)? as u8)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| (byte << 4) | digit)).collect())
}

/// What the session of somebody hangs on; `None`: there is no such user or token (any more).
fn fingerprint(api: &ApiState, web: &WebConfig, is_token: bool, name: &str) -> Option<String> {
    let secret = if is_token {
        token_of(api, web.api_tokens.iter().find(|token| token.name == name)?)
    } else {
        web.basic_auth_users.get(name)?.reveal().to_owned()
    };
    let digest = mac(&api.session_key, &["fingerprint", name, &secret]).finalize().into_bytes();
    Some(hex(digest.get(..FINGERPRINT_BYTES)?))
}

/// Makes the cookie's value for somebody who was right just now.
pub(super) fn make(api: &ApiState, web: &WebConfig, who: &Identity) -> Option<String> {
    let expiry = api.env.clock.now_ms().div_euclid(1000) + LASTS_S;
    let kind = if who.is_token { "t" } else { "u" };
    let fingerprint = fingerprint(api, web, who.is_token, &who.name)?;
    let said = format!("v1.{kind}.{expiry:x}.{fingerprint}.{}", hex(who.name.as_bytes()));
    let signature = hex(&mac(&api.session_key, &["session", &said]).finalize().into_bytes());
    Some(format!("{said}.{signature}"))
}

/// Reads a cookie's value.
fn read(api: &ApiState, web: &WebConfig, value: &str) -> Option<Identity> {
    let (said, signature) = value.rsplit_once('.')?;
    mac(&api.session_key, &["session", said]).verify_slice(&unhex(signature)?).ok()?;
    let mut parts = said.split('.');
    let (version, kind, expiry) = (parts.next()?, parts.next()?, parts.next()?);
    let (shown, name) = (parts.next()?, String::from_utf8(unhex(parts.next()?)?).ok()?);
    let expiry = i64::from_str_radix(expiry, 16).ok()?;
    if version != "v1" || expiry.saturating_mul(1000) <= api.env.clock.now_ms() {
        return None;
    }
    let is_token = kind == "t";
    // Both are of the server's own making: nothing can be guessed by the time that comparing takes.
    if fingerprint(api, web, is_token, &name)? != shown {
        return None;
    }
    if !is_token {
        return Some(credentials::user(web, &name));
    }
    let role = web.api_tokens.iter().find(|token| token.name == name)?.role;
    Some(Identity { is_token, name, role })
}

/// Finds out whose session a request belongs to.
pub(super) fn find(api: &ApiState, web: &WebConfig, headers: &HeaderMap) -> Option<Identity> {
    let given = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let cookies = given.flat_map(|list| list.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut ours = cookies.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value);
    // Another server on this host, at another port, may have set one of this name, too.
    ours.by_ref().take(8).find_map(|value| read(api, web, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_comes_back() {
        assert_eq!(unhex(&hex(b"\x00li\xff")), Some(b"\x00li\xff".to_vec()));
        assert_eq!([unhex("a"), unhex("0g"), unhex("é")], [None, None, None]);
        assert_eq!(unhex(""), Some(Vec::new()));
    }
}
