/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/*
 * The part of the kernel that the probes read.
 *
 * Every struct here lists only the fields we use, in any order: each access is recorded in the
 * object file and the loader puts in the running kernel's own offset. So no dump of one kernel's
 * types is needed, neither in the tree nor on the machine that builds.
 */
#ifndef TEMBLOR_KERNEL_H
#define TEMBLOR_KERNEL_H

typedef unsigned char __u8;
typedef signed char __s8;
typedef unsigned short __u16;
typedef signed short __s16;
typedef unsigned int __u32;
typedef signed int __s32;
typedef unsigned long long __u64;
typedef signed long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u16 __le16;
typedef __u32 __le32;
typedef __u64 __le64;
typedef __u32 __wsum;
typedef __u16 __sum16;
typedef _Bool bool;

#define true 1
#define false 0
#define NULL ((void *)0)

/* Constants of the system call interface; they can never change. */
enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_HASH = 5,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_MAP_TYPE_TASK_STORAGE = 29,
};
enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
};
enum {
	BPF_F_NO_PREALLOC = 1,
	BPF_LOCAL_STORAGE_GET_F_CREATE = 1,
	BPF_F_INNER_MAP = 1 << 12,
	BPF_RB_NO_WAKEUP = 1,
	BPF_RB_FORCE_WAKEUP = 2,
};
enum {
	AF_INET = 2,
	AF_INET6 = 10,
};
enum {
	SOCK_STREAM = 1,
};
enum {
	IPPROTO_TCP = 6,
};
enum {
	S_IFMT = 0170000,
	S_IFSOCK = 0140000,
	S_IFREG = 0100000,
	S_IFBLK = 0060000,
	S_IFDIR = 0040000,
};

/* TCP's states are part of that interface too (tcp_info, sock_diag). */
enum {
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT,
	TCP_SYN_RECV,
	TCP_FIN_WAIT1,
	TCP_FIN_WAIT2,
	TCP_TIME_WAIT,
	TCP_CLOSE,
	TCP_CLOSE_WAIT,
	TCP_LAST_ACK,
	TCP_LISTEN,
	TCP_CLOSING,
	TCP_NEW_SYN_RECV,
};

/* What a program on a control group's packets is given. This layout is the programs' interface, not
 * the kernel's own, and never changes. */
struct __sk_buff {
	__u32 len;
	__u32 pkt_type;
	__u32 mark;
	__u32 queue_mapping;
	/* As it stands in the packet. */
	__u32 protocol;
	__u32 vlan_present;
	__u32 vlan_tci;
	__u32 vlan_proto;
	__u32 priority;
	__u32 ingress_ifindex;
	__u32 ifindex;
	__u32 tc_index;
	__u32 cb[5];
	__u32 hash;
	__u32 tc_classid;
	__u32 data;
	__u32 data_end;
	__u32 napi_id;
	__u32 family;
	__u32 remote_ip4;
	__u32 local_ip4;
	__u32 remote_ip6[4];
	__u32 local_ip6[4];
	__u32 remote_port;
	__u32 local_port;
	__u32 data_meta;
	__u64 flow_keys;
	__u64 tstamp;
	__u32 wire_len;
	__u32 gso_segs;
	struct bpf_sock *sk;
};

/* What a program on a performance event is given, on x86-64: the registers of whatever the event came
 * upon. An interface, too. */
struct bpf_perf_event_data {
	__u64 before_bp[4];
	__u64 bp;
	__u64 before_ip[11];
	__u64 ip;
	__u64 cs;
	__u64 flags;
	__u64 sp;
	__u64 ss;
	__u64 sample_period;
	__u64 addr;
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct sock {
	struct sock_common __sk_common;
	int sk_err;
	__u16 sk_type;
	__u16 sk_protocol;
	/* Of a listener, and of what it accepts. */
	__u32 sk_max_ack_backlog;
};

struct socket {
	struct sock *sk;
};

struct inode {
	__u16 i_mode;
};

struct file {
	struct inode *f_inode;
	void *private_data;
};

struct inet_sock {
	struct sock sk;
	__be16 inet_sport;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
	__u32 icsk_rto;
	__u8 icsk_ca_state : 5;
	__u8 icsk_pending;
	__u8 icsk_backoff;
};

struct tcp_rack {
	__u64 mstamp;
	__u32 rtt_us;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 srtt_us;
	__u32 total_retrans;
	struct tcp_rack rack;
};

struct request_sock {
	struct sock_common __req_common;
	__u8 num_timeout : 7;
	unsigned long timeout;
};

struct net_device {
	possible_net_t nd_net;
};

struct dst_entry {
	struct net_device *dev;
};

struct sk_buff {
	struct net_device *dev;
	unsigned long _skb_refdst;
	char cb[48];
	__u16 transport_header;
	__u16 network_header;
	unsigned char *head;
};

struct tcp_skb_cb {
	__u16 tcp_gso_segs;
};

struct bpf_iter__tcp {
	struct sock_common *sk_common;
};

/* The number comes first, and nobody asks for the rest: its size is the kernel's. */
struct upid {
	int nr;
};

struct pid {
	unsigned int level;
	struct upid numbers[1];
};

struct kernfs_node {
	__u64 id;
};

struct cgroup_root {
	int hierarchy_id;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
};

struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
	struct cgroup_root *root;
};

