/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * Histograms that every probe shares: 0 to 15 exactly, then 16 buckets to each doubling, so that a
 * bucket is at most a sixteenth of its lower bound wide. The last bucket is open.
 *
 * Counts only grow: the reader takes differences, so that no sample falls between two reads.
 */
#ifndef TEMBLOR_HISTOGRAM_BPF_H
#define TEMBLOR_HISTOGRAM_BPF_H

#include "histogram.h"

static __always_inline __u32 histogram_bucket(__u64 value, __u32 buckets)
{
	__u64 rest = value;
	__u32 exponent = 0, bucket;

	if (value < HISTOGRAM_SUB)
		return value;
	if (rest >> 32) {
		rest >>= 32;
		exponent += 32;
	}
	if (rest >> 16) {
		rest >>= 16;
		exponent += 16;
	}
	if (rest >> 8) {
		rest >>= 8;
		exponent += 8;
	}
	if (rest >> 4) {
		rest >>= 4;
		exponent += 4;
	}
	if (rest >> 2) {
		rest >>= 2;
		exponent += 2;
	}
	exponent += rest >> 1;
	bucket = (exponent - HISTOGRAM_SUB_BITS + 1) * HISTOGRAM_SUB +
		 ((value >> (exponent - HISTOGRAM_SUB_BITS)) & (HISTOGRAM_SUB - 1));
	return bucket < buckets ? bucket : buckets - 1;
}

static __always_inline void latency_greatest(struct latencies *of, __u64 ns, __u32 window)
{
	__u32 slot = window & 1;

	if (of->window[slot] != window) {
		of->window[slot] = window;
		of->max_ns[slot] = 0;
	}
	if (ns > of->max_ns[slot])
		of->max_ns[slot] = ns;
}

/* Counts a latency. Plain additions: the value is this processor's own, and the kernel does not run
 * a program on a processor where it is running already. */
static __always_inline void latency_add(struct latencies *to, __u64 ns, __u32 window)
{
	__u32 bucket = histogram_bucket(ns, LATENCY_BUCKETS);

	/* The compiler knows that the value is in bounds and would drop the check that the verifier
	 * needs to see. */
	barrier_var(bucket);
	if (bucket < LATENCY_BUCKETS)
		to->buckets[bucket]++;
	to->sum_ns += ns;
	latency_greatest(to, ns, window);
}

/* The same for a value that several processors share: none of the counts is lost. Of two that come
 * at the very same time, the lesser may stand as the greatest. */
static __always_inline void latency_add_shared(struct latencies *to, __u64 ns, __u32 window)
{
	__u32 bucket = histogram_bucket(ns, LATENCY_BUCKETS);

	barrier_var(bucket);
	if (bucket < LATENCY_BUCKETS)
		__sync_fetch_and_add(&to->buckets[bucket], 1);
	__sync_fetch_and_add(&to->sum_ns, ns);
	latency_greatest(to, ns, window);
}

#endif
