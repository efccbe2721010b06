// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
/*
 * The memory probe's kernel half: page faults and resident memory, read where the kernel keeps
 * them anyway; how long the targets' threads have to look for memory themselves; and whom the
 * kernel kills for want of it.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "histogram.bpf.h"
#include "members.bpf.h"
#include "memory.h"
#include "pages.bpf.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define THREADS_MAX 65536
#define RECLAIMING_MAX 16384
#define KILLERS_MAX 1024
#define SIGKILL 9
/* What the kernel has instead of a signal's note where it kills on its own account. */
#define SEND_SIG_PRIV 1

/* Set before loading. Whoever is older than this has faults that are none of ours. */
const volatile __u64 began_ns = 0;
/* Never read: they put the types into the object's type information. */
const volatile struct memory_living layout_living = {};
const volatile struct memory_counted layout_counted = {};
const volatile struct memory_reclaimed layout_reclaimed = {};
const volatile enum memory_pages layout_pages = 0;
const volatile enum memory_reclaim layout_reclaim = 0;

/* Threads whose faults there was no room to tell from those before. */
__u64 threads_lost = 0;
/* Stalls whose beginning there was no room to note. */
__u64 stalls_lost = 0;
/* Which window the reader is in; apart from the counters, because the reader writes it. */
__u32 window SEC(".data.window") = 1;

/* One entry a target in each; their number is set before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct memory_living);
} living SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct memory_counted);
} counted SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct memory_reclaimed);
} reclaimed SEC(".maps");

struct settled {
	struct memory_faults faults;
	__u64 start_ns;
	__u32 target;
	__u32 has_ended;
};

/* How many of a thread's faults are counted already, or are none of ours. Keyed by the thread's
 * place in memory: a thread that runs a program takes over the number of its process. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, THREADS_MAX);
	__type(key, __u64);
	__type(value, struct settled);
} settled SEC(".maps");

/* Since when a thread has looked for memory. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, RECLAIMING_MAX);
	__type(key, __u32);
	__type(value, __u64);
} reclaiming SEC(".maps");

/* Where a thread looked for memory last, whoever's it is: if it then has to kill, this is why. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, RECLAIMING_MAX);
	__type(key, __u32);
	__type(value, __u32);
} looked_in SEC(".maps");

/* Whom a thread has just sent SIGKILL in the kernel's name. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, KILLERS_MAX);
	__type(key, __u32);
	__type(value, __u32);
} killers SEC(".maps");

static __always_inline struct memory_faults faults_of(struct task_struct *task)
{
	struct memory_faults faults = { .minor = task->min_flt, .major = task->maj_flt };

	return faults;
}

static __always_inline void settle(struct task_struct *task, __u32 target, __u32 has_ended)
{
	struct settled now = {
		.faults = faults_of(task),
		.start_ns = task->start_time,
		.target = target,
		.has_ended = has_ended,
	};
	__u64 thread = (__u64)task;

	if (bpf_map_update_elem(&settled, &thread, &now, BPF_ANY))
		__sync_fetch_and_add(&threads_lost, 1);
}

/* None where it is of another thread that was in the same place, and whose going was missed. One
 * that runs a program takes over its process' age as well, and is still the same. */
static __always_inline struct settled *settled_of(struct task_struct *task)
{
	__u64 thread = (__u64)task;
	struct settled *until = bpf_map_lookup_elem(&settled, &thread);

	if (until && until->has_ended && until->start_ns != task->start_time)
		return NULL;
	return until;
}

static __always_inline struct memory_faults since(struct settled *until, struct task_struct *task)
{
	struct memory_faults faults = faults_of(task);

	faults.minor = faults.minor > until->faults.minor ? faults.minor - until->faults.minor : 0;
	faults.major = faults.major > until->faults.major ? faults.major - until->faults.major : 0;
	return faults;
}

/* What of a thread's faults is not settled. One that was there before the probe is settled with
 * when it is first seen. */
static __always_inline struct memory_faults unsettled(struct task_struct *task, __u32 target)
{
	struct memory_faults none = {};
	struct settled *until = settled_of(task);

	if (until)
		return since(until, task);
	if (task->start_time >= began_ns)
		return faults_of(task);
	settle(task, target, 0);
	return none;
}

/* Adds up what the living have. The reader has set the sums to 0. */
SEC("iter/task")
int memory_read(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct memory_faults faults;
	struct memory_living *sum;
	__u32 target;

	if (!task)
		return 0;
	target = target_of(task->tgid);
	sum = target == NOBODY ? NULL : bpf_map_lookup_elem(&living, &target);
	if (!sum)
		return 0;
	faults = unsettled(task, target);
	sum->faults.minor += faults.minor;
	sum->faults.major += faults.major;
	add_pages(task, sum->pages);
	return 0;
}

static __always_inline void add_ended(__u32 target, struct memory_faults faults)
{
	struct memory_counted *sum = bpf_map_lookup_elem(&counted, &target);

	if (!sum)
		return;
	__sync_fetch_and_add(&sum->ended.minor, faults.minor);
	__sync_fetch_and_add(&sum->ended.major, faults.major);
}

