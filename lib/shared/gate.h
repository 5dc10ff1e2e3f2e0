/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The proof that all stores into guest memory pass its gate (lib/guest.h): in builds for tests,
 * configured with --enable-guest-gate, guest memory is mapped to be read, and once more to be
 * written; only the gate and the kernel know of the second mapping (vublk_guest_writable()). In all
 * other builds nothing of this exists. Any thread.
 */
#ifndef SHARED_GATE_H
#define SHARED_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/types.h>

#ifdef VUBLK_GUEST_GATE

#define VHU_GATE_PROT PROT_READ /* of the first mapping */

/* Maps the same part of the file once more. 0 or -errno. */
int vhu_gate_open(void *base, size_t size, int fd, off_t offset);
void vhu_gate_close(void *base);

/* Has the second mapping been lost (shared/guard.h)? */
bool vhu_gate_is_lost(const void *base);

#else

#define VHU_GATE_PROT (PROT_READ | PROT_WRITE)

static inline int vhu_gate_open(void *base, size_t size, int fd, off_t offset)
{
	(void)base;
	(void)size;
	(void)fd;
	(void)offset;
	return 0;
}

static inline void vhu_gate_close(void *base)
{
	(void)base;
}

static inline bool vhu_gate_is_lost(const void *base)
{
	(void)base;
	return false;
}

#endif
#endif
