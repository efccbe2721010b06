/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * What goes over the connections: bytes, and turns. A turn lasts from the last of a request to the
 * first of its answer, as they pass between the socket and the network; nothing of what they say
 * matters to it.
 */
#ifndef TEMBLOR_PACKETS_BPF_H
#define TEMBLOR_PACKETS_BPF_H

#include "exchanges.bpf.h"

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd

/* Packets that could not be read. */
__u64 packets_lost = 0;

/* The packets of connections whose number has none of these bits are looked at. The reader writes
 * it. */
__u32 sample_mask SEC(".data.sampling") = 0;

/* Connections that begin one after the other have numbers that are far apart. */
static __always_inline int is_sampled(const struct connection *c)
{
	return !((c->since_ns * 0x9e3779b97f4a7c15ULL >> 32) & sample_mask);
}

struct ipv4_header {
	__u8 version_and_length;
	__u8 rest[19];
};

struct ipv6_header {
	__u8 start[6];
	__u8 next;
	__u8 rest[33];
};

struct tcp_header {
	__be16 from;
	__be16 to;
	__be32 seq;
	__be32 ack;
	__u8 length;
	__u8 flags;
	__u8 rest[6];
};

#define TCP_FLAG_SYN 2

/* Whether there is any. The headers are in the packet's first piece: the kernel has read them. */
static __always_inline int payload_of(struct __sk_buff *skb, struct payload *payload)
{
	void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;
	struct tcp_header *tcp;
	__u32 offset;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct ipv4_header *ip = data;

		if ((void *)(ip + 1) > data_end)
			goto lost;
		offset = (ip->version_and_length & 15) * 4;
	} else {
		struct ipv6_header *ip = data;

		if ((void *)(ip + 1) > data_end)
			goto lost;
		/* Nobody puts anything between IPv6 and TCP, save for encryption. */
		if (ip->next != IPPROTO_TCP)
			goto lost;
		offset = sizeof(*ip);
	}
	tcp = data + offset;
	if ((void *)(tcp + 1) > data_end)
		goto lost;
	offset += (tcp->length >> 4) * 4;
	payload->seq = bpf_ntohl(tcp->seq) + (tcp->flags & TCP_FLAG_SYN ? 1 : 0);
	payload->offset = offset;
	payload->length = skb->len > offset ? skb->len - offset : 0;
	return payload->length > 0;
lost:
	__sync_fetch_and_add(&packets_lost, 1);
	return 0;
}

/* How much of it is new. What is sent again is not; what arrives before its turn will have been
 * preceded by the rest when it is read. */
static __always_inline __u32 advance(__u32 *next, __u8 *known, const struct payload *payload)
{
	__u32 end = payload->seq + payload->length, fresh;

	fresh = *known ? end - *next : payload->length;
	if ((__s32)fresh <= 0)
		return 0;
	*known = 1;
	*next = end;
	return fresh;
}

static __always_inline void turn(struct connection *c, __u64 ns)
{
	struct edge_figures *edge;

	if (c->settled != FOR_GOOD)
		settle(c, 1);
	edge = edge_of(c);
	if (edge)
		latency_add_shared(&edge->turns, ns, window);
	else
		__sync_fetch_and_add(&turns_lost, 1);
}

static __always_inline void packet(struct __sk_buff *skb, int is_sent)
{
	__u64 key = (__u64)skb->sk, now;
	struct connection *c = bpf_map_lookup_elem(&connections, &key);
	struct payload payload;
	__u32 fresh;

	/* Of what is accepted the owner is known when it has read. */
	if (!c || (c->tgid && c->target == NOBODY) || !is_sampled(c) || !payload_of(skb, &payload))
		return;
	if (is_sent) {
		fresh = advance(&c->sent_next, &c->has_sent, &payload);
		c->sent += fresh;
	} else {
		fresh = advance(&c->received_next, &c->has_received, &payload);
		c->received += fresh;
	}
	if (!fresh)
		return;
	now = bpf_ktime_get_ns();
	if (is_sent == (c->role == EDGE_CALLS)) {
		if (c->asking)
			c->request_bytes += fresh;
		else
			begin_request(skb, c, &payload, fresh);
		c->asked_ns = now;
		c->asking = 1;
	} else if (c->asking && !is_interim(skb, c, &payload)) {
		/* Clocks of two processors may differ by a little. */
		__u64 ns = now > c->asked_ns ? now - c->asked_ns : 0;

		c->asking = 0;
		turn(c, ns);
		if (c->head_length)
			tell_exchange(skb, c, key, &payload, ns);
	}
}

/* A program on packets says whether they may pass: all may. */
#define PASS 1

SEC("cgroup_skb/egress")
int edges_sent(struct __sk_buff *skb)
{
	packet(skb, 1);
	return PASS;
}

SEC("cgroup_skb/ingress")
int edges_received(struct __sk_buff *skb)
{
	packet(skb, 0);
	return PASS;
}

#endif
