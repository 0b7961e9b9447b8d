//! Links in mails that act: signed, for one thing about one alert, good for a day.
//!
//! Who has the mail may do it, without logging in: the signature is the right to do that, and what else the mail offers for the
//! same alert. Following a link only shows a
//! page; its button acts, so that programs that look at links in mails do nothing. The key is in the state store.

use crate::env::Env;
use crate::model::labels::Labels;
use crate::model::matcher::Matcher;
use crate::model::silence::Silence;
use crate::state::{Change, State, StateError};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use sha2::Sha256;
use std::fmt::Write as _;
use std::sync::{Arc, PoisonError, RwLock};

/// How long a link is good.
pub const VALID_MS: i64 = 24 * 3_600_000;
/// The longest that an alert is silenced until it has ended.
const UNTIL_RESOLVED_MAX_MS: i64 = 30 * 86_400_000;
/// Where the key is kept.
const KEY: &[u8] = b"links/key";
/// How many keys are known.
const KEYS_MAX: usize = 8;
/// Bytes of a signature that are in the link: more than can be guessed.
const SIGNATURE_BYTES: usize = 16;

/// What a link does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkAction {
    /// Somebody takes care of the alert.
    Acknowledge,
    /// It is silenced for an hour.
    SilenceHour,
    /// It is silenced until it has ended.
    SilenceUntilResolved,
    /// It is silenced until the next Monday, 8:00 of the server's time zone.
    SilenceUntilMonday,
}

impl LinkAction {
    /// All, in the order in which they are offered.
    pub const ALL: [Self; 4] = [Self::Acknowledge, Self::SilenceHour, Self::SilenceUntilResolved, Self::SilenceUntilMonday];

    /// Returns the word in the link.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::SilenceHour => "silence-1h",
            Self::SilenceUntilResolved => "silence-until-resolved",
            Self::SilenceUntilMonday => "silence-until-monday",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }
}

/// Why a link does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It was not written by this server.
    #[error("this link is not from here, or was cut off on its way")]
    Forged,
    /// It is too old.
    #[error("this link has expired: links in mails are good for 24 hours")]
    Expired,
}

/// Writes and checks links. Cheap to clone.
#[derive(Clone)]
pub struct Links {
    /// The key that signs, and those that signed before: their links stay good as long as they are.
    keys: Arc<RwLock<Vec<[u8; 32]>>>,
}

/// Where a key is that other members agreed on.
const SHARED_KEY: &[u8] = b"links/shared-key";

impl std::fmt::Debug for Links {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Links")
    }
}

