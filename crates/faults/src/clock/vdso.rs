//! The vDSO: the library that the kernel maps into every process, and where there is room in it.

use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use object::read::elf::ElfFile64;
use serde::{Deserialize, Serialize};

use object::{Endianness, Object as _, ObjectSection as _, ObjectSegment as _, ObjectSymbol as _};

use super::routine::{OFFSET_BYTES, Routine};

/// A jump to anywhere in the vDSO.
const JUMP_BYTES: usize = 5;
/// More than any kernel's vDSO has.
const VDSO_BYTES_MAX: u64 = 1 << 20;

/// Where a process has its vDSO mapped.
pub(crate) fn mapping(pid: u32) -> io::Result<Option<Range<u64>>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    Ok(maps.lines().find(|line| line.ends_with("[vdso]")).and_then(range))
}

fn range(line: &str) -> Option<Range<u64>> {
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
}

/// The whole of a mapped vDSO, padding included.
pub(crate) fn image(pid: u32, mapping: &Range<u64>) -> io::Result<Vec<u8>> {
    let length = mapping.end.saturating_sub(mapping.start);
    if length > VDSO_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a vDSO of more than a MiB"));
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    fs::File::open(format!("/proc/{pid}/mem"))?.read_exact_at(&mut bytes, mapping.start)?;
    Ok(bytes)
}

/// The vDSO as the kernel has it: this process's own, which nobody has changed. It is the same
/// in every 64-bit process of one boot.
pub(crate) fn pristine() -> io::Result<Option<Vec<u8>>> {
    let pid = std::process::id();
    mapping(pid)?.map(|mapping| image(pid, &mapping)).transpose()
}

/// Bytes that are put in the place of others, as an offset into the vDSO.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    pub(crate) at: usize,
    pub(crate) previous: Vec<u8>,
    pub(crate) ours: Vec<u8>,
}

impl Change {
    pub(crate) fn range(&self) -> Range<usize> {
        self.at..self.at + self.ours.len()
    }
}

/// What is changed in a vDSO so that it tells another time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The offset and the routine, where there was nothing.
    pub(crate) routine: Change,
    /// A jump to the routine at the beginning of each function.
    pub(crate) jumps: Vec<Change>,
    /// The beginning of `clock_gettime`.
    pub(crate) clock_gettime: usize,
}

/// Finds the functions and the room. None: there is no such function, or no room.
pub(super) fn plan(pristine: &[u8], routine: &Routine) -> Option<Plan> {
    let elf = ElfFile64::<Endianness>::parse(pristine).ok()?;
    let at = room(&elf, pristine, routine.bytes.len())?;
    let entry = |name: &str| -> Option<usize> {
        let symbol = elf.dynamic_symbols().find(|symbol| symbol.name() == Ok(name))?;
        let entry = usize::try_from(symbol.address()).ok()?;
        let is_whole = symbol.size() >= JUMP_BYTES as u64 && entry + JUMP_BYTES <= pristine.len();
        is_whole.then_some(entry)
    };
    let jump = |from: usize, to: usize| -> Option<Change> {
        // x86: E9 and the distance from the end of the jump.
        let distance = i32::try_from(to).ok()? - i32::try_from(from + JUMP_BYTES).ok()?;
        let mut ours = vec![0xe9];
        ours.extend(distance.to_le_bytes());
        Some(Change { at: from, previous: pristine[from..from + JUMP_BYTES].into(), ours })
    };
    let clock_gettime = entry("__vdso_clock_gettime")?;
    let jumps = [
        jump(clock_gettime, at + routine.clock_gettime)?,
        jump(entry("__vdso_gettimeofday")?, at + routine.gettimeofday)?,
        jump(entry("__vdso_time")?, at + routine.time)?,
    ];
    let routine_change = Change {
        at,
        previous: pristine[at..at + routine.bytes.len()].into(),
        ours: routine.bytes.into(),
    };
    Some(Plan { routine: routine_change, jumps: jumps.into(), clock_gettime })
}

