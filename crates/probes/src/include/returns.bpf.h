/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * Calls whose return somebody follows, be it us or another tracer: the kernel has put the address of
 * code of its own in the place of the return address, and keeps the real one in a list of the thread's,
 * the innermost call first.
 */
#ifndef TEMBLOR_RETURNS_BPF_H
#define TEMBLOR_RETURNS_BPF_H

/* Calls at one place, and calls that were left without a return (longjmp), that are passed by at a frame.
 * Where there are more of them at once that frame's return address stays what was found. */
#define RETURNS_STEPS 8
/* As much as the kernel's code has, at the beginning of a page of its own (UPROBE_XOL_SLOT_BYTES). */
#define RETURNS_CODE_BYTES 128
/* It pushes so many bytes before it asks the kernel where to go on. */
#define RETURNS_PUSHED 24

/* The followed calls of a thread. */
struct returns {
	struct return_instance *innermost;
	/* Of those further out than what was walked. */
	struct return_instance *next;
	/* Where the kernel's code lies. */
	__u64 code;
};

static __always_inline void find_returns(struct returns *of, struct task_struct *task)
{
	struct uprobe_task *followed;

	of->innermost = NULL;
	of->next = NULL;
	/* A kernel may be built without. */
	if (!bpf_core_type_exists(struct return_instance))
		return;
	followed = task->utask;
	if (!followed || !followed->return_instances)
		return;
	of->innermost = followed->return_instances;
	of->next = of->innermost;
	of->code = BPF_CORE_READ(task, mm, uprobes_state.xol_area, vaddr);
}

/* From the innermost one again: a signal's handler may have a stack that lies anywhere. */
static __always_inline void begin_returns_again(struct returns *of)
{
	of->next = of->innermost;
}

/* What was found in the place of a return address, or the address that belongs there. Asked from the
 * inside out. A call that was left by longjmp stays in the list, and others have had its place since. */
static __always_inline __u64 real_return(struct returns *of, __u64 place, __u64 found)
{
	struct return_instance *call;
	__u64 real = found;

	if (!bpf_core_type_exists(struct return_instance))
		return found;
	for (int step = 0; step < RETURNS_STEPS && of->next; step++) {
		__u64 at;

		call = of->next;
		at = BPF_CORE_READ(call, stack);
		if (at > place)
			break;
		if (at == place)
			real = BPF_CORE_READ(call, orig_ret_vaddr);
		of->next = BPF_CORE_READ(call, next);
	}
	return found == of->code ? real : found;
}

/* Where a thread goes on that is at the kernel's code in this moment, and its stack pointer then. Whether
 * it is. */
static __always_inline int is_returning(struct returns *of, __u64 *pc, __u64 *sp)
{
	struct return_instance *call = of->next;
	__u64 at;

	if (!bpf_core_type_exists(struct return_instance))
		return 0;
	if (!call || *pc - of->code >= RETURNS_CODE_BYTES)
		return 0;
	at = BPF_CORE_READ(call, stack) + 8;
	if (*sp > at || *sp + RETURNS_PUSHED < at)
		return 0;
	*pc = BPF_CORE_READ(call, orig_ret_vaddr);
	*sp = at;
	of->next = BPF_CORE_READ(call, next);
	return 1;
}

#endif
