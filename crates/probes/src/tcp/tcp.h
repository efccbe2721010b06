/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * What the kernel half tells the other half: plain integers, padding spelled out. The Rust side
 * is generated from this file at build time; nothing here is written down twice.
 */
#ifndef TEMBLOR_TCP_H
#define TEMBLOR_TCP_H

enum tcp_record_kind {
	TCP_RECORD_STATE = 1,
	TCP_RECORD_RETRANSMIT = 2,
	TCP_RECORD_RESET_SENT = 3,
	TCP_RECORD_RESET_RECEIVED = 4,
};

enum tcp_cause {
	TCP_CAUSE_NONE = 0,
	TCP_CAUSE_TIMEOUT = 1,
	TCP_CAUSE_TAIL_LOSS_PROBE = 2,
	TCP_CAUSE_FAST = 3,
	TCP_CAUSE_SYN = 4,
	TCP_CAUSE_SYN_ACK = 5,
};

/* How a network namespace is watched. */
enum watched_how {
	WATCHED_NOT = 0,
	/* All of the namespace's sockets are one target's. */
	WATCHED_WHOLE = 1,
	/* Each socket is its owner's. */
	WATCHED_BY_SOCKET = 2,
};

/* One event. A field that the kind of the record has no use for is 0. */
struct tcp_record {
	__u64 t_ns;
	/* 0: there was no socket. */
	__u64 cookie;
	/* 0: not a change away from SYN_SENT, or the attempt began before the probe did. */
	__u64 connect_ns;
	/* 0: the length of the kernel's tick is not known. */
	__u64 rto_ns;
	enum tcp_record_kind kind;
	enum tcp_cause cause;
	__u32 netns;
	/* Its number; 0xffffffff: all that is in the namespace is one target's. */
	__u32 target;
	/* 0: not known. */
	__u32 pid;
	__s32 error;
	__u32 srtt_us;
	__u32 retransmitted;
	__u32 segments;
	__u32 unused;
	__u16 local_port;
	__u16 remote_port;
	/* IPv4 addresses stand in the first four bytes. */
	__u8 local[16];
	__u8 remote[16];
	/* The kernel's AF_INET or AF_INET6. */
	__u8 family;
	/* 0: there was no socket. */
	__u8 state_from;
	__u8 state_to;
	__u8 backoff;
};

/* Microseconds, in buckets as `histogram.bpf.h` has them; the last one is open: 134 s. */
#define RTT_BUCKETS 384

struct rtt_key {
	__u32 netns;
	/* As in a record. */
	__u32 target;
	__u32 family;
	__u8 remote[16];
};

struct rtt_histogram {
	/* Never reset: the reader takes differences, so that no sample falls between two reads. */
	__u64 sum_us;
	__u32 buckets[RTT_BUCKETS];
	/* The greatest value of the even and of the odd window, and which windows those are. */
	__u32 window[2];
	__u32 max_us[2];
};

#endif
