//! Where are the targets?
