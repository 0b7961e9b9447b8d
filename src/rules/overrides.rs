//! Thresholds as data: the configuration's `overrides` as series `override{name="disk_full", instance="db1"} 95`, so that a
//! rule can join its measured values with them.
//!
//! One row each evaluation interval, at whole multiples of it, and at once when the configuration changes. A value that
//! goes gets a stale marker then. Where the store is a fresh one after a restart with fewer values, series of values that went
//! meanwhile end as all series do that nobody writes: after the lookback.

use super::group::Shared;
use crate::config::Config;
use crate::model::labels::{Labels, LabelsBuilder, METRIC_NAME};
use crate::model::sample::stale_nan;
use crate::storage::append::{Append, AppendError, GroupId, SeriesId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The series' name.
pub const METRIC: &str = "override";
/// The store's name of the series as a group.
const GROUP: &str = "overrides";

/// Returns the series of a configuration with their values.
#[must_use]
pub fn series(config: &Config) -> BTreeMap<Labels, f64> {
    let mut found = BTreeMap::new();
    for (name, threshold) in &config.overrides {
        for (value, number) in &threshold.values {
            let mut labels = LabelsBuilder::new();
            labels.set(&threshold.by, value).set("name", name).set(METRIC_NAME, METRIC);
            found.insert(labels.build(), *number);
        }
    }
    found
}

/// What was written last.
#[derive(Debug, Default)]
struct Written {
    group: Option<GroupId>,
    series: BTreeMap<Labels, SeriesId>,
    layout: Arc<[SeriesId]>,
    at_ms: i64,
}

impl Written {
    /// Writes a row, with stale markers for what the last one had and this one lacks.
    fn write(&mut self, append: &dyn Append, at_ms: i64, wanted: &BTreeMap<Labels, f64>) -> Result<(), AppendError> {
        if wanted.is_empty() && self.series.is_empty() {
            return Ok(());
        }
        let done = self.try_write(append, at_ms, wanted);
        if matches!(done, Err(AppendError::Forgotten)) {
            *self = Self { at_ms: self.at_ms, ..Self::default() };
            return self.try_write(append, at_ms, wanted);
        }
        done
    }

    fn try_write(&mut self, append: &dyn Append, at_ms: i64, wanted: &BTreeMap<Labels, f64>) -> Result<(), AppendError> {
        let group = match self.group {
            Some(group) => group,
            None => *self.group.insert(append.group(GROUP)?),
        };
        let (mut ids, mut values, mut series) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (labels, value) in wanted {
            let id = match self.series.get(labels) {
                Some(id) => *id,
                None => append.series(labels)?,
            };
            ids.push(id);
            values.push(*value);
            series.insert(labels.clone(), id);
        }
        for id in self.series.iter().filter(|(labels, _)| !wanted.contains_key(labels)).map(|(_, id)| id) {
            ids.push(*id);
            values.push(stale_nan());
        }
        if *self.layout != *ids {
            self.layout = Arc::from(ids);
        }
        // Two rows at one moment would be one, of two minds.
        self.at_ms = if self.at_ms == at_ms { at_ms + 1 } else { at_ms };
        append.append_row(group, self.at_ms, &self.layout, &values)?;
        self.series = series;
        Ok(())
    }
}

fn interval_of(config: &Config) -> i64 {
    i64::try_from(config.global.evaluation_interval.as_millis()).unwrap_or(i64::MAX).max(1)
}

/// Writes the overrides of the configuration in force until the server stops.
pub(super) async fn run(shared: Arc<Shared>, mut config: watch::Receiver<Arc<Config>>) {
    let clock = Arc::clone(&shared.env.clock);
    let mut written = Written::default();
    let mut stopping = shared.stopping.clone();
    let mut wanted = BTreeMap::new();
    loop {
        let present = Arc::clone(&config.borrow_and_update());
        let fresh = series(&present);
        let changed = fresh != wanted;
        wanted = fresh;
        let at_ms = clock.now_ms();
        match written.write(&*shared.append, at_ms, &wanted) {
            Ok(()) if changed => shared.board.wake_readers(METRIC, written.at_ms),
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "overrides cannot be written"),
        }
        let interval_ms = interval_of(&present);
        let left_ms = interval_ms - clock.now_ms().rem_euclid(interval_ms);
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stop| *stop) => return,
            Ok(()) = config.changed() => {}
            () = clock.sleep(Duration::from_millis(left_ms.unsigned_abs())) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::World;
    use super::*;
    use crate::config;
    use crate::model::sample::is_stale;
    use std::io;
    use std::path::Path;

    fn load(text: &str) -> Result<Arc<Config>, String> {
        let files = |_: &Path| Err(io::ErrorKind::NotFound.into());
        config::load(Path::new("/w.yml"), text, &files).map(Arc::new).map_err(|error| error.to_string())
    }

    const HEAD: &str = "global: {evaluation_interval: 10s}\noverrides:\n";

    async fn pass(world: &World, seconds: u64) {
        world.env.clock.sleep(Duration::from_secs(seconds)).await;
    }

    fn value(world: &World, name: &str, by: (&str, &str)) -> Option<f64> {
        world.last(&Labels::from_pairs([("__name__", "override"), ("name", name), by]))
    }

    #[tokio::test(start_paused = true)]
    async fn thresholds_are_series_and_follow_the_configuration() {
        let world = World::start(Vec::new());
        let text = "  disk_full: {values: {db1: 95, db2: 80.5}}\n  slow: {by: job, values: {api: 2}}\n";
        world.config.send_replace(load(&format!("{HEAD}{text}")).unwrap());
        pass(&world, 1).await;
        assert_eq!(value(&world, "disk_full", ("instance", "db1")), Some(95.0));
        assert_eq!(value(&world, "disk_full", ("instance", "db2")), Some(80.5));
        assert_eq!(value(&world, "slow", ("job", "api")), Some(2.0));
        pass(&world, 60).await;
        let labels = Labels::from_pairs([("__name__", "override"), ("name", "slow"), ("job", "api")]);
        let times = world.times(&labels);
        assert_eq!(times.len(), 7, "at once, then each interval: {times:?}");
        assert!(times[1..].iter().all(|at_ms| at_ms % 10_000 == 0), "{times:?}");
        world.config.send_replace(load(&format!("{HEAD}  disk_full: {{values: {{db1: 90}}}}\n")).unwrap());
        pass(&world, 1).await;
        assert_eq!(value(&world, "disk_full", ("instance", "db1")), Some(90.0));
        assert!(value(&world, "disk_full", ("instance", "db2")).is_some_and(is_stale));
        assert!(value(&world, "slow", ("job", "api")).is_some_and(is_stale));
        let ended = world.times(&labels).len();
        world.config.send_replace(load("global: {evaluation_interval: 10s}").unwrap());
        pass(&world, 60).await;
        assert!(value(&world, "disk_full", ("instance", "db1")).is_some_and(is_stale));
        assert_eq!(world.times(&labels).len(), ended, "one marker is enough");
        world.rules.stop().await;
    }

    #[test]
    fn bad_thresholds_are_refused_with_their_place() {
        let cases = [
            ("  a: {by: '', values: {x: 1}}", "/w.yml:3:11: \"\" is not a label's name"),
            ("  a: {by: name, values: {x: 1}}", "/w.yml:3:11: the label `name` holds the override's own name"),
            ("  a: {by: __name__, values: {x: 1}}", "/w.yml:3:11: \"__name__\" is not a label by which"),
            ("  a: {values: {'': 1}}", "/w.yml:3:16: an override is for one value of a label, and an empty value is none"),
            ("  a: {values: {x: .nan}}", "/w.yml:3:19: a threshold must be a number, found NaN"),
            ("  a: {values: {x: lots}}", "/w.yml:3:19: "),
            ("  a: {value: {x: 1}}", "/w.yml:3:7: unknown key \"value\""),
            ("  '': {values: {x: 1}}", "/w.yml:3:3: an override needs a name"),
        ];
        for (text, words) in cases {
            let refused = load(&format!("{HEAD}{text}\n")).unwrap_err();
            assert!(refused.starts_with(words), "{text}: {refused}");
        }
    }
}
