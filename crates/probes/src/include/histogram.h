/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* The histogram of latencies as both halves of a probe know it. */
#ifndef TEMBLOR_HISTOGRAM_H
#define TEMBLOR_HISTOGRAM_H

#define HISTOGRAM_SUB_BITS 4
#define HISTOGRAM_SUB (1 << HISTOGRAM_SUB_BITS)
/* Nanoseconds: the last bucket begins at 2 minutes and 13 s. */
#define LATENCY_BUCKETS 544

struct latencies {
	__u64 sum_ns;
	/* The greatest value of the even and of the odd window, and which windows those are. */
	__u64 max_ns[2];
	__u32 window[2];
	__u32 buckets[LATENCY_BUCKETS];
};

#endif
