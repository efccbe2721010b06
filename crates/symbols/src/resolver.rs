//! One file's names, looked up by blazesym.
//!
//! A file is whatever a process had mapped. blazesym takes malformed files for what they are; if
//! one makes it panic all the same, the panic costs that file's names and nothing else.

#[cfg(test)]
mod hostile;
mod separate;

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use blazesym::symbolize::source::{Elf, Kernel, Source};
use blazesym::symbolize::{CodeInfo, Input, Reason, Sym, Symbolized};
use blazesym::{ErrorKind, MaybeDefault};

use crate::debuginfod::Debuginfod;
use crate::elf::Image;
use crate::go::Go;
use crate::held::Contents;
use crate::names::is_mangled;
use crate::open;

/// Sections that say they hold more than this are not decompressed: the debug information of a
/// browser has half of it. One that says less than it holds is decompressed to its end all the
/// same; zlib can make a thousand bytes of one.
const DECOMPRESSED_BYTES_MAX: u64 = 4 << 30;

/// The largest ones have a tenth of it.
const KERNEL_FUNCTION_BYTES_MAX: u64 = 1 << 20;

const NO_SYMBOLS: &str = "it has no symbols";
const NO_SYMBOL: &str = "no symbol is there";

/// One function at an address, as the file has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
    pub(crate) column: Option<u16>,
    /// Where the function begins; none for an inlined one, which begins nowhere.
    pub(crate) start: Option<u64>,
}

/// The functions at an address, innermost first, or why there are none.
pub(crate) type Looked = Result<Vec<Found>, String>;

/// Looks names up in one file, and in the separate file with its debug information.
#[derive(Debug)]
pub(crate) struct Resolver {
    blazesym: blazesym::symbolize::Symbolizer,
    /// In the order in which they are asked.
    sources: Vec<Elf>,
    /// What Go programs know of themselves, debug information or not.
    go: Option<Go>,
    /// What was wrong with one of them.
    pub(crate) trouble: Option<String>,
    /// How large its files are.
    pub(crate) bytes: u64,
    /// Keeps the path that a source has through its descriptor.
    _debug: Option<File>,
}

impl Resolver {
    pub(crate) fn new(
        contents: &Contents,
        debug_dirs: &[PathBuf],
        debuginfod: Option<&mut Debuginfod>,
    ) -> Self {
        let own = PathBuf::from(open::by_descriptor(&contents.file));
        let go = Go::open(&contents.file);
        let debuginfod = debuginfod.filter(|_| go.is_none());
        let debug = separate::debug_file(contents, debug_dirs, debuginfod);
        let mut resolver = Self {
            blazesym: symbolizer(debug_dirs),
            sources: Vec::new(),
            go,
            trouble: None,
            bytes: size(&contents.file),
            _debug: None,
        };
        match debug {
            Some(Contents { file, image, .. }) => {
                let path = PathBuf::from(open::by_descriptor(&file));
                resolver.add(&path, &image);
                resolver.sources.push(plain(&own));
                resolver.bytes = resolver.bytes.saturating_add(size(&file));
                resolver._debug = Some(file);
            }
            None => resolver.add(&own, &contents.image),
        }
        resolver
    }

    fn add(&mut self, path: &Path, image: &Image) {
        match image.decompressed_bytes {
            Some(bytes) if bytes <= DECOMPRESSED_BYTES_MAX => {
                self.sources.push(Elf::new(path));
            }
            Some(bytes) => {
                self.trouble = Some(format!("its debug information has {} MiB", bytes >> 20));
            }
            None => self.trouble = Some("its table of sections cannot be read".into()),
        }
        self.sources.push(plain(path));
    }

    /// Looks up what lies at addresses of the file, one answer for each.
    pub(crate) fn look_up(&mut self, addresses: &[u64]) -> Vec<Looked> {
        let mut merged: Vec<Looked> = Vec::new();
        for source in self.sources.clone() {
            let is_plain = !source.debug_syms;
            match ask(&self.blazesym, &source.clone().into(), Input::VirtOffset(addresses)) {
                Ok(answers) if merged.is_empty() => merged = answers,
                Ok(answers) => {
                    for (first, second) in merged.iter_mut().zip(answers) {
                        merge(first, second);
                    }
                }
                Err(why) => {
                    if is_plain && merged.is_empty() {
                        merged = vec![Err(why.clone()); addresses.len()];
                    }
                    // It would say the same the next time.
                    self.sources
                        .retain(|other| is_plain || other.path != source.path || !other.debug_syms);
                    self.trouble.get_or_insert(why);
                }
            }
        }
        if let Some(go) = &self.go {
            for (looked, address) in merged.iter_mut().zip(addresses) {
                add_go(go, looked, *address);
            }
        }
        merged.into_iter().map(named).collect()
    }
}

/// Debug information says more than Go's own table does, and symbols say less. What is C in a Go
/// program the table does not know.
fn add_go(go: &Go, looked: &mut Looked, address: u64) {
    let has_file = |found: &Found| found.file.is_some();
    if !looked.as_ref().is_ok_and(|found| found.iter().any(has_file))
        && let Some(found) = go.look_up(address)
    {
        *looked = Ok(found);
    }
}

