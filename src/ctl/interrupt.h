/* SPDX-License-Identifier: BSD-3-Clause */
/* Being told to end, as a descriptor, by commands that go on until they are. Main thread. */
#ifndef CTL_INTERRUPT_H
#define CTL_INTERRUPT_H

/*
 * A descriptor, the caller's, that is readable after SIGINT, SIGTERM or SIGHUP, which from now on
 * do nothing else; or -errno. One that is ignored (nohup) stays so.
 */
int interrupt_open(void);

#endif