impl Links {
    /// Takes a key.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self { keys: Arc::new(RwLock::new(vec![key])) }
    }

    /// Reads the key, or makes one where there is none. Blocks.
    ///
    /// # Errors
    /// When the state cannot be read. A key that cannot be kept is good until the next start.
    pub fn load(env: &Env, state: &dyn State) -> Result<Self, StateError> {
        if let Some(key) = state.get(KEY)?.and_then(|bytes| bytes.try_into().ok()) {
            let links = Self::new(key);
            if let Some(shared) = state.get(SHARED_KEY)?.and_then(|bytes| bytes.try_into().ok()) {
                links.agree(shared);
            }
            return Ok(links);
        }
        let mut key = [0; 32];
        env.random.secret(&mut key);
        if let Err(error) = state.apply(&[Change::Put(KEY.to_vec(), key.to_vec())]).and_then(|()| state.sync()) {
            tracing::warn!(%error, "the key of links in mails could not be kept: they are good until the next start");
        }
        Ok(Self::new(key))
    }

    /// Returns the key that signs.
    #[must_use]
    pub fn key(&self) -> [u8; 32] {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).first().copied().unwrap_or_default()
    }

    /// Signs with a key that all members have from now on. Returns whether that is news.
    pub fn agree(&self, key: [u8; 32]) -> bool {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.first() == Some(&key) {
            return false;
        }
        keys.retain(|known| *known != key);
        keys.insert(0, key);
        keys.truncate(KEYS_MAX);
        true
    }

    /// Returns what keeps the members' key over a restart.
    #[must_use]
    pub fn keep_shared(key: [u8; 32]) -> Change {
        Change::Put(SHARED_KEY.to_vec(), key.to_vec())
    }

    /// Returns a link's address below the server's own.
    #[must_use]
    pub fn path(&self, action: LinkAction, fingerprint: u64, now_ms: i64) -> String {
        self.path_until(action, fingerprint, now_ms.saturating_add(VALID_MS).div_euclid(1000))
    }

    /// As [`Self::path`], good until a given second.
    #[must_use]
    pub fn path_until(&self, action: LinkAction, fingerprint: u64, expires_s: i64) -> String {
        let subject = subject(action, fingerprint, expires_s);
        let bytes = mac(&self.key(), &subject).finalize().into_bytes();
        let mut path = format!("/act/{subject}/");
        for byte in bytes.iter().take(SIGNATURE_BYTES) {
            // Writing to a text cannot fail.
            let _done = write!(path, "{byte:02x}");
        }
        path
    }

    /// Checks a link.
    ///
    /// # Errors
    /// When it is not from here, or too old.
    pub fn check(
        &self,
        action: LinkAction,
        fingerprint: u64,
        expires_s: i64,
        signature: &str,
        now_ms: i64,
    ) -> Result<(), LinkError> {
        let digits: Option<Vec<u8>> = (0..signature.len())
            .step_by(2)
            .map(|at| signature.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok()))
            .collect();
        let given = digits.filter(|bytes| bytes.len() == SIGNATURE_BYTES).ok_or(LinkError::Forged)?;
        let subject = subject(action, fingerprint, expires_s);
        // Compares in a time that does not tell how much was right.
        let is_ours = |key: &[u8; 32]| mac(key, &subject).verify_truncated_left(&given).is_ok();
        if !self.keys.read().unwrap_or_else(PoisonError::into_inner).iter().any(is_ours) {
            return Err(LinkError::Forged);
        }
        if expires_s.saturating_mul(1000) <= now_ms { Err(LinkError::Expired) } else { Ok(()) }
    }
}

fn mac(key: &[u8; 32], subject: &str) -> Hmac<Sha256> {
    // A key of any length is good.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| Hmac::<Sha256>::new(&Default::default()));
    mac.update(subject.as_bytes());
    mac
}

/// What is signed, and stands in the link.
fn subject(action: LinkAction, fingerprint: u64, expires_s: i64) -> String {
    format!("{}/{fingerprint:016x}/{expires_s}", action.as_str())
}

/// Returns the silence that a link makes; `None` where it makes none.
#[must_use]
pub fn silence(action: LinkAction, labels: &Labels, now_ms: i64, zone: &TimeZone) -> Option<Silence> {
    let ends_at_ms = match action {
        LinkAction::Acknowledge => return None,
        LinkAction::SilenceHour => now_ms.saturating_add(3_600_000),
        LinkAction::SilenceUntilResolved => now_ms.saturating_add(UNTIL_RESOLVED_MAX_MS),
        LinkAction::SilenceUntilMonday => next_monday_ms(now_ms, zone),
    };
    Some(Silence {
        id: String::new(),
        matchers: labels.iter().map(|(name, value)| Matcher::equal(name, value)).collect(),
        starts_at_ms: now_ms,
        ends_at_ms,
        updated_at_ms: now_ms,
        created_by: String::new(),
        comment: String::new(),
        every: None,
        until_resolved: action == LinkAction::SilenceUntilResolved,
    })
}

