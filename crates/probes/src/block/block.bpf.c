// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
/*
 * The block probe's kernel half: what the targets ask of disks and how long it takes, and how long
 * they wait for their files to be safe.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "block.h"
#include "groups.bpf.h"
#include "histogram.bpf.h"
#include "members.bpf.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define REQUESTS_MAX 16384
/* How far up a cgroup may be a target's. */
#define GROUP_DEPTH_MAX 8
#define PF_KTHREAD 0x00200000
/* The low bits of a request's flags are its operation. */
#define REQ_OP_MASK 0xff

/* Set before loading: before Linux 5.11 the tracepoints hand over the queue first. Those of requests
 * have changed in 5.10, too, and those of bios not. */
const volatile __u32 queue_before_request = 0;
const volatile __u32 queue_before_bio = 0;
/* Never read: they put the types into the object's type information. */
const volatile struct io_key layout_io_key = {};
const volatile struct depth_key layout_depth_key = {};
const volatile struct depth layout_depth = {};
const volatile struct sync_key layout_sync_key = {};
/* The kernel's stack is too small for these values. */
const volatile struct io_figures no_io = {};
const volatile struct sync_figures no_syncs = {};

/* Requests that there was no room to note or to count. */
__u64 requests_lost = 0;
/* File syncs, likewise. */
__u64 syncs_lost = 0;
/* Which window the reader is in; apart from the counters, because the reader writes it. */
__u32 window SEC(".data.window") = 1;

/* A request that is on its way. */
struct note {
	/* When the driver got it. */
	__u64 issued_ns;
	/* When it was made; 0 where the kernel does not keep it. */
	__u64 made_ns;
	__u32 device;
	__u32 bytes;
	__u32 target;
	__u8 operation;
	/* The driver has it. */
	__u8 is_under_way;
	__u16 unused;
};

/* By the request's address; a flush that has no request of its own by its bio's. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, REQUESTS_MAX);
	__type(key, __u64);
	__type(value, struct note);
} requests SEC(".maps");

/* How many entries is set before loading, as for the map behind it. All processors share a value:
 * with one for each they would not fit, and disks are slow. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct io_key);
	__type(value, struct io_figures);
} io SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct depth_key);
	__type(value, struct depth);
} depths SEC(".maps");

/* Since when all programs are in place, CLOCK_MONOTONIC; 0: they are not yet. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} attached SEC(".maps");

#include "syncs.bpf.h"

/* The target of a cgroup or of one that it is in. */
static __always_inline __u32 target_above(struct cgroup *group)
{
	__u32 *target;

	for (int i = 0; i < GROUP_DEPTH_MAX && group; i++) {
		target = target_of_group(group);
		if (target)
			return *target;
		group = BPF_CORE_READ(group, self.parent, cgroup);
	}
	return KERNEL;
}

/*
 * Who asks for it: whoever is running, because requests are made where they are asked for. The
 * kernel's own threads work for others (they write back, and let through what was held back by a
 * limit): there the cgroup counts that pays for it.
 */
static __always_inline __u32 asker(struct bio *bio)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	__u32 target = target_of(bpf_get_current_pid_tgid() >> 32);

	if (target != NOBODY || !(BPF_CORE_READ(task, flags) & PF_KTHREAD))
		return target;
	if (!bio || !bpf_core_field_exists(bio->bi_blkg))
		return KERNEL;
	return target_above(BPF_CORE_READ(bio, bi_blkg, blkcg, css.cgroup));
}

static __always_inline __u32 number_of(struct gendisk *disk)
{
	if (!disk)
		return 0;
	return BPF_CORE_READ(disk, major) << 20 | BPF_CORE_READ(disk, first_minor);
}

/* 0: it is to a driver and not to a disk. */
static __always_inline __u32 device_of(struct request *rq)
{
	if (bpf_core_field_exists(rq->q->disk))
		return number_of(BPF_CORE_READ(rq, q, disk));
	return number_of(BPF_CORE_READ((struct request___disk *)rq, rq_disk));
}

static __always_inline __u32 device_of_bio(struct bio *bio)
{
	if (bpf_core_field_exists(bio->bi_bdev))
		return number_of(BPF_CORE_READ(bio, bi_bdev, bd_disk));
	return number_of(BPF_CORE_READ((struct bio___disk *)bio, bi_disk));
}

static __always_inline __u8 operation_of(__u32 flags)
{
	switch (flags & REQ_OP_MASK) {
	case 0:
		return OPERATION_READ;
	case 1:
		return OPERATION_WRITE;
	case 2:
		return OPERATION_FLUSH;
	case 3:
		return OPERATION_DISCARD;
	case 9:
		return OPERATION_WRITE_ZEROES;
	default:
		return OPERATION_OTHER;
	}
}

