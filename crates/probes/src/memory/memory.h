/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* What the memory probe's kernel half keeps for a target. */
#ifndef TEMBLOR_MEMORY_H
#define TEMBLOR_MEMORY_H

#include "histogram.h"

/* What pages are, in the kernel's own order. */
enum memory_pages {
	MEMORY_PAGES_FILE = 0,
	MEMORY_PAGES_ANON = 1,
	MEMORY_PAGES_SWAP = 2,
	MEMORY_PAGES_SHMEM = 3,
	MEMORY_PAGES_KINDS = 4,
};

enum memory_reclaim {
	/* The machine had too little. */
	MEMORY_RECLAIM_DIRECT = 0,
	/* A cgroup was at its limit. */
	MEMORY_RECLAIM_CGROUP = 1,
	MEMORY_RECLAIM_KINDS = 2,
};

/* Since the probe was there. */
struct memory_faults {
	__u64 minor;
	__u64 major;
};

/* What the living threads show when they are looked at. */
struct memory_living {
	struct memory_faults faults;
	__u64 pages[MEMORY_PAGES_KINDS];
};

/* What only grows, counted by any processor. */
struct memory_counted {
	/* Of threads that have ended. */
	struct memory_faults ended;
	/* Processes that the kernel killed, by what had no room for them. */
	__u64 killed[MEMORY_RECLAIM_KINDS];
};

/* What the targets' threads had to reclaim themselves, counted on each processor. */
struct memory_reclaimed {
	struct latencies stalls[MEMORY_RECLAIM_KINDS];
	__u64 pages[MEMORY_RECLAIM_KINDS];
};

#endif
