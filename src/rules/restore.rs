//! What a restart must not forget.
//!
//! Two memories. The series `ALERTS_FOR_STATE` in the store say since when a condition holds: they survive `kill -9` as all
//! samples do, and any tool can read them. The state store keeps the alerts that somebody may have heard of, whole:
//! `keep_firing_for`, the times of firing and resolving, the texts. So a firing alert is not told a second time as a new
//! one, and one that ended while the server was down is told as resolved.
//!
//! Since when a condition holds, after an outage of `D`:
//!
//! | outage | the rule's `for` | since |
//! | --- | --- | --- |
//! | up to 5 minutes (the lookback) | any | as before: the condition is taken to have held meanwhile |
//! | up to 1 hour | under 10 minutes | now, as in Prometheus |
//! | up to 1 hour | 10 minutes and more | as before plus `D`, but it fires in 10 minutes at the earliest, as in Prometheus |
//! | longer | any | now |

use super::alerting::{ActiveAlert, AlertState};
use super::spec::RuleSpec;
use crate::model::labels::{ALERT_NAME, Labels, METRIC_NAME};
use crate::model::matcher::Matcher;
use crate::model::sample;
use crate::storage::select::{Hints, Querier, SelectError, TimeRange};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Outages up to this long are bridged as if they had not been.
pub const SHORT_OUTAGE_MS: i64 = 5 * 60_000;
/// Outages longer than this make everything start anew.
pub const OUTAGE_TOLERANCE_MS: i64 = 60 * 60_000;
/// After a longer outage, the least time from restoring to firing.
pub const GRACE_MS: i64 = 10 * 60_000;

/// What the store says of an alert before the restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// When it was last seen.
    pub down_at_ms: i64,
    /// Since when the condition held then.
    pub active_at_ms: i64,
}

/// Reads the last values of `ALERTS_FOR_STATE` of one rule before `at_ms`, by the alerts' labels.
///
/// # Errors
/// When the store cannot be read.
pub fn for_state(querier: &dyn Querier, rule: &RuleSpec, at_ms: i64) -> Result<BTreeMap<Labels, Last>, SelectError> {
    let matchers = [Matcher::equal(METRIC_NAME, "ALERTS_FOR_STATE"), Matcher::equal(ALERT_NAME, rule.name.as_str())];
    let range = TimeRange { start_ms: at_ms - OUTAGE_TOLERANCE_MS, end_ms: at_ms };
    let selection = querier.select(&matchers, range, &Hints { local_only: true, ..Hints::default() })?;
    let columns = selection.reader.read(0..selection.series.len())?;
    let mut found = BTreeMap::new();
    for (series, samples) in selection.series.iter().zip(columns) {
        let place = samples.len().wrapping_sub(1);
        let (Some(down_at_ms), Some(value)) = (samples.times.get(place).copied(), samples.float(place)) else { continue };
        if !sample::is_stale(value) && value.is_finite() {
            let labels = series.labels.without(|name| name == METRIC_NAME);
            found.insert(labels, Last { down_at_ms, active_at_ms: (value as i64).saturating_mul(1000) });
        }
    }
    Ok(found)
}

/// Returns since when the condition of an alert holds that shows itself again at `at_ms`; `None`: since now.
#[must_use]
pub fn active_since(last: Last, at_ms: i64, for_ms: i64) -> Option<i64> {
    let outage_ms = at_ms - last.down_at_ms;
    if outage_ms <= SHORT_OUTAGE_MS {
        return Some(last.active_at_ms);
    }
    if for_ms < GRACE_MS || outage_ms > OUTAGE_TOLERANCE_MS {
        return None;
    }
    let left_ms = for_ms - (last.down_at_ms - last.active_at_ms);
    Some(match left_ms {
        // It fired before; it fires again.
        ..=0 => last.active_at_ms,
        left if left < GRACE_MS => at_ms + GRACE_MS - for_ms,
        _ => last.active_at_ms + outage_ms,
    })
}

/// The alerts of a group's rules, by the rules' names and their place among rules of the same name.
pub type Remembered = BTreeMap<(String, usize), BTreeMap<Labels, ActiveAlert>>;

