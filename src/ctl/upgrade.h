/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command upgrade: another process goes on with all that the daemon has, and that one is
 * awaited. Main thread.
 */
#ifndef CTL_UPGRADE_H
#define CTL_UPGRADE_H

struct ctl;

int upgrade_run(const struct ctl *ctl);

#endif
