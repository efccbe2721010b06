//! From the kernel's bytes to a stack: pure, so that it can be tested without a kernel.

use super::generated::types::{unwind_end, unwind_stack};
use crate::plain::from_bytes;

/// The stack of a thread that was on a processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// When, on CLOCK_MONOTONIC.
    pub t_ns: u64,
    /// The place of its target among the roster's; none: it is nobody's.
    pub target: Option<usize>,
    /// Its process in the first pid namespace.
    pub process: u32,
    /// The process whose mappings were used, likewise: another one where it is its copy. None: they
    /// were not known.
    pub known_as: Option<u32>,
    /// Its process as we know it; 0: it has no number here.
    pub pid: u32,
    /// The thread, likewise.
    pub tid: u32,
    /// The thread's name.
    pub name: String,
    /// The kernel's frames, innermost first. Those of callers are where they called.
    pub kernel: Vec<u64>,
    /// The program's frames, likewise.
    pub user: Vec<u64>,
    /// Why there are no more of them.
    pub end: End,
}

/// Why a stack has no more frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// It is a thread of the kernel's.
    NoUser,
    /// The thread's outermost frame is there.
    Root,
    /// The process came while it was being looked at, and where its code lies was not known yet.
    NewProcess,
    /// An address in no code that is known.
    NoMapping,
    /// The file does not say how the frame is found.
    NoRule,
    /// The stack's memory was not there.
    Unreadable,
    /// The caller's frame was to be where the called one's is.
    NotGrowing,
    /// More frames than are walked.
    TooDeep,
    /// A program of 32 bits.
    Narrow,
}

impl End {
    /// Why, for people; none where nothing is missing.
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        Some(match self {
            Self::NoUser | Self::Root => return None,
            Self::NewProcess => "the process was new",
            Self::NoMapping => "an address that is in no code",
            Self::NoRule => "the file does not say how the caller is found",
            Self::Unreadable => "the stack's memory was not there",
            Self::NotGrowing => "the stack is damaged",
            Self::TooDeep => "deeper than is walked",
            Self::Narrow => "a program of 32 bits",
        })
    }

    fn of(end: unwind_end) -> Option<Self> {
        Some(match end {
            unwind_end::UNWIND_END_NO_USER => Self::NoUser,
            unwind_end::UNWIND_END_ROOT => Self::Root,
            unwind_end::UNWIND_END_NEW_PROCESS => Self::NewProcess,
            unwind_end::UNWIND_END_NO_MAPPING => Self::NoMapping,
            unwind_end::UNWIND_END_NO_RULE => Self::NoRule,
            unwind_end::UNWIND_END_UNREADABLE => Self::Unreadable,
            unwind_end::UNWIND_END_NOT_GROWING => Self::NotGrowing,
            unwind_end::UNWIND_END_TOO_DEEP => Self::TooDeep,
            unwind_end::UNWIND_END_NARROW => Self::Narrow,
            _ => return None,
        })
    }
}

/// A record that makes no sense: the kernel half and this one disagree, which is our bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("a stack of {0} bytes")]
    Length(usize),
    #[error("a stack that ends for the unknown reason {0}")]
    End(u32),
}

/// One record. It ends with its last frame.
pub(super) fn decode(bytes: &[u8]) -> Result<Stack, Malformed> {
    let wrong = Malformed::Length(bytes.len());
    let whole = size_of::<unwind_stack>();
    if bytes.len() > whole {
        return Err(wrong);
    }
    let mut padded = vec![0; whole];
    padded[..bytes.len()].copy_from_slice(bytes);
    let told: unwind_stack = from_bytes(&padded).ok_or(wrong)?;
    let (kernel, user) = (told.kernel_frames as usize, told.user_frames as usize);
    let frames = told.frames.get(..kernel + user).ok_or(wrong)?;
    if bytes.len() != whole - (told.frames.len() - frames.len()) * size_of::<u64>() {
        return Err(wrong);
    }
    let end = told.name.iter().position(|byte| *byte == 0).unwrap_or(told.name.len());
    Ok(Stack {
        t_ns: told.t_ns,
        target: (told.target != crate::roster::NOBODY).then_some(told.target as usize),
        process: told.process,
        known_as: (told.known_as != 0).then_some(told.known_as),
        pid: told.pid,
        tid: told.tid,
        name: String::from_utf8_lossy(&told.name[..end]).into_owned(),
        kernel: frames[..kernel].iter().enumerate().map(called_from).collect(),
        user: frames[kernel..].to_vec(),
        end: End::of(told.end).ok_or(Malformed::End(told.end.0))?,
    })
}

/// The kernel gives what its callers return to.
fn called_from((at, address): (usize, &u64)) -> u64 {
    address.saturating_sub(u64::from(at > 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plain::as_bytes;

    fn told(kernel: u32, user: u32) -> Vec<u8> {
        let mut stack = unwind_stack::default();
        (stack.kernel_frames, stack.user_frames) = (kernel, user);
        stack.end = unwind_end::UNWIND_END_ROOT;
        for (at, frame) in (1..).zip(&mut stack.frames) {
            *frame = at * 10;
        }
        stack.name[..4].copy_from_slice(b"work");
        let left_out = stack.frames.len() - (kernel + user) as usize;
        as_bytes(&stack)[..size_of::<unwind_stack>() - left_out * 8].to_vec()
    }

    #[test]
    fn frames_are_the_kernels_and_then_the_users() {
        let stack = decode(&told(2, 3)).unwrap();
        assert_eq!((stack.kernel, stack.user), (vec![10, 19], vec![30, 40, 50]));
        assert_eq!((stack.name.as_str(), stack.end, stack.target), ("work", End::Root, Some(0)));
        assert_eq!(decode(&told(127, 512)).unwrap().user.len(), 512);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut bytes = told(2, 3);
        bytes.pop();
        assert_eq!(decode(&bytes), Err(Malformed::Length(bytes.len())));
        assert!(decode(&vec![0; size_of::<unwind_stack>() + 8]).is_err());
        assert!(decode(&[]).is_err());
    }
}
