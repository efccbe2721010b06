/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * Walks the stack of the current thread's program, with tables made of the files' own unwind
 * information (.eh_frame) where they keep no frame pointers.
 *
 * All of a walk's state is in memory of the processor's own, not in registers: what the verifier
 * knows of it need not be the same from step to step. A walk may be interrupted by another one on
 * the same processor; each takes an unwinder of its own.
 */
#ifndef TEMBLOR_UNWIND_BPF_H
#define TEMBLOR_UNWIND_BPF_H

#include "returns.bpf.h"
#include "task.bpf.h"
#include "unwind.h"

#define UNWIND_PROCESSES_MAX 8192
#define UNWIND_TABLES_MAX 4096
#define UNWIND_RULES_MAX 16384
/* 2 to the power of it is as much as there are rows in a page, and mappings in a process. */
#define UNWIND_SEARCH_STEPS 11
/* The selector of programs of 64 bits. */
#define UNWIND_WIDE 0x33
/* As much of a stack is read at once. Frames lie close together, and each reading costs as much as
 * copying some hundred bytes; what was not touched lately costs more the more of it is read. */
#define UNWIND_WINDOW_BYTES 512
#define UNWIND_MEMORY_PAGE_BYTES 4096
/* Walks that may be under way on a processor: of a thread, and of what interrupts it. */
#define UNWIND_SLOTS 4

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, UNWIND_PROCESSES_MAX);
	__type(key, __u32);
	__type(value, struct unwind_process);
} processes SEC(".maps");

/* For each table where the rows of each of its pages begin, and where the last one's end; then the
 * rows. In one array, because what is touched at a sample lies in no cache any more. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, UNWIND_TABLES_MAX);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(map_flags, BPF_F_INNER_MAP);
		__uint(max_entries, 1);
		__type(key, __u32);
		__type(value, __u32);
	});
} tables SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, UNWIND_RULES_MAX);
	__type(key, __u32);
	__type(value, struct unwind_rule);
} rules SEC(".maps");

/* What is being walked. */
struct unwinder {
	/* Whether somebody has it. */
	__u32 is_taken;
	__u32 slot;
	__u64 pc;
	__u64 sp;
	__u64 bp;
	struct unwind_mapping mapping;
	/* The one before it: code goes to and fro between a program and its libraries. */
	struct unwind_mapping mapping_before;
	__u32 process;
	/* The address is what was found where a frame pointer was taken for granted. */
	__u32 is_guess;
	struct returns returns;
	/* Of a search. Read anew at each step, so that the verifier takes all steps for the same. */
	volatile __u32 low;
	volatile __u32 count;
	/* What was read last of the thread's memory, from which address on. */
	__u64 window_begin;
	__u64 window_bytes;
	__u8 window[UNWIND_WINDOW_BYTES];
	struct unwind_stack stack;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, UNWIND_SLOTS);
	__type(key, __u32);
	__type(value, struct unwinder);
} unwinders SEC(".maps");

/* One that nobody else has, to be given back. NULL: there is none. */
static __always_inline struct unwinder *take_unwinder(void)
{
	for (__u32 slot = 0; slot < UNWIND_SLOTS; slot++) {
		__u32 at = slot;
		struct unwinder *of = bpf_map_lookup_elem(&unwinders, &at);

		if (of && !__sync_val_compare_and_swap(&of->is_taken, 0, 1)) {
			of->slot = slot;
			return of;
		}
	}
	return NULL;
}

static __always_inline void give_back(struct unwinder *of)
{
	/* Whoever takes it next sees all that was written. */
	__sync_lock_test_and_set(&of->is_taken, 0);
}

static __always_inline int has(struct unwind_mapping *mapping, __u64 pc)
{
	return pc >= mapping->begin && pc < mapping->end;
}

static __always_inline int finds_mapping(struct unwinder *of)
{
	struct unwind_process *process;
	struct unwind_mapping before;
	__u32 at;

	if (has(&of->mapping, of->pc))
		return 1;
	before = of->mapping_before;
	of->mapping_before = of->mapping;
	if (has(&before, of->pc)) {
		of->mapping = before;
		return 1;
	}
	process = bpf_map_lookup_elem(&processes, &of->process);
	if (!process)
		return 0;
	of->low = 0;
	of->count = process->count;
	for (int step = 0; step < UNWIND_SEARCH_STEPS; step++) {
		__u32 half = of->count / 2;

		at = of->low + half;
		if (!half)
			break;
		if (at >= UNWIND_MAPPINGS_MAX)
			return 0;
		if (process->mappings[at].begin <= of->pc) {
			of->low = at;
			of->count -= half;
		} else {
			of->count = half;
		}
	}
	at = of->low;
	if (at >= UNWIND_MAPPINGS_MAX)
		return 0;
	of->mapping = process->mappings[at];
	return has(&of->mapping, of->pc);
}

