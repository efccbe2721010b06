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

/* So much of a request's beginning is kept, of its answer's, and of an error in PostgreSQL's. */
#define REQUEST_HEAD 96
#define ANSWER_HEAD 32
#define FAILURE_HEAD 64
/* PostgreSQL's messages in one packet, by their types, in order. */
#define MESSAGES_MAX 16

/* A request and the beginning of its answer. */
struct edges_exchange {
	/* Whose: the socket, and since when it is this connection's. */
	__u64 socket;
	__u64 since_ns;
	__u64 turn_ns;
	/* As the histograms have it. */
	__u32 bucket;
	/* The whole request's. */
	__u32 request_bytes;
	struct edge_key edge;
	__u32 request_length;
	__u32 answer_length;
	__u32 failure_length;
	__u8 request[REQUEST_HEAD];
	__u8 answer[ANSWER_HEAD];
	__u8 failure[FAILURE_HEAD];
	__u8 request_types[MESSAGES_MAX];
	__u8 answer_types[MESSAGES_MAX];
};

#endif
