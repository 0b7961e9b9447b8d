//! The readers of scraped bodies: the first byte chooses the target, or WATCHKEEPER_TARGET by its name.
#![no_main]

use libfuzzer_sys::fuzz_target;
use watchkeeper::exposition::fuzz::TARGETS;

fuzz_target!(|bytes: &[u8]| {
    let chosen = std::env::var("WATCHKEEPER_TARGET").ok();
    if let Some((_, run)) = chosen.and_then(|name| TARGETS.iter().find(|(target, _)| *target == name)) {
        run(bytes);
    } else if let Some((first, rest)) = bytes.split_first() {
        TARGETS[usize::from(*first) % TARGETS.len()].1(rest);
    }
});
