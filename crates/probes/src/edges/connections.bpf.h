/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * The connections of this machine: whose each end is, and to which edge it belongs.
 *
 * All of the machine's are kept, not the targets' alone: whoever holds the other end of a target's
 * connection is known by its process only if that end is known, too.
 */
#ifndef TEMBLOR_CONNECTIONS_BPF_H
#define TEMBLOR_CONNECTIONS_BPF_H

#define CONNECTIONS_MAX 131072

/* Connections, and what went over them, for which there was no room. */
__u64 connections_lost = 0;
__u64 turns_lost = 0;

/* Which window the reader is in; apart from the counters, because the reader writes it. */
__u32 window SEC(".data.window") = 1;

/* Never read: it puts the type into the object's type information. */
const volatile struct edge_key layout_edge_key = {};
/* The kernel's stack is too small for this value. */
const volatile struct edge_figures new_edge = {};

/* One end of a connection, by its addresses: of IPv4 as IPv6 has them. The other end's are the same
 * with the sides exchanged. */
struct end {
	__u32 local[4];
	__u32 remote[4];
	__u16 local_port;
	__u16 remote_port;
	/* Of a connection that stays in its namespace: every namespace has a 127.0.0.1. Else 0. */
	__u32 netns;
};

enum settled {
	/* The edge is not known yet. */
	UNSETTLED = 0,
	/* The other end is on this machine, but nobody has used it so far. */
	FOR_NOW = 1,
	FOR_GOOD = 2,
};

struct connection {
	struct end end;
	/* Once it is settled. */
	struct edge_key edge;
	__u64 since_ns;
	/* When the last of a request went by. */
	__u64 asked_ns;
	/* Bytes, and how many of them the edge has been told of. */
	__u64 sent;
	__u64 received;
	__u64 sent_told;
	__u64 received_told;
	/* The sequence numbers that follow what has gone by. */
	__u32 sent_next;
	__u32 received_next;
	/* Who uses it; 0: nobody so far. */
	__u32 tgid;
	__u32 target;
	__u8 comm[16];
	__u8 role;
	__u8 settled;
	/* Its addresses are known. */
	__u8 established;
	/* The edge has counted it. */
	__u8 counted;
	/* A request has gone by, and no answer. */
	__u8 asking;
	__u8 has_sent;
	__u8 has_received;
	__u8 unused;
	/* Of the request that is under way, where it may be one that can be read; else 0. */
	__u32 head_length;
	__u32 request_bytes;
	__u8 head[REQUEST_HEAD];
	__u8 types[MESSAGES_MAX];
};

const volatile struct connection new_connection = { .target = NOBODY };

/* Keyed by the socket's address. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CONNECTIONS_MAX);
	__type(key, __u64);
	__type(value, struct connection);
} connections SEC(".maps");

/* The same by their ends. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CONNECTIONS_MAX);
	__type(key, struct end);
	__type(value, __u64);
} ends SEC(".maps");

/* The size is set before loading: the edges that there may be, and each target's others. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct edge_key);
	__type(value, struct edge_figures);
} edges SEC(".maps");

static __always_inline void end_of(struct end *end, struct sock *sk)
{
	const __u32 v4_as_v6 = bpf_htonl(0xffff), v6_loopback = bpf_htonl(1);

	__builtin_memset(end, 0, sizeof(*end));
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6 &&
	    bpf_core_field_exists(sk->__sk_common.skc_v6_daddr)) {
		bpf_core_read(end->local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
		bpf_core_read(end->remote, 16, &sk->__sk_common.skc_v6_daddr);
	} else {
		end->local[2] = end->remote[2] = v4_as_v6;
		end->local[3] = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
		end->remote[3] = BPF_CORE_READ(sk, __sk_common.skc_daddr);
	}
	end->local_port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
	end->remote_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (!end->local[0] && !end->local[1] &&
	    ((end->local[2] == v4_as_v6 && (bpf_ntohl(end->local[3]) >> 24) == 127) ||
	     (!end->local[2] && end->local[3] == v6_loopback)))
		end->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
}

static __always_inline struct connection *connection_of(struct sock *sk)
{
	__u64 key = (__u64)sk;

	return bpf_map_lookup_elem(&connections, &key);
}

/* The edge's figures, of a connection that is settled. */
static __always_inline struct edge_figures *edge_of(struct connection *c)
{
	return c->settled ? bpf_map_lookup_elem(&edges, &c->edge) : NULL;
}

/* Tells the edge of what has gone over the connection since. */
static __always_inline void tell_bytes(struct connection *c)
{
	struct edge_figures *edge = edge_of(c);
	__u64 sent = c->sent, received = c->received;

	if (!edge)
		return;
	if (sent != c->sent_told)
		__sync_fetch_and_add(&edge->sent, sent - c->sent_told);
	if (received != c->received_told)
		__sync_fetch_and_add(&edge->received, received - c->received_told);
	c->sent_told = sent;
	c->received_told = received;
}