static __always_inline struct unwind_rule *find_rule(struct unwinder *of)
{
	__u64 place = of->pc - of->mapping.bias;
	__u32 page = place >> UNWIND_PAGE_BITS, next = page + 1, at, rule;
	__u32 low = place & ((1 << UNWIND_PAGE_BITS) - 1);
	__u32 *begin, *end, *row;
	void *table;

	if (place >> UNWIND_PAGE_BITS >= of->mapping.pages)
		return NULL;
	table = bpf_map_lookup_elem(&tables, &of->mapping.table);
	if (!table)
		return NULL;
	begin = bpf_map_lookup_elem(table, &page);
	end = bpf_map_lookup_elem(table, &next);
	if (!begin || !end)
		return NULL;
	of->low = *begin;
	of->count = *end - *begin;
	for (int step = 0; step < UNWIND_SEARCH_STEPS; step++) {
		__u32 half = of->count / 2;

		at = of->low + half;
		if (!half)
			break;
		row = bpf_map_lookup_elem(table, &at);
		if (!row)
			return NULL;
		if ((*row & 0xffff) <= low) {
			of->low = at;
			of->count -= half;
		} else {
			of->count = half;
		}
	}
	at = of->low;
	row = bpf_map_lookup_elem(table, &at);
	if (!row)
		return NULL;
	rule = *row >> UNWIND_ROW_RULE_SHIFT;
	return bpf_map_lookup_elem(&rules, &rule);
}

/* Looks at a place in the thread's memory and what lies behind it, as far as its page goes: what lies
 * in the next one need not be there. */
static __always_inline int looks_at(struct unwinder *of, struct task_struct *other, __u64 from)
{
	__u64 bytes = UNWIND_MEMORY_PAGE_BYTES - (from & (UNWIND_MEMORY_PAGE_BYTES - 1));

	if (bytes > UNWIND_WINDOW_BYTES)
		bytes = UNWIND_WINDOW_BYTES;
	if (bytes < sizeof(__u64))
		bytes = sizeof(__u64);
	of->window_begin = from;
	of->window_bytes = 0;
	if (other ? bpf_copy_from_user_task(of->window, bytes, (void *)from, other, 0) :
		    bpf_probe_read_user(of->window, bytes, (void *)from))
		return 0;
	of->window_bytes = bytes;
	return 1;
}

static __noinline int looks_at_own(struct unwinder *of, __u64 from)
{
	return looks_at(of, NULL, from);
}

/* From the current thread's memory, or from that of another one, which is NULL otherwise and known
 * when this is compiled: only programs that may sleep can look there. */
static __always_inline int reads(struct unwinder *of, struct task_struct *other, __u64 *into,
				 __u64 from)
{
	__u64 at = from - of->window_begin;

	if (at >= UNWIND_WINDOW_BYTES || at + sizeof(*into) > of->window_bytes) {
		if (!(other ? looks_at(of, other, from) : looks_at_own(of, from)))
			return 0;
		at = 0;
	}
	if (at > UNWIND_WINDOW_BYTES - sizeof(*into))
		return 0;
	*into = *(__u64 *)&of->window[at];
	return 1;
}

/* How far a frame pointer may be from the stack pointer where nobody says that it is one. */
#define UNWIND_GUESS_BYTES_MAX (1 << 20)

/* What stands for a frame pointer that nobody knows: no frame is there. */
#define UNWIND_BP_UNKNOWN 1

/* Whether it may be a frame pointer. */
static __always_inline int may_point_to_frame(struct unwinder *of)
{
	return of->bp >= of->sp && of->bp - of->sp < UNWIND_GUESS_BYTES_MAX && !(of->bp & 7);
}

/* The frame that the kernel has laid for a signal's handler, which returns to code at the stack
 * pointer's ucontext: its registers lie at these distances. Part of the system call interface. */
#define SIGNAL_BP 120
#define SIGNAL_SP 160
#define SIGNAL_PC 168

/* To the frame of the caller. Returns why there is none, or 0. */
static __always_inline enum unwind_end to_caller(struct unwinder *of,
						   struct task_struct *other)
{
	struct unwind_rule *rule;
	__u64 cfa, bp = of->bp, pc, place;

