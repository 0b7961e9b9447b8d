//! Walks trees and gives each action its escapers.

use super::Escaper;
use crate::template::TemplateError;
use crate::template::tree::{Branch, Node, NodeKind, Tree};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Trees whose actions have their escapers.
pub(in crate::template) struct Escaped {
    /// The template that was asked for.
    pub(in crate::template) root: Arc<Tree>,
    /// The templates that it calls.
    pub(in crate::template) trees: BTreeMap<String, Arc<Tree>>,
}

/// Gives the actions of a template, and of those that it calls, their escapers.
pub(in crate::template) fn escape_tree(trees: &BTreeMap<String, Arc<Tree>>, name: &str) -> Result<Escaped, TemplateError> {
    let trees: BTreeMap<String, Arc<Tree>> = trees.iter().map(|(name, tree)| (name.clone(), Arc::new(escaped(tree)))).collect();
    let root = trees.get(name).map(Arc::clone).ok_or_else(|| TemplateError(format!("no template {name}")))?;
    Ok(Escaped { root, trees })
}

fn escaped(tree: &Tree) -> Tree {
    Tree {
        name: tree.name.clone(),
        source_name: tree.source_name.clone(),
        source: Arc::clone(&tree.source),
        root: nodes(&tree.root),
    }
}

fn nodes(list: &[Node]) -> Vec<Node> {
    list.iter().map(|node| Node { at: node.at, kind: kind(&node.kind) }).collect()
}

fn branch(branch: &Branch) -> Branch {
    Branch { pipe: branch.pipe.clone(), body: nodes(&branch.body), otherwise: branch.otherwise.as_deref().map(nodes) }
}

fn kind(kind: &NodeKind) -> NodeKind {
    match kind {
        NodeKind::Action(pipe, _) => NodeKind::Action(pipe.clone(), vec![Escaper::Html]),
        NodeKind::If(inner) => NodeKind::If(branch(inner)),
        NodeKind::Range(inner) => NodeKind::Range(branch(inner)),
        NodeKind::With(inner) => NodeKind::With(branch(inner)),
        other => other.clone(),
    }
}
