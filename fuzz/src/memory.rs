//! How much memory something takes: a small input that asks for much is a promise broken, and no
//! limit of the operating system's would tell which one it was.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// As much as any target may take at once. What is read of a profile is bounded far above it, but
/// only for a file that is as large itself or well compressed: none that is tried here is.
pub const MEMORY_BYTES_MAX: usize = 96 << 20;

thread_local! {
    /// What this thread holds, and the most that it held since that was last set. What one thread
    /// allocates another may free: it can be less than nothing.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

/// The system's allocator, which counts.
pub(crate) struct Counting;

fn count(more: usize, less: usize) {
    // A thread that ends has no count any more, and still frees.
    let _ = HELD.try_with(|held| {
        let (now, peak) = held.get();
        let now = now.saturating_add_unsigned(more).saturating_sub_unsigned(less);
        held.set((now, peak.max(now)));
    });
}

// SAFETY: the system's allocator does everything; what is counted beside it allocates nothing, as
// the thread's cell needs neither to be made nor to be dropped.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: as the caller has it.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: as the caller has it.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: as the caller has it.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // While it is moved both are held.
        count(new_size, 0);
        count(0, layout.size());
        // SAFETY: as the caller has it.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

/// The most that this thread held at once while it did this, beyond what it held before.
pub fn peak_bytes_of(work: impl FnOnce()) -> usize {
    let (before, _) = HELD.get();
    HELD.set((before, before));
    work();
    let (_, peak) = HELD.get();
    usize::try_from(peak.saturating_sub(before)).unwrap_or(0)
}