/// The zeros between the end of the library and the end of its last page.
fn room(elf: &ElfFile64<'_, Endianness>, image: &[u8], length: usize) -> Option<usize> {
    let header = elf.elf_header();
    let endian = Endianness::default();
    let sections = header.e_shoff.get(endian)
        + u64::from(header.e_shnum.get(endian)) * u64::from(header.e_shentsize.get(endian));
    let end = elf
        .sections()
        .filter_map(|section| section.file_range())
        .chain(elf.segments().map(|segment| segment.file_range()))
        .map(|(start, length)| start.saturating_add(length))
        .chain([sections])
        .max()?;
    let at = usize::try_from(end).ok()?.next_multiple_of(16);
    let room = image.get(at..at.checked_add(length)?)?;
    room.iter().all(|byte| *byte == 0).then_some(at)
}

/// What a process's vDSO is, compared with what it was and what we make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// As the kernel made it.
    Pristine,
    /// Some or all of our changes are in it, and nobody else's.
    Ours,
    /// Somebody else's changes are in it.
    Foreign,
}

/// Looks at the bytes that we change. The offset may be any.
pub(crate) fn look(
    changes: &[Change],
    routine_at: usize,
    read: impl Fn(&Range<usize>) -> io::Result<Vec<u8>>,
) -> io::Result<Look> {
    let mut look = Look::Pristine;
    for change in changes {
        let now = read(&change.range())?;
        if now == change.previous {
            continue;
        }
        let skip = if change.at == routine_at { OFFSET_BYTES } else { 0 };
        if now.get(skip..) != change.ours.get(skip..) {
            return Ok(Look::Foreign);
        }
        look = Look::Ours;
    }
    Ok(look)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::super::routine::routine;
    use super::*;

    #[test]
    fn this_kernels_vdso_has_the_functions_and_the_room() {
        let pristine = pristine().unwrap().unwrap();
        let plan = plan(&pristine, &routine().unwrap()).unwrap();
        assert_eq!(plan.jumps.len(), 3);
        assert!(plan.routine.previous.iter().all(|byte| *byte == 0));
        for jump in &plan.jumps {
            let distance = i32::from_le_bytes(jump.ours[1..].try_into().unwrap());
            let to = i32::try_from(jump.at).unwrap() + 5 + distance;
            assert!(plan.routine.range().contains(&usize::try_from(to).unwrap()));
            assert_ne!(jump.previous, jump.ours);
        }
    }

    #[test]
    fn a_library_without_room_is_not_planned_for() {
        let mut pristine = pristine().unwrap().unwrap();
        let routine = routine().unwrap();
        let at = plan(&pristine, &routine).unwrap().routine.at;
        pristine[at + 40] = 1;
        assert_eq!(plan(&pristine, &routine), None);
        assert_eq!(plan(&pristine[..at + 8], &routine), None);
        assert_eq!(plan(b"no library", &routine), None);
    }

    #[test]
    fn somebody_elses_change_is_told_from_ours() {
        let pristine = pristine().unwrap().unwrap();
        let plan = plan(&pristine, &routine().unwrap()).unwrap();
        let changes: Vec<Change> =
            plan.jumps.iter().cloned().chain([plan.routine.clone()]).collect();
        let look_at = |image: &[u8]| {
            look(&changes, plan.routine.at, |range| Ok(image[range.clone()].into())).unwrap()
        };
        assert_eq!(look_at(&pristine), Look::Pristine);
        let mut half = pristine.clone();
        half[plan.routine.range()].copy_from_slice(&plan.routine.ours);
        assert_eq!(look_at(&half), Look::Ours);
        half[plan.jumps[0].range()].copy_from_slice(&plan.jumps[0].ours);
        half[plan.routine.at] = 77;
        assert_eq!(look_at(&half), Look::Ours, "with an offset");
        half[plan.jumps[1].at] = 0x90;
        assert_eq!(look_at(&half), Look::Foreign);
    }

    #[test]
    fn a_mapping_is_read_as_the_kernel_writes_it() {
        assert_eq!(range("7f71bb7bc000-7f71bb7be000 r-xp 0 00:00 0 [vdso]"), {
            Some(0x7f71_bb7b_c000..0x7f71_bb7b_e000)
        });
        assert_eq!(range("nonsense"), None);
    }
}
