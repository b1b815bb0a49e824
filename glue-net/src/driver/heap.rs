//! What the allocator does with memory that is freed.

use std::hint::black_box;
use std::sync::Once;

/// Has glibc keep memory that is freed and soon needed again.
///
/// By default it gives back to the system what is free at the end of the heap beyond 128 KiB, and takes it anew for the
/// next bundles: up to ten page faults for each datagram of 64 KiB, and 0.45 in place of 1.4 million messages of 1 KiB a
/// second. When a block is freed that was mapped for itself, glibc raises the bound to twice its length; so one is freed.
/// The process may keep this much more memory than it needs. Other allocators take no notice.
pub(super) fn keep_freed_memory() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(black_box(Vec::<u8>::with_capacity(KEPT_BYTES / 2))));
}

/// What publishers queue for a peer by default, and as much again for what is received.
const KEPT_BYTES: usize = 16 << 20;
