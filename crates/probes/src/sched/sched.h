/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* What the sched probe's kernel half keeps for a target, on each processor. */
#ifndef TEMBLOR_SCHED_H
#define TEMBLOR_SCHED_H

#include "histogram.h"

struct sched_figures {
	__u64 on_cpu_ns;
	/* Switches away from a thread that waits for something. */
	__u64 voluntary;
	/* Switches away from a thread that could have gone on. */
	__u64 involuntary;
	/* From when a thread could run to when it did. */
	struct latencies waits;
};

/* A target's waits that have not ended. */
struct sched_waiting {
	/* All of them together, from when each began. */
	__u64 sum_ns;
	__u64 max_ns;
};

/* Who has a processor now. */
struct sched_running {
	__u64 since_ns;
	__u32 target;
	__u32 unused;
};

#endif
