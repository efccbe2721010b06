// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
/*
 * The roster: which process belongs to which target, kept true while processes come and go. A
 * process belongs where it was when the roster was made, or where its parent belonged when it was
 * forked, or to the target into whose cgroup it was put. The reader, and whatever it starts from
 * now on, belongs to nobody: it may well work inside a target's cgroup, and is not the target.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "groups.bpf.h"
#include "members.bpf.h"
#include "task.bpf.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* Processes for which there was no room. */
__u64 members_lost = 0;
/* Never read: it puts the type into the object's type information. */
const volatile struct group_key layout_group_key = {};

/* Who is to be taken in, by their numbers in the reader's pid namespace. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MEMBERS_MAX);
	__type(key, __u32);
	__type(value, __u32);
} named SEC(".maps");

static __always_inline void take_in(__u32 tgid, __u32 target)
{
	if (bpf_map_update_elem(&members, &tgid, &target, BPF_ANY))
		__sync_fetch_and_add(&members_lost, 1);
}

SEC("tp_btf/sched_process_fork")
int roster_fork(__u64 *ctx)
{
	struct task_struct *parent = (struct task_struct *)ctx[0];
	struct task_struct *child = (struct task_struct *)ctx[1];
	__u32 parent_tgid = parent->tgid, *target, *of_group;

	if (child->pid != child->tgid)
		return 0;
	target = bpf_map_lookup_elem(&members, &parent_tgid);
	if (target) {
		take_in(child->tgid, *target);
		return 0;
	}
	/* A child may be born into a group of version 2 without ever being put there. */
	of_group = target_of_group(BPF_CORE_READ(child, cgroups, dfl_cgrp));
	if (of_group)
		take_in(child->tgid, *of_group);
	return 0;
}

SEC("tp_btf/cgroup_attach_task")
int roster_attach(__u64 *ctx)
{
	struct cgroup *group = (struct cgroup *)ctx[0];
	struct task_struct *task = (struct task_struct *)ctx[2];
	__u32 tgid = task->tgid, *target = target_of_group(group), *known;

	known = bpf_map_lookup_elem(&members, &tgid);
	/* Whom the reader starts and puts into a target's group is the reader's all the same. */
	if (target && !(known && *known == NOBODY))
		take_in(tgid, *target);
	return 0;
}

/* Long after its end, so that whoever tells of the end still finds it. */
SEC("tp_btf/sched_process_free")
int roster_free(__u64 *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx[0];
	__u32 tgid = task->tgid;

	if (task->pid == task->tgid)
		bpf_map_delete_elem(&members, &tgid);
	return 0;
}

/* Takes in those who are named, once the programs above are in place. */
SEC("iter/task")
int roster_seed(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	__u32 here, *target;

	if (!task || task->pid != task->tgid)
		return 0;
	here = pid_here(task);
	target = here ? bpf_map_lookup_elem(&named, &here) : NULL;
	if (target)
		take_in(task->tgid, *target);
	return 0;
}
