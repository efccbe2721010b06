/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * Which cgroups are whose. One map, filled by the roster and shared by the probes that meet work
 * that is done for a cgroup by somebody else.
 */
#ifndef TEMBLOR_GROUPS_BPF_H
#define TEMBLOR_GROUPS_BPF_H

#include "groups.h"

#define GROUPS_MAX 4096

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GROUPS_MAX);
	__type(key, struct group_key);
	__type(value, __u32);
} groups SEC(".maps");

static __always_inline __u32 *target_of_group(struct cgroup *group)
{
	struct group_key key = {
		.hierarchy = BPF_CORE_READ(group, root, hierarchy_id),
		.inode = BPF_CORE_READ(group, kn, id),
	};

	return bpf_map_lookup_elem(&groups, &key);
}

#endif
