/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * Calls whose return somebody follows, be it us or another tracer: the kernel has put the address of
 * code of its own in the place of the return address, and keeps the real one in a list of the thread's,
 * the innermost call first.
 */
#ifndef TEMBLOR_RETURNS_BPF_H
#define TEMBLOR_RETURNS_BPF_H

/* Calls at one place, and calls that were left without a return (longjmp), that are passed by at once. */
#define RETURNS_STEPS 8
/* The kernel's code pushes so many bytes before it asks the kernel where to go on. */
#define RETURNS_PUSHED 24

static __always_inline struct return_instance *followed_return(struct task_struct *task)
{
	struct uprobe_task *followed;

	/* A kernel may be built without. */
	if (!bpf_core_field_exists(task->utask))
		return NULL;
	followed = task->utask;
	return followed ? followed->return_instances : NULL;
}

/* What was found in the place of a return address, or the address that belongs there. Asked from the
 * inside out. */
static __always_inline __u64 real_return(struct return_instance **followed, __u64 place, __u64 found)
{
	for (int step = 0; step < RETURNS_STEPS && *followed; step++) {
		__u64 at = BPF_CORE_READ(*followed, stack);

		if (at > place)
			break;
		if (at == place)
			found = BPF_CORE_READ(*followed, orig_ret_vaddr);
		*followed = BPF_CORE_READ(*followed, next);
	}
	return found;
}

/* Where a thread goes on that is at the kernel's code in this moment, and its stack pointer then. Whether
 * it is. */
static __always_inline int is_returning(struct return_instance **followed, __u64 *pc, __u64 *sp)
{
	__u64 at;

	if (!*followed)
		return 0;
	at = BPF_CORE_READ(*followed, stack) + 8;
	if (*sp > at || *sp + RETURNS_PUSHED < at)
		return 0;
	*pc = BPF_CORE_READ(*followed, orig_ret_vaddr);
	*sp = at;
	*followed = BPF_CORE_READ(*followed, next);
	return 1;
}

#endif
