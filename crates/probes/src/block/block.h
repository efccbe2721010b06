/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* What the block probe's kernel half keeps, as both halves know it. */
#ifndef TEMBLOR_BLOCK_H
#define TEMBLOR_BLOCK_H

#include "histogram.h"

/* In the place of a target: all that a device does, whoever asked for it. */
#define EVERYBODY 0xfffffffe
/* In the place of a target: what the kernel's own threads ask for on nobody's account. */
#define KERNEL 0xfffffffd

/* What a request is for. */
#define OPERATION_READ 0
#define OPERATION_WRITE 1
#define OPERATION_FLUSH 2
#define OPERATION_DISCARD 3
#define OPERATION_WRITE_ZEROES 4
#define OPERATION_OTHER 5

/* What a file is synced for. */
#define SYNC_ALL 0
#define SYNC_DATA 1

struct io_key {
	__u32 target;
	/* As the kernel numbers devices: the minor number in the lower 20 bits. */
	__u32 device;
	__u32 operation;
};

struct io_figures {
	__u64 errors;
	/* From when the device's driver got it to when it was done. */
	struct latencies time;
	/* From when the request was made to when the driver got it. */
	struct latencies wait;
	/* Bytes. */
	struct latencies size;
};

struct depth_key {
	__u32 target;
	__u32 device;
};

/* How many requests a device has. */
struct depth {
	__u32 now;
	__u32 unused;
	/* The most in the even and in the odd window, and which windows those are. */
	__u32 max[2];
	__u32 window[2];
};

struct sync_key {
	__u32 target;
	__u32 kind;
};

struct sync_figures {
	__u64 errors;
	struct latencies time;
};

#endif
