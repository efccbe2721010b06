//! Debug information in a file of its own: of this machine's, or from elsewhere.

use std::fs::File;
use std::path::PathBuf;

use memmap2::Mmap;
use object::{Object as _, ObjectSection as _};

use crate::debuginfod::Debuginfod;
use crate::elf::BuildId;
use crate::held::Contents;
use crate::open;

/// Any of these gives names: symbols, debug information, and the small table of symbols that Fedora
/// keeps. The names of a shared library's own functions that others may call do not suffice.
const NAMED_BY: [&str; 4] = [".symtab", ".debug_info", ".zdebug_info", ".gnu_debugdata"];

/// Separate debug information by build id. It is found by the id alone, since not every file that
/// was stripped has a link to it, and the link of one in a container leads into our own root.
/// Others are asked only where nothing here has names.
pub(super) fn debug_file(
    contents: &Contents,
    debug_dirs: &[PathBuf],
    debuginfod: Option<&mut Debuginfod>,
) -> Option<Contents> {
    let id = contents.image.build_id.as_ref()?;
    below(id, debug_dirs).or_else(|| match debuginfod {
        Some(debuginfod) if !has_names(&contents.file) => debuginfod.debug_file(id),
        _ => None,
    })
}

fn below(id: &BuildId, debug_dirs: &[PathBuf]) -> Option<Contents> {
    let text = id.to_string();
    let (first, rest) = text.split_at_checked(2)?;
    debug_dirs.iter().find_map(|dir| {
        let path = dir.join(".build-id").join(first).join(format!("{rest}.debug"));
        let contents = Contents::new(open::regular(&path).ok()?).ok()?;
        (contents.image.build_id.as_ref() == Some(id)).then_some(contents)
    })
}

/// What cannot be read is left alone: others have nothing that would go with it.
fn has_names(file: &File) -> bool {
    // SAFETY: it is only read; what others write to it meanwhile shows as other bytes, which the
    // reader of its sections expects of any file.
    let Ok(bytes) = (unsafe { Mmap::map(file) }) else { return true };
    let Ok(parsed) = object::File::parse(&*bytes) else { return true };
    parsed.sections().any(|section| section.name().is_ok_and(|name| NAMED_BY.contains(&name)))
}