/* Whether it is to have the device's cache emptied before anything else. */
static __always_inline int flushes_first(__u32 flags)
{
	return flags >> bpf_core_enum_value(enum req_flag_bits, __REQ_PREFLUSH) & 1;
}

static __always_inline void enter(__u32 target, __u32 device)
{
	struct depth_key key = { .target = target, .device = device };
	struct depth empty = {}, *depth;
	__u32 slot = window & 1, number = window, now;

	depth = bpf_map_lookup_elem(&depths, &key);
	if (!depth) {
		bpf_map_update_elem(&depths, &key, &empty, BPF_NOEXIST);
		depth = bpf_map_lookup_elem(&depths, &key);
		if (!depth)
			return;
	}
	__sync_fetch_and_add(&depth->now, 1);
	now = *(volatile __u32 *)&depth->now;
	if (depth->window[slot] != number) {
		depth->max[slot] = 0;
		depth->window[slot] = number;
	}
	if (now > depth->max[slot])
		depth->max[slot] = now;
}

static __always_inline void leave(__u32 target, __u32 device)
{
	struct depth_key key = { .target = target, .device = device };
	struct depth *depth = bpf_map_lookup_elem(&depths, &key);

	if (depth)
		__sync_fetch_and_add(&depth->now, -1);
}

/* A bio's flush is the asker's alone: the device gets one for several, which is a request. */
static __always_inline void begin(__u64 key, struct note *note, int is_request)
{
	if (bpf_map_update_elem(&requests, &key, note, BPF_ANY)) {
		__sync_fetch_and_add(&requests_lost, 1);
		return;
	}
	if (is_request)
		enter(EVERYBODY, note->device);
	if (note->target != NOBODY)
		enter(note->target, note->device);
}

static __always_inline void end(struct note *note, int is_request)
{
	if (is_request)
		leave(EVERYBODY, note->device);
	if (note->target != NOBODY)
		leave(note->target, note->device);
}

static __always_inline void count(struct note *note, __u32 target, __u64 now, int failed)
{
	struct io_key key = {
		.target = target,
		.device = note->device,
		.operation = note->operation,
	};
	struct io_figures *figures = bpf_map_lookup_elem(&io, &key);
	__u32 number = window;

	if (!figures) {
		bpf_map_update_elem(&io, &key, (const void *)&no_io, BPF_NOEXIST);
		figures = bpf_map_lookup_elem(&io, &key);
		if (!figures) {
			__sync_fetch_and_add(&requests_lost, 1);
			return;
		}
	}
	/* Clocks of two processors may differ by a little. */
	latency_add_shared(&figures->time, now > note->issued_ns ? now - note->issued_ns : 0,
			   number);
	if (note->made_ns && note->made_ns <= note->issued_ns)
		latency_add_shared(&figures->wait, note->issued_ns - note->made_ns, number);
	if (note->bytes)
		latency_add_shared(&figures->size, note->bytes, number);
	if (failed)
		__sync_fetch_and_add(&figures->errors, 1);
}

/*
 * The end of a request that was made while all programs were in place, and of which there is no
 * note: the kernel left one of them out, or would not take the note.
 */
static __always_inline void miss(struct request *rq)
{
	__u32 zero = 0;
	__u64 *since = bpf_map_lookup_elem(&attached, &zero);

	if (since && *since && rq->start_time_ns > *since)
		__sync_fetch_and_add(&requests_lost, 1);
}

/*
 * Comes for every part of a request: some drivers tell of the parts by and by. It stands first
 * because programs are attached, and taken off, in their order: taken off last, it would miss the
 * notes of others.
 */
SEC("tp_btf/block_rq_complete")
int block_rq_complete(__u64 *ctx)
{
	struct request *rq = (struct request *)ctx[0];
	int failed = (int)ctx[1] != 0, is_request = 1;
	__u32 done = ctx[2];
	struct note *found, note;
	__u64 key = (__u64)rq;

	if (done < rq->__data_len)
		return 0;
	found = bpf_map_lookup_elem(&requests, &key);
	if (!found || !found->is_under_way) {
		/* The flags say no more what it was for: the kernel has done that by itself. */
		if (rq->__data_len) {
			miss(rq);
			return 0;
		}
		if (!rq->bio)
			return 0;
		key = (__u64)rq->bio;
		found = bpf_map_lookup_elem(&requests, &key);
		if (!found || !found->is_under_way)
			return 0;
		is_request = 0;
	}
	note = *found;
	/* Whether it is there is known; the kernel may be unable to take it out for all that. */
	found->is_under_way = 0;
	bpf_map_delete_elem(&requests, &key);
	end(&note, is_request);
	if (is_request)
		count(&note, EVERYBODY, bpf_ktime_get_ns(), failed);
	if (note.target != NOBODY)
		count(&note, note.target, bpf_ktime_get_ns(), failed);
	return 0;
}

