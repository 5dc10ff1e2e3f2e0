/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Both sides of who keeps descriptors, for tests of what speaks to him: a socket of the test's own
 * in his place, and descriptors that come as he passes them, at the first ones after the standard
 * ones. Around each case: kept_fds_setup(), kept_fds_teardown().
 */
#ifndef KEPT_FDS_H
#define KEPT_FDS_H

#include <stdbool.h>

#define KEPT_FIRST_FD 3
#define KEPT_FDS      4 /* as many can come */

/* The last message, and the descriptor that came along, or -1. */
extern char kept_text[1024];
extern int kept_attached;

/* He is at an abstract address; the environment says so, and has nothing else of all this. */
void kept_fds_setup(void);

/* What the test had where descriptors come is there again. */
void kept_fds_teardown(void);

/* He is at this address instead: a path, or with '@' an abstract one. */
void kept_fds_bind(const char *address);

/* His socket, which no descriptor that comes takes the place of. */
int kept_fds_socket(void);

/* Has a message come? */
bool kept_fds_receive(void);

/* So many, which kept_fds_place() has put there, come by these names ("a:b"). */
void kept_fds_come(int n, const char *names);

/* Puts a descriptor (taken over) where the i-th comes. */
void kept_fds_place(int i, int fd);

#endif
