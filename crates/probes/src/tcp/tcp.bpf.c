// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
/*
 * The tcp probe's kernel half.
 *
 * Everything is attributed by the socket, never by the current task: most of this runs in
 * softirq, where the current task is whoever was interrupted. The one exception is the start of
 * a connection, which is made by its owner's own system call.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include "tcp.h"

/* The loader compares this string; it is not a statement about other files. */
char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define TCP_CA_LOSS 4
#define ICSK_TIME_LOSS_PROBE 5
#define SOCKETS_MAX 65536
#define WATCHED_MAX 1024
#define RTT_PAIRS_MAX 1024

/* Set before the programs are loaded, constant to the verifier: code behind a 0 is not checked,
 * so it may use what this kernel does not have. */
const volatile __u32 retransmit_has_error = 0;
const volatile __u32 has_cookie_helper = 0;
/* A sample is taken of the packets whose random number has none of these bits. */
const volatile __u32 rtt_sample_mask = 0;
/* These two are never read: they put the types of the header into the object's type information,
 * from which the Rust side is generated. */
const volatile struct tcp_record layout_record = {};
const volatile struct rtt_key layout_rtt_key = {};
/* The kernel's stack is too small for this value. */
const volatile struct rtt_histogram rtt_empty = {};

/* Timer ticks a second. 0 where the kernel does not tell its configuration. */
extern int CONFIG_HZ __kconfig __weak;

/* Records for which there was no room. */
__u64 records_lost = 0;
/* Round-trip times that were not counted because there are too many pairs. */
__u64 samples_lost = 0;

/* Which window the reader is in; apart from the counters, because the reader writes it. */
__u32 rtt_window SEC(".data.window") = 1;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 * 1024 * 1024);
} records SEC(".maps");

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

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, RTT_PAIRS_MAX);
	__type(key, struct rtt_key);
	__type(value, struct rtt_histogram);
} rtt SEC(".maps");

/* The namespace's inode if it is watched, else 0. */
static __always_inline __u32 watched_or_zero(__u32 inum)
{
	return bpf_map_lookup_elem(&watched, &inum) ? inum : 0;
}

static __always_inline __u32 watched_netns(const struct sock_common *sk)
{
	return watched_or_zero(sk->skc_net.net->ns.inum);
}

static __always_inline struct tcp_record *reserve(enum tcp_record_kind kind, __u32 netns)
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
	return CONFIG_HZ ? ticks * (1000000000ULL / (__u32)CONFIG_HZ) : 0;
}

static __always_inline void fill_timer(struct tcp_record *record, struct tcp_sock *tp)
{
	record->rto_ns = ticks_ns(tp->inet_conn.icsk_rto);
	record->backoff = tp->inet_conn.icsk_backoff;
}

static __always_inline struct socket_memory *remember(__u64 key, struct tcp_sock *tp)
{
	struct socket_memory fresh = { .reported = tp->total_retrans };

	bpf_map_update_elem(&sockets, &key, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&sockets, &key);
}

/*
 * Segments that were sent again and that no retransmission event told of: a kernel whose
 * tracepoint is silent when the send fails, or an event that was lost. Telling of them at the
 * next change of state keeps the sum equal to the kernel's own counter.
 */
static __always_inline void catch_up(struct tcp_sock *tp, struct socket_memory *memory,
				     __u32 netns, int state)
{
	__u32 total = tp->total_retrans;
	struct tcp_record *record;

	if (total == memory->reported)
		return;
	record = reserve(TCP_RECORD_RETRANSMIT, netns);
	if (!record)
		return;
	fill_socket(record, tp, memory);
	fill_timer(record, tp);
	record->state_from = record->state_to = state;
	record->cause = state == TCP_SYN_SENT ? TCP_CAUSE_SYN : TCP_CAUSE_TIMEOUT;
	record->segments = total - memory->reported;
	memory->reported = total;
	bpf_ringbuf_submit(record, 0);
}

