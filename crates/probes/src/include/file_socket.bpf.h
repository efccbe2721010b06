/* SPDX-License-Identifier: (MIT OR GPL-2.0-only) */
/* From a file that a process has open to the TCP socket that it stands for. */
#ifndef TEMBLOR_FILE_SOCKET_BPF_H
#define TEMBLOR_FILE_SOCKET_BPF_H

/* NULL: it is something else. */
static __always_inline struct sock *tcp_socket_of(struct file *file)
{
	struct socket *socket;
	struct sock *sk;
	__u16 family;

	if ((BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	/* A file that was opened as a path only has none. */
	socket = BPF_CORE_READ(file, private_data);
	sk = socket ? BPF_CORE_READ(socket, sk) : NULL;
	if (!sk)
		return NULL;
	family = BPF_CORE_READ(sk, __sk_common.skc_family);
	if ((family != AF_INET && family != AF_INET6) ||
	    BPF_CORE_READ(sk, sk_type) != SOCK_STREAM ||
	    BPF_CORE_READ(sk, sk_protocol) != IPPROTO_TCP)
		return NULL;
	return sk;
}

#endif
