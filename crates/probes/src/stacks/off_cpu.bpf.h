/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * How long threads wait, and where: from when a thread leaves its processor because it cannot go on
 * until it is on one again. Its stack is walked when the wait begins, while the thread is still there
 * to be looked at; how long it was is told when it ends.
 *
 * Where waits are many and short, one of so many is walked and stands for the others. A long wait
 * counts by itself always, also where its stack was not walked. What is walked is chosen before
 * anybody knows how long it will be, so that the sum is right on average.
 */

/* Waits of at least so long are long. */
/* How often the last wait of a thread is looked at that begins others meanwhile. */
#define OFF_CPU_LOOKS 4
#define OFF_CPU_LONG_NS 1000000

/* Of x86's system calls those that wait for a lock, and the bits of their operation. */
#define FUTEX_CALL 202
#define FUTEX_WAIT_CALL 455
#define FUTEX_WAITV_CALL 449
#define FUTEX_COMMAND_MASK 0x7f
#define FUTEX_WAIT 0
#define FUTEX_LOCK_PI 6
#define FUTEX_WAIT_BITSET 9
#define FUTEX_WAIT_REQUEUE_PI 11
#define FUTEX_LOCK_PI2 13

#define TASK_DEAD_BITS 0xf0

/* Set before loading: waits for locks alone. */
const volatile __u32 only_locks = 0;
/* Set before loading: whoever wakes a thread is walked, too. */
const volatile __u32 with_wakers = 0;
/* Of so many stacks in such a time on a processor each is walked: at some seven microseconds each,
 * with what the reader makes of it, that is a few hundredths of the processor. */
#define OFF_CPU_PACE_WALKS 40
#define OFF_CPU_PACE_NS 10000000
/* One of a thousand. */
#define OFF_CPU_PACE_MASK_MAX 0x3ff

struct off_cpu_pace {
	__u64 since_ns;
	__u32 walks;
	/* Of a thread whose last wait was short, a wait is walked if a random number has none of these
	 * bits. */
	__u32 mask;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct off_cpu_pace);
} off_cpu_paces SEC(".maps");

struct off_cpu_note {
	/* 0: it does not wait. */
	__u64 since_ns;
	/* How much of that time the looking itself has taken. */
	__u64 ours_ns;
	/* For how many waits this one stands; 0: it was not walked. */
	__u32 weight;
	/* Whether the last one was. */
	__u32 was_short;
	/* Whether this one was long when it was woken; what it waits for a processor then counts to its
	 * length, and no longer to what it stands for. */
	__u32 is_long;
	__u32 waker_pid;
	/* Of the wait that began then the waker is. */
	__u64 woken_ns;
	/* The wait that began then was under way when the collecting began. */
	__u64 seeded_ns;
	__u8 waker_name[UNWIND_NAME_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct off_cpu_note);
} off_cpu_notes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct stacks_waits);
} waits SEC(".maps");

/* Whether the thread is about to wait for a lock, and for which one. */
static __always_inline int waits_for_lock(struct task_struct *task, __u64 *address)
{
	struct pt_regs___registers *from = (struct pt_regs___registers *)bpf_task_pt_regs(task);
	long call = BPF_CORE_READ(from, orig_ax);

	*address = 0;
	if (call == FUTEX_WAITV_CALL)
		return 1;
	if (call != FUTEX_CALL && call != FUTEX_WAIT_CALL)
		return 0;
	*address = BPF_CORE_READ(from, di);
	if (call == FUTEX_WAIT_CALL)
		return 1;
	switch (BPF_CORE_READ(from, si) & FUTEX_COMMAND_MASK) {
	case FUTEX_WAIT:
	case FUTEX_LOCK_PI:
	case FUTEX_WAIT_BITSET:
	case FUTEX_WAIT_REQUEUE_PI:
	case FUTEX_LOCK_PI2:
		return 1;
	}
	return 0;
}

/* Whether the thread called the kernel, and was not interrupted in its program. */
static __always_inline int is_in_call(struct task_struct *task)
{
	struct pt_regs___registers *from = (struct pt_regs___registers *)bpf_task_pt_regs(task);

	return (long)BPF_CORE_READ(from, orig_ax) >= 0;
}

static __always_inline int is_runnable(struct task_struct *task)
{
	return task->__state == 0;
}

/* Whether the thread waits, and for something that is wanted. */
static __always_inline int waits_for(struct task_struct *task, __u64 *address)
{
	*address = 0;
	/* The kernel's own threads wait for work, and those that end for nothing. */
	if (!task->mm || is_runnable(task) || task->__state & TASK_DEAD_BITS || task->exit_state)
		return 0;
	return waits_for_lock(task, address) || !only_locks;
}

