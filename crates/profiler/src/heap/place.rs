//! Where in a file an allocator's functions can be watched.

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, OpAccess,
    Register,
};
use object::{Object as _, ObjectSymbol as _, SymbolKind};
use temblor_probes::stacks::{Allocates, Allocator};
use temblor_unwind::Segment;

/// What libraries put before the names of C's functions.
const PREFIXES: [&str; 5] = ["", "je_", "_rjem_", "tc_", "mi_"];
const ALLOCATES: [(&str, Allocates); 10] = [
    ("malloc", Allocates::Size),
    ("calloc", Allocates::Product),
    ("realloc", Allocates::Anew),
    ("aligned_alloc", Allocates::Aligned),
    ("memalign", Allocates::Aligned),
    ("posix_memalign", Allocates::AlignedTo),
    // C++'s operators, where the allocator has its own.
    ("_Znwm", Allocates::Size),
    ("_Znam", Allocates::Size),
    ("_ZnwmSt11align_val_t", Allocates::Size),
    ("_ZnamSt11align_val_t", Allocates::Size),
];
const FREES: [&str; 11] = [
    "free",
    "dallocx",
    "sdallocx",
    "_ZdlPv",
    "_ZdlPvm",
    "_ZdlPvSt11align_val_t",
    "_ZdlPvmSt11align_val_t",
    "_ZdaPv",
    "_ZdaPvm",
    "_ZdaPvSt11align_val_t",
    "_ZdaPvmSt11align_val_t",
];
/// Only the GNU C library has it, whose functions for aligned memory go on in `malloc` where that is
/// aligned enough (`_mid_memalign`, since version 2.26).
const OF_GLIBC: &str = "gnu_get_libc_version";
/// How much of a function is looked at for jumps.
const FUNCTION_MAX: usize = 64 << 10;
/// How much of a function is looked at for a place.
const LOOKED_AT: usize = 64;

/// The allocator that a file has. None: it has none.
pub(super) fn allocator(file: &[u8]) -> Option<Allocator> {
    let object = object::File::parse(file).ok()?;
    let segments = temblor_unwind::executable_segments(file).ok()?;
    let mut found = Allocator::default();
    let mut malloc = None;
    let mut reallocs = Vec::new();
    let mut is_glibc = false;
    for symbol in object.dynamic_symbols().chain(object.symbols()) {
        let is_code = symbol.is_definition() && symbol.kind() == SymbolKind::Text;
        let Some(name) = symbol.name().ok().filter(|_| is_code && symbol.size() > 0) else {
            continue;
        };
        is_glibc |= name == OF_GLIBC;
        let Some(place) = file_place(&segments, symbol.address()) else { continue };
        let named = PREFIXES.iter().filter_map(|prefix| name.strip_prefix(prefix));
        for name in named {
            if let Some((_, allocates)) = ALLOCATES.iter().find(|(of, _)| *of == name) {
                match name {
                    "malloc" => malloc = Some(place),
                    "realloc" => reallocs.push((place, symbol.size())),
                    _ => {}
                }
                found.allocates.push((place, *allocates));
            }
            if FREES.contains(&name) {
                let code = file.get(usize::try_from(place).ok()?..)?;
                let within = watched_at(&code[..code.len().min(LOOKED_AT)]);
                found.frees.push(place + within as u64);
            }
        }
    }
    for (place, size) in reallocs {
        let goes_on = malloc.is_some_and(|malloc| jumps_to(file, place, size, malloc));
        for (of, allocates) in found.allocates.iter_mut().filter(|_| goes_on) {
            if *of == place {
                *allocates = Allocates::AnewByMalloc;
            }
        }
    }
    for (_, allocates) in found.allocates.iter_mut().filter(|_| is_glibc) {
        *allocates = match *allocates {
            Allocates::Aligned => Allocates::AlignedByMalloc,
            Allocates::AlignedTo => Allocates::AlignedToByMalloc,
            other => other,
        };
    }
    // One function may have several names.
    found.allocates.sort_unstable_by_key(|(place, _)| *place);
    found.allocates.dedup_by_key(|(place, _)| *place);
    found.frees.sort_unstable();
    found.frees.dedup();
    (malloc.is_some() && !found.frees.is_empty()).then_some(found)
}

fn file_place(segments: &[Segment], address: u64) -> Option<u64> {
    let of = |segment: &Segment| {
        let within = address.checked_sub(segment.address)?;
        (within < segment.size).then(|| segment.file_offset.checked_add(within))?
    };
    segments.iter().find_map(of)
}