	if (!finds_mapping(of)) {
		if (is_returning(&of->returns, &of->pc, &of->sp)) {
			of->pc--;
			return 0;
		}
		return of->is_guess ? UNWIND_END_NO_RULE : UNWIND_END_NO_MAPPING;
	}
	rule = NULL;
	of->is_guess = 0;
	if (of->mapping.pages) {
		rule = find_rule(of);
		if (rule && rule->cfa == UNWIND_CFA_UNKNOWN)
			rule = NULL;
		of->is_guess = !rule;
		if (!rule && !may_point_to_frame(of))
			return UNWIND_END_NO_RULE;
	}
	if (!rule) {
		if (!of->bp)
			return UNWIND_END_ROOT;
		if (of->bp & 7)
			return UNWIND_END_NO_RULE;
		place = of->bp + 8;
		if (!reads(of, other, &bp, of->bp) || !reads(of, other, &pc, place))
			return UNWIND_END_UNREADABLE;
		cfa = of->bp + 16;
	} else {
		switch (rule->cfa) {
		case UNWIND_CFA_STACK:
			cfa = of->sp + rule->cfa_offset;
			break;
		case UNWIND_CFA_FRAME:
			cfa = of->bp + rule->cfa_offset;
			break;
		case UNWIND_CFA_AT_STACK:
		case UNWIND_CFA_AT_FRAME:
			cfa = rule->cfa == UNWIND_CFA_AT_STACK ? of->sp : of->bp;
			if (!reads(of, other, &cfa, cfa + rule->cfa_offset))
				return UNWIND_END_UNREADABLE;
			cfa += rule->cfa_plus;
			break;
		case UNWIND_CFA_STUB:
			cfa = of->sp + 8 + ((of->pc & 15) >= (__u32)rule->cfa_offset ? 8 : 0);
			break;
		case UNWIND_CFA_SIGNAL:
			if (!reads(of, other, &of->bp, of->sp + SIGNAL_BP) ||
			    !reads(of, other, &of->pc, of->sp + SIGNAL_PC) ||
			    !reads(of, other, &of->sp, of->sp + SIGNAL_SP))
				return UNWIND_END_UNREADABLE;
			/* It was interrupted there, and has called nobody. The stack may be another. */
			begin_returns_again(&of->returns);
			return 0;
		case UNWIND_CFA_ROOT:
			return UNWIND_END_ROOT;
		default:
			return UNWIND_END_NO_RULE;
		}
		switch (rule->saved) {
		case UNWIND_SAVED_UNCHANGED:
			break;
		case UNWIND_SAVED_AT_CFA:
			if (!reads(of, other, &bp, cfa + rule->saved_offset))
				return UNWIND_END_UNREADABLE;
			break;
		case UNWIND_SAVED_AT_STACK:
		case UNWIND_SAVED_AT_FRAME:
			bp = rule->saved == UNWIND_SAVED_AT_STACK ? of->sp : of->bp;
			if (!reads(of, other, &bp, bp + rule->saved_offset))
				return UNWIND_END_UNREADABLE;
			break;
		default:
			bp = UNWIND_BP_UNKNOWN;
		}
		place = cfa + rule->return_offset;
		if (!reads(of, other, &pc, place))
			return UNWIND_END_UNREADABLE;
	}
	if (of->returns.next)
		pc = real_return(&of->returns, place, pc);
	if (!pc)
		return UNWIND_END_ROOT;
	if (cfa <= of->sp)
		return UNWIND_END_NOT_GROWING;
	of->pc = pc - 1;
	of->sp = cfa;
	of->bp = bp;
	return 0;
}

/* One step of a walk. Returns whether it is the last one. */
static __always_inline long one_step(struct unwinder *of, struct task_struct *other)
{
	__u32 at = of->stack.kernel_frames + of->stack.user_frames;

	if (at >= UNWIND_FRAMES_MAX)
		return 1;
	of->stack.frames[at] = of->pc;
	of->stack.user_frames++;
	of->stack.end = to_caller(of, other);
	return of->stack.end != 0;
}

/* Whose stack is walked, and with which unwinder. */
struct walk {
	struct task_struct *other;
	__u32 slot;
};

static long step_of_current(__u32 step, struct walk *walk)
{
	__u32 slot = walk->slot;
	struct unwinder *of = bpf_map_lookup_elem(&unwinders, &slot);

	(void)step;
	return of ? one_step(of, NULL) : 1;
}

static __always_inline int is_known(__u32 process, __u64 start_stack)
{
	struct unwind_process *known = bpf_map_lookup_elem(&processes, &process);

	return known && known->start_stack == start_stack;
}

