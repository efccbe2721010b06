//! From the kernel's bytes to a record: pure, so that it can be tested without a kernel.

use super::generated::types::{stacks_kind, stacks_waited, unwind_end, unwind_stack};
use crate::plain::from_bytes;

/// What the kernel half tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A stack.
    Stack(Stack),
    /// A wait has ended whose stack was told before.
    Waited(Waited),
}

/// What a stack was taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its thread was on a processor.
    OnCpu,
    /// Its thread began to wait at [`Stack::t_ns`].
    Blocked {
        /// The address of the lock, where it waits for one.
        lock: Option<u64>,
    },
    /// Its thread woke another one.
    Waker {
        /// Which one, in the first pid namespace.
        of: u32,
    },
    /// Its thread was there.
    Thread {
        /// The kernel's bits; 0: it ran, or could have.
        state: u64,
    },
}

/// A wait that has ended, or was under way at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waited {
    /// The thread in the first pid namespace.
    pub thread: u32,
    /// When it began, as its stack says it; on CLOCK_MONOTONIC.
    pub since_ns: u64,
    /// How long it was, without what the looking itself took.
    pub lasted_ns: u64,
    /// For how many waits it stands.
    pub weight: u32,
    /// Whether it was long, so that it stands for itself alone.
    pub is_long: bool,
    /// Who woke it: the process as we know it, and the thread's name. None: nobody who is known.
    pub waker: Option<(u32, String)>,
}

/// The stack of a thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// What it was taken for.
    pub kind: Kind,
    /// The thread in the first pid namespace.
    pub thread: u32,
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
    /// There were too many to walk each of them.
    Skipped,
    /// It ran while it was to be looked at.
    Running,
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
            Self::Skipped => "there were too many to walk each of them",
            Self::Running => "it ran while it was looked at",
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
            unwind_end::UNWIND_END_SKIPPED => Self::Skipped,
            unwind_end::UNWIND_END_RUNNING => Self::Running,
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
    #[error("a record of the unknown kind {0}")]
    Kind(u32),
}

/// One record.
pub(super) fn decode(bytes: &[u8]) -> Result<Record, Malformed> {
    let kind = bytes.first_chunk().map(|first| stacks_kind(u32::from_ne_bytes(*first)));
    match kind.ok_or(Malformed::Length(bytes.len()))? {
        stacks_kind::STACKS_WAITED => waited(bytes).map(Record::Waited),
        kind => stack(bytes, kind).map(Record::Stack),
    }
}

fn waited(bytes: &[u8]) -> Result<Waited, Malformed> {
    let told: stacks_waited = from_bytes(bytes).ok_or(Malformed::Length(bytes.len()))?;
    Ok(Waited {
        thread: told.thread,
        since_ns: told.since_ns,
        lasted_ns: told.lasted_ns,
        weight: told.weight,
        is_long: told.is_long != 0,
        waker: (told.waker_pid != 0).then(|| (told.waker_pid, text(&told.waker_name))),
    })
}

fn kind_of(kind: stacks_kind, about: u64) -> Result<Kind, Malformed> {
    Ok(match kind {
        stacks_kind::STACKS_ON_CPU => Kind::OnCpu,
        stacks_kind::STACKS_BLOCKED => Kind::Blocked { lock: (about != 0).then_some(about) },
        stacks_kind::STACKS_WAKER => Kind::Waker { of: about as u32 },
        stacks_kind::STACKS_THREAD => Kind::Thread { state: about },
        unknown => return Err(Malformed::Kind(unknown.0)),
    })
}

/// It ends with its last frame.
fn stack(bytes: &[u8], kind: stacks_kind) -> Result<Stack, Malformed> {
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
    Ok(Stack {
        kind: kind_of(kind, told.about)?,
        thread: told.thread,
        t_ns: told.t_ns,
        target: (told.target != crate::roster::NOBODY).then_some(told.target as usize),
        process: told.process,
        known_as: (told.known_as != 0).then_some(told.known_as),
        pid: told.pid,
        tid: told.tid,
        name: text(&told.name),
        kernel: frames[..kernel].iter().enumerate().map(called_from).collect(),
        user: frames[kernel..].to_vec(),
        end: End::of(told.end).ok_or(Malformed::End(told.end.0))?,
    })
}

/// Up to its end, which is a zero.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
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
        let Ok(Record::Stack(stack)) = decode(&told(2, 3)) else { panic!("no stack") };
        assert_eq!((stack.kernel, stack.user), (vec![10, 19], vec![30, 40, 50]));
        assert_eq!((stack.name.as_str(), stack.end, stack.target), ("work", End::Root, Some(0)));
        assert_eq!(stack.kind, Kind::OnCpu);
        let deepest = decode(&told(127, 512)).unwrap();
        assert!(matches!(deepest, Record::Stack(stack) if stack.user.len() == 512));
    }

    #[test]
    fn a_kind_says_what_it_is_about() {
        let of = |kind, about| {
            let mut bytes = told(1, 1);
            bytes[..4].copy_from_slice(&u32::to_ne_bytes(kind));
            bytes[16..24].copy_from_slice(&u64::to_ne_bytes(about));
            match decode(&bytes) {
                Ok(Record::Stack(stack)) => Ok(stack.kind),
                Ok(Record::Waited(_)) => panic!("a wait of the length of a stack"),
                Err(wrong) => Err(wrong),
            }
        };
        assert_eq!(of(1, 0), Ok(Kind::Blocked { lock: None }));
        assert_eq!(of(1, 77), Ok(Kind::Blocked { lock: Some(77) }));
        assert_eq!(of(2, 77), Ok(Kind::Waker { of: 77 }));
        assert_eq!(of(3, 2), Ok(Kind::Thread { state: 2 }));
        assert_eq!(of(99, 0), Err(Malformed::Kind(99)));
    }

    #[test]
    fn a_wait_has_its_waker_where_there_is_one() {
        let mut wait = stacks_waited {
            kind: stacks_kind::STACKS_WAITED,
            thread: 7,
            since_ns: 10,
            lasted_ns: 20,
            weight: 4,
            ..stacks_waited::default()
        };
        let Ok(Record::Waited(got)) = decode(as_bytes(&wait)) else { panic!("no wait") };
        assert_eq!((got.thread, got.lasted_ns, got.weight), (7, 20, 4));
        assert_eq!(got.waker, None);
        wait.waker_pid = 9;
        wait.waker_name[..2].copy_from_slice(b"me");
        let Ok(Record::Waited(got)) = decode(as_bytes(&wait)) else { panic!("no wait") };
        assert_eq!(got.waker, Some((9, "me".to_owned())));
        assert!(decode(&as_bytes(&wait)[1..]).is_err() && decode(&as_bytes(&wait)[..40]).is_err());
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
