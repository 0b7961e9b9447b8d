//! Slows guessing down: after some wrong passwords for a name from an address, and after more of them from an address, whichever
//! the names, each further one has to wait twice as long as the one before, up to a bound. Who waited long enough is forgotten.
//!
//! An attempt counts as wrong from its beginning, so that many at once gain nothing. Nobody is locked out for good, and who is
//! known already (a password that was right before, a session) does not wait.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Wrong ones for a name from an address that cost nothing.
const FREE_NAME: u32 = 5;
/// Wrong ones from an address that cost nothing.
const FREE_ADDRESS: u32 = 30;
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How long a wrong one counts.
const COUNTS_FOR: Duration = Duration::from_secs(15 * 60);
/// How many names and addresses are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// How long to wait before the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait(pub(super) Duration);

/// Whose attempts count together: of a name from an address, or of an address.
type Key = (Option<String>, Option<IpAddr>);

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    wrong: u32,
    last: Duration,
}

impl Count {
    fn free_from(&self, free: u32) -> Duration {
        let over = self.wrong.saturating_sub(free);
        let wait = if over == 0 { Duration::ZERO } else { Duration::from_secs(1 << (over - 1).min(16)).min(WAIT_MAX) };
        self.last + wait
    }
}

/// An attempt that has begun.
#[derive(Debug)]
pub(super) struct Attempt([Key; 2]);

/// The wrong ones of late. Times are those of the monotonic clock.
#[derive(Debug, Default)]
pub(in crate::api) struct Attempts(Mutex<HashMap<Key, Count>>);

/// An address as attempts count it: of IPv6 a network, since each host has more addresses than can be remembered.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
    }
}

impl Attempts {
    /// Begins an attempt for a name (`None`: with a token), or says how long to wait.
    pub(super) fn begin(&self, now: Duration, name: Option<&str>, from: Option<IpAddr>) -> Result<Attempt, Wait> {
        let from = from.map(network);
        // Names are no longer than what somebody could have; what is longer counts together.
        let name: String = name.unwrap_or_default().chars().take(200).collect();
        let keys = [(Some(name), from), (None, from)];
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, free) in keys.iter().zip([FREE_NAME, FREE_ADDRESS]) {
            let free_from =
                counts.get(key).filter(|count| now < count.last + COUNTS_FOR).map_or(now, |count| count.free_from(free));
            if free_from > now {
                return Err(Wait(free_from - now));
            }
        }
        for key in &keys {
            let count = counts.entry(key.clone()).or_default();
            if now >= count.last + COUNTS_FOR {
                *count = Count::default();
            }
            *count = Count { wrong: count.wrong.saturating_add(1), last: now };
        }
        if counts.len() > REMEMBERED_MAX {
            counts.retain(|_, count| now < count.last + COUNTS_FOR);
            let mut times: Vec<Duration> = counts.values().map(|count| count.last).collect();
            times.sort_unstable();
            let since = times.len().checked_sub(REMEMBERED_MAX / 2).and_then(|at| times.get(at)).copied();
            if let Some(since) = since.filter(|_| counts.len() > REMEMBERED_MAX) {
                counts.retain(|_, count| count.last >= since);
            }
        }
        Ok(Attempt(keys))
    }

    /// Notes that it was right: the name's wrong ones are forgotten, and it does not count against the address.
    pub(super) fn was_right(&self, attempt: &Attempt) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Attempt([name, address]) = attempt;
        counts.remove(name);
        if let Some(count) = counts.get_mut(address) {
            count.wrong = count.wrong.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

    fn second(number: u64) -> Duration {
        Duration::from_secs(1000 + number)
    }

    #[test]
    fn wrong_ones_wait_ever_longer_and_are_forgotten() {
        let attempts = Attempts::default();
        let begin = |at: u64| attempts.begin(second(at), Some("li"), HERE).map(|_| ()).map_err(|wait| wait.0.as_secs());
        for _ in 0..=FREE_NAME {
            assert_eq!(begin(0), Ok(()));
        }
        assert_eq!((begin(0), begin(1)), (Err(1), Ok(())));
        assert_eq!((begin(1), begin(2), begin(3)), (Err(2), Err(1), Ok(())));
        assert_eq!(begin(3), Err(4));
        // Others do not wait with them.
        assert!(attempts.begin(second(3), Some("wang"), HERE).is_ok());
        let elsewhere = Some("10.0.0.1".parse().unwrap());
        assert!(attempts.begin(second(3), Some("li"), elsewhere).is_ok());
        let mut at = 10;
        for _ in 0..20 {
            at += 60;
            assert_eq!(begin(at), Ok(()), "never longer than a minute");
        }
        at += COUNTS_FOR.as_secs();
        for _ in 0..=FREE_NAME {
            assert_eq!(begin(at), Ok(()));
        }
        assert_eq!(begin(at), Err(1));
    }

    #[test]
    fn a_right_one_counts_nothing_and_many_names_count_together() {
        let attempts = Attempts::default();
        for _ in 0..100 {
            let attempt = attempts.begin(second(0), Some("li"), HERE).unwrap();
            attempts.was_right(&attempt);
        }
        for number in 0..=FREE_ADDRESS {
            assert!(attempts.begin(second(0), Some(&number.to_string()), HERE).is_ok(), "{number}");
        }
        assert_eq!(attempts.begin(second(0), Some("next"), HERE).unwrap_err(), Wait(Duration::from_secs(1)));
        // A host has a whole network of these.
        let v6 = |host: u32| Some(format!("2001:db8::{host:x}").parse().unwrap());
        for host in 0..=FREE_ADDRESS {
            assert!(attempts.begin(second(0), Some(&host.to_string()), v6(host)).is_ok());
        }
        assert!(attempts.begin(second(0), Some("x"), v6(999)).is_err());
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let attempts = Attempts::default();
        for number in 0..30_000_u32 {
            let from = Some(IpAddr::V4(number.into()));
            assert!(attempts.begin(second(0) + Duration::from_millis(number.into()), Some("li"), from).is_ok());
        }
        assert!(attempts.0.lock().unwrap().len() <= REMEMBERED_MAX);
    }
}
