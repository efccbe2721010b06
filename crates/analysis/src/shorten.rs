//! Names of functions as short as they are still understood.

/// Without the path of a Go package, the arguments of generic types and of C++ functions.
pub(crate) fn shorten(name: &str) -> String {
    let name = without_arguments(&without_generics(name));
    // A package's path ends at its last slash; what follows a version is named with it.
    let path_end = name.find(['(', '<']).unwrap_or(name.len());
    let slash = name[..path_end].rfind('/');
    let Some(slash) = slash.filter(|_| !name.starts_with(['[', '/'])) else { return name };
    let last = &name[slash + 1..];
    let is_version = last.strip_prefix('v').is_some_and(|rest| {
        rest.split('.')
            .next()
            .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    });
    let from = if is_version { name[..slash].rfind('/').map_or(0, |at| at + 1) } else { slash + 1 };
    name[from..].to_owned()
}

/// What stands between angle brackets behind a name, as "…"; operators stay, and so does what begins
/// a name, which says whose it is.
fn without_generics(name: &str) -> String {
    let mut short = String::with_capacity(name.len());
    let mut depth = 0_usize;
    let mut before = ' ';
    for c in name.chars() {
        let opens = c == '<' && (before.is_alphanumeric() || before == '_' || before == ':');
        if depth == 0 && opens && !short.ends_with("operator") {
            short.push_str("<…>");
            depth = 1;
        } else if depth > 0 {
            match c {
                '<' => depth += 1,
                '>' if before != '-' => depth -= 1,
                _ => {}
            }
        } else {
            short.push(c);
        }
        before = c;
    }
    short
}

/// Go's "(*Type)" is part of a name; what stands in brackets at the end of C++'s is not.
fn without_arguments(name: &str) -> String {
    let bare = name.strip_suffix(" const").unwrap_or(name);
    if !bare.ends_with(')') || bare.ends_with("()") && bare.contains("operator()") {
        return name.to_owned();
    }
    let mut depth = 0_usize;
    for (at, c) in bare.char_indices().rev() {
        match c {
            ')' => depth += 1,
            '(' => {
                depth -= 1;
                // Of "dumps (json/__init__.py)" and of "(idle)" nothing would be understood without.
                if depth == 0 && at > 0 && !bare[..at].ends_with(' ') {
                    return bare[..at].to_owned();
                }
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shortened_and_still_understood() {
        for (name, expected) in [
            ("runtime.mallocgc", "runtime.mallocgc"),
            ("encoding/json.(*decodeState).object", "json.(*decodeState).object"),
            ("github.com/redis/go-redis/v9.(*Client).Process", "go-redis/v9.(*Client).Process"),
            ("github.com/a/b/internal/pool.(*Conn).With", "pool.(*Conn).With"),
            ("alloc::vec::Vec<T,A>::push", "alloc::vec::Vec<…>::push"),
            (
                "<serde_json::ser::Compound<W,F> as S>::end",
                "<serde_json::ser::Compound<…> as S>::end",
            ),
            ("std::sort<int*, std::less<int>>(int*, int*)", "std::sort<…>"),
            ("operator new(unsigned long)", "operator new"),
            ("Thing::operator()() const", "Thing::operator()() const"),
            ("dumps (json/__init__.py)", "dumps (json/__init__.py)"),
            ("[libz.so.1+0x12]", "[libz.so.1+0x12]"),
            ("std::ostream::operator<<(int)", "std::ostream::operator<<"),
            ("<<<)))", "<<<)))"),
            ("(", "("),
            ("é/é<é(é)", "é<…>"),
        ] {
            assert_eq!(shorten(name), expected);
        }
    }
}
