// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
/*
 * The tcp probe's kernel half.
 *
 * Everything is attributed by the socket, never by the current task: most of this runs in
 * softirq, where the current task is whoever was interrupted. The exceptions are the starts of a
 * connection and of a listener, which are made by their owner's own system call.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include "task.bpf.h"
#include "tcp.h"
#include "owner.bpf.h"
#include "socket.bpf.h"
#include "rtt.bpf.h"

/* The loader compares this string; it is not a statement about other files. */
char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define TCP_CA_RECOVERY 3
#define TCP_CA_LOSS 4
#define ICSK_TIME_LOSS_PROBE 5

/*
 * Segments that were sent again and that no retransmission event told of: a kernel whose
 * tracepoint is silent when the send fails, or an event that was lost. Telling of them at the
 * next change of state keeps the sum equal to the kernel's own counter.
 */
static __always_inline void catch_up(struct tcp_sock *tp, struct socket_memory *memory,
				     struct owner owner, int state)
{
	__u32 total = tp->total_retrans;
	struct tcp_record *record;

	/* A count only grows: a smaller one is of another socket at the same address. */
	if (total < memory->reported)
		memory->reported = 0;
	if (total == memory->reported)
		return;
	record = reserve(TCP_RECORD_RETRANSMIT, owner.netns, owner.target);
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
	enum watched_how how;
	struct owner owner;
	struct tcp_sock *tp;
	__u64 key, now;

	/* A listener's child is announced before it has its address, its peer and its cookie. Its
	 * next change, to ESTABLISHED, follows at once and has them. */
	if (from == TCP_LISTEN && to == TCP_SYN_RECV)
		return 0;
	how = watched_how(netns_of((struct sock_common *)sk));
	if (how == WATCHED_NOT)
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
			.pid = pid_here((struct task_struct *)bpf_get_current_task()),
			.reported = tp->total_retrans,
			.target = NOBODY,
		};

		if (how == WATCHED_BY_SOCKET)
			fresh.target = target_of(bpf_get_current_pid_tgid() >> 32);
		if (how == WATCHED_WHOLE || fresh.target != NOBODY)
			bpf_map_update_elem(&sockets, &key, &fresh, BPF_ANY);
	} else if (how == WATCHED_BY_SOCKET) {
		find_owner(sk, from, to);
	}
	owner = owner_of(sk);
	if (!owner.netns)
		return 0;
	memory = bpf_map_lookup_elem(&sockets, &key);
	if (memory)
		catch_up(tp, memory, owner, from);
	else if (to != TCP_CLOSE && to != TCP_LISTEN)
		/* For an accepted connection the count begins with the SYN-ACKs that were sent again;
		 * those have been reported already. */
		memory = remember(key, tp, NOBODY);

	record = reserve(TCP_RECORD_STATE, owner.netns, owner.target);
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
	if (to == TCP_CLOSE) {
		if (from == TCP_LISTEN && how == WATCHED_BY_SOCKET)
			listens_no_more(sk);
		bpf_map_delete_elem(&sockets, &key);
	}
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
	__u8 pending = tp->inet_conn.icsk_pending, ca_state;

	if (state == TCP_SYN_SENT)
		return TCP_CAUSE_SYN;
	if (state == TCP_SYN_RECV)
		return TCP_CAUSE_SYN_ACK;
	ca_state = BPF_CORE_READ_BITFIELD_PROBED(&tp->inet_conn, icsk_ca_state);
	/* The timer may also be set, and not have run out, when acknowledgements show a gap. */
	if (pending == ICSK_TIME_LOSS_PROBE && ca_state < TCP_CA_RECOVERY)
		return TCP_CAUSE_TAIL_LOSS_PROBE;
	if (pending == 0 && ca_state == TCP_CA_LOSS)
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
	__u32 total, segments = 0;
	struct owner owner;
	struct tcp_sock *tp;
	__u64 key;
	int state;

	owner = owner_of(sk);
	if (!owner.netns)
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 0;

	key = (__u64)sk;
	total = tp->total_retrans;
	memory = bpf_map_lookup_elem(&sockets, &key);
	if (memory) {
		/* A count only grows: a smaller one is of another socket at the same address. */
		if (total < memory->reported)
			memory->reported = 0;
		segments = total - memory->reported;
	} else {
		/* A socket we have never seen, which is rare: those that were there before us have
		 * been looked at. The segment's own count is its whole growth. */
		if (!error)
			segments = BPF_CORE_READ((struct tcp_skb_cb *)&skb->cb, tcp_gso_segs);
		memory = remember(key, tp, NOBODY);
	}

	record = reserve(TCP_RECORD_RETRANSMIT, owner.netns, owner.target);
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
	struct owner owner;
	struct tcp_sock *tp;

	owner = owner_of(sk);
	if (!owner.netns)
		return 0;

	/* With TCP Fast Open the child exists already, and the kernel counts the segment there too. */
	tp = bpf_skc_to_tcp_sock(sk);
	memory = bpf_map_lookup_elem(&sockets, &key);
	if (tp && memory)
		memory->reported = tp->total_retrans;

	record = reserve(TCP_RECORD_RETRANSMIT, owner.netns, owner.target);
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
	struct owner owner = { .target = NOBODY };
	struct tcp_record *record;

	/* Neither has to be there: a closed port has no socket, a reset on our own account no packet.
	 * In a namespace of several a reset without a socket is nobody's. */
	if (sk) {
		owner = owner_of(sk);
	} else if (skb) {
		owner.netns = packet_netns(skb);
		if (watched_how(owner.netns) != WATCHED_WHOLE)
			return 0;
	}
	if (!owner.netns)
		return 0;
	record = reserve(TCP_RECORD_RESET_SENT, owner.netns, owner.target);
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
	__u64 key = (__u64)sk;
	struct owner owner;
	struct tcp_sock *tp;

	owner = owner_of(sk);
	if (!owner.netns)
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 0;
	record = reserve(TCP_RECORD_RESET_RECEIVED, owner.netns, owner.target);
	if (!record)
		return 0;
	fill_socket(record, tp, bpf_map_lookup_elem(&sockets, &key));
	record->state_from = record->state_to = sk->__sk_common.skc_state;
	bpf_ringbuf_submit(record, 0);
	return 0;
}

/* Looks once at the connections that are there already, so that their first retransmission counts
 * for its own growth and not for their whole life's. */
SEC("iter/tcp")
int tcp_seed(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;
	struct tcp_sock *tp;

	if (!sk || sk->skc_state == TCP_LISTEN ||
	    watched_how(netns_of(sk)) != WATCHED_WHOLE)
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (tp)
		remember((__u64)sk, tp, NOBODY);
	return 0;
}
