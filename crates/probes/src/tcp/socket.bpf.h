/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* What all hooks share: the maps, the memory of a socket, and how a record is filled. */
#ifndef TEMBLOR_TCP_SOCKET_H
#define TEMBLOR_TCP_SOCKET_H

#define SOCKETS_MAX 65536
#define WATCHED_MAX 1024

/* Set before the programs are loaded, constant to the verifier: code behind a 0 is not checked,
 * so it may use what this kernel does not have. */
const volatile __u32 retransmit_has_error = 0;
const volatile __u32 has_cookie_helper = 0;
/* These are never read: they put the types of the header into the object's type information,
 * from which the Rust side is generated. */
const volatile struct tcp_record layout_record = {};
const volatile struct rtt_key layout_rtt_key = {};
const volatile enum watched_how layout_watched_how = WATCHED_NOT;
/* The length of one tick of the kernel's timers. Not from CONFIG_HZ: to resolve that, the loader
 * wants a file with the kernel's configuration, which containers do not have. */
const volatile __u32 tick_ns = 0;

/* Records for which there was no room. */
__u64 records_lost = 0;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 * 1024 * 1024);
} records SEC(".maps");

/* Network namespaces by their inodes, and how: an `enum watched_how`. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WATCHED_MAX);
	__type(key, __u32);
	__type(value, __u8);
} watched SEC(".maps");

/* What we remember of a socket, from its first event to its CLOSE. */
struct socket_memory {
	__u64 connect_start_ns;
	/* The send time of the segment whose round trip was counted last. */
	__u64 rack_mstamp;
	__u32 pid;
	/* Retransmitted segments that have been reported. */
	__u32 reported;
	/* Its target's number; NOBODY: whosever the namespace is. */
	__u32 target;
	__u32 unused;
};

/* Keyed by the socket's address: socket storage is not open to tracepoints before 5.11. An entry
 * goes when its socket changes to CLOSE, which every socket does before it is freed. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SOCKETS_MAX);
	__type(key, __u64);
	__type(value, struct socket_memory);
} sockets SEC(".maps");

static __always_inline struct tcp_record *reserve(enum tcp_record_kind kind, __u32 netns,
						  __u32 target)
{
	struct tcp_record *record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);

	if (!record) {
		__sync_fetch_and_add(&records_lost, 1);
		return NULL;
	}
	__builtin_memset(record, 0, sizeof(*record));
	record->t_ns = bpf_ktime_get_ns();
	record->kind = kind;
	record->netns = netns;
	record->target = target;
	return record;
}

/*
 * Before 5.12 tracepoints may not ask for the cookie. There the socket's address stands in: the
 * same for all events of one socket, but a later socket may get it again.
 */
static __always_inline __u64 cookie_of(void *sk)
{
	return has_cookie_helper ? bpf_get_socket_cookie(sk) : (__u64)sk;
}

/* Addresses and ports of a socket, or of a connection request: both begin with these fields. */
static __always_inline void fill_addresses(struct tcp_record *record, const struct sock_common *sk)
{
	record->family = sk->skc_family;
	if (sk->skc_family == AF_INET6 && bpf_core_field_exists(sk->skc_v6_daddr)) {
		bpf_core_read(record->local, 16, &sk->skc_v6_rcv_saddr);
		bpf_core_read(record->remote, 16, &sk->skc_v6_daddr);
	} else {
		bpf_core_read(record->local, 4, &sk->skc_rcv_saddr);
		bpf_core_read(record->remote, 4, &sk->skc_daddr);
	}
	record->local_port = sk->skc_num;
	record->remote_port = bpf_ntohs(sk->skc_dport);
}

/*
 * What a full socket knows. The local port comes from inet_sport: the field that skc_num stands
 * for is cleared when the port is given back, which is before the change to CLOSE is reported.
 */
static __always_inline void fill_socket(struct tcp_record *record, struct tcp_sock *tp,
					const struct socket_memory *memory)
{
	fill_addresses(record, (const struct sock_common *)tp);
	record->local_port = bpf_ntohs(tp->inet_conn.icsk_inet.inet_sport);
	record->cookie = cookie_of(tp);
	record->srtt_us = tp->srtt_us >> 3;
	record->retransmitted = tp->total_retrans;
	if (memory)
		record->pid = memory->pid;
}

static __always_inline __u64 ticks_ns(__u64 ticks)
{
	return ticks * tick_ns;
}

static __always_inline void fill_timer(struct tcp_record *record, struct tcp_sock *tp)
{
	record->rto_ns = ticks_ns(tp->inet_conn.icsk_rto);
	record->backoff = tp->inet_conn.icsk_backoff;
}

static __always_inline struct socket_memory *remember(__u64 key, struct tcp_sock *tp, __u32 target)
{
	struct socket_memory fresh = { .reported = tp->total_retrans, .target = target };

	bpf_map_update_elem(&sockets, &key, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&sockets, &key);
}

#endif
