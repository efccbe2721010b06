//! How the caller's frame is found from the called one's.

/// How the caller's frame is found from the called one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// As of any function.
    Frame(Frame),
    /// The frame that the kernel makes for a signal's handler: the stack pointer points to a
    /// `ucontext`, which has all registers of what was interrupted, see [`signal`]. Its program
    /// counter is where the next instruction would have been, not one behind a call.
    Signal,
    /// The outermost frame: it has no caller.
    Root,
    /// The file says it in a way that is not followed here.
    Unsupported(Reason),
}

/// What of the caller's registers a function's frame has where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame {
    /// The canonical frame address, which is also the caller's stack pointer.
    pub cfa: Cfa,
    /// The caller's rbp.
    pub frame_pointer: Saved,
    /// The return address is saved at the CFA and this, -8 in what compilers make.
    pub return_address: i32,
}

/// How the canonical frame address is computed. Registers are the called function's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cfa {
    /// A register and an offset.
    At {
        /// The register.
        base: Base,
        /// The offset in bytes.
        offset: i32,
    },
    /// What is saved at a register and an offset, and more bytes.
    Deref {
        /// The register.
        base: Base,
        /// The offset in bytes from it to what is saved.
        offset: i32,
        /// What is added to what is saved.
        plus: i32,
    },
    /// In the linker's table of procedures, of 16 bytes each: rsp + 8, and 8 more once the
    /// procedure's number was pushed.
    Plt {
        /// It was pushed where the lowest four bits of the program counter are this or more.
        pushed_from: u8,
    },
    /// Another register and an offset, as hand-written code and `main` with a realigned stack
    /// have it for some instructions. Where these registers are saved is not followed: they are
    /// known of the innermost frame only.
    Register {
        /// The register in DWARF's numbering: 0 to 15, neither 6 nor 7.
        register: u8,
        /// The offset in bytes.
        offset: i32,
    },
}

/// A register that is known of every frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Base {
    /// rsp.
    StackPointer,
    /// rbp.
    FramePointer,
}

/// Where the caller's rbp is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Saved {
    /// Still in rbp.
    Unchanged,
    /// Saved at the CFA and this.
    AtCfa(i32),
    /// Saved at a register of the called function and an offset: at rbp where gcc realigns the
    /// stack, at rsp in some code written by hand.
    At {
        /// The register.
        base: Base,
        /// The offset in bytes.
        offset: i32,
    },
    /// It cannot be told. The walk may go on as long as no rule wants it.
    Unsupported,
}

/// Why a rule is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The CFA is counted from a register that is not a general one.
    CfaRegister,
    /// The CFA is a computation that is none of those in [`Cfa`].
    CfaExpression,
    /// A signal's frame that is not laid out as the kernel does it.
    SignalFrame,
    /// The return address is not saved at the CFA and an offset.
    ReturnAddress,
    /// The caller's stack pointer is not the CFA, as where another context is switched to.
    StackPointer,
    /// An offset of 2 GiB or more.
    FarOffset,
}

/// Where the kernel's signal frame has the registers of what was interrupted, in bytes from the
/// stack pointer that its handler returns to. They are the kernel's ABI.
pub mod signal {
    /// Its rbp.
    pub const FRAME_POINTER: i32 = 120;
    /// Its rsp.
    pub const STACK_POINTER: i32 = 160;
    /// Its rip.
    pub const PROGRAM_COUNTER: i32 = 168;
}
