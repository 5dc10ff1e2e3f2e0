/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Descriptors that outlive this process: whoever started us keeps copies of them under names, and
 * the next process gets them (https://systemd.io/FILE_DESCRIPTOR_STORE). That is systemd, or
 * vublkd-keeper; "the keeper" is either. Names are ours: "v." and more, at most FDSTORE_NAME_MAX
 * characters of ASCII, without control characters and ':'. A name stands for one descriptor, by
 * our own discipline; the keeper lets several have the same, and keeps a descriptor that it has
 * already once, under its first name.
 *
 * fdstore_open() comes first, then the others, all of them on the control thread.
 */
#ifndef BASE_FDSTORE_H
#define BASE_FDSTORE_H

#include <stdbool.h>

#define FDSTORE_NAME_MAX 255

/*
 * Learns from the environment whether there is a keeper, and takes over what one has kept: of the
 * descriptors of LISTEN_FDS the first whose name begins with "v.", and all after it (a keeper
 * passes those last). The ones before, from socket activation, stay what LISTEN_FDS,
 * LISTEN_FDNAMES and sd_listen_fds(3) speak of; without any these are unset. All have O_CLOEXEC.
 * Call it once, before there are threads. 0, or -errno, not logged: the environment is not as
 * sd_listen_fds(3) has it (-EINVAL; -EBADF for a descriptor that is not open), or -ENOMEM; then
 * nothing was taken over.
 */
int fdstore_open(void);

/*
 * Is there one who keeps? NOTIFY_SOCKET names him, and FDSTORE (of systemd 254 and newer, and of
 * vublkd-keeper) or, for an older systemd whose unit has FileDescriptorStoreMax=, VUBLKD_FDSTORE
 * says how many descriptors he takes.
 */
bool fdstore_is_kept(void);

/*
 * Has a copy of `fd` kept, whatever becomes of its other end (FDPOLL=0): until it is forgotten, a
 * connection stays open. `fd` stays the caller's. 0: the keeper has the message; he may still
 * refuse, when he has too many, and logs it. -EOPNOTSUPP if there is none, -EINVAL for a name that
 * cannot be, or what notify_send() (base/notify.h) returns; waits as long as that. Nothing is
 * logged.
 */
int fdstore_keep(int fd, const char *name);

/* Has all that is kept under that name closed. Returns what fdstore_keep() does. */
int fdstore_forget(const char *name);

/*
 * The name of the i-th descriptor that fdstore_open() took over, whether it has been taken since
 * or not; NULL past the last. Valid until fdstore_drop_rest(). It need not be one of ours.
 */
const char *fdstore_name(unsigned i);

/* Its descriptor, to be looked at; -1: it has been taken. */
int fdstore_look(unsigned i);

/*
 * The descriptor that came with that name, now the caller's: the next one if there are several. It
 * stays kept. -ENOENT: there is none, or it has been taken.
 */
int fdstore_take(const char *name);

/*
 * Closes what nobody took, and has it forgotten, unless one of the same name was taken; there are
 * no names any more. Returns how many that were.
 */
unsigned fdstore_drop_rest(void);

#endif
