//! Names for places in files and for addresses of the kernel, each looked up once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use crate::debuginfod::Debuginfod;
use crate::files::{FileId, Files};
use crate::held::Contents;
use crate::names::{demangle, shorten};
use crate::resolver::{Found, KernelResolver, Looked, Resolver};

/// What is known of a file while names are looked up in it grows with its debug information, to
/// about its size. Files whose names were wanted last stay read, up to so many bytes of them; the
/// very last one always does.
const RESOLVERS_BYTES_MAX: u64 = 256 << 20;
const RESOLVERS_MAX: usize = 16;
/// A place takes some hundred bytes and its frames; past that it is begun anew.
const KNOWN_MAX: usize = 1 << 18;
const SYSTEM_NAME_BYTES_MAX: usize = 1 << 12;

/// A function at a place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Frame {
    /// Its name for people.
    pub name: Arc<str>,
    /// Its name for linkers: the same, unless a compiler made it from a longer one.
    pub system_name: Arc<str>,
    /// The source file, as the compiler was told of it.
    pub file: Option<Arc<str>>,
    /// The line in it that was being executed.
    pub line: Option<u32>,
    /// The column in the line.
    pub column: Option<u16>,
    /// Where the function begins, as the file counts addresses, and as the kernel does for its
    /// own. An inlined one begins nowhere.
    pub start: Option<u64>,
    /// It has no code of its own here: it is part of the frame that follows.
    pub is_inlined: bool,
}

/// What is at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbols {
    /// The functions, the innermost one first; more than one where functions were inlined. None:
    /// show the file and the offset, and its build id, so that somebody who has the symbols can
    /// look further.
    pub frames: Arc<[Frame]>,
    /// Why there are none.
    pub why_none: Option<Arc<str>>,
}

/// Looks names up. It remembers what it has found, so that one of it should live as long as names
/// of the same processes are wanted; and it belongs to one thread.
///
/// Files are mapped into memory to be read. One that is cut short meanwhile ends us with SIGBUS,
/// as it would end a program that it is the code of; programs that run cannot be written to, and
/// packages replace libraries instead of writing to them.
#[derive(Debug)]
pub struct Symbolizer {
    debug_dirs: Vec<PathBuf>,
    debuginfod: Option<Debuginfod>,
    /// Those that were used last come last.
    resolvers: VecDeque<(FileId, Resolver)>,
    kernel: Option<KernelResolver>,
    known: HashMap<(Origin, u64), Symbols>,
    /// The same names come again and again.
    words: HashSet<Arc<str>>,
    troubles: HashMap<FileId, Arc<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Origin {
    File(FileId),
    Kernel,
}

impl Default for Symbolizer {
    fn default() -> Self {
        Self::new(["/usr/lib/debug", "/lib/debug"].map(PathBuf::from))
    }
}

impl Symbolizer {
    /// One that looks for separate debug information below these directories.
    pub fn new(debug_dirs: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            debug_dirs: debug_dirs.into_iter().collect(),
            debuginfod: None,
            resolvers: VecDeque::new(),
            kernel: None,
            known: HashMap::new(),
            words: HashSet::new(),
            troubles: HashMap::new(),
        }
    }

    /// The same, which asks for the debug files of what has no names; that may take as long as the
    /// settings let it.
    #[must_use]
    pub fn asking(self, debuginfod: Option<Debuginfod>) -> Self {
        Self { debuginfod, ..self }
    }

    /// Who is asked for debug files, and what went wrong with it.
    #[must_use]
    pub fn debuginfod(&self) -> Option<&Debuginfod> {
        self.debuginfod.as_ref()
    }

    /// Names for offsets into a file, one answer for each. Asking for all that is wanted of one
    /// file at once is much cheaper than asking one by one in turn with other files.
    pub fn file(&mut self, files: &Files, file: FileId, offsets: &[u64]) -> Vec<Symbols> {
        self.forget_for(offsets.len());
        let unknown = self.unknown(Origin::File(file), offsets);
        if !unknown.is_empty() {
            let looked = match files.get(file).map(|held| &held.contents) {
                Some(Ok(contents)) if contents.is_unchanged() => {
                    self.look_up(file, contents, &unknown)
                }
                Some(Ok(_)) => all(&unknown, "it was written over since it was opened"),
                Some(Err(why)) => all(&unknown, &chain(why)),
                None => all(&unknown, "it is not among these files"),
            };
            self.learn(Origin::File(file), &unknown, looked);
        }
        self.answers(Origin::File(file), offsets)
    }

