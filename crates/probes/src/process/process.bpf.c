// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
/*
 * The process probe's kernel half: what the targets' processes run, how they end, and who sends
 * them what.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "members.bpf.h"
#include "process.h"
#include "task.bpf.h"
#include "signals.bpf.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* Ends that are told once although two threads may seem to be the last. */
#define ENDED_MAX 8192
#define SIGNAL_GROUP_EXIT 4

/* Set before loading: whether the tracepoint says which thread is a process' last one. */
const volatile __u32 exit_says_last = 0;
/* Never read: they put the types into the object's type information. */
const volatile struct process_record layout_record = {};
const volatile struct process_exec layout_exec = {};

/* Records for which there was no room. */
__u64 records_lost = 0;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1024 * 1024);
} records SEC(".maps");

struct life {
	__u64 start_ns;
	__u32 tgid;
	__u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, ENDED_MAX);
	__type(key, struct life);
	__type(value, __u8);
} ended SEC(".maps");

/* Room for a record of this size, all 0 up to what follows `struct process_record`. */
static __always_inline void *reserve(__u64 bytes, enum process_record_kind kind, __u32 target,
				     struct task_struct *task)
{
	struct process_record *record = bpf_ringbuf_reserve(&records, bytes, 0);

	if (!record) {
		__sync_fetch_and_add(&records_lost, 1);
		return NULL;
	}
	__builtin_memset(record, 0, sizeof(*record));
	record->t_ns = bpf_ktime_get_ns();
	record->kind = kind;
	record->target = target;
	record->pid = pid_here(task);
	BPF_CORE_READ_INTO(&record->name, task, group_leader, comm);
	return record;
}

SEC("tp_btf/sched_process_exec")
int process_execs(__u64 *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx[0];
	struct linux_binprm *program = (struct linux_binprm *)ctx[2];
	__u32 target = target_of(task->tgid);
	struct task_struct *parent;
	struct process_exec *told;

	if (target == NOBODY)
		return 0;
	told = reserve(sizeof(*told), PROCESS_RECORD_EXEC, target, task);
	if (!told)
		return 0;
	parent = BPF_CORE_READ(task, real_parent);
	told->record.parent = pid_here(parent);
	told->record.is_first = target_of(BPF_CORE_READ(parent, tgid)) != target;
	if (bpf_probe_read_kernel_str(told->file, sizeof(told->file),
				      BPF_CORE_READ(program, filename)) < 0)
		told->file[0] = 0;
	bpf_ringbuf_submit(told, 0);
	return 0;
}

/* Whether this is the end of the whole process. Where the tracepoint does not say so, two threads
 * that end at once may both find that nobody is left; the first to ask is told. */
static __always_inline int is_last(__u64 *ctx, struct task_struct *task)
{
	struct life life = {};
	__u8 yes = 1;

	if (exit_says_last)
		return (_Bool)ctx[1];
	if (BPF_CORE_READ(task, signal, live.counter) != 0)
		return 0;
	life.start_ns = BPF_CORE_READ(task, group_leader, start_time);
	life.tgid = task->tgid;
	return bpf_map_update_elem(&ended, &life, &yes, BPF_NOEXIST) == 0;
}

SEC("tp_btf/sched_process_exit")
int process_exits(__u64 *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx[0];
	__u32 tgid = task->tgid, target = target_of(tgid), code;
	struct signal_struct *shared;
	struct process_record *record;
	struct deadly *deadly;

	if (target == NOBODY || !is_last(ctx, task))
		return 0;
	deadly = bpf_map_lookup_elem(&deadlies, &tgid);
	record = reserve(sizeof(*record), PROCESS_RECORD_EXIT, target, task);
	if (record) {
		shared = BPF_CORE_READ(task, signal);
		/* The last thread to go may have gone by itself, long after the first one's end gave
		 * the process its code. */
		if (BPF_CORE_READ(shared, flags) & SIGNAL_GROUP_EXIT)
			code = BPF_CORE_READ(shared, group_exit_code);
		else
			code = BPF_CORE_READ(task, group_leader, exit_code);
		record->exit_code = code;
		record->lived_ns = record->t_ns - BPF_CORE_READ(task, group_leader, start_time);
		record->out_of_memory = BPF_CORE_READ(shared, oom_mm) != NULL;
		if (deadly && deadly->signal == (code & 0x7f)) {
			record->sender = deadly->sender;
			record->cgroup_limit = deadly->cgroup_limit;
		}
		bpf_ringbuf_submit(record, 0);
	}
	if (deadly)
		bpf_map_delete_elem(&deadlies, &tgid);
	return 0;
}

SEC("tp_btf/signal_generate")
int process_signals(__u64 *ctx)
{
	int signal = (int)ctx[0], result = (int)ctx[4];
	struct task_struct *task = (struct task_struct *)ctx[2];
	__u32 tgid = task->tgid, target = target_of(tgid);
	struct process_record *record;
	struct deadly deadly = {};
	__u64 handler, info = 0;

	if (target == NOBODY || signal < 1 || signal > SIGNALS_MAX || !is_effective(signal, result))
		return 0;
	handler = handler_of(task, signal);
	deadly.signal = signal;
	if (!is_telling(signal, handler))
		return 0;
	/* Read as a number: it may be 0 or 1, which is no address. */
	bpf_probe_read_kernel(&info, sizeof(info), &ctx[1]);
	fill_sender(&deadly.sender, info, signal, tgid);
	if (is_deadly(signal, handler)) {
		if (signal == SIGKILL && deadly.sender.kind == PROCESS_SENDER_KERNEL)
			deadly.cgroup_limit = has_full_group(task);
		remember(tgid, &deadly);
	}
	record = reserve(sizeof(*record), PROCESS_RECORD_SIGNAL, target, task);
	if (!record)
		return 0;
	record->signal = signal;
	record->handled = handler > SIG_IGN;
	record->sender = deadly.sender;
	bpf_ringbuf_submit(record, 0);
	return 0;
}

/* The kernel marks its victim after the signal, and since Linux 6.16 a process may have told of its
 * end by then. Only for the tracepoint as it is since Linux 6.8. */
SEC("tp_btf/mark_victim")
int process_victim(__u64 *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx[0];
	__u32 target = target_of(task->tgid);
	struct process_record *record;

	if (target == NOBODY)
		return 0;
	record = reserve(sizeof(*record), PROCESS_RECORD_VICTIM, target, task);
	if (record)
		bpf_ringbuf_submit(record, 0);
	return 0;
}