SEC("tp_btf/inet_sock_set_state")
int tcp_state(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	int from = (int)ctx[1], to = (int)ctx[2];
	struct socket_memory *memory;
	struct tcp_record *record;
	struct tcp_sock *tp;
	__u64 key, now;
	__u32 netns;

	/* A listener's child is announced before it has its address, its peer and its cookie. Its
	 * next change, to ESTABLISHED, follows at once and has them. */
	if (from == TCP_LISTEN && to == TCP_SYN_RECV)
		return 0;
	netns = watched_netns((struct sock_common *)sk);
	if (!netns)
		return 0;
	/* The tracepoint serves other protocols too; for those this is NULL. */
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 0;

	key = (__u64)sk;
	now = bpf_ktime_get_ns();
	if (to == TCP_SYN_SENT) {
		struct socket_memory fresh = {
			.connect_start_ns = now,
			.pid = bpf_get_current_pid_tgid() >> 32,
			.reported = tp->total_retrans,
		};

		bpf_map_update_elem(&sockets, &key, &fresh, BPF_ANY);
	}
	memory = bpf_map_lookup_elem(&sockets, &key);
	if (memory)
		catch_up(tp, memory, netns, from);
	else if (to != TCP_CLOSE && to != TCP_LISTEN)
		/* For an accepted connection the count begins with the SYN-ACKs that were sent again;
		 * those have been reported already. */
		memory = remember(key, tp);

	record = reserve(TCP_RECORD_STATE, netns);
	if (record) {
		record->t_ns = now;
		fill_socket(record, tp, memory);
		record->state_from = from;
		record->state_to = to;
		record->error = sk->sk_err;
		if (from == TCP_SYN_SENT && memory && memory->connect_start_ns)
			record->connect_ns = now - memory->connect_start_ns;
		bpf_ringbuf_submit(record, 0);
	}
	if (to == TCP_CLOSE)
		bpf_map_delete_elem(&sockets, &key);
	return 0;
}

/*
 * The timer that is running tells who sends: the retransmission timer takes itself off before it
 * sends, a tail-loss probe does not, and what acknowledgements set going has the former armed.
 * The congestion state alone would not do: after a timeout it stays "loss" while acknowledgements
 * drive the rest of the repair.
 */
static __always_inline enum tcp_cause cause_of(struct tcp_sock *tp, int state)
{
	__u8 pending = tp->inet_conn.icsk_pending;

	if (state == TCP_SYN_SENT)
		return TCP_CAUSE_SYN;
	if (state == TCP_SYN_RECV)
		return TCP_CAUSE_SYN_ACK;
	if (pending == ICSK_TIME_LOSS_PROBE)
		return TCP_CAUSE_TAIL_LOSS_PROBE;
	if (pending == 0 && BPF_CORE_READ_BITFIELD_PROBED(&tp->inet_conn, icsk_ca_state) == TCP_CA_LOSS)
		return TCP_CAUSE_TIMEOUT;
	return TCP_CAUSE_FAST;
}

SEC("tp_btf/tcp_retransmit_skb")
int tcp_retransmit(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct sk_buff *skb = (struct sk_buff *)ctx[1];
	int error = retransmit_has_error ? (int)ctx[2] : 0;
	struct socket_memory *memory;
	struct tcp_record *record;
	__u32 netns, total, segments = 0;
	struct tcp_sock *tp;
	__u64 key;
	int state;

	netns = watched_netns((struct sock_common *)sk);
	if (!netns)
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 0;

	key = (__u64)sk;
	total = tp->total_retrans;
	memory = bpf_map_lookup_elem(&sockets, &key);
	if (memory) {
		segments = total - memory->reported;
	} else {
		/* A socket we have never seen, which is rare: those that were there before us have
		 * been looked at. The segment's own count is its whole growth. */
		if (!error)
			segments = BPF_CORE_READ((struct tcp_skb_cb *)&skb->cb, tcp_gso_segs);
		memory = remember(key, tp);
	}

	record = reserve(TCP_RECORD_RETRANSMIT, netns);
	if (!record)
		/* Not marked as reported: the socket's next event carries these segments. */
		return 0;
	state = sk->__sk_common.skc_state;
	fill_socket(record, tp, memory);
	fill_timer(record, tp);
	record->state_from = record->state_to = state;
	record->cause = cause_of(tp, state);
	record->segments = segments;
	record->error = error;
	if (memory)
		memory->reported = total;
	bpf_ringbuf_submit(record, 0);
	return 0;
}

