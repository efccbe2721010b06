/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* What the syscall probe's kernel half keeps. */
#ifndef TEMBLOR_SYSCALL_H
#define TEMBLOR_SYSCALL_H

#include "histogram.h"

/* From here on a call is slow. */
#define SYSCALL_SLOW_NS 1000000

enum syscall_special {
	/* A call by another table of numbers than that of programs of 64 bits. */
	SYSCALL_OF_32_BITS = -1,
	/* A number that no kernel has given to a call yet. */
	SYSCALL_UNKNOWN = -2,
};

struct syscall_key {
	/* The target's number. */
	__u32 target;
	/* The call's number, or an enum syscall_special. */
	__s32 call;
};

/* On each processor. */
struct syscall_counts {
	__u64 calls;
	__u64 time_ns;
	/* Of that: slow reads from what is no file, but has something to say now and then. */
	__u64 waited_ns;
};

struct syscall_error_key {
	struct syscall_key of;
	__u32 error;
	__u32 unused;
};

struct syscall_slow_key {
	struct syscall_key of;
	/* A read from what is no file. */
	__u32 waits;
	__u32 unused;
};

#endif