    /// Names for addresses of the running kernel, one answer for each. Its symbols are read once,
    /// so that a module that is loaded later has no names.
    pub fn kernel(&mut self, addresses: &[u64]) -> Vec<Symbols> {
        self.forget_for(addresses.len());
        let unknown = self.unknown(Origin::Kernel, addresses);
        if !unknown.is_empty() {
            let kernel = self.kernel.get_or_insert_with(KernelResolver::new);
            let mut looked = kernel.look_up(&unknown);
            for (looked, address) in looked.iter_mut().zip(&unknown) {
                if !is_of_kernel(*address) {
                    *looked = Err("no address of the kernel's".into());
                }
            }
            self.learn(Origin::Kernel, &unknown, looked);
        }
        self.answers(Origin::Kernel, addresses)
    }

    /// What was wrong with a file in which names were looked up, such as debug information that
    /// cannot be read: there may be names all the same, from its symbols.
    #[must_use]
    pub fn trouble(&self, file: FileId) -> Option<&str> {
        self.troubles.get(&file).map(|why| &**why)
    }

    fn forget_for(&mut self, places: usize) {
        if self.known.len() + places > KNOWN_MAX {
            self.known.clear();
            self.words.clear();
        }
    }

    fn unknown(&self, origin: Origin, places: &[u64]) -> Vec<u64> {
        let is_unknown = |place: &u64| !self.known.contains_key(&(origin, *place));
        let mut unknown: Vec<u64> = places.iter().copied().filter(is_unknown).collect();
        // Neighbours share what is read for them.
        unknown.sort_unstable();
        unknown.dedup();
        unknown
    }

    fn look_up(&mut self, file: FileId, contents: &Contents, offsets: &[u64]) -> Vec<Looked> {
        let addresses: Vec<Option<u64>> =
            offsets.iter().map(|offset| contents.image.address_of(*offset)).collect();
        let loaded: Vec<u64> = addresses.iter().copied().flatten().collect();
        let resolver = match self.resolvers.iter().position(|(id, _)| *id == file) {
            Some(at) => self.resolvers.remove(at).map(|(_, resolver)| resolver),
            None => None,
        };
        let mut resolver = resolver
            .unwrap_or_else(|| Resolver::new(contents, &self.debug_dirs, self.debuginfod.as_mut()));
        let mut found = resolver.look_up(&loaded).into_iter();
        if let Some(trouble) = &resolver.trouble {
            self.troubles.insert(file, shorten(trouble, SYSTEM_NAME_BYTES_MAX).into());
        }
        self.resolvers.push_back((file, resolver));
        while self.resolvers.len() > 1
            && (self.resolvers.len() > RESOLVERS_MAX
                || self.resolvers.iter().map(|(_, other)| other.bytes).sum::<u64>()
                    > RESOLVERS_BYTES_MAX)
        {
            self.resolvers.pop_front();
        }
        let nowhere = || Err("the file is not loaded into memory there".to_owned());
        addresses
            .into_iter()
            .map(|at| at.and_then(|_| found.next()).unwrap_or_else(nowhere))
            .collect()
    }

    fn learn(&mut self, origin: Origin, places: &[u64], looked: Vec<Looked>) {
        for (place, looked) in places.iter().zip(looked) {
            let symbols = match looked {
                Ok(found) => Symbols { frames: self.frames(&found), why_none: None },
                Err(why) => Symbols { frames: [].into(), why_none: Some(self.word(&why)) },
            };
            self.known.insert((origin, *place), symbols);
        }
    }

    fn frames(&mut self, found: &[Found]) -> Arc<[Frame]> {
        let outermost = found.len().saturating_sub(1);
        let frames = found.iter().enumerate().map(|(at, found)| Frame {
            name: self.word(&demangle(&found.name)),
            system_name: self.word(shorten(&found.name, SYSTEM_NAME_BYTES_MAX)),
            file: found.file.as_deref().map(|file| self.word(file)),
            line: found.line,
            column: found.column,
            start: found.start,
            is_inlined: at < outermost,
        });
        frames.collect()
    }

    fn word(&mut self, word: &str) -> Arc<str> {
        if let Some(known) = self.words.get(word) {
            return Arc::clone(known);
        }
        let word: Arc<str> = word.into();
        self.words.insert(Arc::clone(&word));
        word
    }

    fn answers(&self, origin: Origin, places: &[u64]) -> Vec<Symbols> {
        let none = || Symbols { frames: [].into(), why_none: None };
        places
            .iter()
            .map(|place| self.known.get(&(origin, *place)).cloned().unwrap_or_else(none))
            .collect()
    }
}

/// Kernels of 64 bits have the upper half of all addresses.
fn is_of_kernel(address: u64) -> bool {
    address >> 63 == 1
}

/// An error with its causes, in one line.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn all(places: &[u64], why: &str) -> Vec<Looked> {
    vec![Err(why.to_owned()); places.len()]
}
