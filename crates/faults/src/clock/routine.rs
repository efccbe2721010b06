//! What a process runs in place of the kernel's way of telling the time: the same system call,
//! and then the offset.
//!
//! The bytes are copied to where nobody knows their address beforehand, so all that they refer to
//! is relative to themselves. They begin with the offset:
//! 8 bytes of seconds, 8 of nanoseconds (0 to 999,999,999), 8 of the same in microseconds.

/// The bytes with the places of what is in them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Routine {
    /// The offset, as zeros, and the code.
    pub(super) bytes: &'static [u8],
    pub(super) clock_gettime: usize,
    pub(super) gettimeofday: usize,
    pub(super) time: usize,
}

/// How much of the bytes is the offset.
pub(super) const OFFSET_BYTES: usize = 24;

/// An offset as the routine reads it.
pub(super) fn offset_bytes(by_ns: i64) -> [u8; OFFSET_BYTES] {
    let s = by_ns.div_euclid(1_000_000_000);
    let ns = by_ns.rem_euclid(1_000_000_000);
    let mut bytes = [0; OFFSET_BYTES];
    for (place, value) in bytes.chunks_exact_mut(8).zip([s, ns, ns / 1000]) {
        place.copy_from_slice(&value.to_ne_bytes());
    }
    bytes
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn routine() -> Option<Routine> {
    None
}

// The labels are global, because an optimised build may have their user in another object file than
// them, and hidden, because they are nobody else's.
//
// The clocks that show wall time: CLOCK_REALTIME (0), CLOCK_REALTIME_COARSE (5),
// CLOCK_REALTIME_ALARM (8), CLOCK_TAI (11).
#[cfg(target_arch = "x86_64")]
std::arch::global_asm!(
    r#"
    .pushsection .rodata.temblor_clock, "a", @progbits
    .balign 16
    .irp label, begin, gettime, gettimeofday, time, end
    .globl temblor_clock_\label
    .hidden temblor_clock_\label
    .endr
temblor_clock_begin:
    .quad 0
    .quad 0
    .quad 0

temblor_clock_gettime:
    mov eax, 228
    syscall
    test eax, eax
    jnz 2f
    cmp edi, 31
    ja 2f
    mov ecx, {wall_clocks}
    bt ecx, edi
    jnc 2f
    mov rcx, qword ptr [rsi]
    mov rdx, qword ptr [rsi + 8]
    add rcx, qword ptr [rip + temblor_clock_begin]
    add rdx, qword ptr [rip + temblor_clock_begin + 8]
    cmp rdx, 1000000000
    jl 1f
    sub rdx, 1000000000
    inc rcx
1:  mov qword ptr [rsi], rcx
    mov qword ptr [rsi + 8], rdx
2:  ret

temblor_clock_gettimeofday:
    mov eax, 96
    syscall
    test eax, eax
    jnz 2f
    test rdi, rdi
    jz 2f
    mov rcx, qword ptr [rdi]
    mov rdx, qword ptr [rdi + 8]
    add rcx, qword ptr [rip + temblor_clock_begin]
    add rdx, qword ptr [rip + temblor_clock_begin + 16]
    cmp rdx, 1000000
    jl 1f
    sub rdx, 1000000
    inc rcx
1:  mov qword ptr [rdi], rcx
    mov qword ptr [rdi + 8], rdx
2:  ret

temblor_clock_time:
    push rdi
    sub rsp, 16
    mov edi, 5
    mov rsi, rsp
    mov eax, 228
    syscall
    mov rcx, qword ptr [rsp]
    mov rdx, qword ptr [rsp + 8]
    add rsp, 16
    pop rdi
    add rcx, qword ptr [rip + temblor_clock_begin]
    add rdx, qword ptr [rip + temblor_clock_begin + 8]
    cmp rdx, 1000000000
    jl 1f
    inc rcx
1:  test rdi, rdi
    jz 2f
    mov qword ptr [rdi], rcx
2:  mov rax, rcx
    ret

temblor_clock_end:
    .popsection
    "#,
    wall_clocks = const (1 << 0) | (1 << 5) | (1 << 8) | (1 << 11),
);

#[cfg(target_arch = "x86_64")]
#[expect(clippy::unnecessary_wraps, reason = "other processors have none")]
pub(super) fn routine() -> Option<Routine> {
    unsafe extern "C" {
        static temblor_clock_begin: u8;
        static temblor_clock_gettime: u8;
        static temblor_clock_gettimeofday: u8;
        static temblor_clock_time: u8;
        static temblor_clock_end: u8;
    }
    let begin = &raw const temblor_clock_begin;
    let at = |label: *const u8| label.addr() - begin.addr();
    let length = at(&raw const temblor_clock_end);
    Some(Routine {
        // SAFETY: the labels stand in one read-only section, the end after the beginning.
        bytes: unsafe { std::slice::from_raw_parts(begin, length) },
        clock_gettime: at(&raw const temblor_clock_gettime),
        gettimeofday: at(&raw const temblor_clock_gettimeofday),
        time: at(&raw const temblor_clock_time),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_before_now_has_a_fraction_that_counts_forward() {
        for (by_ns, expected) in [
            (0, [0, 0, 0]),
            (1_500_000_000, [1, 500_000_000, 500_000]),
            (-1, [-1, 999_999_999, 999_999]),
            (-3_000_000_000, [-3, 0, 0]),
        ] {
            let expected: Vec<u8> = expected.iter().flat_map(|v: &i64| v.to_ne_bytes()).collect();
            assert_eq!(offset_bytes(by_ns).as_slice(), expected);
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_routine_begins_with_the_offset() {
        let routine = routine().unwrap();
        assert_eq!(routine.clock_gettime, OFFSET_BYTES);
        assert_eq!(routine.bytes[..OFFSET_BYTES], [0; OFFSET_BYTES]);
        assert!(routine.bytes.len() < 512, "{} bytes want room", routine.bytes.len());
    }
}