/* What is known of a wait's place before it is walked. */
static __always_inline void begin_wait_stack(struct unwind_stack *stack, struct task_struct *task,
					     __u32 target, __u64 address, __u64 now)
{
	begin_stack(stack, task, target);
	stack->kind = STACKS_BLOCKED;
	stack->about = address;
	/* What the wait's end is told apart by. */
	stack->t_ns = now;
}

/* Whether the stack was handed over. */
static __always_inline int walks_wait(void *ctx, struct task_struct *task, __u32 target,
				      __u64 address, __u64 now)
{
	struct unwinder *unwinder = take_unwinder();
	int is_handed_over;

	if (!unwinder) {
		__sync_fetch_and_add(&records_lost, 1);
		return 0;
	}
	begin_wait_stack(&unwinder->stack, task, target, address, now);
	add_kernel_stack(&unwinder->stack, ctx);
	add_caller_stack(unwinder, task);
	is_handed_over = hand_over(&unwinder->stack);
	give_back(unwinder);
	return is_handed_over;
}

/* For how many waits the one that begins now is to stand; 0: it is left out. */
static __always_inline __u32 stands_for(struct off_cpu_note *note, __u64 now)
{
	__u32 only = 0, mask;
	struct off_cpu_pace *pace = bpf_map_lookup_elem(&off_cpu_paces, &only);

	if (!pace)
		return 0;
	if (now - pace->since_ns >= OFF_CPU_PACE_NS) {
		if (pace->walks < OFF_CPU_PACE_WALKS / 4)
			pace->mask >>= 1;
		pace->since_ns = now;
		pace->walks = 0;
	} else if (pace->walks >= OFF_CPU_PACE_WALKS) {
		pace->mask = (pace->mask << 1 | 1) & OFF_CPU_PACE_MASK_MAX;
		pace->since_ns = now;
		pace->walks = 0;
	}
	mask = note->was_short ? pace->mask : 0;
	if (mask && bpf_get_prandom_u32() & mask)
		return 0;
	pace->walks++;
	return mask + 1;
}

static __always_inline void begin_wait(void *ctx, struct task_struct *task, int is_preempted,
				       __u64 now)
{
	struct off_cpu_note *note;
	__u32 target, weight;
	__u64 address;

	if (!is_meant(task->tgid, &target))
		return;
	/* One that was about to wait, and had to leave its processor before, has not begun to. */
	if (is_preempted || !waits_for(task, &address)) {
		note = bpf_task_storage_get(&off_cpu_notes, task, NULL, 0);
		if (note)
			note->since_ns = 0;
		return;
	}
	note = bpf_task_storage_get(&off_cpu_notes, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!note) {
		__sync_fetch_and_add(&records_lost, 1);
		return;
	}
	note->ours_ns = 0;
	note->weight = 0;
	note->is_long = 0;
	note->since_ns = now;
	weight = stands_for(note, now);
	if (!weight)
		return;
	if (walks_wait(ctx, task, target, address, now))
		note->weight = weight;
	note->ours_ns = bpf_ktime_get_ns() - now;
}

static __always_inline void count_wait(__u64 lasted, int is_long)
{
	__u32 only = 0;
	struct stacks_waits *sum = bpf_map_lookup_elem(&waits, &only);

	if (!sum)
		return;
	sum->count++;
	sum->sum_ns += lasted;
	if (!is_long)
		sum->short_ns += lasted;
}

/* A wait is over for whoever has taken its beginning out of the note: its thread's processor, or the one
 * that ends the collecting. No other wait of now is known to stand for the last one. */
static __always_inline void end_wait(struct task_struct *task, struct off_cpu_note *note, __u64 since,
				     int is_last)
{
	struct stacks_waited waited = { .kind = STACKS_WAITED, .thread = task->pid };
	__u64 now = bpf_ktime_get_ns(), begin;

	waited.since_ns = since;
	if (since == note->seeded_ns) {
		begin = since;
		waited.is_long = 1;
	} else {
		begin = since + note->ours_ns;
		waited.is_long = is_last || note->is_long;
		waited.weight = note->weight;
	}
	/* Clocks of two processors may differ by a little. */
	waited.lasted_ns = now > begin ? now - begin : 0;
	count_wait(waited.lasted_ns, waited.is_long);
	note->was_short = waited.lasted_ns < OFF_CPU_LONG_NS;
	if (waited.is_long)
		waited.weight = 1;
	if (!waited.weight)
		return;
	if (since == note->woken_ns) {
		waited.waker_pid = note->waker_pid;
		__builtin_memcpy(waited.waker_name, note->waker_name, sizeof(waited.waker_name));
	}
	if (bpf_ringbuf_output(&records, &waited, sizeof(waited), BPF_RB_NO_WAKEUP))
		__sync_fetch_and_add(&records_lost, 1);
}

