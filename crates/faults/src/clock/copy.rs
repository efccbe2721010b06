//! Asks a changed vDSO for the time without touching the process that it belongs to: its bytes are
//! copied out of the process's memory and run here.
//!
//! Turned down: having a thread of the process ask. For that its registers become others for a
//! moment, and if this program is killed in that moment, the process dies of it.

use std::io;
use std::ptr::{self, NonNull};

use super::readings::Reading;
use super::routine::OFFSET_BYTES;
use super::vdso::Plan;

/// What a program is told that asks this vDSO for CLOCK_REALTIME, with our own clock right before
/// and right after. None where the bytes are not those of the plan, whatever the offset: then they
/// are nothing that may be run here.
///
/// # Errors
/// There is no memory, or none that may be run (a security module forbids it).
pub(super) fn wall_clock(
    image: &[u8],
    pristine: &[u8],
    plan: &Plan,
) -> io::Result<Option<Reading>> {
    if !is_as_planned(image, pristine, plan) {
        return Ok(None);
    }
    let copy = Copied::of(image)?;
    let mut told = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the bytes from there on are, to the last one, a jump to our routine and the routine,
    // which makes a system call, adds, and returns; it keeps to the C calling convention.
    let clock_gettime: extern "C" fn(i32, *mut libc::timespec) -> i32 =
        unsafe { std::mem::transmute(copy.at.as_ptr().byte_add(plan.clock_gettime)) };
    let before_ns = wall_ns();
    let status = clock_gettime(libc::CLOCK_REALTIME, &raw mut told);
    let after_ns = wall_ns();
    if status != 0 {
        return Err(io::Error::other("the changed clock_gettime failed"));
    }
    let told_ns = i128::from(told.tv_sec) * 1_000_000_000 + i128::from(told.tv_nsec);
    Ok(Some(Reading { told_ns, before_ns, after_ns }))
}

fn is_as_planned(image: &[u8], pristine: &[u8], plan: &Plan) -> bool {
    let mut planned = pristine.to_vec();
    for change in plan.jumps.iter().chain([&plan.routine]) {
        planned[change.range()].copy_from_slice(&change.ours);
    }
    let offset = plan.routine.at..plan.routine.at + OFFSET_BYTES;
    if image.len() != planned.len() {
        return false;
    }
    planned[offset.clone()].copy_from_slice(&image[offset]);
    planned == image
}

fn wall_ns() -> i128 {
    i128::from(temblor_event::clock::wall_unix_ns())
}

/// Bytes in memory that may be run, and no longer written.
struct Copied {
    at: NonNull<libc::c_void>,
    length: usize,
}

impl Copied {
    fn of(bytes: &[u8]) -> io::Result<Self> {
        let length = bytes.len();
        // SAFETY: new memory, of this length, wherever the kernel likes.
        let at = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let Some(at) = NonNull::new(at) else { return Err(io::ErrorKind::OutOfMemory.into()) };
        let copy = Self { at, length };
        // SAFETY: the memory was just made, is as long as the bytes, and is nobody else's.
        let status = unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), at.as_ptr().cast(), length);
            libc::mprotect(at.as_ptr(), length, libc::PROT_READ | libc::PROT_EXEC)
        };
        if status != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(copy)
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        // SAFETY: the memory is ours, and nothing in it runs or is referred to any more.
        unsafe { libc::munmap(self.at.as_ptr(), self.length) };
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::super::routine::{offset_bytes, routine};
    use super::super::vdso::{plan, pristine};
    use super::*;

    #[test]
    fn a_changed_copy_tells_the_time_that_it_was_given() {
        let pristine = pristine().unwrap().unwrap();
        let plan = plan(&pristine, &routine().unwrap()).unwrap();
        assert!(wall_clock(&pristine, &pristine, &plan).unwrap().is_none(), "not changed");
        let mut image = pristine.clone();
        for change in plan.jumps.iter().chain([&plan.routine]) {
            image[change.range()].copy_from_slice(&change.ours);
        }
        for by_ns in [3_600_000_000_000, -1_500_000_000, 1] {
            image[plan.routine.at..plan.routine.at + OFFSET_BYTES]
                .copy_from_slice(&offset_bytes(by_ns));
            let reading = wall_clock(&image, &pristine, &plan).unwrap().unwrap();
            let by_ns = i128::from(by_ns);
            assert!(reading.told_ns - by_ns >= reading.before_ns, "{reading:?}");
            assert!(reading.told_ns - by_ns <= reading.after_ns, "{reading:?}");
        }
        image[plan.jumps[1].at + 1] ^= 1;
        assert!(wall_clock(&image, &pristine, &plan).unwrap().is_none(), "somebody else's bytes");
    }
}