SEC("tp_btf/sched_process_exit")
int memory_exit(__u64 *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx[0];
	__u32 target = target_of(task->tgid);

	if (target == NOBODY)
		return 0;
	add_ended(target, unsettled(task, target));
	settle(task, target, 1);
	return 0;
}

/* There may be a few more faults on a thread's way out. The roster does not know it by now. */
SEC("tp_btf/sched_process_free")
int memory_free(__u64 *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx[0];
	__u64 thread = (__u64)task;
	struct settled *until = settled_of(task);

	if (until)
		add_ended(until->target, since(until, task));
	bpf_map_delete_elem(&settled, &thread);
	return 0;
}

static __always_inline int begin_reclaim(__u32 kind)
{
	__u64 both = bpf_get_current_pid_tgid(), now;
	__u32 thread = both;

	/* If there is no room, the machine's want is taken for the reason. */
	bpf_map_update_elem(&looked_in, &thread, &kind, BPF_ANY);
	if (target_of(both >> 32) == NOBODY)
		return 0;
	now = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&reclaiming, &thread, &now, BPF_ANY))
		__sync_fetch_and_add(&stalls_lost, 1);
	return 0;
}

static __always_inline int end_reclaim(enum memory_reclaim kind, __u64 pages)
{
	__u64 both = bpf_get_current_pid_tgid(), *since, began;
	__u32 thread = both, target = target_of(both >> 32);
	struct memory_reclaimed *of;

	if (target == NOBODY)
		return 0;
	since = bpf_map_lookup_elem(&reclaiming, &thread);
	if (!since)
		return 0;
	began = *since;
	bpf_map_delete_elem(&reclaiming, &thread);
	of = bpf_map_lookup_elem(&reclaimed, &target);
	if (!of)
		return 0;
	latency_add(&of->stalls[kind], bpf_ktime_get_ns() - began, window);
	of->pages[kind] += pages;
	return 0;
}

SEC("tp_btf/mm_vmscan_direct_reclaim_begin")
int memory_direct_begin(__u64 *ctx __attribute__((unused)))
{
	return begin_reclaim(MEMORY_RECLAIM_DIRECT);
}

SEC("tp_btf/mm_vmscan_direct_reclaim_end")
int memory_direct_end(__u64 *ctx)
{
	return end_reclaim(MEMORY_RECLAIM_DIRECT, ctx[0]);
}

SEC("tp_btf/mm_vmscan_memcg_reclaim_begin")
int memory_cgroup_begin(__u64 *ctx __attribute__((unused)))
{
	return begin_reclaim(MEMORY_RECLAIM_CGROUP);
}

SEC("tp_btf/mm_vmscan_memcg_reclaim_end")
int memory_cgroup_end(__u64 *ctx)
{
	return end_reclaim(MEMORY_RECLAIM_CGROUP, ctx[0]);
}

/* The kernel kills whom it has chosen and marks it at once, all in the thread that wanted memory.
 * One that was dying anyway is marked without being killed, and is no victim. */
SEC("tp_btf/signal_generate")
int memory_signal(__u64 *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx[2];
	__u32 killer = bpf_get_current_pid_tgid(), victim = task->pid;
	__u64 info = 0;

	if ((int)ctx[0] != SIGKILL || target_of(task->tgid) == NOBODY)
		return 0;
	/* Read as a number: it may be 0 or 1, which is no address. */
	bpf_probe_read_kernel(&info, sizeof(info), &ctx[1]);
	if (info == SEND_SIG_PRIV)
		bpf_map_update_elem(&killers, &killer, &victim, BPF_ANY);
	return 0;
}

/* Of a victim that is given by the number of one of its threads: the kernel takes the first that
 * still has its memory, and that is all but always the one by whose number its process goes. */
static __always_inline void count_victim(__u32 tgid, __u32 thread)
{
	__u32 killer = bpf_get_current_pid_tgid(), target = target_of(tgid), *killed, *where;
	struct memory_counted *sum;

	killed = bpf_map_lookup_elem(&killers, &killer);
	if (target == NOBODY || !killed || *killed != thread)
		return;
	bpf_map_delete_elem(&killers, &killer);
	where = bpf_map_lookup_elem(&looked_in, &killer);
	sum = bpf_map_lookup_elem(&counted, &target);
	if (!sum)
		return;
	if (where && *where == MEMORY_RECLAIM_CGROUP)
		__sync_fetch_and_add(&sum->killed[MEMORY_RECLAIM_CGROUP], 1);
	else
		__sync_fetch_and_add(&sum->killed[MEMORY_RECLAIM_DIRECT], 1);
}

SEC("tp_btf/mark_victim")
int memory_victim(__u64 *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx[0];

	count_victim(task->tgid, task->pid);
	return 0;
}

/* The same before Linux 6.8. */
SEC("tp_btf/mark_victim")
int memory_victim_by_number(__u64 *ctx)
{
	__u32 thread = ctx[0];

	count_victim(thread, thread);
	return 0;
}
