//! What a program's row says, as a rule.

use gimli::{
    CfaRule, CommonInformationEntry, Operation, Register, RegisterRule, UnwindExpression,
    UnwindSection, UnwindTableRow, X86_64,
};

use crate::frames::{Slice, Storage};
use crate::{Base, Cfa, Frame, Reason, Rule, Saved, signal};

/// The longest that is recognised is 11 bytes long in real files.
const EXPRESSION_BYTES_MAX: usize = 48;

/// The general registers are the first 16.
const GENERAL_REGISTERS: u16 = 16;

type Operations<'data> = Vec<Operation<Slice<'data>>>;

/// Makes a rule of a row.
pub(crate) fn translate<'data, S>(
    section: &S,
    shared: &CommonInformationEntry<Slice<'data>>,
    row: &UnwindTableRow<usize, Storage>,
) -> Rule
where
    S: UnwindSection<Slice<'data>>,
{
    Translation { section, shared, row }.rule()
}

struct Translation<'a, 'data, S> {
    section: &'a S,
    shared: &'a CommonInformationEntry<Slice<'data>>,
    row: &'a UnwindTableRow<usize, Storage>,
}

impl<'data, S> Translation<'_, 'data, S>
where
    S: UnwindSection<Slice<'data>>,
{
    fn rule(&self) -> Rule {
        match self.row.register(self.shared.return_address_register()) {
            // No caller can be returned to.
            None | Some(RegisterRule::Undefined) => Rule::Root,
            Some(RegisterRule::Offset(offset)) => {
                self.frame(offset).map_or_else(Rule::Unsupported, Rule::Frame)
            }
            _ if self.shared.is_signal_trampoline() => self.signal(),
            Some(_) => Rule::Unsupported(Reason::ReturnAddress),
        }
    }

    fn frame(&self, return_address: i64) -> Result<Frame, Reason> {
        match self.row.register(X86_64::RSP) {
            None | Some(RegisterRule::ValOffset(0)) => {}
            Some(_) => return Err(Reason::StackPointer),
        }
        Ok(Frame {
            cfa: self.cfa()?,
            frame_pointer: self.frame_pointer(),
            return_address: i32::try_from(return_address).map_err(|_| Reason::FarOffset)?,
        })
    }

    fn cfa(&self) -> Result<Cfa, Reason> {
        match self.row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => {
                let offset = i32::try_from(*offset).map_err(|_| Reason::FarOffset)?;
                match base(*register) {
                    Some(base) => Ok(Cfa::At { base, offset }),
                    None => match u8::try_from(register.0) {
                        Ok(number) if register.0 < GENERAL_REGISTERS => {
                            Ok(Cfa::Register { register: number, offset })
                        }
                        _ => Err(Reason::CfaRegister),
                    },
                }
            }
            CfaRule::Expression(expression) => {
                let operations = self.operations(expression).ok_or(Reason::CfaExpression)?;
                plt(&operations).or_else(|| deref(&operations)).ok_or(Reason::CfaExpression)
            }
        }
    }

    fn frame_pointer(&self) -> Saved {
        let saved = match self.row.register(X86_64::RBP) {
            // By convention, a function that does not speak of it does not touch it.
            None | Some(RegisterRule::SameValue) => Some(Saved::Unchanged),
            Some(RegisterRule::Offset(offset)) => i32::try_from(offset).ok().map(Saved::AtCfa),
            Some(RegisterRule::Expression(expression)) => {
                self.address(&expression).map(|(base, offset)| Saved::At { base, offset })
            }
            Some(_) => None,
        };
        saved.unwrap_or(Saved::Unsupported)
    }

    /// What `__restore_rt` says of the kernel's frame; whoever says it otherwise has another.
    fn signal(&self) -> Rule {
        let cfa = match self.row.cfa() {
            CfaRule::Expression(expression) => {
                self.operations(expression).and_then(|operations| deref(&operations))
            }
            CfaRule::RegisterAndOffset { .. } => None,
        };
        let saved = |register| match self.row.register(register) {
            Some(RegisterRule::Expression(expression)) => self.address(&expression),
            _ => None,
        };
        let stack_pointer = |offset| (Base::StackPointer, offset);
        let is_the_kernels =
            cfa == Some(Cfa::Deref {
                base: Base::StackPointer,
                offset: signal::STACK_POINTER,
                plus: 0,
            }) && saved(X86_64::RBP) == Some(stack_pointer(signal::FRAME_POINTER))
                && saved(X86_64::RA) == Some(stack_pointer(signal::PROGRAM_COUNTER));
        if is_the_kernels { Rule::Signal } else { Rule::Unsupported(Reason::SignalFrame) }
    }

    /// An expression that is a register and an offset.
    fn address(&self, expression: &UnwindExpression<usize>) -> Option<(Base, i32)> {
        match self.operations(expression)?[..] {
            [Operation::RegisterOffset { register, offset, .. }] => {
                Some((base(register)?, i32::try_from(offset).ok()?))
            }
            _ => None,
        }
    }

    fn operations(&self, expression: &UnwindExpression<usize>) -> Option<Operations<'data>> {
        let expression = expression.get(self.section).ok()?;
        if expression.0.len() > EXPRESSION_BYTES_MAX {
            return None;
        }
        expression.operations(self.shared.encoding()).collect::<Result<_, _>>().ok()
    }
}

fn base(register: Register) -> Option<Base> {
    match register {
        X86_64::RSP => Some(Base::StackPointer),
        X86_64::RBP => Some(Base::FramePointer),
        _ => None,
    }
}

/// `*(register + offset)`, and perhaps more bytes.
fn deref(operations: &[Operation<Slice<'_>>]) -> Option<Cfa> {
    let (register, offset, plus) = match *operations {
        [
            Operation::RegisterOffset { register, offset, .. },
            Operation::Deref { size: 8, space: false, .. },
        ] => (register, offset, 0),
        [
            Operation::RegisterOffset { register, offset, .. },
            Operation::Deref { size: 8, space: false, .. },
            Operation::PlusConstant { value },
        ] => (register, offset, value),
        _ => return None,
    };
    Some(Cfa::Deref {
        base: base(register)?,
        offset: i32::try_from(offset).ok()?,
        plus: i32::try_from(plus).ok()?,
    })
}

/// `rsp + 8 + ((rip & 15) >= n) * 8`, in the words of the linkers.
fn plt(operations: &[Operation<Slice<'_>>]) -> Option<Cfa> {
    match *operations {
        [
            Operation::RegisterOffset { register: X86_64::RSP, offset: 8, .. },
            Operation::RegisterOffset { register: X86_64::RA, offset: 0, .. },
            Operation::UnsignedConstant { value: 15 },
            Operation::And,
            Operation::UnsignedConstant { value: from @ 0..=15 },
            Operation::Ge,
            Operation::UnsignedConstant { value: 3 },
            Operation::Shl,
            Operation::Plus,
        ] => Some(Cfa::Plt { pushed_from: u8::try_from(from).ok()? }),
        _ => None,
    }
}