SEC("tp_btf/tcp_retransmit_synack")
int tcp_synack(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct request_sock *req = (struct request_sock *)ctx[1];
	struct socket_memory *memory;
	struct tcp_record *record;
	__u64 key = (__u64)sk;
	struct tcp_sock *tp;
	__u32 netns;

	netns = watched_netns((struct sock_common *)sk);
	if (!netns)
		return 0;

	/* With TCP Fast Open the child exists already, and the kernel counts the segment there too. */
	tp = bpf_skc_to_tcp_sock(sk);
	memory = bpf_map_lookup_elem(&sockets, &key);
	if (tp && memory)
		memory->reported = tp->total_retrans;

	record = reserve(TCP_RECORD_RETRANSMIT, netns);
	if (!record)
		return 0;
	fill_addresses(record, (struct sock_common *)req);
	record->cookie = cookie_of(req);
	record->state_from = record->state_to = TCP_NEW_SYN_RECV;
	record->cause = TCP_CAUSE_SYN_ACK;
	record->segments = 1;
	record->backoff = BPF_CORE_READ_BITFIELD_PROBED(req, num_timeout);
	if (bpf_core_field_exists(req->timeout))
		record->rto_ns = ticks_ns(req->timeout) << (record->backoff & 31);
	bpf_ringbuf_submit(record, 0);
	return 0;
}

/* The namespace in which a packet is, where it belongs to no socket. */
static __always_inline __u32 packet_netns(struct sk_buff *skb)
{
	struct net_device *dev = BPF_CORE_READ(skb, dev);

	if (!dev) {
		/* The lowest bit says whether the route is counted. */
		unsigned long refdst = BPF_CORE_READ(skb, _skb_refdst);
		struct dst_entry *dst = (struct dst_entry *)(refdst & ~1UL);

		if (!dst)
			return 0;
		dev = BPF_CORE_READ(dst, dev);
	}
	return dev ? BPF_CORE_READ(dev, nd_net.net, ns.inum) : 0;
}

/* Our addresses from a packet that came to us: its destination is our side. */
static __always_inline void fill_from_received(struct tcp_record *record, struct sk_buff *skb)
{
	unsigned char *head = BPF_CORE_READ(skb, head);
	unsigned char *ip = head + BPF_CORE_READ(skb, network_header);
	unsigned char *tcp = head + BPF_CORE_READ(skb, transport_header);
	__be16 ports[2] = {};
	__u8 version = 0;

	bpf_probe_read_kernel(&version, 1, ip);
	if (version >> 4 == 6) {
		record->family = AF_INET6;
		bpf_probe_read_kernel(record->remote, 16, ip + 8);
		bpf_probe_read_kernel(record->local, 16, ip + 24);
	} else {
		record->family = AF_INET;
		bpf_probe_read_kernel(record->remote, 4, ip + 12);
		bpf_probe_read_kernel(record->local, 4, ip + 16);
	}
	bpf_probe_read_kernel(ports, sizeof(ports), tcp);
	record->remote_port = bpf_ntohs(ports[0]);
	record->local_port = bpf_ntohs(ports[1]);
}

