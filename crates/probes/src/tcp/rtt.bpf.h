/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* Round-trip times: a histogram for each namespace and remote address, kept in the kernel. */
#ifndef TEMBLOR_TCP_RTT_H
#define TEMBLOR_TCP_RTT_H

#include "histogram.bpf.h"
#include "owner.bpf.h"
#include "socket.bpf.h"

#define RTT_PAIRS_MAX 1024

/* A sample is taken of the packets whose random number has none of these bits. The reader writes
 * it. */
__u32 rtt_sample_mask SEC(".data.sampling") = 0;
/* The kernel's stack is too small for this value. */
const volatile struct rtt_histogram rtt_empty = {};

/* Round-trip times that were not counted because there are too many pairs. */
__u64 samples_lost = 0;

/* Which window the reader is in; apart from the counters, because the reader writes it. */
__u32 rtt_window SEC(".data.window") = 1;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, RTT_PAIRS_MAX);
	__type(key, struct rtt_key);
	__type(value, struct rtt_histogram);
} rtt SEC(".maps");

/*
 * Runs at the start of each segment's processing on an established connection, so it sees the
 * round trip that the segment before completed. The send time of the acknowledged segment tells
 * whether that one has been counted.
 */
SEC("tp_btf/tcp_probe")
int tcp_rtt(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct rtt_histogram *histogram;
	struct socket_memory *memory;
	struct rtt_key rtt_key = {};
	struct owner owner;
	struct tcp_sock *tp;
	__u32 us, bucket, window, mask = rtt_sample_mask;
	__u64 key, mstamp;

	owner = owner_of(sk);
	if (!owner.netns)
		return 0;
	if (mask && (bpf_get_prandom_u32() & mask))
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 0;
	us = tp->rack.rtt_us;
	if (!us)
		return 0;
	key = (__u64)sk;
	memory = bpf_map_lookup_elem(&sockets, &key);
	if (!memory)
		memory = remember(key, tp, NOBODY);
	mstamp = tp->rack.mstamp;
	if (!memory || memory->rack_mstamp == mstamp)
		return 0;
	memory->rack_mstamp = mstamp;

	rtt_key.netns = owner.netns;
	rtt_key.target = owner.target;
	rtt_key.family = sk->__sk_common.skc_family;
	if (rtt_key.family == AF_INET6 && bpf_core_field_exists(sk->__sk_common.skc_v6_daddr))
		bpf_core_read(rtt_key.remote, 16, &sk->__sk_common.skc_v6_daddr);
	else
		bpf_core_read(rtt_key.remote, 4, &sk->__sk_common.skc_daddr);

	histogram = bpf_map_lookup_elem(&rtt, &rtt_key);
	if (!histogram) {
		bpf_map_update_elem(&rtt, &rtt_key, (const void *)&rtt_empty, BPF_NOEXIST);
		histogram = bpf_map_lookup_elem(&rtt, &rtt_key);
		if (!histogram) {
			__sync_fetch_and_add(&samples_lost, 1);
			return 0;
		}
	}
	/* Plain additions: the value is this processor's own, and the kernel does not run a program
	 * on a processor where it is running already. */
	bucket = histogram_bucket(us, RTT_BUCKETS);
	/* The compiler knows that the value is in bounds and would drop the check that the verifier
	 * needs to see. */
	barrier_var(bucket);
	if (bucket < RTT_BUCKETS)
		histogram->buckets[bucket]++;
	histogram->sum_us += us;
	window = rtt_window;
	if (histogram->window[window & 1] != window) {
		histogram->window[window & 1] = window;
		histogram->max_us[window & 1] = 0;
	}
	if (us > histogram->max_us[window & 1])
		histogram->max_us[window & 1] = us;
	return 0;
}

#endif
