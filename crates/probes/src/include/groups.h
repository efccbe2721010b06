/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* A cgroup as the kernel halves and the reader both know it. */
#ifndef TEMBLOR_GROUPS_H
#define TEMBLOR_GROUPS_H

/* Inodes are counted anew in each hierarchy. */
struct group_key {
	/* As in /proc/PID/cgroup; 0 is version 2. */
	__u32 hierarchy;
	__u32 unused;
	/* The inode of the group's directory. */
	__u64 inode;
};

#endif
