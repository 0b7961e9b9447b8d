//! Start: hands the command line to [`watchkeeper::cli`].

fn main() {}
