/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Another open file of the file that a descriptor is of: with flags, locks and an end of its own,
 * whatever has become of the path meanwhile. Any thread.
 */
#ifndef BASE_REOPEN_H
#define BASE_REOPEN_H

/* Opens it with these flags, and O_CLOEXEC. The descriptor, or -errno of open(2) through /proc. */
int reopen(int fd, int flags);

#endif
