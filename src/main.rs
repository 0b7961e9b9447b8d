//! Start: hands the command line to [`watchkeeper::cli`].

use std::process::ExitCode;

/// Starts small and gives memory back within seconds. Rules run every second: what one evaluation freed the next should find.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Read by jemalloc before `main`.
#[expect(
    unsafe_code,
    reason = "the allocator finds its settings by the name of this symbol; it is a constant that ends in a zero byte"
)]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static ALLOCATOR_SETTINGS: &[u8] =
    b"background_thread:true,dirty_decay_ms:5000,muzzy_decay_ms:0,narenas:4,lg_tcache_max:19\0";

fn main() -> ExitCode {
    watchkeeper::cli::main()
}