/// Returns the key of a group's memory.
#[must_use]
pub fn key(group: &str) -> Vec<u8> {
    format!("rules/active/{group}").into_bytes()
}

/// Writes the alerts of a group that somebody may have heard of; `None` where there are none.
#[must_use]
pub fn encode(rules: &Remembered) -> Option<Vec<u8>> {
    let mut list = Vec::new();
    for ((name, place), alerts) in rules {
        for (labels, alert) in alerts {
            list.push(json!({
                "rule": name,
                "place": place,
                "labels": labels_json(labels),
                "annotations": labels_json(&alert.annotations),
                "state": alert.state.as_str(),
                // JSON has no infinity.
                "value": alert.value.to_string(),
                "active_at": alert.active_at_ms,
                "fired_at": alert.fired_at_ms,
                "resolved_at": alert.resolved_at_ms,
                "keep_firing_since": alert.keep_firing_since_ms,
                "valid_until": alert.valid_until_ms,
            }));
        }
    }
    (!list.is_empty()).then(|| Value::from(list).to_string().into_bytes())
}

/// Reads what [`encode`] wrote; what is not understood is left out. Firing alerts count as holding until `held_until_ms`, so
/// that they can show themselves.
#[must_use]
pub fn decode(bytes: &[u8], held_until_ms: i64) -> Remembered {
    let mut rules = Remembered::new();
    let list: Vec<Value> = serde_json::from_slice(bytes).unwrap_or_default();
    for entry in &list {
        let Some((name, place, labels, alert)) = read_alert(entry, held_until_ms) else { continue };
        rules.entry((name, place)).or_default().insert(labels, alert);
    }
    rules
}

fn labels_json(labels: &Labels) -> Value {
    Value::Object(labels.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect())
}

fn labels_from(value: &Value) -> Option<Labels> {
    let map: &Map<String, Value> = value.as_object()?;
    Some(Labels::from_pairs(map.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap_or("")))))
}

fn read_alert(entry: &Value, held_until_ms: i64) -> Option<(String, usize, Labels, ActiveAlert)> {
    let number = |key: &str| entry.get(key).and_then(Value::as_i64);
    let state = match entry.get("state")?.as_str()? {
        "firing" => AlertState::Firing,
        _ => AlertState::Inactive,
    };
    let alert = ActiveAlert {
        state,
        annotations: labels_from(entry.get("annotations")?)?,
        value: entry.get("value")?.as_str()?.parse().ok()?,
        active_at_ms: number("active_at")?,
        fired_at_ms: number("fired_at"),
        resolved_at_ms: number("resolved_at"),
        // Told again at once: the other side may have forgotten meanwhile.
        last_sent_at_ms: None,
        valid_until_ms: number("valid_until").unwrap_or(0),
        keep_firing_since_ms: number("keep_firing_since"),
        held_until_ms: (state == AlertState::Firing).then_some(held_until_ms),
        noted: state,
    };
    let place = usize::try_from(number("place")?).ok()?;
    Some((entry.get("rule")?.as_str()?.to_owned(), place, labels_from(entry.get("labels")?)?, alert))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    #[test]
    fn outages_move_the_beginning_or_not() {
        // Seen last at 100 min, holding since `since`; back after `outage`, with `for`: holds since.
        let cases = [
            (90, 2, 5, Some(90)),
            (90, 5, 60, Some(90)),
            (90, 6, 5, None),
            (90, 20, 30, Some(110)),
            (75, 20, 30, Some(120 + 10 - 30)),
            (50, 20, 30, Some(50)),
            (90, 61, 30, None),
        ];
        for (since, outage, hold, expected) in cases {
            let last = Last { down_at_ms: 100 * MINUTE, active_at_ms: since * MINUTE };
            let restored = active_since(last, (100 + outage) * MINUTE, hold * MINUTE);
            assert_eq!(restored, expected.map(|minute: i64| minute * MINUTE), "since {since}, outage {outage}, for {hold}");
        }
    }
}
