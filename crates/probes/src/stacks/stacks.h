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
	/* A thread as it allocates memory; about is how many bytes. */
	STACKS_ALLOCATED = 5,
	/* No stack: what a thread has allocated is free again. */
	STACKS_FREED = 6,
};

/* Which of its arguments say how much memory a function allocates. */
enum stacks_call {
	/* The first. */
	STACKS_MALLOC = 0,
	/* The first times the second. */
	STACKS_CALLOC = 1,
	/* The second; what the first points to is freed. */
	STACKS_REALLOC = 2,
	/* The second. */
	STACKS_ALIGNED = 3,
	/* The third; where the address is put is the first. */
	STACKS_ALIGNED_TO = 4,
	/* As realloc; but where nothing is to be freed it goes on in malloc, which is counted there. */
	STACKS_REALLOC_BY_MALLOC = 5,
	/* As those; but where no more than malloc's own alignment is asked for they go on in malloc. */
	STACKS_ALIGNED_BY_MALLOC = 6,
	STACKS_ALIGNED_TO_BY_MALLOC = 7,
};

/* What tells an allocation from others: its thread, and when its stack was taken. */
struct stacks_allocation {
	__u64 t_ns;
	__u32 thread;
	__u32 unused;
};

struct stacks_freed {
	enum stacks_kind kind;
	__u32 unused;
	struct stacks_allocation allocation;
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
	/* Of those that were not long. */
	__u64 short_ns;
};

#endif
