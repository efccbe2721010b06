//! Which names are known, and of which category each is.
//!
//! Names are whoever's the program is. Each is looked up by its beginnings, of which there are as
//! many as patterns have lengths, so that no name takes more than time in its length.

use rustc_hash::FxHashMap;

use crate::rules::{Category, Language, RulesError};

/// What a name is known as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// The place of the category.
    pub(crate) category: usize,
    /// What it calls may be anybody's.
    pub(crate) calls_back: bool,
}

/// Patterns of one side of the system call.
#[derive(Debug, Default)]
struct Side {
    whole: FxHashMap<String, Found>,
    starts: Beginnings,
    contains: Vec<(String, Found)>,
    files: Beginnings,
}

/// What is known by how it begins: the longest beginning decides.
#[derive(Debug, Default)]
struct Beginnings {
    of: FxHashMap<String, Found>,
    /// The longest first, each once.
    lengths: Vec<usize>,
}

/// Everything that is known.
#[derive(Debug)]
pub(crate) struct Known {
    program: Side,
    kernel: Side,
}

/// Of a name. No pattern is nearly as long, and a name may be anything.
const LOOKED_AT: usize = 2048;

impl Known {
    pub(crate) fn of(categories: &[Category], languages: &[Language]) -> Result<Self, RulesError> {
        let mut known = Self { program: Side::default(), kernel: Side::default() };
        for language in languages {
            let is_kernel = language.language == "kernel";
            let side = if is_kernel { &mut known.kernel } else { &mut known.program };
            for rule in &language.rule {
                let place = categories.iter().position(|one| one.id == rule.category);
                let category = place.ok_or_else(|| RulesError::NoCategory {
                    language: language.language.clone(),
                    named: rule.category.clone(),
                })?;
                let found = Found { category, calls_back: rule.calls_back };
                let twice = |pattern: &str, other: Found| RulesError::Twice {
                    pattern: pattern.to_owned(),
                    one: categories[other.category].id.clone(),
                    other: rule.category.clone(),
                };
                let once = |map: &mut FxHashMap<String, Found>, pattern: String| match map
                    .insert(pattern.clone(), found)
                {
                    Some(other) if other != found => Err(twice(&pattern, other)),
                    _ => Ok(()),
                };
                for whole in &rule.is {
                    once(&mut side.whole, whole.clone())?;
                }
                for start in &rule.starts {
                    once(&mut side.starts.of, start.clone())?;
                    if language.language == "rust" && start.ends_with("::") {
                        // What is implemented for a crate's types, and for its traits.
                        for before in ["<", "<&", "<&mut "] {
                            once(&mut side.starts.of, format!("{before}{start}"))?;
                        }
                        side.contains.push((format!(" as {start}"), found));
                    }
                }
                for part in &rule.contains {
                    side.contains.push((part.clone(), found));
                }
                for file in &rule.files {
                    once(&mut side.files.of, file.clone())?;
                }
            }
        }
        for side in [&mut known.program, &mut known.kernel] {
            side.starts.count();
            side.files.count();
            // The longest decides.
            side.contains.sort_by_key(|(part, _)| std::cmp::Reverse(part.len()));
        }
        Ok(known)
    }

    /// What a function is known as, by its name or else by its file's.
    pub(crate) fn find(&self, function: &str, file: &str) -> Option<Found> {
        let (function, is_marked) = match function.strip_suffix("_[k]") {
            Some(bare) => (bare, true),
            None => (function, false),
        };
        let name = plain(function);
        let file = base_name(file);
        // A function without a name is called after its file.
        let file = if file.is_empty() { in_brackets(&name).unwrap_or(file) } else { file };
        let of_kernel = |side: &Side| side.files.find(file).or_else(|| side.starts.find(file));
        let is_kernel = is_marked
            || of_kernel(&self.kernel).is_some()
            || name.starts_with("[kernel")
            || file.ends_with(".ko");
        if is_kernel {
            let named = self.kernel.named(&name).map(|(_, found)| found);
            return named.or_else(|| of_kernel(&self.kernel)).or_else(|| {
                // It is marked as the kernel's, and has no rule of its own.
                self.kernel.starts.find("[kernel")
            });
        }
        let program = self.program.named(&name);
        // Of folded stacks it is not known on which side of the system call a function is.
        let kernel = file.is_empty().then(|| self.kernel.named(&name)).flatten();
        let longest = match (program, kernel) {
            (Some(one), Some(other)) if other.0 > one.0 => Some(other),
            (one, other) => one.or(other),
        };
        longest.map(|(_, found)| found).or_else(|| self.program.files.find(file))
    }
}

