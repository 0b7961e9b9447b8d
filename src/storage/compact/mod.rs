//! Making blocks: from the head's cut generations, and from smaller blocks.

pub(crate) mod flush;
pub(crate) mod merge;
pub(crate) mod plan;
pub(crate) mod series;
