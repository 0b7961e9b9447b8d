//! Makes an expression that differs as small as it can be.

use super::When;
use super::compare::Difference;
use super::generate::{Kind, Node};

/// Questions asked for one difference.
const QUESTIONS_MAX: usize = 600;

/// Returns the smallest expression found that still differs, and when.
pub(super) fn smallest(node: &Node, when: When, differs: impl Fn(&Node, When) -> Option<Difference>) -> (Node, When, Difference) {
    let mut asked = 0;
    let mut found = (node.clone(), when, differs(node, when).unwrap_or_default());
    loop {
        let better = smaller_times(found.1)
            .into_iter()
            .map(|when| (found.0.clone(), when))
            .chain(smaller(&found.0).into_iter().map(|node| (node, found.1)))
            .find_map(|(node, when)| {
                asked += 1;
                if asked > QUESTIONS_MAX {
                    return None;
                }
                differs(&node, when).map(|difference| (node, when, difference))
            });
        match better {
            Some(better) => found = better,
            None => return found,
        }
    }
}

/// A range's instants, and its halves.
fn smaller_times(when: When) -> Vec<When> {
    let When::Range { start_ms, end_ms, step_ms } = when else { return Vec::new() };
    let steps = (end_ms - start_ms) / step_ms;
    let mut times: Vec<When> = (0..=steps).map(|step| When::At(start_ms + step * step_ms)).collect();
    if steps > 0 {
        let middle_ms = start_ms + steps / 2 * step_ms;
        times.push(When::Range { start_ms, end_ms: middle_ms, step_ms });
        times.push(When::Range { start_ms: middle_ms + step_ms, end_ms, step_ms });
    }
    times
}

/// All trees that are one change smaller, the smallest first.
fn smaller(node: &Node) -> Vec<Node> {
    let mut found: Vec<Node> = node.children.iter().filter(|child| child.kind != Kind::Text).cloned().collect();
    found.extend(within(node));
    found.sort_by_cached_key(|node| node.text().len());
    let length = node.text().len();
    found.retain(|node| node.text().len() < length);
    found
}

/// The same with one node within changed, or this one, to another of its kind.
fn within(node: &Node) -> Vec<Node> {
    let mut found = Vec::new();
    found.extend(node.children.iter().filter(|child| child.kind == node.kind).cloned());
    found.extend(node.simplest());
    found.extend(node.simpler.iter().map(|parts| Node { parts: parts.clone(), simpler: Vec::new(), ..node.clone() }));
    for (place, child) in node.children.iter().enumerate() {
        for smaller in within(child) {
            let mut changed = node.clone();
            changed.children[place] = smaller;
            found.push(changed);
        }
    }
    found
}