/* Only its first three arguments are read: the ones behind them have moved between kernels. */
SEC("tp_btf/sched_switch")
int off_cpu_switch(__u64 *ctx)
{
	struct task_struct *prev = (struct task_struct *)ctx[1];
	struct task_struct *next = (struct task_struct *)ctx[2];
	struct off_cpu_note *note;
	__u64 since;

	if (prev->pid)
		begin_wait(ctx, prev, (_Bool)ctx[0], bpf_ktime_get_ns());
	if (!next->pid)
		return 0;
	note = bpf_task_storage_get(&off_cpu_notes, next, NULL, 0);
	since = note && note->since_ns ? __sync_lock_test_and_set(&note->since_ns, 0) : 0;
	if (since)
		end_wait(next, note, since, 0);
	return 0;
}

/* A long wait that was not walked: what can be seen of the thread by whoever wakes it. */
static __always_inline void look_at_sleeper(struct unwind_stack *stack, struct task_struct *task,
					    __u64 since)
{
	struct user_registers registers;
	__u32 target;
	__u64 address;
	long bytes;

	if (!is_meant(task->tgid, &target))
		return;
	waits_for_lock(task, &address);
	begin_wait_stack(stack, task, target, address, since);
	bytes = bpf_get_task_stack(task, stack->frames, UNWIND_KERNEL_FRAMES_MAX * sizeof(__u64), 0);
	stack->kernel_frames = bytes > 0 ? bytes / sizeof(__u64) : 0;
	read_registers(&registers, task);
	stack->known_as = known_as(task);
	add_user_frame(stack, registers.ip);
	stack->end = UNWIND_END_SKIPPED;
	hand_over(stack);
}

SEC("tp_btf/sched_waking")
int off_cpu_waking(__u64 *ctx)
{
	struct task_struct *sleeper = (struct task_struct *)ctx[0];
	struct task_struct *waker = bpf_get_current_task_btf();
	struct off_cpu_note *note;
	struct unwinder *unwinder;
	__u64 now, since;
	int is_wanted, is_walked;
	__u32 target;

	if (sleeper == waker)
		return 0;
	note = bpf_task_storage_get(&off_cpu_notes, sleeper, NULL, 0);
	if (!note)
		return 0;
	since = note->since_ns;
	if (!since || note->woken_ns == since)
		return 0;
	now = bpf_ktime_get_ns();
	note->waker_pid = waker->pid ? pid_here(waker) : 0;
	bpf_probe_read_kernel_str(note->waker_name, sizeof(note->waker_name), waker->comm);
	note->woken_ns = since;
	is_walked = note->weight || since == note->seeded_ns;
	note->is_long = now - since >= OFF_CPU_LONG_NS;
	/* Of a short one that was skipped nobody asks. */
	if (is_walked ? !with_wakers : !note->is_long)
		return 0;
	unwinder = take_unwinder();
	if (!unwinder) {
		__sync_fetch_and_add(&records_lost, 1);
		return 0;
	}
	if (!is_walked)
		look_at_sleeper(&unwinder->stack, sleeper, since);
	if (with_wakers) {
		is_wanted = is_meant(waker->tgid, &target);
		begin_stack(&unwinder->stack, waker, target);
		unwinder->stack.kind = STACKS_WAKER;
		unwinder->stack.about = sleeper->pid;
		add_kernel_stack(&unwinder->stack, ctx);
		/* Where its program was interrupted tells nothing of the wait; and whoever is no target is
		 * not looked at for having woken one. */
		if (is_wanted && is_in_call(waker))
			add_caller_stack(unwinder, waker);
		hand_over(&unwinder->stack);
	}
	give_back(unwinder);
	note->ours_ns += bpf_ktime_get_ns() - now;
	return 0;
}

/* Tells of the waits that have not ended. */
SEC("iter/task")
int off_cpu_end(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct off_cpu_note *note;
	struct unwinder *unwinder;
	__u64 since;

	/* Whoever was woken and has no processor yet still waits for the end. */
	if (!task || task->on_cpu)
		return 0;
	note = bpf_task_storage_get(&off_cpu_notes, task, NULL, 0);
	if (!note)
		return 0;
	/* While it is looked at it may be woken, and wait again. */
	for (int look = 0; look < OFF_CPU_LOOKS; look++) {
		since = note->since_ns;
		if (!since)
			return 0;
		if (!note->weight && since != note->seeded_ns) {
			unwinder = take_unwinder();
			if (unwinder) {
				look_at_sleeper(&unwinder->stack, task, since);
				give_back(unwinder);
			}
		}
		if (__sync_val_compare_and_swap(&note->since_ns, since, 0) == since) {
			end_wait(task, note, since, 1);
			return 0;
		}
	}
	return 0;
}
