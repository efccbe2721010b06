//! Values that cross from the kernel half as they lie in memory.

/// Implemented for the structs of plain integers that a kernel half shares with us.
///
/// # Safety
/// Every pattern of bits must be a value of the type, and it must have no padding that is read.
pub(crate) unsafe trait Plain: Copy {}

/// Says so of generated structs: integers, arrays of integers and transparent wrappers of
/// integers, all through, with their padding spelled out.
macro_rules! plain {
    ($($name:ty),+ $(,)?) => {
        $(
            // SAFETY: integers all through; see the macro.
            unsafe impl $crate::plain::Plain for $name {}
        )+
    };
}
pub(crate) use plain;

// SAFETY: nothing at all.
unsafe impl Plain for () {}
// SAFETY: an integer.
unsafe impl Plain for u8 {}
// SAFETY: an integer.
unsafe impl Plain for u32 {}
// SAFETY: an integer.
unsafe impl Plain for u64 {}

/// Reads a value from exactly as many bytes as it has; alignment does not matter.
pub(crate) fn from_bytes<T: Plain>(bytes: &[u8]) -> Option<T> {
    if bytes.len() != size_of::<T>() {
        return None;
    }
    // SAFETY: the slice is as long as the type, `read_unaligned` asks for no alignment, and any
    // bits are a value of a `Plain` type.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// Reads the globals of a section. The section may end before the struct that was generated for
/// it does: nothing aligns its end.
pub(crate) fn from_section<T: Plain>(section: &[u8]) -> Option<T> {
    let mut bytes = vec![0; size_of::<T>()];
    let shared = section.len().min(bytes.len());
    bytes[..shared].copy_from_slice(&section[..shared]);
    from_bytes(&bytes)
}

/// The bytes of a value.
pub(crate) fn as_bytes<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: the pointer and the length are those of one value, and a `Plain` type has no
    // uninitialised bytes between its fields.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast::<u8>(), size_of::<T>()) }
}

/// The types that a probe's kernel half shares with us, and its compiled object, both made by the
/// build: `generated!("tcp")`.
macro_rules! generated {
    ($probe:literal) => {
        #[expect(
            unreachable_pub,
            unused_qualifications,
            clippy::allow_attributes,
            clippy::allow_attributes_without_reason,
            clippy::undocumented_unsafe_blocks,
            clippy::unwrap_used,
            reason = "generated code"
        )]
        mod generated {
            include!(concat!(env!("OUT_DIR"), "/", $probe, ".skel.rs"));
        }

        /// The compiled kernel half.
        pub(super) static OBJECT: &[u8] =
            include_bytes!(concat!(env!("OUT_DIR"), "/", $probe, ".bpf.o"));
    };
}
pub(crate) use generated;