/// Returns the next Monday, 8:00 in a zone, that lies after `now_ms`.
#[must_use]
pub fn next_monday_ms(now_ms: i64, zone: &TimeZone) -> i64 {
    let now: Zoned = Timestamp::from_millisecond(now_ms).unwrap_or_default().to_zoned(zone.clone());
    let monday =
        |date: jiff::civil::Date| date.at(8, 0, 0, 0).to_zoned(zone.clone()).ok().map(|at| at.timestamp().as_millisecond());
    let today = (now.weekday() == Weekday::Monday).then(|| monday(now.date())).flatten().filter(|at_ms| *at_ms > now_ms);
    let next = || now.date().nth_weekday(1, Weekday::Monday).ok().and_then(monday);
    today.or_else(next).unwrap_or(now_ms.saturating_add(7 * 86_400_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::memory::MemoryState;

    const NOW: i64 = 1_700_000_000_000;

    fn parts(path: &str) -> (LinkAction, u64, i64, String) {
        let parts: Vec<&str> = path.split('/').collect();
        assert_eq!((parts.len(), parts[1]), (6, "act"), "{path}");
        let action = LinkAction::parse(parts[2]).expect("an action");
        (action, u64::from_str_radix(parts[3], 16).expect("hex"), parts[4].parse().expect("seconds"), parts[5].to_owned())
    }

    #[test]
    fn links_of_before_stay_good_when_members_agree_on_a_key() {
        let links = Links::new([1; 32]);
        let check = |links: &Links, path: &str| {
            let mut parts = path.split('/').skip(2);
            let _act = parts.next();
            let (Some(_), Some(expires), Some(signature)) = (parts.next(), parts.next(), parts.next()) else { return None };
            Some(links.check(LinkAction::Acknowledge, 7, expires.parse().ok()?, signature, 0))
        };
        let old = links.path(LinkAction::Acknowledge, 7, 0);
        assert!(links.agree([2; 32]));
        assert!(!links.agree([2; 32]));
        let new = links.path(LinkAction::Acknowledge, 7, 0);
        let other = Links::new([2; 32]);
        assert_eq!(check(&links, &old), Some(Ok(())));
        assert_eq!(check(&links, &new), Some(Ok(())));
        assert_eq!(check(&other, &new), Some(Ok(())));
        assert_eq!(check(&other, &old), Some(Err(LinkError::Forged)));
    }

    #[test]
    fn links_are_good_for_what_they_say_and_a_day() {
        let links = Links::new([7; 32]);
        for action in LinkAction::ALL {
            let (action, fingerprint, expires_s, signature) = parts(&links.path(action, 0xabc, NOW));
            let check =
                |fingerprint, expires_s, signature: &str, at_ms| links.check(action, fingerprint, expires_s, signature, at_ms);
            assert_eq!(check(fingerprint, expires_s, &signature, NOW), Ok(()));
            assert_eq!(check(fingerprint, expires_s, &signature, NOW + VALID_MS - 1000), Ok(()));
            assert_eq!(check(fingerprint, expires_s, &signature, NOW + VALID_MS), Err(LinkError::Expired));
            assert_eq!(check(fingerprint + 1, expires_s, &signature, NOW), Err(LinkError::Forged));
            assert_eq!(check(fingerprint, expires_s + 1, &signature, NOW), Err(LinkError::Forged));
            for bad in ["", "00", "zz", signature.get(2..).expect("longer"), &format!("{signature}00"), "äöü"] {
                assert_eq!(check(fingerprint, expires_s, bad, NOW), Err(LinkError::Forged), "{bad}");
            }
            let other = LinkAction::ALL.into_iter().find(|other| *other != action).expect("another");
            assert_eq!(links.check(other, fingerprint, expires_s, &signature, NOW), Err(LinkError::Forged));
            assert_eq!(Links::new([8; 32]).check(action, fingerprint, expires_s, &signature, NOW), Err(LinkError::Forged));
        }
    }

    #[test]
    fn the_key_stays() {
        let (env, state) = (Env::real(), MemoryState::new());
        let path = Links::load(&env, &state).expect("a key").path(LinkAction::Acknowledge, 1, NOW);
        assert_eq!(Links::load(&env, &state).expect("a key").path(LinkAction::Acknowledge, 1, NOW), path);
        assert_ne!(Links::load(&env, &MemoryState::new()).expect("a key").path(LinkAction::Acknowledge, 1, NOW), path);
    }

    #[test]
    fn finds_the_next_monday() {
        let berlin = TimeZone::get("Europe/Berlin").expect("a zone");
        let at = |text: &str| text.parse::<Timestamp>().expect("a time").as_millisecond();
        for (now, monday) in [
            ("2026-11-26T12:00:00Z", "2026-11-30T07:00:00Z"),
            ("2026-11-30T06:59:59Z", "2026-11-30T07:00:00Z"),
            ("2026-11-30T07:00:00Z", "2026-12-07T07:00:00Z"),
            ("2026-03-28T12:00:00Z", "2026-03-30T06:00:00Z"),
        ] {
            assert_eq!(next_monday_ms(at(now), &berlin), at(monday), "{now}");
        }
    }
}