/* Whether a note is of this request and not of one before it at the same address: joining two
 * requests moves the beginning back, never forth. */
static __always_inline int is_of(struct note *note, struct request *rq)
{
	return rq->start_time_ns <= note->made_ns;
}

/* A request is made, and whoever asks for it is running: later it may be somebody else. */
static __always_inline int makes(struct request *rq)
{
	struct note fresh = {}, *note;
	__u64 key = (__u64)rq;

	note = bpf_map_lookup_elem(&requests, &key);
	if (note) {
		if (is_of(note, rq))
			return 0;
		/* Its end was missed. */
		if (note->is_under_way)
			end(note, 1);
	}
	fresh.made_ns = rq->start_time_ns;
	fresh.target = asker(rq->bio);
	if (bpf_map_update_elem(&requests, &key, &fresh, BPF_ANY))
		__sync_fetch_and_add(&requests_lost, 1);
	return 0;
}

/* What comes after the queue, where that is handed over. The barrier keeps the two loads apart: made
 * one, of an address that is worked out before, they are refused. */
static __always_inline __u64 argument(__u64 *ctx, __u32 queue_before)
{
	__u64 argument;

	if (queue_before) {
		argument = ctx[1];
		barrier();
	} else {
		argument = ctx[0];
	}
	return argument;
}

static __always_inline struct request *request_of(__u64 *ctx)
{
	return (struct request *)argument(ctx, queue_before_request);
}

/* From Linux 6.5 on, where the device keeps statistics. */
SEC("tp_btf/block_io_start")
int block_io_start(__u64 *ctx)
{
	return makes((struct request *)ctx[0]);
}

/* Into a scheduler's queue. */
SEC("tp_btf/block_rq_insert")
int block_rq_insert(__u64 *ctx)
{
	return makes(request_of(ctx));
}

/* To the device's driver. */
SEC("tp_btf/block_rq_issue")
int block_rq_issue(__u64 *ctx)
{
	struct request *rq = request_of(ctx);
	struct note fresh = {}, *note;
	__u64 key = (__u64)rq;

	fresh.device = device_of(rq);
	if (!fresh.device)
		return 0;
	note = bpf_map_lookup_elem(&requests, &key);
	if (note && note->is_under_way)
		end(note, 1);
	fresh.operation = operation_of(rq->cmd_flags);
	if (fresh.operation == OPERATION_FLUSH)
		fresh.target = NOBODY;
	else
		fresh.target = note && is_of(note, rq) ? note->target : asker(rq->bio);
	fresh.issued_ns = bpf_ktime_get_ns();
	fresh.made_ns = rq->start_time_ns;
	fresh.bytes = rq->__data_len;
	fresh.is_under_way = 1;
	begin(key, &fresh, 1);
	return 0;
}

/* The driver cannot take it now, and will get it again. */
SEC("tp_btf/block_rq_requeue")
int block_rq_requeue(__u64 *ctx)
{
	__u64 key = (__u64)request_of(ctx);
	struct note *note = bpf_map_lookup_elem(&requests, &key);

	if (note && note->is_under_way) {
		note->is_under_way = 0;
		end(note, 1);
	}
	return 0;
}

/*
 * Somebody asks for a flush and nothing else. The device gets one request for all who do so at the
 * time, which is nobody's in particular; whoever asks waits from now until the end of a request
 * that is never given to the device.
 */
SEC("tp_btf/block_getrq")
int block_getrq(__u64 *ctx)
{
	struct bio *bio = (struct bio *)argument(ctx, queue_before_bio);
	struct note fresh = {}, *note;
	__u64 key = (__u64)bio;

	if (!bio || !flushes_first(bio->bi_opf) || bio->bi_iter.bi_size)
		return 0;
	note = bpf_map_lookup_elem(&requests, &key);
	if (note && note->is_under_way)
		end(note, 0);
	fresh.target = asker(bio);
	fresh.device = device_of_bio(bio);
	if (fresh.target == NOBODY || !fresh.device)
		return 0;
	fresh.issued_ns = bpf_ktime_get_ns();
	fresh.operation = OPERATION_FLUSH;
	fresh.is_under_way = 1;
	begin(key, &fresh, 0);
	return 0;
}
