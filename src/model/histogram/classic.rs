//! A classic histogram, line by line, made into a native one with custom buckets.
//!
//! Lines may come in any order. What contradicts itself (counts that fall from one bound to the next, a total that is not the
//! last bucket's) makes no histogram at all, as in Prometheus.

use super::flaw::flaw;
use super::{CUSTOM_BUCKETS_SCHEMA, FloatHistogram, Span};
use crate::model::limits::HISTOGRAM_BUCKETS;

/// What the lines said so far.
#[derive(Clone, Debug, Default)]
pub struct ClassicHistogram {
    /// Upper bound and how many observations are at or below it; ascending.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
    contradicts: bool,
}

/// More buckets than any honest histogram has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many buckets of a histogram (limit: {HISTOGRAM_BUCKETS})")]
pub struct TooManyBuckets;

impl ClassicHistogram {
    /// Takes note of a bucket; of two with one bound the first holds.
    ///
    /// # Errors
    /// At the limit of buckets.
    pub fn bucket(&mut self, bound: f64, count: f64) -> Result<(), TooManyBuckets> {
        if bound.is_nan() || count < 0.0 {
            self.contradicts = true;
            return Ok(());
        }
        let place = self.buckets.partition_point(|(earlier, _)| *earlier < bound);
        let (before, behind) = self.buckets.split_at(place);
        if behind.first().is_some_and(|(next, _)| *next <= bound) {
            return Ok(());
        }
        if self.buckets.len() >= HISTOGRAM_BUCKETS {
            return Err(TooManyBuckets);
        }
        let falls =
            before.last().is_some_and(|(_, lower)| count < *lower) || behind.first().is_some_and(|(_, upper)| count > *upper);
        self.contradicts |= falls;
        self.buckets.insert(place, (bound, count));
        Ok(())
    }

    /// Takes note of the number of observations.
    pub const fn count(&mut self, count: f64) {
        self.contradicts |= count < 0.0;
        self.count = Some(count);
    }

    /// Takes note of their sum.
    pub const fn sum(&mut self, sum: f64) {
        self.sum = sum;
    }

    /// Returns the native histogram; `None` where the lines make none.
    #[must_use]
    pub fn finish(mut self) -> Option<FloatHistogram> {
        let count = self.count.or_else(|| self.buckets.last().map(|(_, count)| *count))?;
        if self.buckets.last().is_none_or(|(bound, _)| *bound != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        let total = self.buckets.last().map(|(_, count)| *count);
        if self.contradicts || total != Some(count) {
            return None;
        }
        let mut below = 0.0;
        let mut found = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count,
            sum: self.sum,
            positive_spans: vec![Span { offset: 0, length: u32::try_from(self.buckets.len()).unwrap_or(u32::MAX) }],
            ..FloatHistogram::default()
        };
        for (bound, count) in &self.buckets {
            found.positive_buckets.push(count - std::mem::replace(&mut below, *count));
            if *bound != f64::INFINITY {
                found.custom_values.push(*bound);
            }
        }
        found.compact();
        flaw(&found, false).is_none().then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_in_any_order_make_a_histogram() {
        let mut classic = ClassicHistogram::default();
        for (bound, count) in [(1.0, 5.0), (f64::INFINITY, 9.0), (0.5, 2.0), (0.5, 7.0), (0.1, 0.0)] {
            classic.bucket(bound, count).unwrap();
        }
        classic.sum(3.5);
        let found = classic.clone().finish().unwrap();
        let expected = "{{schema:-53 count:9 sum:3.5 custom_values:[0.1 0.5 1] offset:1 buckets:[2 3 4]}}";
        assert_eq!(found.test_expression(), expected);
        classic.count(9.0);
        assert!(classic.clone().finish().is_some_and(|again| again.same(&found)));
        classic.count(8.0);
        assert_eq!(classic.finish(), None, "the total is not the last bucket's");
    }

    #[test]
    fn what_contradicts_itself_is_none() {
        let of = |lines: &[(f64, f64)]| {
            let mut classic = ClassicHistogram::default();
            lines.iter().for_each(|(bound, count)| classic.bucket(*bound, *count).unwrap());
            classic.finish()
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[(1.0, 5.0), (2.0, 4.0)]), None);
        assert_eq!(of(&[(2.0, 4.0), (1.0, 5.0)]), None);
        assert_eq!(of(&[(1.0, -5.0)]), None);
        assert_eq!(of(&[(f64::NAN, 5.0)]), None);
        assert!(of(&[(1.0, 4.0)]).is_some_and(|found| found.count.to_bits() == 4_f64.to_bits()));
        let mut only_count = ClassicHistogram::default();
        only_count.count(3.0);
        assert!(only_count.finish().is_some_and(|found| found.positive_buckets == [3.0]));
    }

    #[test]
    fn a_million_buckets_are_refused() {
        let mut classic = ClassicHistogram::default();
        let refused = (0..1_000_000).find_map(|number| classic.bucket(-f64::from(number), 0.0).err().map(|_| number));
        assert_eq!(refused, Some(HISTOGRAM_BUCKETS as i32));
    }
}
