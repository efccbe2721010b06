/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* How many pages a process has, of each kind: as exactly as the kernel knows. */
#ifndef TEMBLOR_PAGES_BPF_H
#define TEMBLOR_PAGES_BPF_H

#include "memory.h"

/* Set before loading: how many processors the machine can have. */
const volatile __u32 processors = 1;

/* Never written: it has a value for each processor, and shows where those of others lie. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} anchor SEC(".maps");

/* A pointer that the verifier follows, as the number that it is: through memory. */
static __always_inline __u64 address_of(void *pointer)
{
	void *volatile here = pointer;
	__u64 address = 0;

	bpf_probe_read_kernel(&address, sizeof(address), (void *)&here);
	return address;
}

/* Where a processor's part of per-processor memory lies, from where all of it is said to lie. */
static __always_inline __s64 offset_of(__u32 processor, __u64 all)
{
	__u32 zero = 0;
	void *part = bpf_map_lookup_percpu_elem(&anchor, &zero, processor);

	return part ? (__s64)(address_of(part) - all) : 0;
}

#define PAGES_OF_SUM(mm, kind) BPF_CORE_READ(mm, rss_stat[kind].count)
#define PAGES_OF_PART(mm, kind, offset)                                                           \
	({                                                                                        \
		__s32 part = 0;                                                                   \
		char *parts = (char *)BPF_CORE_READ(mm, rss_stat[kind].counters);                 \
		if (parts)                                                                        \
			bpf_probe_read_kernel(&part, sizeof(part), parts + (offset));             \
		part;                                                                             \
	})

static __always_inline void read_pages(struct mm_struct *mm, __s64 *pages)
{
	__u64 all = 0;

	pages[MEMORY_PAGES_FILE] = PAGES_OF_SUM(mm, 0);
	pages[MEMORY_PAGES_ANON] = PAGES_OF_SUM(mm, 1);
	pages[MEMORY_PAGES_SWAP] = PAGES_OF_SUM(mm, 2);
	pages[MEMORY_PAGES_SHMEM] = PAGES_OF_SUM(mm, 3);
	/* One processor has no parts. */
	if (!bpf_core_field_exists(struct percpu_counter, counters))
		return;
	bpf_probe_read_kernel(&all, sizeof(all),
			      (char *)address_of(&anchor) +
				      bpf_core_field_offset(struct bpf_array, pptrs));
	for (__u32 processor = 0; processor < processors; processor++) {
		__s64 offset = offset_of(processor, all);

		pages[MEMORY_PAGES_FILE] += PAGES_OF_PART(mm, 0, offset);
		pages[MEMORY_PAGES_ANON] += PAGES_OF_PART(mm, 1, offset);
		pages[MEMORY_PAGES_SWAP] += PAGES_OF_PART(mm, 2, offset);
		pages[MEMORY_PAGES_SHMEM] += PAGES_OF_PART(mm, 3, offset);
	}
}

/* Before Linux 6.2. Some of those kernels leave each thread a part that is added later. */
static __always_inline void read_pages_old(struct mm_struct *mm, __s64 *pages)
{
	struct mm_struct___atomic *old = (struct mm_struct___atomic *)mm;

	pages[MEMORY_PAGES_FILE] = BPF_CORE_READ(old, rss_stat.count[0].counter);
	pages[MEMORY_PAGES_ANON] = BPF_CORE_READ(old, rss_stat.count[1].counter);
	pages[MEMORY_PAGES_SWAP] = BPF_CORE_READ(old, rss_stat.count[2].counter);
	pages[MEMORY_PAGES_SHMEM] = BPF_CORE_READ(old, rss_stat.count[3].counter);
}

static __always_inline void read_part_of_thread(struct task_struct *task, __s64 *pages)
{
	struct task_struct___split *old = (struct task_struct___split *)task;

	if (!bpf_core_field_exists(old->rss_stat))
		return;
	pages[MEMORY_PAGES_FILE] += BPF_CORE_READ(old, rss_stat.count[0]);
	pages[MEMORY_PAGES_ANON] += BPF_CORE_READ(old, rss_stat.count[1]);
	pages[MEMORY_PAGES_SWAP] += BPF_CORE_READ(old, rss_stat.count[2]);
	pages[MEMORY_PAGES_SHMEM] += BPF_CORE_READ(old, rss_stat.count[3]);
}

/* Whether this is the one thread for which the memory of all that share it is counted. A process
 * that was forked to run a program has its parent's memory until it does. */
static __always_inline int is_owner(struct task_struct *task, struct mm_struct *mm)
{
	if (bpf_core_field_exists(mm->owner))
		return BPF_CORE_READ(mm, owner) == task;
	return task->pid == task->tgid;
}

/* Adds the pages of a thread's process, once a process. */
static __always_inline void add_pages(struct task_struct *task, __u64 *sum)
{
	__s64 pages[MEMORY_PAGES_KINDS] = {};
	struct mm_struct *mm = BPF_CORE_READ(task, mm);

	if (!mm)
		return;
	if (is_owner(task, mm)) {
		if (bpf_core_type_exists(struct mm_rss_stat))
			read_pages_old(mm, pages);
		else if (bpf_core_field_exists(mm->rss_stat))
			read_pages(mm, pages);
	}
	read_part_of_thread(task, pages);
	/* It may have ended meanwhile, and its memory may be somebody else's. */
	if (BPF_CORE_READ(task, mm) != mm)
		return;
	for (int kind = 0; kind < MEMORY_PAGES_KINDS; kind++)
		sum[kind] += pages[kind];
}

#endif
