/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* What is asked of a task by several probes. */
#ifndef TEMBLOR_TASK_BPF_H
#define TEMBLOR_TASK_BPF_H

/* How deep the reader's pid namespace is below the first: people know processes by the numbers
 * that they have there. */
const volatile __u32 pid_level = 0;

/* The thread's number in the reader's pid namespace; 0 where it has none there. */
static __always_inline __u32 thread_here(struct task_struct *task)
{
	struct pid *pid;
	__u32 number = 0;
	char *at;

	if (!pid_level)
		return BPF_CORE_READ(task, pid);
	pid = BPF_CORE_READ(task, thread_pid);
	if (!pid || BPF_CORE_READ(pid, level) < pid_level)
		return 0;
	/* By hand: the loader can move a constant index only. */
	at = (char *)pid + bpf_core_field_offset(pid->numbers) +
	     pid_level * bpf_core_type_size(struct upid);
	bpf_probe_read_kernel(&number, sizeof(number), at);
	return number;
}

/* The process's number in the reader's pid namespace; 0 where it has none there. */
static __always_inline __u32 pid_here(struct task_struct *task)
{
	if (!pid_level)
		return BPF_CORE_READ(task, tgid);
	return thread_here(BPF_CORE_READ(task, group_leader));
}

#endif
