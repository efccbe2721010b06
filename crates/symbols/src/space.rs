//! A process' executable memory at one moment, with the file behind each part of it.

use crate::files::FileId;
use crate::maps::Maps;

/// Where an address of a process leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Into a file, which may be one that could not be opened or is no ELF file.
    File {
        /// The file.
        file: FileId,
        /// Where in it.
        offset: u64,
    },
    /// Into code that was made while the process ran: a perf map may have its name, under the
    /// address itself.
    Jit,
    /// Nowhere that has names.
    Unknown(Unknown),
}

/// Why an address leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unknown {
    /// Nothing was mapped there to execute when the process was looked at.
    Unmapped,
    /// A copy of an instruction that has a uprobe on it.
    Uprobes,
    /// A page of the kernel's own.
    Kernel,
    /// More files were seen than are kept in mind.
    TooManyFiles,
}

/// What is behind a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    File(FileId),
    Jit,
    Unknown(Unknown),
}

/// The executable mappings of a process as they stood at one moment, with their files.
#[derive(Debug, Clone)]
pub struct Space {
    maps: Maps,
    /// One for each mapping.
    behind: Vec<Behind>,
}

impl Space {
    pub(crate) fn new(maps: Maps, behind: Vec<Behind>) -> Self {
        Self { maps, behind }
    }

    /// Where an address leads. One that was returned to, instead of executed, is the one behind
    /// the call: look up the one before it.
    #[must_use]
    pub fn locate(&self, address: u64) -> Place {
        let Some((at, mapping)) = self.maps.find(address) else {
            return Place::Unknown(Unknown::Unmapped);
        };
        match (self.behind.get(at), mapping.offset_of(address)) {
            (Some(Behind::File(file)), Some(offset)) => Place::File { file: *file, offset },
            (Some(Behind::Jit), _) => Place::Jit,
            (Some(Behind::Unknown(why)), _) => Place::Unknown(*why),
            (Some(Behind::File(_)), None) | (None, _) => Place::Unknown(Unknown::Unmapped),
        }
    }

    /// The mappings themselves.
    #[must_use]
    pub fn maps(&self) -> &Maps {
        &self.maps
    }
}
