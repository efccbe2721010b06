/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * Whose processes are whose. One map, filled by the roster's programs and shared by the probes
 * that ask by process.
 */
#ifndef TEMBLOR_MEMBERS_BPF_H
#define TEMBLOR_MEMBERS_BPF_H

#define MEMBERS_MAX 65536
/* No target has this number. */
#define NOBODY 0xffffffff

/* Keyed by the process's number in the first pid namespace; the value is its target's. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MEMBERS_MAX);
	__type(key, __u32);
	__type(value, __u32);
} members SEC(".maps");

static __always_inline __u32 target_of(__u32 tgid)
{
	__u32 *target = bpf_map_lookup_elem(&members, &tgid);

	return target ? *target : NOBODY;
}

#endif
