/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands that change disks: add, set, remove, resize. Main thread. */
#ifndef CTL_CHANGE_H
#define CTL_CHANGE_H

struct ctl;

/* See ctl_ask(). -EINVAL: the command line is wrong. */
int change_add(const struct ctl *ctl);
int change_set(const struct ctl *ctl);
int change_remove(const struct ctl *ctl);
int change_resize(const struct ctl *ctl);

#endif
