/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * Whose a socket is. In a namespace that is one target's alone every socket is that target's. In one
 * that others use, too, a socket is whose process connected or listens: both are system calls of that
 * process's own. What a listener accepts is known by its port.
 */
#ifndef TEMBLOR_TCP_OWNER_H
#define TEMBLOR_TCP_OWNER_H

#include "file_socket.bpf.h"
#include "members.bpf.h"
#include "socket.bpf.h"

#define LISTENING_MAX 4096

struct owner {
	/* 0: it is nobody's. */
	__u32 netns;
	/* NOBODY: whosever the namespace is. */
	__u32 target;
};

struct listening_key {
	__u32 netns;
	__u32 port;
};

struct listening {
	__u32 target;
	/* Sockets: several may listen at one port. */
	__u32 sockets;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, LISTENING_MAX);
	__type(key, struct listening_key);
	__type(value, struct listening);
} listening SEC(".maps");

/* Of a socket that a tracepoint hands over. */
static __always_inline __u32 netns_of(const struct sock_common *sk)
{
	return sk->skc_net.net->ns.inum;
}

/* Of one that was found in another way. */
static __always_inline __u32 netns_read(const struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
}

static __always_inline enum watched_how watched_how(__u32 netns)
{
	__u8 *how = bpf_map_lookup_elem(&watched, &netns);

	return how ? *how : WATCHED_NOT;
}

/* Of a socket that has been seen, or looked at, before. */
static __always_inline struct owner owner_of(struct sock *sk)
{
	struct owner owner = { .netns = netns_of(&sk->__sk_common), .target = NOBODY };
	enum watched_how how = watched_how(owner.netns);
	struct socket_memory *memory;
	__u64 key = (__u64)sk;

	if (how == WATCHED_BY_SOCKET) {
		memory = bpf_map_lookup_elem(&sockets, &key);
		owner.target = memory ? memory->target : NOBODY;
		if (owner.target == NOBODY)
			owner.netns = 0;
	} else if (how == WATCHED_NOT) {
		owner.netns = 0;
	}
	return owner;
}

static __always_inline struct listening_key listening_at(struct sock *sk)
{
	struct listening_key key = {
		.netns = netns_read(sk),
		.port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport)),
	};

	return key;
}

/* The port is this target's as long as one of its sockets listens there. */
static __always_inline void listens(struct sock *sk, __u32 target)
{
	struct listening_key at = listening_at(sk);
	struct listening fresh = { .target = target, .sockets = 1 }, *known;
	struct socket_memory memory = { .target = target };
	__u64 key = (__u64)sk;

	/* Listening is a process's own doing, and whatever was at this address has gone; only one who
	 * looks at those that are there already may come twice. */
	if (bpf_map_update_elem(&sockets, &key, &memory, BPF_NOEXIST))
		return;
	known = bpf_map_lookup_elem(&listening, &at);
	if (known && known->target == target)
		__sync_fetch_and_add(&known->sockets, 1);
	else
		bpf_map_update_elem(&listening, &at, &fresh, BPF_ANY);
}

static __always_inline void listens_no_more(struct sock *sk)
{
	struct listening_key at = listening_at(sk);
	struct listening *known = bpf_map_lookup_elem(&listening, &at);

	if (!known)
		return;
	__sync_fetch_and_add(&known->sockets, -1);
	if (!known->sockets)
		bpf_map_delete_elem(&listening, &at);
}

/* Finds out whose it is, at a change of state that shows it. */
static __always_inline void find_owner(struct sock *sk, int from, int to)
{
	__u32 target = NOBODY;

	if (to == TCP_LISTEN) {
		target = target_of(bpf_get_current_pid_tgid() >> 32);
		if (target != NOBODY)
			listens(sk, target);
	} else if (from == TCP_SYN_RECV && to == TCP_ESTABLISHED) {
		struct listening_key at = listening_at(sk);
		struct listening *known = bpf_map_lookup_elem(&listening, &at);
		struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);

		if (known && tp)
			remember((__u64)sk, tp, known->target);
	}
}

/* Looks once at the connections and listeners that are there already, by who has them open. */
SEC("iter/task_file")
int tcp_seed_owners(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct socket_memory memory = {};
	struct sock *sk;
	__u8 state;
	__u64 key;

	if (!task || !file)
		return 0;
	memory.target = target_of(BPF_CORE_READ(task, tgid));
	if (memory.target == NOBODY)
		return 0;
	sk = tcp_socket_of(file);
	if (!sk)
		return 0;
	state = BPF_CORE_READ(sk, __sk_common.skc_state);
	if (state == TCP_CLOSE ||
	    watched_how(netns_read(sk)) != WATCHED_BY_SOCKET)
		return 0;
	if (state == TCP_LISTEN) {
		listens(sk, memory.target);
		return 0;
	}
	key = (__u64)sk;
	memory.reported = BPF_CORE_READ((struct tcp_sock *)sk, total_retrans);
	bpf_map_update_elem(&sockets, &key, &memory, BPF_NOEXIST);
	return 0;
}

#endif