/* The number of each is the kernel's. */
enum cgroup_subsys_id {
	memory_cgrp_id,
};

struct css_set {
	struct cgroup *dfl_cgrp;
	/* As many as the kernel has. */
	struct cgroup_subsys_state *subsys[1];
};

struct mem_cgroup {
	struct cgroup_subsys_state css;
	bool oom_lock;
};

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	__s64 counter;
} atomic64_t;

/* The parts of the processors are added to the sum only now and then. */
struct percpu_counter {
	__s64 count;
	__s32 *counters;
};

/* Code of the kernel's in a process, which is where followed calls return to. */
struct xol_area {
	unsigned long vaddr;
};

struct uprobes_state {
	struct xol_area *xol_area;
};

struct mm_struct {
	struct task_struct *owner;
	unsigned long start_stack;
	struct uprobes_state uprobes_state;
	/* Pages by what they are: see enum memory_pages. */
	struct percpu_counter rss_stat[4];
};

/* Before Linux 6.2 each thread kept a part of its own. */
struct mm_rss_stat {
	atomic64_t count[4];
};

struct mm_struct___atomic {
	struct mm_rss_stat rss_stat;
};

struct task_rss_stat {
	int count[4];
};

/* A map with a value for each processor keeps its values where this points. */
struct bpf_array {
	void *pptrs[1];
};

struct signal_struct {
	atomic_t live;
	int group_exit_code;
	unsigned int flags;
	struct mm_struct *oom_mm;
};

struct sigaction {
	void *sa_handler;
};

struct k_sigaction {
	struct sigaction sa;
};

struct sighand_struct {
	struct k_sigaction action[1];
};

struct kernel_siginfo {
	int si_code;
};

struct linux_binprm {
	const char *filename;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct thread_info {
	unsigned long flags;
	/* On x86 only. */
	__u32 status;
};

/* What a program had in its registers when it went into the kernel. */
struct pt_regs;

struct pt_regs___x86 {
	unsigned long di;
	unsigned long orig_ax;
};

/* Of x86, where its stack is walked. */
struct pt_regs___registers {
	unsigned long ip;
	unsigned long sp;
	unsigned long bp;
	unsigned long cs;
	/* The number of the system call; -1 where it came otherwise. */
	unsigned long orig_ax;
	/* Its first arguments, and those of functions. */
	unsigned long di;
	unsigned long si;
	unsigned long dx;
	/* What a function returns. */
	unsigned long ax;
};

struct pt_regs___arm64 {
	__u64 orig_x0;
	__s32 syscallno;
};

/* A call whose return is followed. */
struct return_instance {
	/* Where its return address lies. */
	unsigned long stack;
	/* What belongs there. */
	unsigned long orig_ret_vaddr;
	/* The call around it. */
	struct return_instance *next;
};

struct uprobe_task {
	struct return_instance *return_instances;
};

struct task_struct {
	struct thread_info thread_info;
	struct files_struct *files;
	struct uprobe_task *utask;
	/* Of the thread. */
	int pid;
	/* Of its process. */
	int tgid;
	struct task_struct *group_leader;
	struct task_struct *real_parent;
	struct pid *thread_pid;
	struct css_set *cgroups;
	struct signal_struct *signal;
	struct sighand_struct *sighand;
	/* When it was forked, CLOCK_MONOTONIC. */
	__u64 start_time;
	unsigned int flags;
	int exit_state;
	int exit_code;
	char comm[16];
	unsigned int __state;
	/* How often it left its processor: of itself, and because it had to. */
	unsigned long nvcsw;
	unsigned long nivcsw;
	/* Whether it has a processor. */
	int on_cpu;
	struct mm_struct *mm;
	/* Page faults of the thread. */
	unsigned long min_flt;
	unsigned long maj_flt;
};

/* Before Linux 6.2. */
struct task_struct___split {
	struct task_rss_stat rss_stat;
};

/* Before Linux 5.14. */
struct task_struct___state {
	long state;
};

struct bpf_iter__task {
	struct task_struct *task;
};

struct bpf_iter__task_file {
	struct task_struct *task;
	struct file *file;
};

struct bpf_iter__bpf_map_elem {
	void *key;
	void *value;
};

struct gendisk {
	int major;
	int first_minor;
};

struct request_queue {
	/* From Linux 5.15 on. */
	struct gendisk *disk;
};

struct blkcg {
	struct cgroup_subsys_state css;
};

struct blkcg_gq {
	struct blkcg *blkcg;
};

struct block_device {
	/* From Linux 5.12 on; before, a request had only bi_disk. */
	struct gendisk *bd_disk;
};

struct bvec_iter {
	unsigned int bi_size;
};

struct bio {
	struct block_device *bi_bdev;
	unsigned int bi_opf;
	struct bvec_iter bi_iter;
	/* Only where the kernel has an I/O controller. */
	struct blkcg_gq *bi_blkg;
};

/* Before Linux 5.12. */
struct bio___disk {
	struct gendisk *bi_disk;
};

struct request {
	struct request_queue *q;
	unsigned int cmd_flags;
	unsigned int __data_len;
	struct bio *bio;
	__u64 start_time_ns;
};

/* Before Linux 5.17. */
struct request___disk {
	struct gendisk *rq_disk;
};

/* The numbers are the kernel's. */
enum req_flag_bits {
	__REQ_PREFLUSH,
};

#pragma clang attribute pop

#endif