/* The process whose mappings are those of the task's: itself, or its parent, of which it is a copy
 * that has run no program of its own yet. That shows in its stack's place, which each program has
 * another. 0: nobody's are known. */
static __always_inline __u32 known_as(struct task_struct *task)
{
	struct mm_struct *mm = task->mm;
	__u64 start_stack = mm ? mm->start_stack : 0;
	__u32 process = task->tgid;

	if (is_known(process, start_stack))
		return process;
	process = task->real_parent->tgid;
	return is_known(process, start_stack) ? process : 0;
}

/* The current thread's registers in its program. */
struct user_registers {
	__u64 ip;
	__u64 sp;
	__u64 bp;
	__u64 cs;
};

/* As they were when it went into the kernel. */
static __always_inline void read_registers(struct user_registers *into, struct task_struct *task)
{
	struct pt_regs___registers *from = (struct pt_regs___registers *)bpf_task_pt_regs(task);

	into->ip = BPF_CORE_READ(from, ip);
	into->sp = BPF_CORE_READ(from, sp);
	into->bp = BPF_CORE_READ(from, bp);
	into->cs = BPF_CORE_READ(from, cs);
}

/* Whose stack it is; none of it is there yet. */
static __always_inline void begin_stack(struct unwind_stack *stack, struct task_struct *task,
					__u32 target)
{
	stack->kind = 0;
	stack->about = 0;
	stack->t_ns = bpf_ktime_get_ns();
	stack->thread = task->pid;
	stack->process = task->tgid;
	stack->pid = pid_here(task);
	stack->tid = thread_here(task);
	stack->target = target;
	stack->known_as = 0;
	stack->end = UNWIND_END_NO_USER;
	stack->kernel_frames = 0;
	stack->user_frames = 0;
	bpf_probe_read_kernel_str(stack->name, sizeof(stack->name), task->comm);
}

static __always_inline void add_kernel_stack(struct unwind_stack *stack, void *ctx)
{
	long bytes = bpf_get_stack(ctx, stack->frames,
				   UNWIND_KERNEL_FRAMES_MAX * sizeof(__u64), 0);

	stack->kernel_frames = bytes > 0 ? bytes / sizeof(__u64) : 0;
}

/* The only frame of the program's that is to be there. */
static __always_inline void add_user_frame(struct unwind_stack *stack, __u64 pc)
{
	stack->frames[stack->kernel_frames & UNWIND_KERNEL_FRAMES_MAX] = pc;
	stack->user_frames = 1;
}

/* Where a walk begins. Whether there is one. */
static __always_inline int begins_walk(struct unwinder *of, struct task_struct *task,
				       struct user_registers *registers)
{
	struct unwind_stack *stack = &of->stack;

	of->pc = registers->ip;
	of->sp = registers->sp;
	of->bp = registers->bp;
	of->is_guess = 0;
	find_returns(&of->returns, task);
	of->window_bytes = 0;
	of->mapping.end = 0;
	of->mapping_before.end = 0;
	if (registers->cs != UNWIND_WIDE) {
		stack->end = UNWIND_END_NARROW;
		return 0;
	}
	stack->known_as = of->process = known_as(task);
	if (!of->process) {
		add_user_frame(stack, of->pc);
		stack->end = UNWIND_END_NEW_PROCESS;
		return 0;
	}
	return 1;
}

/* The current program's frames, behind those of the kernel. */
static __always_inline void add_user_stack(struct unwinder *of, struct task_struct *current,
					   struct user_registers *registers)
{
	struct walk walk = { .slot = of->slot };

	if (!begins_walk(of, current, registers))
		return;
	bpf_loop(UNWIND_USER_FRAMES_MAX, step_of_current, &walk, 0);
	if (!of->stack.end)
		of->stack.end = UNWIND_END_TOO_DEEP;
}

/* The same where it called the kernel, which is at work for it. */
static __always_inline void add_caller_stack(struct unwinder *of, struct task_struct *current)
{
	struct user_registers registers;

	if (!current->mm)
		return;
	read_registers(&registers, current);
	/* The kernel's own threads in a process, as those of io_uring, have none. */
	if (registers.ip)
		add_user_stack(of, current, &registers);
}

/* How many bytes of it there are. */
static __always_inline __u32 stack_bytes(struct unwind_stack *stack)
{
	__u32 frames = stack->kernel_frames + stack->user_frames;

	if (frames > UNWIND_FRAMES_MAX)
		frames = UNWIND_FRAMES_MAX;
	return sizeof(*stack) - (UNWIND_FRAMES_MAX - frames) * sizeof(__u64);
}

#endif
