/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * What the kernel half is told of how frames lie on a stack, and what it tells of the stacks that it
 * has walked.
 *
 * A file's table says for each address of its code how the caller's frame is found. It is cut into
 * pages of 1 KiB, so that a row needs only the address' last bits and few are to be searched; the
 * first row of each page is what holds at its beginning.
 */
#ifndef TEMBLOR_UNWIND_H
#define TEMBLOR_UNWIND_H

#define UNWIND_PAGE_BITS 10
#define UNWIND_USER_FRAMES_MAX 512
#define UNWIND_KERNEL_FRAMES_MAX 127
#define UNWIND_FRAMES_MAX 639
/* Of executable mappings of a process: more are not looked at. */
#define UNWIND_MAPPINGS_MAX 512
#define UNWIND_NAME_BYTES 16

/* Where the frame of the caller begins: the address above the return address. */
enum unwind_cfa {
	/* The file says nothing of it: code that was put together by hand, or by another program. It may
	 * keep frame pointers. */
	UNWIND_CFA_UNKNOWN = 0,
	/* The stack pointer and an offset. */
	UNWIND_CFA_STACK = 1,
	/* The frame pointer and an offset. */
	UNWIND_CFA_FRAME = 2,
	/* What is found at the stack pointer and an offset, and another offset. */
	UNWIND_CFA_AT_STACK = 3,
	/* The same at the frame pointer. */
	UNWIND_CFA_AT_FRAME = 4,
	/* A stub of the procedure linkage table: it has pushed a word from some byte on. */
	UNWIND_CFA_STUB = 5,
	/* The kernel put a signal's frame here: the registers are in it. */
	UNWIND_CFA_SIGNAL = 6,
	/* The thread's outermost frame. */
	UNWIND_CFA_ROOT = 7,
	/* The file says it in a way that is not followed. */
	UNWIND_CFA_UNSUPPORTED = 8,
};

/* Where the caller's frame pointer is. */
enum unwind_saved {
	/* It still has it. */
	UNWIND_SAVED_UNCHANGED = 0,
	UNWIND_SAVED_AT_CFA = 1,
	UNWIND_SAVED_AT_STACK = 2,
	UNWIND_SAVED_AT_FRAME = 3,
	/* Nobody knows; the walk goes on for as long as no rule wants it. */
	UNWIND_SAVED_UNKNOWN = 4,
};

struct unwind_rule {
	enum unwind_cfa cfa;
	/* For a stub, from which of its bytes on it has pushed. */
	__s32 cfa_offset;
	/* For what is found at an address. */
	__s32 cfa_plus;
	enum unwind_saved saved;
	__s32 saved_offset;
	/* Where the return address is, from the CFA on. */
	__s32 return_offset;
};

/* A row takes 32 bits: the lower half are the last bits of the first address for which it holds, the
 * upper half is the number of a rule; that of the first one is for addresses of which nothing is
 * known. */
#define UNWIND_ROW_RULE_SHIFT 16

struct unwind_mapping {
	__u64 begin;
	__u64 end;
	/* What is taken from an address to have its place in the table. */
	__u64 bias;
	__u32 table;
	/* How many pages the table has. 0: there is none, and frame pointers are taken to be kept, as in
	 * code that was made at run time. */
	__u32 pages;
};

/* In the order of their addresses. */
struct unwind_process {
	/* Where its stack begins, which tells the program that it runs from the one that it ran before. */
	__u64 start_stack;
	__u32 count;
	__u32 unused;
	struct unwind_mapping mappings[UNWIND_MAPPINGS_MAX];
};

/* Why a stack of the user's has no more frames. */
enum unwind_end {
	/* It has none: a thread of the kernel's. */
	UNWIND_END_NO_USER = 0,
	/* The thread's outermost frame is there. */
	UNWIND_END_ROOT = 1,
	/* The process' mappings are not known yet. */
	UNWIND_END_NEW_PROCESS = 2,
	/* The address lies in no mapping that is known. */
	UNWIND_END_NO_MAPPING = 3,
	/* The file's table says nothing of the address. */
	UNWIND_END_NO_RULE = 4,
	/* The memory of the stack is not there, or is none. */
	UNWIND_END_UNREADABLE = 5,
	/* The stack would not grow: it is none. */
	UNWIND_END_NOT_GROWING = 6,
	/* Deeper than is walked. */
	UNWIND_END_TOO_DEEP = 7,
	/* A program of 32 bits. */
	UNWIND_END_NARROW = 8,
	/* There were too many to walk each of them. */
	UNWIND_END_SKIPPED = 9,
	/* It ran meanwhile. */
	UNWIND_END_RUNNING = 10,
};

struct unwind_stack {
	/* What it was taken for; see the program that takes it. */
	__u32 kind;
	/* The thread's number in the first pid namespace. */
	__u32 thread;
	__u64 t_ns;
	/* As the kind says. */
	__u64 about;
	/* The process' number in the first pid namespace. */
	__u32 process;
	/* Process and thread by the numbers that they have where the reader is. */
	__u32 pid;
	__u32 tid;
	/* The target's number. */
	__u32 target;
	/* The process whose mappings were used: another one where it is its copy; 0: nobody's. */
	__u32 known_as;
	enum unwind_end end;
	__u32 kernel_frames;
	__u32 user_frames;
	/* Of the thread. */
	__u8 name[UNWIND_NAME_BYTES];
	/* The kernel's, innermost first, then the user's. Those of callers are of the call itself, not of
	 * what comes after it. As many as are said to be there are handed over. */
	__u64 frames[UNWIND_FRAMES_MAX];
};

#endif
