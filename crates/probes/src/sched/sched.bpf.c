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

/* Waits whose beginning there was no room to note. */
__u64 waits_lost = 0;
/* Which window the reader is in; apart from the counters, because the reader writes it. */
__u32 window SEC(".data.window") = 1;
/* The waits of threads whose numbers have none of these bits are counted. The reader writes it. */
__u32 sample_mask SEC(".data.sampling") = 0;

/* When a thread could run and did not. */
struct waiting {
	__u64 since_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct waiting);
} waiting_by_task SEC(".maps");

/* The same by thread number, where there is no storage with the thread. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, THREADS_MAX);
	__type(key, __u32);
	__type(value, struct waiting);
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

static __always_inline void begin_wait(struct task_struct *task, __u64 now)
{
	struct waiting *waiting;

	if (task->pid & sample_mask)
		return;
	if (has_task_storage) {
		waiting = bpf_task_storage_get(&waiting_by_task, task, NULL,
					       BPF_LOCAL_STORAGE_GET_F_CREATE);
		if (waiting)
			waiting->since_ns = now;
		else
			__sync_fetch_and_add(&waits_lost, 1);
	} else {
		struct waiting fresh = { .since_ns = now };
		__u32 number = task->pid;

		if (bpf_map_update_elem(&waiting_by_number, &number, &fresh, BPF_ANY))
			__sync_fetch_and_add(&waits_lost, 1);
	}
}

/* When it began to wait; 0 where that was not seen. The note is used up. */
static __always_inline __u64 end_wait(struct task_struct *task)
{
	struct waiting *waiting;
	__u64 since = 0;

	if (has_task_storage) {
		waiting = bpf_task_storage_get(&waiting_by_task, task, NULL, 0);
		if (waiting) {
			since = waiting->since_ns;
			waiting->since_ns = 0;
		}
	} else {
		__u32 number = task->pid;

		waiting = bpf_map_lookup_elem(&waiting_by_number, &number);
		if (waiting) {
			since = waiting->since_ns;
			bpf_map_delete_elem(&waiting_by_number, &number);
		}
	}
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
