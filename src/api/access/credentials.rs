//! Names, passwords and tokens: whether what is shown is right. Guessing is slowed down by [`super::attempts`].

use super::attempts::{Attempts, Wait};
use crate::api::state::ApiState;
use crate::config::web::{ApiToken, Role, WebConfig};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// What is compared with where there is no such user, so that the time of an answer does not tell who there is: the hash of a
/// password that nobody has, as slow as usual.
const NOBODY: &str = "$2b$10$watchkeeperwatchkeepeOTDG7O3ujb/CYzwRZbns9WF6Hjmw/GBa";

/// Somebody whose password or token was right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::api) struct Identity {
    /// Whether it was a token.
    pub(in crate::api) is_token: bool,
    /// The user's or the token's name.
    pub(in crate::api) name: String,
    /// What they may do.
    pub(in crate::api) role: Role,
}

/// Password checks that were right, by a keyed hash: bcrypt is slow on purpose, and each request carries a password.
#[derive(Debug, Default)]
pub(in crate::api) struct PasswordCache(Mutex<BTreeMap<[u8; 32], bool>>);

impl PasswordCache {
    const MOST: usize = 256;

    fn get(&self, key: &[u8; 32]) -> Option<bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    fn put(&self, key: [u8; 32], good: bool) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= Self::MOST {
            known.clear();
        }
        known.insert(key, good);
    }
}

/// Returns the user of this name.
pub(super) fn user(web: &WebConfig, name: &str) -> Identity {
    let role = web.roles.get(name).copied().unwrap_or(Role::Operator);
    Identity { is_token: false, name: name.to_owned(), role }
}

/// Returns whose token this is.
pub(super) fn by_token(api: &ApiState, web: &WebConfig, given: &str) -> Option<Identity> {
    let known = web.api_tokens.iter().find(|token| same_secret(&token_of(api, token), given))?;
    Some(Identity { is_token: true, name: known.name.clone(), role: known.role })
}

/// Returns who this is, if the password is right; `Err`: nobody looked, after too many that were wrong.
pub(super) async fn by_password(
    api: &ApiState,
    web: &WebConfig,
    name: &str,
    password: &str,
    from: Option<IpAddr>,
) -> Result<Option<Identity>, Wait> {
    let known = web.basic_auth_users.get(name);
    let hash = known.map_or(NOBODY, |hash| hash.reveal());
    let key = cache_key(name, password, hash);
    if known.is_some() && api.shared().passwords.get(&key) == Some(true) {
        return Ok(Some(user(web, name)));
    }
    let attempts: &Attempts = &api.shared().attempts;
    let attempt = attempts.begin(api.env.clock.monotonic(), Some(name), from)?;
    let (given, hash) = (password.to_owned(), hash.to_owned());
    let checked = api.env.tasks.blocking(move || bcrypt::verify(given, &hash).unwrap_or(false)).await;
    if known.is_none() || !checked.unwrap_or(false) {
        return Ok(None);
    }
    attempts.was_right(&attempt);
    api.shared().passwords.put(key, true);
    Ok(Some(user(web, name)))
}

fn cache_key(user: &str, password: &str, hash: &str) -> [u8; 32] {
    use sha2::Digest as _;
    let mut hasher = sha2::Sha256::new();
    for part in [user, password, hash] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().into()
}

/// A token may lie in a file, which is read each time: tokens are rotated by writing the file.
pub(super) fn token_of(api: &ApiState, token: &ApiToken) -> String {
    if !token.token.reveal().is_empty() {
        return token.token.reveal().to_owned();
    }
    let text = api.env.disk.read(token.token_file.path()).unwrap_or_default();
    String::from_utf8_lossy(&text).trim().to_owned()
}

/// Compares without telling by its time how much was right.
fn same_secret(known: &str, given: &str) -> bool {
    if known.is_empty() || known.len() != given.len() {
        return false;
    }
    known.bytes().zip(given.bytes()).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}

/// Reads `dXNlcjpwYXNz`.
pub(super) fn basic(credentials: &str) -> Option<(String, String)> {
    let mut bytes = Vec::with_capacity(credentials.len());
    let (mut bits, mut count) = (0_u32, 0);
    for byte in credentials.trim().trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_basic_credentials() {
        assert_eq!(basic("bGk6cGE6c3M="), Some(("li".to_owned(), "pa:ss".to_owned())));
        assert_eq!(basic("!"), None);
        assert!(same_secret("abc", "abc"));
        assert!(!same_secret("", ""));
    }

    #[test]
    fn nobody_s_hash_takes_its_time() {
        assert!(matches!(bcrypt::verify("", NOBODY), Ok(false)));
    }
}