SEC("tp_btf/tcp_send_reset")
int tcp_reset_out(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct sk_buff *skb = (struct sk_buff *)ctx[1];
	struct tcp_record *record;
	__u32 netns = 0;

	/* Neither has to be there: a closed port has no socket, a reset on our own account no packet. */
	if (sk)
		netns = watched_netns((struct sock_common *)sk);
	else if (skb)
		netns = watched_or_zero(packet_netns(skb));
	if (!netns)
		return 0;
	record = reserve(TCP_RECORD_RESET_SENT, netns);
	if (!record)
		return 0;
	if (sk) {
		struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
		int state = sk->__sk_common.skc_state;

		fill_addresses(record, (struct sock_common *)sk);
		if (tp)
			record->local_port = bpf_ntohs(tp->inet_conn.icsk_inet.inet_sport);
		record->state_from = record->state_to = state;
		/* A listener is not the connection that is being reset. */
		if (state != TCP_LISTEN)
			record->cookie = cookie_of(sk);
	}
	if (skb)
		fill_from_received(record, skb);
	bpf_ringbuf_submit(record, 0);
	return 0;
}

SEC("tp_btf/tcp_receive_reset")
int tcp_reset_in(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct tcp_record *record;
	struct tcp_sock *tp;
	__u64 key = (__u64)sk;
	__u32 netns;

	netns = watched_netns((struct sock_common *)sk);
	if (!netns)
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 0;
	record = reserve(TCP_RECORD_RESET_RECEIVED, netns);
	if (!record)
		return 0;
	fill_socket(record, tp, bpf_map_lookup_elem(&sockets, &key));
	record->state_from = record->state_to = sk->__sk_common.skc_state;
	bpf_ringbuf_submit(record, 0);
	return 0;
}

static __always_inline __u32 rtt_bucket(__u32 us)
{
	__u32 value = us, exponent = 0, bucket;

	if (us < RTT_SUB)
		return us;
	if (value >> 16) {
		value >>= 16;
		exponent += 16;
	}
	if (value >> 8) {
		value >>= 8;
		exponent += 8;
	}
	if (value >> 4) {
		value >>= 4;
		exponent += 4;
	}
	if (value >> 2) {
		value >>= 2;
		exponent += 2;
	}
	exponent += value >> 1;
	bucket = (exponent - RTT_SUB_BITS + 1) * RTT_SUB +
		 ((us >> (exponent - RTT_SUB_BITS)) & (RTT_SUB - 1));
	return bucket < RTT_BUCKETS ? bucket : RTT_BUCKETS - 1;
}

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
	struct tcp_sock *tp;
	__u32 netns, us, bucket, window;
	__u64 key, mstamp;

	netns = watched_netns((struct sock_common *)sk);
	if (!netns)
		return 0;
	if (rtt_sample_mask && (bpf_get_prandom_u32() & rtt_sample_mask))
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
		memory = remember(key, tp);
	mstamp = tp->rack.mstamp;
	if (!memory || memory->rack_mstamp == mstamp)
		return 0;
	memory->rack_mstamp = mstamp;

	rtt_key.netns = netns;
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
	bucket = rtt_bucket(us);
	/* The compiler knows that the value is in bounds and would drop the check that the verifier
	 * needs to see. */
	barrier_var(bucket);
	if (bucket < RTT_BUCKETS)
		histogram->buckets[bucket]++;
	window = rtt_window;
	if (histogram->window[window & 1] != window) {
		histogram->window[window & 1] = window;
		histogram->max_us[window & 1] = 0;
	}
	if (us > histogram->max_us[window & 1])
		histogram->max_us[window & 1] = us;
	return 0;
}

/* Looks once at the connections that are there already, so that their first retransmission counts
 * for its own growth and not for their whole life's. */
SEC("iter/tcp")
int tcp_seed(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;
	struct tcp_sock *tp;

	if (!sk || sk->skc_state == TCP_LISTEN || !watched_netns(sk))
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (tp)
		remember((__u64)sk, tp);
	return 0;
}
