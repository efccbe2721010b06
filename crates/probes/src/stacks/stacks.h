/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* What the samplers' kernel half tells the other half: stacks, and what became of threads. */
#ifndef TEMBLOR_STACKS_H
#define TEMBLOR_STACKS_H

#include "unwind.h"

/* The first word of every record. */
enum stacks_kind {
	/* A thread that is on a processor. */
	STACKS_ON_CPU = 0,
	/* A thread as it begins to wait; about is the lock's address where it waits for one. */
	STACKS_BLOCKED = 1,
	/* Whoever woke a thread; about is that thread's number in the first pid namespace. */
	STACKS_WAKER = 2,
	/* A thread as it is; about is its state. */
	STACKS_THREAD = 3,
	/* No stack: a wait has ended. */
	STACKS_WAITED = 4,
};

/* A wait that has ended, or that was under way when the collecting ended. */
struct stacks_waited {
	enum stacks_kind kind;
	/* The thread's number in the first pid namespace. */
	__u32 thread;
	/* As its stack has it. */
	__u64 since_ns;
	/* Without what the looking itself took. */
	__u64 lasted_ns;
	/* For how many such waits it stands. */
	__u32 weight;
	/* Whether it was long, and so stands for itself alone. */
	__u32 is_long;
	/* Who woke it, by the numbers that they have where the reader is; 0: nobody who is known. */
	__u32 waker_pid;
	__u32 unused;
	__u8 waker_name[UNWIND_NAME_BYTES];
};

/* All waits of the targets, whether there are stacks of them or not. */
struct stacks_waits {
	__u64 count;
	__u64 sum_ns;
};

#endif
