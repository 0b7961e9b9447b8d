//! Targets within this process: our own metrics and this host's, on the same path as any other target but the network.

use std::sync::Arc;

/// Gives a body in text format 0.0.4. Called on a thread where it may block.
pub trait InProcess: Send + Sync {
    /// Returns the present body.
    fn collect(&self) -> Vec<u8>;
}

impl<F: Fn() -> Vec<u8> + Send + Sync> InProcess for F {
    fn collect(&self) -> Vec<u8> {
        self()
    }
}

/// One such target.
#[derive(Clone)]
pub struct InProcessTarget {
    /// The label `job` and the pool's name.
    pub job: String,
    /// The label `instance`.
    pub instance: String,
    /// Where people can see the same, for links; need not be reachable.
    pub url: String,
    /// What is asked.
    pub source: Arc<dyn InProcess>,
}

impl std::fmt::Debug for InProcessTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InProcessTarget").field("job", &self.job).field("instance", &self.instance).finish_non_exhaustive()
    }
}

impl PartialEq for InProcessTarget {
    fn eq(&self, other: &Self) -> bool {
        let names = |target: &Self| (target.job.clone(), target.instance.clone(), target.url.clone());
        names(self) == names(other) && Arc::ptr_eq(&self.source, &other.source)
    }
}
