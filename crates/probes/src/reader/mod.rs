//! Who reads: the numbers by which this program, and the people before it, know processes are those
//! of its own pid namespace.

use std::sync::OnceLock;

use crate::Error;
use crate::object::{Loaded, Loading, walk};
use crate::plain::plain;

crate::plain::generated!("reader");
use generated::types::bss;

plain!(bss);

/// How many pid namespaces lie above ours. 0 as well where the kernel cannot be asked (before Linux
/// 5.8): numbers are then those of the first namespace.
pub(crate) fn pid_level() -> u32 {
    static LEVEL: OnceLock<u32> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        ask().unwrap_or_else(|error| {
            tracing::warn!(%error, "the depth of this pid namespace could not be found out");
            0
        })
    })
}

fn ask() -> Result<u32, Error> {
    let loaded = Loaded::load(&Loading {
        probe: "reader",
        object: OBJECT,
        wants: &|_| true,
        constants: &|(): &mut ()| (),
        sizes: &[],
        without: &[],
        shared: &[],
    })?;
    let link = loaded.attach("reader_level")?;
    walk(&link, "the processes")?;
    Ok(loaded.globals::<bss>(".bss")?.level)
}
