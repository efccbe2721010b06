// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
/* Tells the reader of an iterator how deep its pid namespace lies: nothing in /proc does. */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "Dual MIT/GPL";

__u32 level = 0;

SEC("iter/task")
int reader_level(struct bpf_iter__task *ctx)
{
	struct task_struct *reader = (struct task_struct *)bpf_get_current_task();

	if (ctx->task)
		level = BPF_CORE_READ(reader, thread_pid, level);
	return 0;
}
