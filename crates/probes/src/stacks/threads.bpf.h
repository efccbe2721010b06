/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * The stacks of all threads as they are. One that is on a processor has none that could be looked at
 * from elsewhere.
 */

/* Set before loading: threads that wait are noted as if they began to now. */
const volatile __u32 notes_waits = 0;

static long step_of_other(__u32 step, struct walk *walk)
{
	struct task_struct *other = walk->other;
	__u32 slot = walk->slot;
	struct unwinder *of = bpf_map_lookup_elem(&unwinders, &slot);

	(void)step;
	return of && other ? one_step(of, other) : 1;
}

static __always_inline void add_stack_of_other(struct unwinder *of, struct task_struct *task)
{
	struct unwind_stack *stack = &of->stack;
	struct walk walk = { .slot = of->slot, .other = task };
	__u64 switches = task->nvcsw + task->nivcsw;
	struct user_registers registers;
	long bytes;

	bytes = bpf_get_task_stack(task, stack->frames, UNWIND_KERNEL_FRAMES_MAX * sizeof(__u64), 0);
	stack->kernel_frames = bytes > 0 ? bytes / sizeof(__u64) : 0;
	read_registers(&registers, task);
	if (!registers.ip)
		return;
	if (begins_walk(of, task, &registers)) {
		bpf_loop(UNWIND_USER_FRAMES_MAX, step_of_other, &walk, 0);
		if (!stack->end)
			stack->end = UNWIND_END_TOO_DEEP;
	}
	/* It has run meanwhile: what was read is of different moments. */
	if (task->on_cpu || task->nvcsw + task->nivcsw != switches) {
		stack->kernel_frames = 0;
		stack->user_frames = 0;
		stack->end = UNWIND_END_RUNNING;
	}
}

/* Notes a wait that was under way already, unless the thread has run since and begun another one. One
 * that runs by now loses the note when it leaves its processor. */
static __always_inline void note_wait(struct task_struct *task, __u64 since)
{
	struct off_cpu_note *note = bpf_task_storage_get(&off_cpu_notes, task, NULL,
							 BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!note)
		return;
	note->seeded_ns = since;
	__sync_val_compare_and_swap(&note->since_ns, 0, since);
}

/* Whether the thread has begun a wait since waits are followed: its stack was taken then. */
static __always_inline int is_followed(struct task_struct *task)
{
	struct off_cpu_note *note = bpf_task_storage_get(&off_cpu_notes, task, NULL, 0);

	return note && note->since_ns;
}

SEC("iter.s/task")
int threads_read(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct unwinder *unwinder;
	__u32 target;
	__u64 address = 0;

	/* The kernel's own threads have no program. */
	if (!task || !task->mm || task->exit_state || !is_meant(task->tgid, &target))
		return 0;
	if (notes_waits && (task->on_cpu || !waits_for(task, &address)))
		return 0;
	unwinder = take_unwinder();
	if (!unwinder) {
		__sync_fetch_and_add(&records_lost, 1);
		return 0;
	}
	begin_stack(&unwinder->stack, task, target);
	unwinder->stack.kind = notes_waits ? STACKS_BLOCKED : STACKS_THREAD;
	unwinder->stack.about = notes_waits ? address : task->__state;
	if (task->on_cpu)
		unwinder->stack.end = UNWIND_END_RUNNING;
	else
		add_stack_of_other(unwinder, task);
	/* A wait that it begins from here on is later than this stack, and takes its place. */
	if (!notes_waits || !is_followed(task)) {
		hand_over(&unwinder->stack);
		if (notes_waits)
			note_wait(task, unwinder->stack.t_ns);
	}
	give_back(unwinder);
	return 0;
}
