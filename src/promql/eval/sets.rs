//! `and`, `or`, `unless`.

use super::context::{Context, Grid, Outcome, join_same_labels};
use super::matching::match_labels;
use crate::model::labels::Labels;
use crate::promql::column::Series;
use crate::promql::expr::{BinaryOp, VectorMatching};
use hashbrown::HashMap;

/// Which match groups have a sample at which step.
struct Presence {
    rows: HashMap<Labels, Vec<bool>>,
}

impl Presence {
    fn of(series: &[Series], matching: &VectorMatching, grid: Grid) -> Self {
        let mut rows: HashMap<Labels, Vec<bool>> = HashMap::with_capacity(series.len());
        for one in series {
            let row = rows.entry(match_labels(&one.labels, matching)).or_insert_with(|| vec![false; grid.steps]);
            row.iter_mut().enumerate().for_each(|(step, there)| *there = *there || one.column.has(step));
        }
        Self { rows }
    }

    /// Clears the steps of a series where its group is there (`there`) or is not.
    fn clear(&self, one: &mut Series, matching: &VectorMatching, there: bool) {
        let row = self.rows.get(&match_labels(&one.labels, matching));
        for step in 0..one.column.len() {
            if row.is_some_and(|row| row[step]) == there {
                one.column.clear(step);
            }
        }
    }
}

impl Context<'_> {
    pub(super) fn combine(
        &self,
        grid: Grid,
        op: BinaryOp,
        matching: &VectorMatching,
        mut left: Vec<Series>,
        mut right: Vec<Series>,
    ) -> Outcome<Vec<Series>> {
        if op == BinaryOp::Or {
            let presence = Presence::of(&left, matching, grid);
            right.iter_mut().for_each(|one| presence.clear(one, matching, true));
            left.append(&mut right);
            left.retain(|one| !one.column.is_blank());
            return join_same_labels(left);
        }
        let presence = Presence::of(&right, matching, grid);
        left.iter_mut().for_each(|one| presence.clear(one, matching, op == BinaryOp::Unless));
        left.retain(|one| !one.column.is_blank());
        Ok(left)
    }
}
