//! Names as people wrote them, from names as a linker knows them.

/// Templates of templates have names of a page; nobody reads past this, and a hostile file could
/// have one of megabytes.
const NAME_BYTES_MAX: usize = 1 << 12;

/// The name for people: C++ and Rust, in both of its manglings, are undone; any other is what it
/// is. Rust's hash at the end is left out, as it says nothing to a reader.
#[must_use]
pub fn demangle(name: &str) -> String {
    if !is_mangled(name) {
        return shorten(name, NAME_BYTES_MAX).to_owned();
    }
    // Rust's older mangling is valid C++, so it is asked for first.
    let readable = match rustc_demangle::try_demangle(name) {
        Ok(rust) => Some(format!("{rust:#}")),
        Err(_) => cpp_demangle::Symbol::new(name).ok().and_then(|cpp| cpp.demangle().ok()),
    };
    // There are manglings of nothing, which say less than they are.
    let readable = readable.filter(|readable| !readable.is_empty());
    shorten(readable.as_deref().unwrap_or(name), NAME_BYTES_MAX).to_owned()
}

/// Whether a compiler made the name from a longer one.
pub(crate) fn is_mangled(name: &str) -> bool {
    ["_Z", "__Z", "___Z", "_R"].iter().any(|start| name.starts_with(start))
}

/// As much of it as fits into so many bytes.
pub(crate) fn shorten(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max {
        return text;
    }
    let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_shown_as_people_wrote_them() {
        for (name, expected) in [
            ("_ZN3std2rt10lang_start17h0123456789abcdefE", "std::rt::lang_start"),
            ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
            ("_RNvMNtCs1234_7mycrate3mapINtB2_3MaphE3get", "<mycrate::map::Map<u8>>::get"),
            (
                "_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE.llvm.42",
                "core::fmt::Write::write_fmt",
            ),
            (
                "_ZNSt6vectorIiSaIiEE9push_backEOi",
                "std::vector<int, std::allocator<int> >::push_back(int&&)",
            ),
            ("_Z3fooi", "foo(int)"),
            ("main.(*Server).Handle", "main.(*Server).Handle"),
            ("net/http.HandlerFunc.ServeHTTP", "net/http.HandlerFunc.ServeHTTP"),
            (
                "slices.SortFunc[go.shape.[]int,go.shape.int]",
                "slices.SortFunc[go.shape.[]int,go.shape.int]",
            ),
            ("runtime.mcall", "runtime.mcall"),
            ("clock_nanosleep", "clock_nanosleep"),
            ("_start", "_start"),
            ("i", "i"),
            ("_Z", "_Z"),
            ("_R", "_R"),
            ("_ZNE", "_ZNE"),
            ("", ""),
        ] {
            assert_eq!(demangle(name), expected, "{name}");
        }
    }

    #[test]
    fn a_name_is_cut_between_letters() {
        assert_eq!(shorten("aäb", 2), "a");
        assert_eq!(shorten("aäb", 3), "aä");
        assert_eq!(shorten("aäb", 4), "aäb");
        assert_eq!(demangle(&"x".repeat(1 << 20)).len(), NAME_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn no_name_panics(name in "(_Z|_ZN|_RNv|__Z|_RI)[0-9A-Za-z_$.]{0,60}") {
            let _ = demangle(&name);
        }
    }
}
