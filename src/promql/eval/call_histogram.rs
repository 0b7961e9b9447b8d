//! The `histogram_*` functions.

use super::call::of_histograms;
use super::context::{Context, Grid, Outcome};
use crate::model::number::format_f;
use crate::promql::annotations::Note;
use crate::promql::column::Series;
use crate::promql::expr::{Call, Expr};
use crate::promql::functions::buckets::{Histograms, variance};

pub(super) fn call(context: &Context<'_>, grid: Grid, call: &Call) -> Outcome<Vec<Series>> {
    let args = call.args.as_slice();
    match (call.function, args) {
        ("histogram_count", [vector]) => context.mapped(grid, vector, |column| of_histograms(column, |h| h.count)),
        ("histogram_sum", [vector]) => context.mapped(grid, vector, |column| of_histograms(column, |h| h.sum)),
        ("histogram_avg", [vector]) => context.mapped(grid, vector, |column| of_histograms(column, |h| h.sum / h.count)),
        ("histogram_stdvar", [vector]) => context.mapped(grid, vector, |column| of_histograms(column, variance)),
        ("histogram_stddev", [vector]) => context.mapped(grid, vector, |column| of_histograms(column, |h| variance(h).sqrt())),
        ("histogram_fraction", [from, to, vector]) => {
            let (from, to) = (context.scalar(grid, from)?, context.scalar(grid, to)?);
            let series = context.vector(grid, vector)?;
            let histograms = Histograms::group(context, &series, vector.span);
            context.named(histograms.fractions(context, grid, &from, &to))
        }
        ("histogram_quantile", [wanted, vector]) => {
            let values = quantiles(context, grid, wanted)?;
            let series = context.vector(grid, vector)?;
            let histograms = Histograms::group(context, &series, vector.span);
            context.named(histograms.quantiles(context, grid, &values))
        }
        ("histogram_quantiles", [vector, label, wanted @ ..]) => several(context, grid, vector, label, wanted),
        (name, _) => Err(Context::fail(format!("unknown function with name \"{name}\""))),
    }
}

fn quantiles(context: &Context<'_>, grid: Grid, wanted: &Expr) -> Outcome<crate::promql::column::Floats> {
    let values = context.scalar(grid, wanted)?;
    for value in values.iter().filter(|value| !(0.0..=1.0).contains(*value)) {
        context.note(&Note::InvalidQuantile(*value), wanted.span);
    }
    Ok(values)
}

fn several(context: &Context<'_>, grid: Grid, vector: &Expr, label: &Expr, wanted: &[Expr]) -> Outcome<Vec<Series>> {
    let name = context.text(grid, label)?;
    if name.is_empty() {
        return Err(Context::fail(format!("invalid label name {name:?}")));
    }
    let series = context.vector(grid, vector)?;
    let histograms = Histograms::group(context, &series, vector.span);
    let mut out: Vec<Series> = Vec::new();
    for wanted in wanted {
        let values = quantiles(context, grid, wanted)?;
        for mut one in histograms.quantiles(context, grid, &values) {
            if one.labels.has(&name) {
                return Err(Context::fail(format!("label {name:?} already exists in the input of histogram_quantiles")));
            }
            let value = values.first().copied().unwrap_or(f64::NAN);
            one.labels = one.labels.with(&name, &written(value));
            out.push(one);
        }
    }
    context.named(super::context::join_same_labels(out)?)
}

/// Writes a float as OpenMetrics does: with a fraction always.
fn written(value: f64) -> String {
    let text = format_f(value);
    if value.is_finite() && !text.contains('.') { format!("{text}.0") } else { text }
}
