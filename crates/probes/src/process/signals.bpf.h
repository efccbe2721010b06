/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* Which signals are told of, and who sends them. */
#ifndef TEMBLOR_SIGNALS_BPF_H
#define TEMBLOR_SIGNALS_BPF_H

#define DEADLIES_MAX 16384
#define SIGNALS_MAX 64
#define PF_KTHREAD 0x00200000

/* Part of the system call interface, and the same on every architecture that we run on. */
enum {
	SIGHUP = 1,
	SIGINT = 2,
	SIGQUIT = 3,
	SIGILL = 4,
	SIGTRAP = 5,
	SIGBUS = 7,
	SIGFPE = 8,
	SIGKILL = 9,
	SIGSEGV = 11,
	SIGTERM = 15,
	SIGCHLD = 17,
	SIGCONT = 18,
	SIGSTOP = 19,
	SIGTSTP = 20,
	SIGTTIN = 21,
	SIGTTOU = 22,
	SIGURG = 23,
	SIGWINCH = 28,
	SIGSYS = 31,
};
enum {
	SIG_DFL = 0,
	SIG_IGN = 1,
};
enum {
	SI_KERNEL = 0x80,
	SI_USER = 0,
	SI_TIMER = -2,
	SI_ASYNCIO = -4,
	SI_SIGIO = -5,
	SI_ASYNCNL = -60,
};
/* What the kernel has instead of an address where it sends without a note. */
enum {
	SEND_SIG_NOINFO = 0,
	SEND_SIG_PRIV = 1,
};
/* The tracepoint's last argument. */
enum {
	TRACE_SIGNAL_DELIVERED = 0,
	TRACE_SIGNAL_IGNORED = 1,
	TRACE_SIGNAL_LOSE_INFO = 4,
};

#define IS_ONE_OF(signal, set) ((1ULL << (signal)) & (set))
#define ASKS_TO_END (1ULL << SIGHUP | 1ULL << SIGINT | 1ULL << SIGQUIT | 1ULL << SIGTERM)
#define STOPS (1ULL << SIGSTOP | 1ULL << SIGTSTP | 1ULL << SIGTTIN | 1ULL << SIGTTOU)
#define HARMLESS (1ULL << SIGCHLD | 1ULL << SIGCONT | 1ULL << SIGURG | 1ULL << SIGWINCH)
#define FAULTS                                                                                  \
	(1ULL << SIGILL | 1ULL << SIGTRAP | 1ULL << SIGBUS | 1ULL << SIGFPE | 1ULL << SIGSEGV | \
	 1ULL << SIGSYS)

/* The signal that a process is going to die of. */
struct deadly {
	struct process_sender sender;
	__u32 signal;
	__u32 cgroup_limit;
};

/* Keyed by the process's number in the first pid namespace, until its end. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DEADLIES_MAX);
	__type(key, __u32);
	__type(value, struct deadly);
} deadlies SEC(".maps");

/* Senders for which there was no room. */
__u64 senders_lost = 0;

/* The kernel keeps the signal for the process, and did not have it already. SIGCONT is different:
 * it lets a process go on before it is thrown away. */
static __always_inline int is_effective(int signal, int result)
{
	return result == TRACE_SIGNAL_DELIVERED || result == TRACE_SIGNAL_LOSE_INFO ||
	       (signal == SIGCONT && result == TRACE_SIGNAL_IGNORED);
}

static __always_inline __u64 handler_of(struct task_struct *task, int signal)
{
	struct sighand_struct *actions = BPF_CORE_READ(task, sighand);
	__u64 handler = SIG_DFL;
	char *at;

	if (!actions)
		return SIG_DFL;
	/* By hand: the loader can move a constant index only. */
	at = (char *)actions + bpf_core_field_offset(actions->action) +
	     (signal - 1) * bpf_core_type_size(struct k_sigaction) +
	     bpf_core_field_offset(struct k_sigaction, sa.sa_handler);
	bpf_probe_read_kernel(&handler, sizeof(handler), at);
	return handler;
}

/* Whether the process ends when it takes the signal. */
static __always_inline int is_deadly(int signal, __u64 handler)
{
	return handler == SIG_DFL && !IS_ONE_OF(signal, STOPS | HARMLESS);
}

/* Handled timers, faults and signals of a program's own stay untold: there may be thousands. */
static __always_inline int is_telling(int signal, __u64 handler)
{
	return IS_ONE_OF(signal, ASKS_TO_END | STOPS | 1ULL << SIGCONT) ||
	       is_deadly(signal, handler);
}

static __always_inline enum process_sender_kind sender_kind(__u64 info, int signal,
							    struct task_struct *current,
							    __u32 tgid)
{
	int code;

	if (info == SEND_SIG_PRIV || BPF_CORE_READ(current, flags) & PF_KTHREAD)
		return PROCESS_SENDER_KERNEL;
	if (info == SEND_SIG_NOINFO)
		return PROCESS_SENDER_PROCESS;
	code = BPF_CORE_READ((struct kernel_siginfo *)info, si_code);
	if (code > SI_USER) {
		int own = BPF_CORE_READ(current, tgid) == (int)tgid;

		return own && IS_ONE_OF(signal, FAULTS) ? PROCESS_SENDER_FAULT :
							  PROCESS_SENDER_KERNEL;
	}
	if (code == SI_TIMER || code == SI_ASYNCIO || code == SI_SIGIO || code == SI_ASYNCNL)
		return PROCESS_SENDER_KERNEL;
	return PROCESS_SENDER_PROCESS;
}

/* A process sends by a system call of its own: it is the current one. */
static __always_inline void fill_sender(struct process_sender *sender, __u64 info, int signal,
					__u32 tgid)
{
	struct task_struct *current = (struct task_struct *)bpf_get_current_task();

	sender->target = NOBODY;
	sender->kind = sender_kind(info, signal, current, tgid);
	if (sender->kind != PROCESS_SENDER_PROCESS)
		return;
	sender->pid = pid_here(current);
	sender->target = target_of(BPF_CORE_READ(current, tgid));
	BPF_CORE_READ_INTO(&sender->name, current, group_leader, comm);
}

/* Whether the process' memory cgroup is at the limit that is its own or one above it: the kernel
 * locks the group, and those below, while it looks for a victim in it. */
static __always_inline int has_full_group(struct task_struct *task)
{
	struct cgroup_subsys_state *state = NULL;
	struct css_set *groups;
	char *at;

	if (!bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id) ||
	    !bpf_core_field_exists(struct mem_cgroup, oom_lock))
		return 0;
	groups = BPF_CORE_READ(task, cgroups);
	at = (char *)groups + bpf_core_field_offset(groups->subsys) +
	     bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id) * sizeof(state);
	bpf_probe_read_kernel(&state, sizeof(state), at);
	/* The group begins with it. */
	return state ? BPF_CORE_READ((struct mem_cgroup *)state, oom_lock) : 0;
}

/* The kernel takes no second deadly signal once the first has begun to end the process. */
static __always_inline void remember(__u32 tgid, struct deadly *deadly)
{
	if (bpf_map_update_elem(&deadlies, &tgid, deadly, BPF_ANY))
		__sync_fetch_and_add(&senders_lost, 1);
}

#endif
