/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * What is allocated, where, and whether it is freed. One byte of so many is sampled, at distances
 * drawn from the exponential distribution, so that each byte has the same chance; what was allocated
 * is known by the reader from how large the sampled blocks are.
 *
 * The reader has these programs run at the beginning of the functions of the allocator in a process.
 */

#define HEAP_INTERVALS 4096
/* As many as the other half follows. */
#define HEAP_LIVE_MAX (1 << 18)
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

static __always_inline __u64 next_interval(void)
{
	__u32 at = bpf_get_prandom_u32() % HEAP_INTERVALS;
	__u64 *next = bpf_map_lookup_elem(&heap_intervals, &at);

	return next ? *next : 1;
}

static __always_inline int is_sampled(__u64 size)
{
	__u32 only = 0;
	__u64 *left = bpf_map_lookup_elem(&heap_left, &only);

	if (!left)
		return 0;
	/* Nothing was drawn on this processor yet. */
	if (!*left)
		*left = next_interval();
	if (*left > size) {
		*left -= size;
		return 0;
	}
	*left = next_interval();
	return 1;
}

static __always_inline void tell_free(struct stacks_allocation *allocation)
{
	struct stacks_freed freed = { .kind = STACKS_FREED, .allocation = *allocation };

	if (bpf_ringbuf_output(&records, &freed, sizeof(freed), BPF_RB_NO_WAKEUP))
		__sync_fetch_and_add(&records_lost, 1);
}

static __always_inline void frees(__u64 address)
{
	__u64 both = bpf_get_current_pid_tgid();
	struct heap_block block = { .address = address, .process = both >> 32 };
	struct stacks_allocation *of, allocation;

	if (!address)
		return;
	of = bpf_map_lookup_elem(&heap_live, &block);
	if (!of)
		return;
	allocation = *of;
	bpf_map_delete_elem(&heap_live, &block);
	tell_free(&allocation);
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

/* glibc's MALLOC_ALIGNMENT. */
#define HEAP_ALIGNMENT 16

/* Whether the address comes where the first argument says, and not as the result. */
static __always_inline int puts_address(__u64 call)
{
	return call == STACKS_ALIGNED_TO || call == STACKS_ALIGNED_TO_BY_MALLOC;
}

/* The address is known. */
static __always_inline void allocated(struct pt_regs___registers *ctx, __u64 t_ns, __u64 call)
{
	__u64 both = bpf_get_current_pid_tgid();
	__u32 thread = both;
	struct heap_block block = { .address = ctx->ax, .process = both >> 32 };
	struct stacks_allocation allocation = { .t_ns = t_ns, .thread = thread };
	__u64 *result;

	if (puts_address(call)) {
		result = bpf_map_lookup_elem(&heap_results, &thread);
		if (!result || bpf_probe_read_user(&block.address, sizeof(block.address), (void *)*result))
			block.address = 0;
		bpf_map_delete_elem(&heap_results, &thread);
	}
	/* Where another block is known to lie its end was missed, or the allocator came here by way of
	 * another of its functions. */
	frees(block.address);
	if (!block.address) {
		tell_free(&allocation);
	} else if (bpf_map_update_elem(&heap_live, &block, &allocation, BPF_ANY)) {
		__sync_fetch_and_add(&records_lost, 1);
		tell_free(&allocation);
	}
}

/* The verifier wants to know that nothing else comes back: whether the return is of no interest. */
SEC("uprobe.session")
int heap_allocates(struct pt_regs___registers *ctx)
{
	__u64 call = bpf_get_attach_cookie(ctx), size, result;
	__u64 first = ctx->di, second = ctx->si, third = ctx->dx;
	__u64 *t_ns = bpf_session_cookie();
	__u32 thread;

	/* Read here and not where they are used: the compiler would choose the place to read from, and
	 * the verifier wants to see it. */
	asm volatile("" : "+r"(first), "+r"(second), "+r"(third));
	if (bpf_session_is_return()) {
		allocated(ctx, *t_ns, call);
		return 0;
	}
	switch (call) {
	case STACKS_MALLOC:
		size = first;
		break;
	case STACKS_CALLOC:
		size = first * second;
		break;
	case STACKS_REALLOC_BY_MALLOC:
		if (!first)
			return 1;
		/* fallthrough */
	case STACKS_REALLOC:
		frees(first);
		size = second;
		break;
	case STACKS_ALIGNED_BY_MALLOC:
		if (first <= HEAP_ALIGNMENT)
			return 1;
		/* fallthrough */
	case STACKS_ALIGNED:
		size = second;
		break;
	case STACKS_ALIGNED_TO_BY_MALLOC:
		if (second <= HEAP_ALIGNMENT)
			return 1;
		/* fallthrough */
	default:
		size = third;
	}
	if (!size || !is_sampled(size))
		return 1;
	*t_ns = walks_allocation(ctx, size);
	if (!*t_ns)
		return 1;
	if (puts_address(call)) {
		thread = bpf_get_current_pid_tgid();
		result = first;
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
