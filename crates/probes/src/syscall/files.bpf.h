/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* What a system call's numbers stand for. */
#ifndef TEMBLOR_FILES_BPF_H
#define TEMBLOR_FILES_BPF_H

/* The architecture's own, and they can never change. */
#define TS_COMPAT 0x0002
#define TIF_32BIT_ARM64 22
#define X32_SYSCALL_BIT 0x40000000

/* Such calls have numbers of their own. */
static __always_inline int is_of_32_bits(long id)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	if (bpf_core_field_exists(struct pt_regs___x86, orig_ax)) {
		if (id & X32_SYSCALL_BIT)
			return 1;
		return (BPF_CORE_READ(task, thread_info.status) & TS_COMPAT) != 0;
	}
	return (BPF_CORE_READ(task, thread_info.flags) >> TIF_32BIT_ARM64) & 1;
}

/* The call's first argument, as it was when it began. */
static __always_inline __u32 descriptor(struct pt_regs *regs)
{
	if (bpf_core_field_exists(struct pt_regs___x86, orig_ax))
		return BPF_CORE_READ((struct pt_regs___x86 *)regs, di);
	if (bpf_core_field_exists(struct pt_regs___arm64, orig_x0))
		return BPF_CORE_READ((struct pt_regs___arm64 *)regs, orig_x0);
	return (__u32)-1;
}

/* The call's number, as the program gave it. */
static __always_inline long number_of(struct pt_regs *regs)
{
	if (bpf_core_field_exists(struct pt_regs___x86, orig_ax))
		return BPF_CORE_READ((struct pt_regs___x86 *)regs, orig_ax);
	if (bpf_core_field_exists(struct pt_regs___arm64, orig_x0))
		return BPF_CORE_READ((struct pt_regs___arm64 *)regs, syscallno);
	return -1;
}

/* Whether the descriptor that a call was given stands for something on a disk. It does not where it
 * has been closed meanwhile. */
static __always_inline int is_file(struct pt_regs *regs)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	__u32 number = descriptor(regs), kind;
	struct file *file = NULL, **files;

	if (!table || number >= BPF_CORE_READ(table, max_fds))
		return 0;
	files = BPF_CORE_READ(table, fd);
	bpf_probe_read_kernel(&file, sizeof(file), &files[number]);
	if (!file)
		return 0;
	kind = BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT;
	return kind == S_IFREG || kind == S_IFBLK || kind == S_IFDIR;
}

#endif
