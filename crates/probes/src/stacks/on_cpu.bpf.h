/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* At each beat of a processor's clock, the stack of whoever is on it. */

SEC("perf_event")
int on_cpu_sample(struct bpf_perf_event_data *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct user_registers registers;
	struct unwind_stack *stack;
	struct unwinder *unwinder;
	__u32 target;

	/* Nobody is on it. */
	if (!task->tgid || !is_meant(task->tgid, &target))
		return 0;
	unwinder = take_unwinder();
	if (!unwinder) {
		__sync_fetch_and_add(&records_lost, 1);
		return 0;
	}
	stack = &unwinder->stack;
	begin_stack(stack, task, target);
	stack->kind = STACKS_ON_CPU;
	/* It came upon the program itself, or upon the kernel at work for it, or for itself. */
	if (ctx->cs & 3) {
		registers.ip = ctx->ip;
		registers.sp = ctx->sp;
		registers.bp = ctx->bp;
		registers.cs = ctx->cs;
		add_user_stack(unwinder, task, &registers);
	} else {
		add_kernel_stack(stack, ctx);
		add_caller_stack(unwinder, task);
	}
	hand_over(stack);
	give_back(unwinder);
	return 0;
}
