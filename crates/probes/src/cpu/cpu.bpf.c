// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
/*
 * The CPU sampler's kernel half: at each beat of a processor's clock, the stack of whoever is on it.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "members.bpf.h"
#include "unwind.bpf.h"
#include "cpu.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* Set before loading: whoever is on a processor is sampled, whether a target's or not. */
const volatile __u32 everybody = 0;
/* Never read: they put the types into the object's type information. */
const volatile struct unwind_stack layout_stack = {};
const volatile struct unwind_process layout_process = {};
const volatile struct unwind_rule layout_rule = {};

/* Samples for which there was no room. */
__u64 samples_lost = 0;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	/* Set before loading. */
	__uint(max_entries, 4096);
} records SEC(".maps");

SEC("perf_event")
int cpu_sample(struct bpf_perf_event_data *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 process = task->tgid, target;
	struct user_registers registers;
	struct unwind_stack *stack;
	__u64 wakeup;

	/* Nobody is on it. */
	if (!process)
		return 0;
	target = target_of(process);
	if (target == NOBODY && !everybody)
		return 0;
	stack = begin_stack(task, target);
	if (!stack)
		return 0;
	/* It came upon the program itself, or upon the kernel at work for it, or for itself. */
	if (ctx->cs & 3) {
		registers.ip = ctx->ip;
		registers.sp = ctx->sp;
		registers.bp = ctx->bp;
		registers.cs = ctx->cs;
		add_user_stack(stack, task, &registers);
	} else {
		add_kernel_stack(stack, ctx);
		if (task->mm) {
			read_registers(&registers, task);
			/* The kernel's own threads in a process, as those of io_uring, have none. */
			if (registers.ip)
				add_user_stack(stack, task, &registers);
		}
	}
	/* The reader comes by now and then; but of what it has to look at it is told at once. */
	wakeup = stack->end == UNWIND_END_NO_MAPPING ||
				 (stack->end != UNWIND_END_NO_USER && stack->known_as != process) ?
			 BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
	if (bpf_ringbuf_output(&records, stack, stack_bytes(stack), wakeup))
		__sync_fetch_and_add(&samples_lost, 1);
	return 0;
}
