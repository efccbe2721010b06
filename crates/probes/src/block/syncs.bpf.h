/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* How long the targets wait for their files to be safe: what fsync and its like are for. */
#ifndef TEMBLOR_BLOCK_SYNCS_H
#define TEMBLOR_BLOCK_SYNCS_H

#define SYNCS_MAX 8192

struct sync_note {
	__u64 since_ns;
	__u32 target;
	__u32 kind;
};

/* Of the threads that wait, by their number. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SYNCS_MAX);
	__type(key, __u32);
	__type(value, struct sync_note);
} syncing SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct sync_key);
	__type(value, struct sync_figures);
} syncs SEC(".maps");

static __always_inline void begin_sync(__u32 kind)
{
	__u64 here = bpf_get_current_pid_tgid();
	struct sync_note note = { .kind = kind, .target = target_of(here >> 32) };
	__u32 thread = here;

	if (note.target == NOBODY)
		return;
	note.since_ns = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&syncing, &thread, &note, BPF_ANY))
		__sync_fetch_and_add(&syncs_lost, 1);
}

static __always_inline void end_sync(int failed)
{
	__u32 thread = bpf_get_current_pid_tgid();
	struct sync_note *found, note;
	struct sync_figures *figures;
	struct sync_key key;

	found = bpf_map_lookup_elem(&syncing, &thread);
	if (!found)
		return;
	note = *found;
	bpf_map_delete_elem(&syncing, &thread);
	key.target = note.target;
	key.kind = note.kind;
	figures = bpf_map_lookup_elem(&syncs, &key);
	if (!figures) {
		bpf_map_update_elem(&syncs, &key, (const void *)&no_syncs, BPF_NOEXIST);
		figures = bpf_map_lookup_elem(&syncs, &key);
		if (!figures) {
			__sync_fetch_and_add(&syncs_lost, 1);
			return;
		}
	}
	latency_add_shared(&figures->time, bpf_ktime_get_ns() - note.since_ns, window);
	if (failed)
		__sync_fetch_and_add(&figures->errors, 1);
}

SEC("tp_btf/ext4_sync_file_enter")
int ext4_sync_file_enter(__u64 *ctx)
{
	begin_sync(ctx[1] ? SYNC_DATA : SYNC_ALL);
	return 0;
}

SEC("tp_btf/ext4_sync_file_exit")
int ext4_sync_file_exit(__u64 *ctx)
{
	end_sync((int)ctx[1] != 0);
	return 0;
}

#endif
