/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * What is allocated, where, and whether it is freed. One byte of so many is sampled, at distances
 * drawn from the exponential distribution, so that each byte has the same chance; what was allocated
 * is known by the reader from how large the sampled blocks are.
 *
 * The reader has these programs run at the beginning of the functions of the allocator in a process.
 */

#define HEAP_INTERVALS 4096
#define HEAP_LIVE_MAX (1 << 20)
#define HEAP_CALLS_MAX 16384

extern _Bool bpf_session_is_return(void) __ksym __weak;
extern __u64 *bpf_session_cookie(void) __ksym __weak;

/* Bytes from one that is sampled to the next, drawn by the reader. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HEAP_INTERVALS);
	__type(key, __u32);
	__type(value, __u64);
} heap_intervals SEC(".maps");

/* How many there are left to the next one. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} heap_left SEC(".maps");

struct heap_block {
	__u64 address;
	__u32 process;
	__u32 unused;
};

/* Sampled blocks that are not free. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, HEAP_LIVE_MAX);
	__type(key, struct heap_block);
	__type(value, struct stacks_allocation);
} heap_live SEC(".maps");

/* Where a thread will find the address that it asked for. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, HEAP_CALLS_MAX);
	__type(key, __u32);
	__type(value, __u64);
} heap_results SEC(".maps");

static __always_inline int is_sampled(__u64 size)
{
	__u32 only = 0, at = bpf_get_prandom_u32() % HEAP_INTERVALS;
	__u64 *left = bpf_map_lookup_elem(&heap_left, &only), *next;

	if (!left)
		return 0;
	if (*left > size) {
		*left -= size;
		return 0;
	}
	next = bpf_map_lookup_elem(&heap_intervals, &at);
	if (next)
		*left = *next;
	return 1;
}

static __always_inline void frees(__u64 address)
{
	__u64 both = bpf_get_current_pid_tgid();
	struct heap_block block = { .address = address, .process = both >> 32 };
	struct stacks_freed freed = { .kind = STACKS_FREED };
	struct stacks_allocation *of;

	if (!address)
		return;
	of = bpf_map_lookup_elem(&heap_live, &block);
	if (!of)
		return;
	freed.allocation = *of;
	bpf_map_delete_elem(&heap_live, &block);
	if (bpf_ringbuf_output(&records, &freed, sizeof(freed), BPF_RB_NO_WAKEUP))
		__sync_fetch_and_add(&records_lost, 1);
}

/* When the stack was taken; 0: there was no room for it. */
static __always_inline __u64 walks_allocation(struct pt_regs___registers *ctx, __u64 size)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct unwinder *unwinder = take_unwinder();
	struct user_registers registers;
	__u64 t_ns;

	if (!unwinder) {
		__sync_fetch_and_add(&records_lost, 1);
		return 0;
	}
	registers.ip = ctx->ip;
	registers.sp = ctx->sp;
	registers.bp = ctx->bp;
	registers.cs = ctx->cs;
	begin_stack(&unwinder->stack, task, target_of(task->tgid));
	unwinder->stack.kind = STACKS_ALLOCATED;
	unwinder->stack.about = size;
	t_ns = unwinder->stack.t_ns;
	add_user_stack(unwinder, task, &registers);
	hand_over(&unwinder->stack);
	give_back(unwinder);
	return t_ns;
}

/* The address is known. */
static __always_inline void allocated(struct pt_regs___registers *ctx, __u64 t_ns, __u64 call)
{
	__u64 both = bpf_get_current_pid_tgid();
	__u32 thread = both;
	struct heap_block block = { .address = ctx->ax, .process = both >> 32 };
	struct stacks_allocation allocation = { .t_ns = t_ns, .thread = thread };
	__u64 *result;

	if (call == STACKS_ALIGNED_TO) {
		result = bpf_map_lookup_elem(&heap_results, &thread);
		if (!result || !reads(NULL, &block.address, *result))
			block.address = 0;
		bpf_map_delete_elem(&heap_results, &thread);
	}
	if (block.address && bpf_map_update_elem(&heap_live, &block, &allocation, BPF_ANY))
		__sync_fetch_and_add(&records_lost, 1);
}

/* The verifier wants to know that nothing else comes back: whether the return is of no interest. */
SEC("uprobe.session")
int heap_allocates(struct pt_regs___registers *ctx)
{
	__u64 call = bpf_get_attach_cookie(ctx), size, result;
	__u64 *t_ns = bpf_session_cookie();
	__u32 thread;

	if (bpf_session_is_return()) {
		allocated(ctx, *t_ns, call);
		return 0;
	}
	switch (call) {
	case STACKS_MALLOC:
		size = ctx->di;
		break;
	case STACKS_CALLOC:
		size = ctx->di * ctx->si;
		break;
	case STACKS_REALLOC:
		frees(ctx->di);
		size = ctx->si;
		break;
	case STACKS_ALIGNED:
		size = ctx->si;
		break;
	default:
		size = ctx->dx;
	}
	if (!size || !is_sampled(size))
		return 1;
	*t_ns = walks_allocation(ctx, size);
	if (!*t_ns)
		return 1;
	if (call == STACKS_ALIGNED_TO) {
		thread = bpf_get_current_pid_tgid();
		result = ctx->di;
		bpf_map_update_elem(&heap_results, &thread, &result, BPF_ANY);
	}
	return 0;
}

SEC("uprobe.multi")
int heap_frees(struct pt_regs___registers *ctx)
{
	frees(ctx->di);
	return 0;
}
