//! How many shards a remote needs, as Prometheus reckons: from what comes in, what goes out and how long that takes, and what
//! waits in the log.

use std::time::Duration;

/// How often it is reckoned.
pub(super) const EVERY: Duration = Duration::from_secs(10);
/// Share of the newest rate in the average.
const NEWEST: f64 = 0.2;
/// Share of what waits that is to go each second.
const CATCH_UP: f64 = 0.05;
/// Within this share of the present number nothing changes.
const TOLERANCE: f64 = 0.3;

/// A rate that remembers those before it.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    per_second: f64,
    has_any: bool,
}

impl Rate {
    fn add(&mut self, amount: f64, over: Duration) -> f64 {
        let present = amount / over.as_secs_f64().max(0.001);
        self.per_second = if self.has_any { NEWEST * present + (1.0 - NEWEST) * self.per_second } else { present };
        self.has_any = true;
        self.per_second
    }
}

/// What happened since the last reckoning.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Happened {
    /// Samples read from the log.
    pub(super) read: u64,
    /// Of them, those that rules or age dropped.
    pub(super) dropped: u64,
    /// Samples that were sent.
    pub(super) sent: u64,
    /// How long requests took, all together.
    pub(super) sending: Duration,
    /// By how much the newest sample that was sent is behind the newest of the store.
    pub(super) behind: Duration,
}

/// Reckons.
#[derive(Debug, Default)]
pub(super) struct ShardCount {
    read: Rate,
    dropped: Rate,
    sent: Rate,
    sending: Rate,
}

impl ShardCount {
    /// Returns how many shards there should be, unbounded and bounded by `least` and `most`; `present`: how many there are.
    pub(super) fn reckon(
        &mut self,
        now: Happened,
        over: Duration,
        present: usize,
        (least, most): (usize, usize),
    ) -> (f64, usize) {
        let read = self.read.add(now.read as f64, over);
        let dropped = self.dropped.add(now.dropped as f64, over);
        let sent = self.sent.add(now.sent as f64, over);
        let sending = self.sending.add(now.sending.as_secs_f64(), over);
        let kept = if sent + dropped > 0.0 { sent / (sent + dropped) } else { 1.0 };
        if sent <= 0.0 {
            // Nothing goes out: more shards would not help.
            return (present as f64, present);
        }
        let waiting = now.behind.as_secs_f64() * read * kept;
        let desired = sending / sent * (read * kept + CATCH_UP * waiting);
        let near = (1.0 - TOLERANCE) * present as f64..=(1.0 + TOLERANCE) * present as f64;
        let wanted = if near.contains(&desired) { present } else { desired.ceil().clamp(0.0, 1e6) as usize };
        (desired, wanted.clamp(least, most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_receivers_get_more_shards_and_quick_ones_fewer() {
        let over = Duration::from_secs(10);
        let at = |sending: u64, behind: u64, sent: u64, present| {
            let now = Happened {
                read: 10_000,
                dropped: 0,
                sent,
                sending: Duration::from_millis(sending),
                behind: Duration::from_secs(behind),
            };
            ShardCount::default().reckon(now, over, present, (1, 50)).1
        };
        assert_eq!(at(5000, 1, 10_000, 1), 1);
        assert_eq!(at(10_000, 100, 2500, 1), 24);
        assert_eq!(at(10_000, 600, 2500, 1), 50);
        assert_eq!(at(5000, 1, 10_000, 20), 1);
        assert_eq!(at(9000, 3, 10_000, 1), 1, "close enough");
        assert_eq!(at(0, 600, 0, 7), 7, "away");
    }
}
