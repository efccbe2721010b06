// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
/*
 * The edges probe's kernel half: who talks to whom, and how long an answer takes.
 *
 * A connection is its socket's, and a socket is whose process connected or reads: both happen in
 * that process's own system call. Packets come in softirq, where the current task is whoever was
 * interrupted, and are attributed by their socket.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include "file_socket.bpf.h"
#include "histogram.bpf.h"
#include "members.bpf.h"
#include "edges.h"
#include "connections.bpf.h"
#include "packets.bpf.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

/* So long a peer on this machine may take to use its end of a connection before it is told of by
 * its address. */
#define PATIENCE_NS 2000000000ULL

SEC("tp_btf/inet_sock_set_state")
int edges_state(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	int from = (int)ctx[1], to = (int)ctx[2];
	struct connection *c;

	/* The tracepoint serves other protocols, too. */
	if (sk->sk_protocol != IPPROTO_TCP)
		return 0;
	if (to == TCP_SYN_SENT) {
		c = begin(sk, EDGE_CALLS);
		if (c)
			own(c, (struct task_struct *)bpf_get_current_task());
	} else if (to == TCP_ESTABLISHED) {
		c = connection_of(sk);
		if (!c || c->established)
			c = begin(sk, from == TCP_SYN_RECV ? EDGE_SERVES : EDGE_CALLS);
		if (c)
			establish(sk, c);
	} else if (to == TCP_CLOSE) {
		c = connection_of(sk);
		if (c) {
			/* It may have been too short for anything else. */
			settle(c, 1);
			forget(sk, c);
		}
	}
	return 0;
}

/* Data is being handed to the process that reads: whoever accepted is known from here on, be it the
 * listener or a child of its. */
SEC("tp_btf/tcp_rcv_space_adjust")
int edges_read(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct connection *c = connection_of(sk);

	if (c && c->tgid == tgid)
		return 0;
	if (!c) {
		/* Nobody had used it when the others were looked at. */
		c = begin(sk, role_of(sk));
		if (!c)
			return 0;
		establish(sk, c);
	}
	own(c, (struct task_struct *)bpf_get_current_task());
	return 0;
}

/* Looks once at the connections that are there already. */
SEC("iter/task_file")
int edges_seed(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct connection *c;
	struct sock *sk;
	__u8 state;

	if (!task || !file)
		return 0;
	sk = tcp_socket_of(file);
	if (!sk)
		return 0;
	state = BPF_CORE_READ(sk, __sk_common.skc_state);
	if (state == TCP_LISTEN ||
	    state == TCP_CLOSE || state == TCP_SYN_SENT || state == TCP_SYN_RECV)
		return 0;
	c = connection_of(sk);
	/* Of several who have it open a target is the one to tell of. */
	if (c && (c->target != NOBODY ||
		  (c->tgid && target_of(BPF_CORE_READ(task, tgid)) == NOBODY)))
		return 0;
	if (!c) {
		c = begin(sk, role_of(sk));
		if (!c)
			return 0;
		establish(sk, c);
		/* It was there before: the edge has it, but did not see it opened. */
		c->counted = 1;
	}
	own(c, task);
	/* Closed meanwhile, and nobody will tell of it again. */
	if (BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_CLOSE)
		forget(sk, c);
	return 0;
}

/* Once a window, for each connection: those over which nothing goes have an edge, too. */
SEC("iter/bpf_map_elem")
int edges_sweep(struct bpf_iter__bpf_map_elem *ctx)
{
	__u64 *at = ctx->key, key;
	struct connection *c;
	__u64 now;

	if (!at)
		return 0;
	key = *at;
	c = bpf_map_lookup_elem(&connections, &key);
	if (!c || !c->tgid)
		return 0;
	/* Its process may have come to a target meanwhile. */
	if (c->target == NOBODY)
		c->target = target_of(c->tgid);
	if (c->target == NOBODY)
		return 0;
	now = bpf_ktime_get_ns();
	settle(c, now > c->since_ns && now - c->since_ns > PATIENCE_NS);
	tell_bytes(c);
	return 0;
}
