// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
/*
 * The syscall probe's kernel half: which system calls the targets make, how long they take, and
 * with what error they fail. It runs at every system call of the machine, so whoever is no target's
 * is let go at once.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "histogram.bpf.h"
#include "members.bpf.h"
#include "syscall.h"
#include "files.bpf.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define THREADS_MAX 65536
#define CALLS_MAX 16384
#define ERRORS_MAX 4096
#define SLOW_MAX 4096
/* All tables are far from it; a program may ask for any number. */
#define NUMBERS_MAX 1024
#define ERRORS_BELOW -4096

/* Set before loading: whether this kernel keeps a program's notes with the thread itself. */
const volatile __u32 has_task_storage = 0;
/* Set before loading: calls that read from whatever a descriptor stands for; and the one whose
 * result is not its own, but that of what a signal interrupted. */
const volatile __s32 read_call = -1;
const volatile __s32 readv_call = -1;
const volatile __s32 sigreturn_call = -1;
/* Never read: they put the types into the object's type information. */
const volatile enum syscall_special layout_special = 0;
const volatile struct syscall_counts layout_counts = {};
const volatile struct syscall_error_key layout_error_key = {};
const volatile struct syscall_slow_key layout_slow_key = {};
/* The kernel's stack is too small for this value. */
const volatile struct latencies empty = {};

/* Calls, errors and slow calls that there was no room to count. */
__u64 calls_lost = 0;
/* Which window the reader is in; apart from the counters, because the reader writes it. */
__u32 window SEC(".data.window") = 1;
/* The calls of threads whose numbers have none of these bits are counted. The reader writes it. */
__u32 sample_mask SEC(".data.sampling") = 0;

/* A thread's call under way. */
struct under_way {
	/* 0: none is. */
	__u64 since_ns;
	__s32 call;
	__u32 target;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct under_way);
} under_way_by_task SEC(".maps");

/* The same by thread number, where there is no storage with the thread. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, THREADS_MAX);
	__type(key, __u32);
	__type(value, struct under_way);
} under_way_by_number SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CALLS_MAX);
	__type(key, struct syscall_key);
	__type(value, struct syscall_counts);
} calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, ERRORS_MAX);
	__type(key, struct syscall_error_key);
	__type(value, __u64);
} errors SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SLOW_MAX);
	__type(key, struct syscall_slow_key);
	__type(value, struct latencies);
} slow SEC(".maps");

/* What an entry has come to; of two who find that there is none, one makes it. */
static __always_inline void *entry(void *map, const void *key, const void *fresh)
{
	void *there = bpf_map_lookup_elem(map, key);

	if (there)
		return there;
	bpf_map_update_elem(map, key, fresh, BPF_NOEXIST);
	there = bpf_map_lookup_elem(map, key);
	if (!there)
		__sync_fetch_and_add(&calls_lost, 1);
	return there;
}

static __always_inline __s32 numbered(long id)
{
	if (is_of_32_bits(id))
		return SYSCALL_OF_32_BITS;
	return id >= 0 && id < NUMBERS_MAX ? (__s32)id : SYSCALL_UNKNOWN;
}

/* Only threads of targets that are in the sample. */
static __always_inline __u32 target_here(void)
{
	__u64 both = bpf_get_current_pid_tgid();

	if ((__u32)both & sample_mask)
		return NOBODY;
	return target_of(both >> 32);
}

/* The note on this thread's calls; there is none before its first, if it is not to be made. */
static __always_inline struct under_way *note(int make)
{
	struct under_way fresh = {}, *there;
	__u32 thread;

	if (has_task_storage)
		return bpf_task_storage_get(&under_way_by_task, bpf_get_current_task_btf(), NULL,
					    make ? BPF_LOCAL_STORAGE_GET_F_CREATE : 0);
	thread = bpf_get_current_pid_tgid();
	there = bpf_map_lookup_elem(&under_way_by_number, &thread);
	if (there || !make)
		return there;
	bpf_map_update_elem(&under_way_by_number, &thread, &fresh, BPF_ANY);
	return bpf_map_lookup_elem(&under_way_by_number, &thread);
}

SEC("tp_btf/sys_enter")
int syscall_enter(__u64 *ctx)
{
	__u32 target = target_here();
	struct under_way *now;

	if (target == NOBODY)
		return 0;
	now = note(1);
	if (!now) {
		__sync_fetch_and_add(&calls_lost, 1);
		return 0;
	}
	now->call = numbered(ctx[1]);
	now->target = target;
	now->since_ns = bpf_ktime_get_ns();
	return 0;
}

static __always_inline void count_error(struct syscall_key *of, long result)
{
	struct syscall_error_key key = { .of = *of, .error = -result };
	__u64 none = 0, *sum = entry(&errors, &key, &none);

	if (sum)
		__sync_fetch_and_add(sum, 1);
}

static __always_inline void count(struct syscall_key *of, __u64 took, __u64 waited)
{
	struct syscall_counts fresh = {}, *counts = entry(&calls, of, &fresh);

	if (!counts)
		return;
	counts->calls++;
	counts->time_ns += took;
	counts->waited_ns += waited;
}

SEC("tp_btf/sys_exit")
int syscall_exit(__u64 *ctx)
{
	struct pt_regs *regs = (struct pt_regs *)ctx[0];
	struct syscall_slow_key key = {};
	long result = (long)ctx[1];
	int has_failed = result < 0 && result > ERRORS_BELOW;
	struct latencies *latencies;
	struct under_way *now;
	__u64 took;

	/* Whose thread has no note is no target's, and looked up no more than that. */
	now = note(0);
	if (!now)
		return 0;
	key.of.target = now->target;
	if (!now->since_ns) {
		/* It ends without having begun: a seccomp filter has refused it. */
		if (has_failed && target_here() != NOBODY) {
			key.of.call = numbered(number_of(regs));
			count(&key.of, 0, 0);
			count_error(&key.of, result);
		}
		return 0;
	}
	took = bpf_ktime_get_ns() - now->since_ns;
	now->since_ns = 0;
	key.of.call = now->call;
	if (took >= SYSCALL_SLOW_NS && key.of.call >= 0 &&
	    (key.of.call == read_call || key.of.call == readv_call))
		key.waits = !is_file(regs);
	count(&key.of, took, key.waits ? took : 0);
	if (took >= SYSCALL_SLOW_NS) {
		latencies = entry(&slow, &key, (const void *)&empty);
		if (latencies)
			latency_add_shared(latencies, took, window);
	}
	if (has_failed && key.of.call != sigreturn_call)
		count_error(&key.of, result);
	return 0;
}
