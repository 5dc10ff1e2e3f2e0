/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guards mappings of memory that somebody else may truncate. Touching a page beyond the end of
 * its file raises SIGBUS, in whatever thread; then the whole mapping is replaced by anonymous
 * memory, marked as lost, and the thread goes on. That what it then reads is zeros harms nobody,
 * since nothing that is read there is trusted. A SIGBUS elsewhere kills the process as ever.
 * A mapping may be replaced by single pages instead: then what nobody of ours touches is not there
 * for the kernel either, which would take zeros for data.
 *
 * Any thread; the handler takes no lock and allocates nothing.
 */
#ifndef SHARED_GUARD_H
#define SHARED_GUARD_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Guards `size` bytes mapped at `base`, both in whole pages. Returns a handle >= 0, -ENOMEM,
 * or -ENOSPC when there are millions.
 * Without vublk_guard_memory() having been called, nothing happens on SIGBUS but the usual.
 */
int vhu_guard_add(void *base, size_t size);

/* No longer; call before munmap(). */
void vhu_guard_remove(int handle);

/* From now on only the page that is touched is replaced, if such a part of a mapping can be. */
void vhu_guard_by_page(int handle);

/* Has it been lost? */
bool vhu_guard_is_lost(int handle);

#endif
