// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
/*
 * The sched probe's kernel half: how long the targets' threads wait for a processor and how long
 * they have one.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "histogram.bpf.h"
#include "members.bpf.h"
#include "sched.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define THREADS_MAX 65536

/* Set before loading: whether this kernel keeps a program's notes with the thread itself. */
const volatile __u32 has_task_storage = 0;
/* Never read: they put the types into the object's type information. */
const volatile struct sched_figures layout_figures = {};
const volatile struct sched_running layout_running = {};
const volatile struct sched_waiting layout_waiting = {};

/* Waits whose beginning there was no room to note. */
__u64 waits_lost = 0;
/* Which window the reader is in; apart from the counters, because the reader writes it. */
__u32 window SEC(".data.window") = 1;
/* The waits of threads whose numbers have none of these bits are counted. The reader writes it. */
__u32 sample_mask SEC(".data.sampling") = 0;

/* When a thread could run and did not. */
struct wait_note {
	__u64 since_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct wait_note);
} waiting_by_task SEC(".maps");

/* The same by thread number, where there is no storage with the thread. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, THREADS_MAX);
	__type(key, __u32);
	__type(value, struct wait_note);
} waiting_by_number SEC(".maps");

/* One entry a target; the number of targets is set before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sched_figures);
} figures SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sched_running);
} running SEC(".maps");

/* One entry a target. The reader sets them to 0 and has sched_read add up. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sched_waiting);
} waiting SEC(".maps");

static __always_inline void begin_wait(struct task_struct *task, __u64 now)
{
	struct wait_note *note;

	if (task->pid & sample_mask)
		return;
	if (has_task_storage) {
		note = bpf_task_storage_get(&waiting_by_task, task, NULL,
					    BPF_LOCAL_STORAGE_GET_F_CREATE);
		if (note)
			note->since_ns = now;
		else
			__sync_fetch_and_add(&waits_lost, 1);
	} else {
		struct wait_note fresh = { .since_ns = now };
		__u32 number = task->pid;

		if (bpf_map_update_elem(&waiting_by_number, &number, &fresh, BPF_ANY))
			__sync_fetch_and_add(&waits_lost, 1);
	}
}

static __always_inline struct wait_note *note_of(struct task_struct *task)
{
	__u32 number = task->pid;

	if (has_task_storage)
		return bpf_task_storage_get(&waiting_by_task, task, NULL, 0);
	return bpf_map_lookup_elem(&waiting_by_number, &number);
}

/* When it began to wait; 0 where that was not seen. The note is used up. */
static __always_inline __u64 end_wait(struct task_struct *task)
{
	struct wait_note *note = note_of(task);
	__u32 number = task->pid;
	__u64 since;

	if (!note)
		return 0;
	since = note->since_ns;
	note->since_ns = 0;
	if (!has_task_storage)
		bpf_map_delete_elem(&waiting_by_number, &number);
	return since;
}

/* Whether it could go on running. */
static __always_inline int is_runnable(struct task_struct *task)
{
	if (bpf_core_field_exists(task->__state))
		return task->__state == 0;
	return BPF_CORE_READ((struct task_struct___state *)task, state) == 0;
}

static __always_inline int wakes(struct task_struct *task)
{
	if (target_of(task->tgid) != NOBODY)
		begin_wait(task, bpf_ktime_get_ns());
	return 0;
}

SEC("tp_btf/sched_wakeup")
int sched_wakeup(__u64 *ctx)
{
	return wakes((struct task_struct *)ctx[0]);
}

SEC("tp_btf/sched_wakeup_new")
int sched_wakeup_new(__u64 *ctx)
{
	return wakes((struct task_struct *)ctx[0]);
}

/* Only its first three arguments are read: the ones behind them have moved between kernels. */
SEC("tp_btf/sched_switch")
int sched_switch(__u64 *ctx)
{
	int preempted = (_Bool)ctx[0];
	struct task_struct *prev = (struct task_struct *)ctx[1];
	struct task_struct *next = (struct task_struct *)ctx[2];
	__u32 from = prev->pid ? target_of(prev->tgid) : NOBODY;
	__u32 to = next->pid ? target_of(next->tgid) : NOBODY;
	struct sched_running *here;
	struct sched_figures *of;
	__u64 now, since;
	__u32 zero = 0;

	if (from == NOBODY && to == NOBODY)
		return 0;
	now = bpf_ktime_get_ns();
	here = bpf_map_lookup_elem(&running, &zero);
	if (!here)
		return 0;
	if (from != NOBODY) {
		of = bpf_map_lookup_elem(&figures, &from);
		if (of) {
			/* It may have been here before the probe was. */
			if (here->target == from && here->since_ns)
				of->on_cpu_ns += now - here->since_ns;
			if (preempted || is_runnable(prev)) {
				of->involuntary++;
				begin_wait(prev, now);
			} else {
				of->voluntary++;
			}
		}
	}
	here->since_ns = 0;
	if (to != NOBODY) {
		here->target = to;
		here->since_ns = now;
		since = end_wait(next);
		of = bpf_map_lookup_elem(&figures, &to);
		/* Clocks of two processors may differ by a little. */
		if (of && since)
			latency_add(&of->waits, now > since ? now - since : 0, window);
	}
	return 0;
}

/*
 * Adds up the waits that have not ended. One that began before the probe was there counts from
 * when it is first seen here. A thread that is given a processor while it is looked at may get a
 * note that it does not deserve; the next switch away from it overwrites or outdates that.
 */
SEC("iter/task")
int sched_read(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct sched_waiting *sum;
	struct wait_note *note;
	__u64 now, so_far;
	__u32 target;

	if (!task)
		return 0;
	target = target_of(task->tgid);
	sum = target == NOBODY ? NULL : bpf_map_lookup_elem(&waiting, &target);
	if (!sum || task->on_cpu || !is_runnable(task))
		return 0;
	now = bpf_ktime_get_ns();
	note = note_of(task);
	if (!note || !note->since_ns) {
		begin_wait(task, now);
		return 0;
	}
	so_far = now > note->since_ns ? now - note->since_ns : 0;
	sum->sum_ns += so_far;
	if (so_far > sum->max_ns)
		sum->max_ns = so_far;
	return 0;
}