/* The connection is no longer the edge's. */
static __always_inline void leave_edge(struct connection *c)
{
	struct edge_figures *edge;

	tell_bytes(c);
	edge = edge_of(c);
	if (edge)
		__sync_fetch_and_add(&edge->open, -1);
	c->settled = UNSETTLED;
}

/* The figures of this edge, made where there are none yet. Where there is no room the key becomes
 * that of the target's others. */
static __always_inline struct edge_figures *edge_at(struct edge_key *key)
{
	struct edge_figures *edge = bpf_map_lookup_elem(&edges, key);

	if (edge)
		return edge;
	bpf_map_update_elem(&edges, key, (const void *)&new_edge, BPF_NOEXIST);
	edge = bpf_map_lookup_elem(&edges, key);
	if (edge)
		return edge;
	key->peer = EDGE_PEER_OTHERS;
	key->port = 0;
	key->number = 0;
	__builtin_memset(key->name, 0, sizeof(key->name));
	return bpf_map_lookup_elem(&edges, key);
}

/*
 * Finds out to which edge a target's connection belongs: who has the other end? That end's owner is
 * known when it has connected or read; `at_once` does not wait for that.
 */
static __noinline int settle(struct connection *c, int at_once)
{
	struct edge_key key = {};
	struct edge_figures *edge;
	struct connection *peer;
	struct end other = {};
	__u64 *socket;

	if (!c || c->target == NOBODY || !c->established || c->settled == FOR_GOOD)
		return 0;
	__builtin_memcpy(other.local, c->end.remote, sizeof(other.local));
	__builtin_memcpy(other.remote, c->end.local, sizeof(other.remote));
	other.local_port = c->end.remote_port;
	other.remote_port = c->end.local_port;
	other.netns = c->end.netns;
	socket = bpf_map_lookup_elem(&ends, &other);
	peer = socket ? bpf_map_lookup_elem(&connections, socket) : NULL;
	if (peer && !peer->tgid && !at_once)
		return 0;

	key.target = c->target;
	key.role = c->role;
	if (peer && peer->tgid && peer->target != NOBODY) {
		key.peer = EDGE_PEER_TARGET;
		key.number = peer->target;
	} else if (peer && peer->tgid) {
		key.peer = EDGE_PEER_PROCESS;
		__builtin_memcpy(key.name, peer->comm, sizeof(key.name));
	} else {
		key.peer = EDGE_PEER_ADDRESS;
		__builtin_memcpy(key.name, c->end.remote, sizeof(key.name));
		/* Whoever calls has another port each time. */
		if (c->role == EDGE_CALLS)
			key.port = c->end.remote_port;
	}
	if (c->settled == FOR_NOW) {
		if (key.peer == EDGE_PEER_ADDRESS)
			return 0;
		leave_edge(c);
	}
	edge = edge_at(&key);
	if (!edge) {
		__sync_fetch_and_add(&connections_lost, 1);
		return 0;
	}
	__sync_fetch_and_add(&edge->open, 1);
	if (!c->counted)
		__sync_fetch_and_add(&edge->opened, 1);
	c->counted = 1;
	c->edge = key;
	c->settled = peer && !peer->tgid ? FOR_NOW : FOR_GOOD;
	return 0;
}

static __always_inline void forget(struct sock *sk, struct connection *c)
{
	__u64 key = (__u64)sk;

	leave_edge(c);
	if (c->established)
		bpf_map_delete_elem(&ends, &c->end);
	bpf_map_delete_elem(&connections, &key);
}

static __always_inline struct connection *begin(struct sock *sk, __u8 role)
{
	struct connection *c = connection_of(sk);
	__u64 key = (__u64)sk;

	/* Another socket's, at the same address: its end was not seen. */
	if (c)
		forget(sk, c);
	bpf_map_update_elem(&connections, &key, (const void *)&new_connection, BPF_ANY);
	c = bpf_map_lookup_elem(&connections, &key);
	if (!c) {
		__sync_fetch_and_add(&connections_lost, 1);
		return NULL;
	}
	c->since_ns = bpf_ktime_get_ns();
	c->role = role;
	return c;
}

static __always_inline void establish(struct sock *sk, struct connection *c)
{
	__u64 key = (__u64)sk;

	end_of(&c->end, sk);
	c->established = 1;
	if (bpf_map_update_elem(&ends, &c->end, &key, BPF_ANY))
		__sync_fetch_and_add(&connections_lost, 1);
}

/* A listener's bound on those who wait to be accepted passes to whom it accepts; whoever connects
 * has none. */
static __always_inline __u8 role_of(struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_max_ack_backlog) ? EDGE_SERVES : EDGE_CALLS;
}

/* The connection is this task's process's from now on. */
static __always_inline void own(struct connection *c, struct task_struct *task)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);
	__u32 tgid = BPF_CORE_READ(task, tgid), target = target_of(tgid);

	if (c->settled && c->target != target)
		leave_edge(c);
	__builtin_memset(c->comm, 0, sizeof(c->comm));
	bpf_core_read_str(c->comm, sizeof(c->comm), &leader->comm);
	c->target = target;
	c->tgid = tgid;
}

#endif
