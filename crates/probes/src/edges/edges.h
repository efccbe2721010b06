/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * An edge as both halves know it: a target, its side of the conversation, and its peer. Plain
 * integers, padding spelled out.
 */
#ifndef TEMBLOR_EDGES_H
#define TEMBLOR_EDGES_H

#include "histogram.h"

enum edge_role {
	/* The target asked for the connection. */
	EDGE_CALLS = 1,
	/* The target accepted it. */
	EDGE_SERVES = 2,
};

enum edge_peer {
	/* The other end is a target's: its number. */
	EDGE_PEER_TARGET = 1,
	/* The other end is a process's on this machine: its name. */
	EDGE_PEER_PROCESS = 2,
	/* The other end is nobody's on this machine: its address, and the port that was called. */
	EDGE_PEER_ADDRESS = 3,
	/* There was no room for one more edge. */
	EDGE_PEER_OTHERS = 4,
};

struct edge_key {
	__u32 target;
	enum edge_role role;
	enum edge_peer peer;
	__u32 number;
	__u32 port;
	/* A process's name, or an address; of IPv4 as IPv6 has it. */
	__u8 name[16];
};

/* All of it only grows, except what is open. */
struct edge_figures {
	struct latencies turns;
	__u64 sent;
	__u64 received;
	__u64 opened;
	__s64 open;
};

#endif
