/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* What the process probe's kernel half tells the other half. */
#ifndef TEMBLOR_PROCESS_H
#define TEMBLOR_PROCESS_H

#define PROCESS_NAME_BYTES 16
#define PROCESS_FILE_BYTES 256

enum process_record_kind {
	PROCESS_RECORD_EXEC = 1,
	PROCESS_RECORD_EXIT = 2,
	PROCESS_RECORD_SIGNAL = 3,
	/* The kernel has chosen this process to make room. */
	PROCESS_RECORD_VICTIM = 4,
};

enum process_sender_kind {
	PROCESS_SENDER_UNSEEN = 0,
	PROCESS_SENDER_PROCESS = 1,
	PROCESS_SENDER_KERNEL = 2,
	/* The kernel, for what the process itself has done. */
	PROCESS_SENDER_FAULT = 3,
};

struct process_sender {
	enum process_sender_kind kind;
	/* 0: it has none where the reader is. */
	__u32 pid;
	/* Its target's number. */
	__u32 target;
	__u32 unused;
	__u8 name[PROCESS_NAME_BYTES];
};

/* A field that the kind of the record has no use for is 0. */
struct process_record {
	__u64 t_ns;
	__u64 lived_ns;
	enum process_record_kind kind;
	/* The target's number. */
	__u32 target;
	/* 0: it has none where the reader is. */
	__u32 pid;
	/* The same of its parent. */
	__u32 parent;
	/* As wait(2) has it. */
	__u32 exit_code;
	__u32 signal;
	__u8 name[PROCESS_NAME_BYTES];
	/* Of the signal that is told of, or of the one that the process died of. */
	struct process_sender sender;
	/* The process has a handler for the signal. */
	__u8 handled;
	/* The kernel wanted its memory. */
	__u8 out_of_memory;
	/* A cgroup's limit was being enforced. */
	__u8 cgroup_limit;
	/* Its parent is of another target, or of none. */
	__u8 is_first;
	__u8 unused[4];
};

struct process_exec {
	struct process_record record;
	/* Ends with a 0. */
	__u8 file[PROCESS_FILE_BYTES];
};

#endif