/// Whether a function has a jump, or a call, to the beginning of another one.
fn jumps_to(file: &[u8], place: u64, size: u64, to: u64) -> bool {
    let code = usize::try_from(place).ok().and_then(|from| {
        file.get(from..from.checked_add(usize::try_from(size).ok()?.min(FUNCTION_MAX))?)
    });
    let Some(code) = code else { return false };
    let decoder = Decoder::with_ip(64, code, place, DecoderOptions::NONE);
    decoder.into_iter().any(|instruction| {
        let is_jump = instruction.is_jmp_short_or_near()
            || instruction.is_jcc_short_or_near()
            || instruction.is_call_near();
        is_jump && instruction.near_branch_target() == to
    })
}

/// The first instruction of a function which the kernel carries out itself when it is watched, so
/// that a call costs half a microsecond and not sixteen; as long as it is run at each call, and the
/// first argument is still where it was. The function's beginning where there is none.
fn watched_at(code: &[u8]) -> usize {
    let mut decoder = Decoder::new(64, code, DecoderOptions::NONE);
    let mut used = InstructionInfoFactory::new();
    while decoder.can_decode() {
        let at = decoder.position();
        let instruction = decoder.decode();
        if instruction.is_invalid() {
            break;
        }
        if is_carried_out(&instruction) {
            return at;
        }
        let info = used.info(&instruction);
        let changes = info
            .used_registers()
            .iter()
            .any(|of| of.register().full_register() == Register::RDI && writes(of.access()));
        if changes || instruction.flow_control() != FlowControl::Next {
            break;
        }
    }
    0
}

fn writes(access: OpAccess) -> bool {
    !matches!(access, OpAccess::None | OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess)
}

/// As the kernel has them in arch/x86/kernel/uprobes.c: pushes of a register, jumps, calls, and doing
/// nothing.
fn is_carried_out(instruction: &Instruction) -> bool {
    match instruction.code() {
        Code::Push_r64 => instruction.len() <= 2,
        Code::Nopd => instruction.len() == 1,
        Code::Jmp_rel8_64 | Code::Jmp_rel32_64 | Code::Call_rel32_64 => true,
        _ => instruction.is_jcc_short_or_near(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_carries_out_is_looked_for() {
        // push %r12
        assert_eq!(watched_at(&[0x41, 0x54, 0x90]), 0);
        // test %rdi,%rdi; je: as glibc's free begins.
        assert_eq!(watched_at(&[0x48, 0x85, 0xff, 0x0f, 0x84, 0xbf, 0, 0, 0]), 3);
        // endbr64; push %rbp
        assert_eq!(watched_at(&[0xf3, 0x0f, 0x1e, 0xfa, 0x55]), 4);
    }

    #[test]
    fn not_behind_what_loses_the_argument_or_is_not_always_run() {
        // xor %edi,%edi; push %rbp
        assert_eq!(watched_at(&[0x31, 0xff, 0x55]), 0);
        // ret; push %rbp
        assert_eq!(watched_at(&[0xc3, 0x55]), 0);
        // Cut off, and nothing.
        assert_eq!(watched_at(&[0x48, 0x85]), 0);
        assert_eq!(watched_at(&[]), 0);
    }

    #[test]
    fn jumps_to_another_function_are_seen() {
        // Two bytes of another function; test %rdi,%rdi; je back to them.
        let file = [0x90, 0x90, 0x48, 0x85, 0xff, 0x74, 0xf9, 0xc3];
        assert!(jumps_to(&file, 2, 6, 0));
        assert!(!jumps_to(&file, 2, 6, 1));
        assert!(!jumps_to(&file, 2, 60, 0), "cut off");
    }

    #[test]
    fn the_c_librarys_allocator_is_found() {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let path = maps.lines().find_map(|line| {
            line.split_whitespace().nth(5).filter(|path| path.contains("/libc.so"))
        });
        let file = std::fs::read(path.unwrap()).unwrap();
        let found = allocator(&file).unwrap();
        let has = |of| found.allocates.iter().any(|(_, allocates)| *allocates == of);
        assert!(has(Allocates::Size) && has(Allocates::Product), "{found:?}");
        assert!(has(Allocates::Anew) || has(Allocates::AnewByMalloc), "{found:?}");
        assert!(!has(Allocates::Aligned) && has(Allocates::AlignedToByMalloc), "{found:?}");
        assert_eq!(found.frees.len(), 1, "{found:?}");
        assert_eq!(allocator(b"no program"), None);
    }
}
