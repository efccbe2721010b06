//! What `llvm-dwarfdump --eh-frame` says of the rows that have an expression.
//!
//! `0x26010: CFA=DW_OP_breg7 RSP+160, DW_OP_deref: RBP=[DW_OP_breg7 RSP+120], RIP=[CFA-8]`.
//! Entries that put a remembered state back are left out: version 14 forgets the CFA in it.

use std::collections::BTreeMap;

use temblor_unwind::{Base, Cfa, Frame, Reason, Rule, Saved, Table};

/// How many rows were compared, and which are not the same.
pub(crate) fn compare(table: &Table, text: &str) -> (usize, Vec<String>) {
    let mut compared = 0;
    let mut disagreements = Vec::new();
    let mut understood_to = 0;
    for line in text.lines() {
        if let Some((_, range)) = line.split_once(" pc=") {
            let (_, end) = range.split_once("...").unwrap();
            understood_to = u64::from_str_radix(end, 16).unwrap();
        } else if line.contains("DW_CFA_restore_state") {
            understood_to = 0;
        }
        if !line.starts_with("  0x") || !line.contains("DW_OP_") {
            continue;
        }
        let (address, said) = line.trim_start_matches("  0x").split_once(": CFA=").unwrap();
        let address = u64::from_str_radix(address, 16).unwrap();
        // The linker's table of procedures has a step beyond its end if it is empty.
        if address >= understood_to {
            continue;
        }
        let (cfa, registers) = said.split_once(": ").unwrap();
        let (expected, found) = (rule(cfa, &columns(registers)), table.rule_at(address));
        compared += 1;
        if found != Some(expected) {
            disagreements.push(format!("{line}: expected {expected:?}, found {found:?}"));
        }
    }
    (compared, disagreements)
}

/// Expressions have commas as the registers between them have.
fn columns(registers: &str) -> BTreeMap<&str, String> {
    let mut columns: BTreeMap<&str, String> = BTreeMap::new();
    let mut last = "";
    for part in registers.split(", ") {
        match part.split_once('=') {
            Some((name, value)) => {
                last = name;
                columns.insert(name, value.to_owned());
            }
            None => columns.get_mut(last).unwrap().push_str(&format!(", {part}")),
        }
    }
    columns
}

fn rule(cfa: &str, columns: &BTreeMap<&str, String>) -> Rule {
    let column = |name: &str| columns.get(name).map(String::as_str);
    let from_cfa =
        |word: &str| -> Option<i32> { word.strip_prefix("[CFA")?.strip_suffix(']')?.parse().ok() };
    if column("RIP") == Some("[DW_OP_breg7 RSP+168]") {
        assert_eq!(cfa, "DW_OP_breg7 RSP+160, DW_OP_deref");
        assert_eq!(column("RBP"), Some("[DW_OP_breg7 RSP+120]"));
        return Rule::Signal;
    }
    let Some(cfa) = expression(cfa).or_else(|| register(cfa)) else {
        return Rule::Unsupported(Reason::CfaExpression);
    };
    Rule::Frame(Frame {
        cfa,
        frame_pointer: match column("RBP") {
            None => Saved::Unchanged,
            Some(saved) => match from_cfa(saved) {
                Some(offset) => Saved::AtCfa(offset),
                None => {
                    let (base, offset) = base(saved.trim_matches(['[', ']'])).unwrap();
                    Saved::At { base, offset }
                }
            },
        },
        return_address: from_cfa(column("RIP").unwrap()).unwrap(),
    })
}

fn base(operation: &str) -> Option<(Base, i32)> {
    let stack_pointer = operation.strip_prefix("DW_OP_breg7 RSP");
    let frame_pointer = operation.strip_prefix("DW_OP_breg6 RBP");
    let offset = stack_pointer.or(frame_pointer)?.parse().ok()?;
    Some((if stack_pointer.is_some() { Base::StackPointer } else { Base::FramePointer }, offset))
}

fn expression(cfa: &str) -> Option<Cfa> {
    const PLT: &str = "DW_OP_breg7 RSP+8, DW_OP_breg16 RIP+0, DW_OP_lit15, DW_OP_and, \
                       DW_OP_lit11, DW_OP_ge, DW_OP_lit3, DW_OP_shl, DW_OP_plus";
    if cfa == PLT {
        return Some(Cfa::Plt { pushed_from: 11 });
    }
    let operations: Vec<&str> = cfa.split(", ").collect();
    let plus = match operations[1..] {
        ["DW_OP_deref"] => 0,
        ["DW_OP_deref", plus] => {
            i32::from_str_radix(plus.strip_prefix("DW_OP_plus_uconst 0x")?, 16).ok()?
        }
        _ => return None,
    };
    let (base, offset) = base(operations[0])?;
    Some(Cfa::Deref { base, offset, plus })
}

/// `RBP+16`, where only a saved register is computed.
fn register(cfa: &str) -> Option<Cfa> {
    let (name, offset) = match cfa.split_once(['+', '-']) {
        Some((name, _)) => (name, cfa[name.len()..].parse().ok()?),
        None => (cfa, 0),
    };
    let named = ["RAX", "RDX", "RCX", "RBX", "RSI", "RDI"];
    let register = match name {
        "RSP" => return Some(Cfa::At { base: Base::StackPointer, offset }),
        "RBP" => return Some(Cfa::At { base: Base::FramePointer, offset }),
        _ => match named.iter().position(|known| *known == name) {
            Some(number) => u8::try_from(number).ok()?,
            None => name.strip_prefix('R')?.parse().ok()?,
        },
    };
    Some(Cfa::Register { register, offset })
}