/// A function that debug information knows of, but gives no name to, says nothing.
fn named(looked: Looked) -> Looked {
    let mut found = looked?;
    found.retain(|found| !found.name.is_empty());
    if found.is_empty() { Err("what is there has no name".into()) } else { Ok(found) }
}

/// Debug information that has lines only has short names; the table of symbols has the whole
/// ones, but no inlined functions.
fn merge(first: &mut Looked, second: Looked) {
    match (&mut *first, second) {
        (Err(_), second @ Ok(_)) => *first = second,
        (Ok(first), Ok(second)) => {
            if let (Some(outer), Some(symbol)) = (first.last_mut(), second.last())
                && (outer.name.is_empty()
                    || outer.start == symbol.start
                        && is_mangled(&symbol.name)
                        && !is_mangled(&outer.name))
            {
                outer.name.clone_from(&symbol.name);
                outer.start = symbol.start;
            }
        }
        (_, Err(_)) => {}
    }
}

/// Names of the running kernel.
#[derive(Debug)]
pub(crate) struct KernelResolver {
    blazesym: blazesym::symbolize::Symbolizer,
}

impl KernelResolver {
    pub(crate) fn new() -> Self {
        Self { blazesym: symbolizer(&[]) }
    }

    pub(crate) fn look_up(&self, addresses: &[u64]) -> Vec<Looked> {
        let kernel = Kernel {
            kallsyms: MaybeDefault::Default,
            // An image with debug information would give lines, for gigabytes of memory.
            vmlinux: MaybeDefault::None,
            kaslr_offset: None,
            debug_syms: false,
            _non_exhaustive: (),
        };
        match ask(&self.blazesym, &kernel.into(), Input::AbsAddr(addresses)) {
            Ok(answers) => {
                let both = addresses.iter().zip(answers);
                both.map(|(address, answer)| of_kernel(*address, answer)).collect()
            }
            Err(why) => vec![Err(why); addresses.len()],
        }
    }
}

/// `/proc/kallsyms` has no sizes: whatever follows the last function of the kernel or of a module,
/// however far, would be taken for that function.
fn of_kernel(address: u64, answer: Looked) -> Looked {
    match answer {
        Err(why) if why == NO_SYMBOLS => {
            Err("/proc/kallsyms has no addresses: they are for root only (kernel.kptr_restrict)"
                .into())
        }
        Ok(found)
            if found.iter().any(|found| {
                found
                    .start
                    .is_some_and(|start| address.saturating_sub(start) > KERNEL_FUNCTION_BYTES_MAX)
            }) =>
        {
            Err(NO_SYMBOL.into())
        }
        other => other,
    }
}

fn symbolizer(debug_dirs: &[PathBuf]) -> blazesym::symbolize::Symbolizer {
    blazesym::symbolize::Symbolizer::builder()
        .enable_auto_reload(false)
        // Both names are wanted.
        .enable_demangling(false)
        .set_debug_dirs(Some(debug_dirs))
        .build()
}

fn size(file: &File) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.len())
}

fn plain(path: &Path) -> Elf {
    let mut elf = Elf::new(path);
    elf.debug_syms = false;
    elf
}

fn ask(
    blazesym: &blazesym::symbolize::Symbolizer,
    source: &Source<'_>,
    input: Input<&[u64]>,
) -> Result<Vec<Looked>, String> {
    let answers = catch_unwind(AssertUnwindSafe(|| blazesym.symbolize(source, input)));
    match answers {
        Ok(Ok(answers)) => Ok(answers.into_iter().map(looked).collect()),
        Ok(Err(error)) => Err(words(&error)),
        Err(_) => Err("the file made the reader of debug information panic".into()),
    }
}

/// An error with its causes, in one line, without the path through our descriptor.
fn words(error: &blazesym::Error) -> String {
    match error.kind() {
        ErrorKind::UnexpectedEof => "the file ends too early".into(),
        _ => format!("{error:#}"),
    }
}

fn looked(answer: Symbolized<'_>) -> Looked {
    match answer {
        Symbolized::Sym(sym) => Ok(frames(sym)),
        Symbolized::Unknown(Reason::MissingSyms) => Err(NO_SYMBOLS.into()),
        Symbolized::Unknown(Reason::UnknownAddr) => Err(NO_SYMBOL.into()),
        Symbolized::Unknown(other) => Err(other.to_string()),
    }
}

/// blazesym names the outermost first, and each with the place in it that was being executed.
fn frames(sym: Sym<'_>) -> Vec<Found> {
    let outer = Found {
        name: sym.name.into_owned(),
        start: Some(sym.addr),
        ..at(sym.code_info.as_deref())
    };
    let inlined = sym
        .inlined
        .iter()
        .rev()
        .map(|inlined| Found { name: inlined.name.to_string(), ..at(inlined.code_info.as_ref()) });
    inlined.chain([outer.clone()]).collect()
}

fn at(info: Option<&CodeInfo<'_>>) -> Found {
    let Some(info) = info else { return Found::default() };
    Found {
        file: Some(info.to_path().to_string_lossy().into_owned()),
        line: info.line.filter(|line| *line != 0),
        column: info.column.filter(|column| *column != 0),
        ..Found::default()
    }
}
