/* SPDX-License-Identifier: BSD-3-Clause */
/* What a test wants to know of its process's descriptors and mappings: does anything leak? */
#ifndef FDS_H
#define FDS_H

/* With what else one does with descriptors and mappings. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* How many descriptors this process has open. */
unsigned fds_open(void);

bool fd_is_open(int fd);

/* A non-blocking eventfd. */
int fd_event(void);

/* Takes what is in an eventfd: how often it was signalled. */
unsigned fd_take_events(int fd);

/* An empty file of `size` bytes in memory. */
int fd_memory(uint64_t size);

/* Is anything mapped at this address? */
bool is_mapped(const void *address);

#endif
