// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
/*
 * The samplers' kernel half: the stacks of threads that are on a processor, that wait, or that are
 * there. Only the programs of the one sampler that is wanted are loaded.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "members.bpf.h"
#include "unwind.bpf.h"
#include "stacks.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* Set before loading: all threads are meant, whether a target's or not. */
const volatile __u32 everybody = 0;
/* Never read: they put the types into the object's type information. */
const volatile struct unwind_stack layout_stack = {};
const volatile struct unwind_process layout_process = {};
const volatile struct unwind_rule layout_rule = {};
const volatile struct stacks_waited layout_waited = {};
const volatile struct stacks_waits layout_waits = {};
const volatile struct stacks_freed layout_freed = {};
const volatile enum stacks_call layout_call = 0;

/* Records for which there was no room. */
__u64 records_lost = 0;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	/* Set before loading. */
	__uint(max_entries, 4096);
} records SEC(".maps");

/* Whose a process' stacks are, and whether they are wanted. */
static __always_inline int is_meant(__u32 process, __u32 *target)
{
	*target = target_of(process);
	return *target != NOBODY || everybody;
}

/* Hands a stack over. The reader comes by now and then; but of a process that it has to look at it
 * is told at once. Returns whether there was room for it. */
static __always_inline int hand_over(struct unwind_stack *stack)
{
	__u64 wakeup = stack->end == UNWIND_END_NO_MAPPING ||
				       (stack->end != UNWIND_END_NO_USER &&
					stack->known_as != stack->process) ?
			       BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;

	if (!bpf_ringbuf_output(&records, stack, stack_bytes(stack), wakeup))
		return 1;
	__sync_fetch_and_add(&records_lost, 1);
	return 0;
}

#include "on_cpu.bpf.h"
#include "off_cpu.bpf.h"
#include "threads.bpf.h"
#include "heap.bpf.h"