impl Side {
    /// How much of the name decided, and what it is.
    fn named(&self, name: &str) -> Option<(usize, Found)> {
        if let Some(found) = self.whole.get(name) {
            return Some((usize::MAX, *found));
        }
        let starts = self.starts.longest(name);
        let part = self.contains.iter().find(|(part, _)| name.contains(part.as_str()));
        let part = part.map(|(part, found)| (part.len(), *found));
        match (starts, part) {
            (Some(one), Some(other)) if other.0 > one.0 => Some(other),
            (one, other) => one.or(other),
        }
    }
}

impl Beginnings {
    fn count(&mut self) {
        self.lengths = self.of.keys().map(String::len).collect();
        self.lengths.sort_unstable_by(|one, other| other.cmp(one));
        self.lengths.dedup();
    }

    fn longest(&self, name: &str) -> Option<(usize, Found)> {
        self.lengths.iter().find_map(|length| {
            let found = self.of.get(name.get(..*length)?)?;
            Some((*length, *found))
        })
    }

    fn find(&self, name: &str) -> Option<Found> {
        self.longest(name).map(|(_, found)| found)
    }
}

/// A name as the rules write it: without what profilers and linkers put behind it, and Java's with
/// dots.
fn plain(name: &str) -> String {
    let mut end = name.len().min(LOOKED_AT);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = &name[..end];
    for mark in ["_[j]", "_[i]", "_[k]", "@plt"] {
        name = name.strip_suffix(mark).unwrap_or(name);
    }
    // Versions of symbols, as in "cfree@GLIBC_2.2.5"; people write mail addresses into no names.
    if let Some((bare, _)) = name.split_once("@GLIBC_").or_else(|| name.split_once("@@GLIBC_")) {
        name = bare;
    }
    let class = name.strip_prefix('L').unwrap_or(name);
    let java = ["java/", "javax/", "jakarta/", "jdk/", "sun/", "com/", "org/", "io/netty/"];
    let is_java = name.contains(";::") || java.iter().any(|start| class.starts_with(start));
    if is_java { class.replace(";::", ".").replace('/', ".") } else { name.to_owned() }
}

/// The file of a frame that has no more of a name: "[libz.so.1+0x12]".
fn in_brackets(name: &str) -> Option<&str> {
    let inner = name.strip_prefix('[')?;
    Some(base_name(inner.split(['+', ']']).next().unwrap_or(inner)))
}

fn base_name(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use crate::rules::Rules;

    fn told(function: &str, file: &str) -> &'static str {
        Rules::built_in().category_of(function, file).map_or("", |category| &category.id)
    }

    #[test]
    fn a_function_is_known_by_its_name_or_its_file() {
        for (function, file, expected) in [
            ("malloc", "/usr/lib/libc.so.6", "allocation"),
            ("main.malloc", "", ""),
            ("[libcrypto.so.3+0x1f0]", "", "cryptography"),
            ("[libcrypto.so.3]", "/usr/lib/libcrypto.so.3", "cryptography"),
            ("something", "/usr/lib/x86_64-linux-gnu/libz.so.1.3", "compression"),
            // On the one side of the system call "read" is a call, on the other nothing of itself.
            ("read", "/usr/lib/libc.so.6", "system-calls"),
            ("read", "[kernel.kallsyms]", "kernel"),
            ("tcp_sendmsg", "[kernel.kallsyms]", "network"),
            ("tcp_sendmsg", "/usr/bin/mine", ""),
            ("tcp_sendmsg", "", "network"),
            ("whatever_[k]", "", "kernel"),
            ("tcp_sendmsg_[k]", "", "network"),
            ("nf_conntrack_in", "nf_conntrack.ko", "network"),
            ("java/util/HashMap.get_[j]", "", "maps"),
            ("net/http.Header.Clone", "", "network"),
            ("encoding/json", "", ""),
            ("", "", ""),
        ] {
            assert_eq!(told(function, file), expected, "{function} {file}");
        }
    }

    #[test]
    fn a_name_may_be_anything() {
        for name in ["é".repeat(5000), "[".repeat(9), "@plt".into(), "_[k]".into(), "L;::".into()]
        {
            told(&name, "");
            told("x", &name);
        }
    }
}
