//! `and`, `or`, `unless`.

use super::call_labels::label_bytes;
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
    fn of(context: &Context<'_>, series: &[Series], matching: &VectorMatching, grid: Grid) -> Outcome<Self> {
        let mut rows: HashMap<Labels, Vec<bool>> = HashMap::new();
        for one in series {
            context.breathe()?;
            let (known, group) = (rows.len(), match_labels(&one.labels, matching));
            let bytes = label_bytes(&group) + grid.steps as u64;
            let row = rows.entry(group).or_insert_with(|| vec![false; grid.steps]);
            row.iter_mut().enumerate().for_each(|(step, there)| *there = *there || one.column.has(step));
            if rows.len() > known {
                context.make_labels(bytes)?;
            }
        }
        Ok(Self { rows })
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
        left: Vec<Series>,
        right: Vec<Series>,
    ) -> Outcome<Vec<Series>> {
        let before = self.made();
        let combined = self.combined(grid, (op, matching), left, right);
        self.drop_labels(self.made().saturating_sub(before));
        combined
    }

    fn combined(
        &self,
        grid: Grid,
        (op, matching): (BinaryOp, &VectorMatching),
        mut left: Vec<Series>,
        mut right: Vec<Series>,
    ) -> Outcome<Vec<Series>> {
        if op == BinaryOp::Or {
            let presence = Presence::of(self, &left, matching, grid)?;
            for one in &mut right {
                self.breathe()?;
                presence.clear(one, matching, true);
            }
            left.append(&mut right);
            left.retain(|one| !one.column.is_blank());
            return join_same_labels(left);
        }
        let presence = Presence::of(self, &right, matching, grid)?;
        for one in &mut left {
            self.breathe()?;
            presence.clear(one, matching, op == BinaryOp::Unless);
        }
        left.retain(|one| !one.column.is_blank());
        Ok(left)
    }
}
