/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * Requests that can be read, and the beginnings of their answers: handed over as they are. Here it is
 * only looked whether a request may be one at all, and where PostgreSQL's messages begin.
 */
#ifndef TEMBLOR_EXCHANGES_BPF_H
#define TEMBLOR_EXCHANGES_BPF_H

/* So many a second are handed over; set before loading. */
const volatile __u32 exchanges_max = 0;

/* Those beyond, and those for which there was no room. */
__u64 exchanges_skipped = 0;
__u64 exchanges_lost = 0;
/* Handed over in this window. */
__u32 exchanges_window = 0;
__u32 exchanges_taken = 0;

/* Never read: it puts the type into the object's type information. */
const volatile struct edges_exchange layout_exchange = {};

/* The size is set before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} records SEC(".maps");

/* What a packet carries: where in the stream, where in the packet, and how much. */
struct payload {
	__u32 seq;
	__u32 offset;
	__u32 length;
};

/* Copies as much as there is, but not more than `max`, which is a constant. How much? */
static __always_inline __u32 copy(struct __sk_buff *skb, __u32 offset, __u32 length, void *to,
				  __u32 max)
{
	__s64 most = length;

	if (most > max)
		most = max;
	/* The two comparisons apart: made into one, they would be of a number that is not the one
	 * that the helper is given. */
	barrier_var(most);
	if (most <= 0 || bpf_skb_load_bytes(skb, offset, to, most))
		return 0;
	return most;
}

/*
 * Walks over PostgreSQL's messages: a letter, and a length that counts itself. Keeps their letters.
 * Where is the first that has this one? 0: nowhere among those.
 */
static __always_inline __u32 walk(struct __sk_buff *skb, const struct payload *payload, __u8 *types,
				  __u8 wanted)
{
	__u32 at = payload->offset, end = payload->offset + payload->length, found = 0, i;
	__u8 header[5];

	for (i = 0; i < MESSAGES_MAX; i++) {
		__u32 length;

		if (at + sizeof(header) > end || bpf_skb_load_bytes(skb, at, header, sizeof(header)))
			break;
		length = (__u32)header[1] << 24 | header[2] << 16 | header[3] << 8 | header[4];
		if (length < 4 || length > 1 << 24)
			break;
		types[i] = header[0];
		if (!found && header[0] == wanted)
			found = at;
		at += 1 + length;
	}
	return found;
}

/* What one of the known protocols begins a request with: a method or a message's letter, or an
 * array of Redis'. */
static __always_inline int may_be_read(__u8 first)
{
	return (first >= 'A' && first <= 'Z') || first == '*' || first == 'c' || first == 'd' ||
	       first == 'f';
}

/* Lengths of PostgreSQL's messages begin with 0, and nothing that can be read does. */
static __always_inline int is_message(const __u8 *head)
{
	return !head[1];
}

static __always_inline void begin_request(struct __sk_buff *skb, struct connection *c,
					  const struct payload *payload, __u32 fresh)
{
	__u32 length = 0;

	c->request_bytes = fresh;
	/* What is partly old begins somewhere in the middle. */
	if (fresh == payload->length)
		length = copy(skb, payload->offset, payload->length, c->head, REQUEST_HEAD);
	if (length < 4 || !may_be_read(c->head[0]))
		length = 0;
	c->head_length = length;
	if (length && is_message(c->head)) {
		__builtin_memset(c->types, 0, sizeof(c->types));
		walk(skb, payload, c->types, 0);
	}
}

/* `HTTP/1.1 100 Continue`: go on asking. */
static __always_inline int is_interim(struct __sk_buff *skb, struct connection *c,
				      const struct payload *payload)
{
	__u8 line[12];

	if (!c->head_length || is_message(c->head) || payload->length < sizeof(line) ||
	    bpf_skb_load_bytes(skb, payload->offset, line, sizeof(line)))
		return 0;
	return line[0] == 'H' && line[1] == 'T' && line[2] == 'T' && line[3] == 'P' &&
	       line[9] == '1' && line[10] == '0' && line[11] == '0';
}

/* Whether this window has room for one more. Nearly: two processors may both take the last. */
static __always_inline int may_tell(void)
{
	if (exchanges_window != window) {
		exchanges_window = window;
		exchanges_taken = 0;
	}
	if (exchanges_taken >= exchanges_max) {
		__sync_fetch_and_add(&exchanges_skipped, 1);
		return 0;
	}
	__sync_fetch_and_add(&exchanges_taken, 1);
	return 1;
}

static __always_inline void tell_exchange(struct __sk_buff *skb, struct connection *c, __u64 socket,
					  const struct payload *payload, __u64 turn_ns)
{
	struct edges_exchange *told;

	if (!c->settled || !may_tell())
		return;
	told = bpf_ringbuf_reserve(&records, sizeof(*told), 0);
	if (!told) {
		__sync_fetch_and_add(&exchanges_lost, 1);
		return;
	}
	__builtin_memset(told, 0, sizeof(*told));
	told->socket = socket;
	told->since_ns = c->since_ns;
	told->turn_ns = turn_ns;
	told->bucket = histogram_bucket(turn_ns, LATENCY_BUCKETS);
	told->request_bytes = c->request_bytes;
	told->edge = c->edge;
	told->request_length = c->head_length;
	__builtin_memcpy(told->request, c->head, sizeof(told->request));
	told->answer_length =
		copy(skb, payload->offset, payload->length, told->answer, ANSWER_HEAD);
	if (is_message(c->head)) {
		__u32 end = payload->offset + payload->length, failure;

		__builtin_memcpy(told->request_types, c->types, sizeof(told->request_types));
		failure = walk(skb, payload, told->answer_types, 'E');
		if (failure && failure < end)
			told->failure_length = copy(skb, failure, end - failure, told->failure,
						    FAILURE_HEAD);
	}
	/* The reader comes by often enough, and is not woken for each. */
	bpf_ringbuf_submit(told, BPF_RB_NO_WAKEUP);
}

#endif
