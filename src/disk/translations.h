/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Having the control thread ask the front-end of a disk for translations of the guest's IOMMU: when
 * a worker lacks one, and later again. What is asked, the library knows.
 */
#ifndef DISK_TRANSLATIONS_H
#define DISK_TRANSLATIONS_H

#include "base/loop.h"
#include "base/mailbox.h"

struct vublk_dev;

struct translations {
	struct loop *loop;
	struct vublk_dev *dev;
	struct nudge nudge;
	struct loop_timer timer;
};

/* All that it is given has to live as long. Control thread. */
void translations_init(struct translations *translations, struct loop *loop, struct vublk_dev *dev);

/* Has it asked for what is lacking, soon. Any thread. */
void translations_attend(struct translations *translations);

/* The session is over. Control thread. */
void translations_end_session(struct translations *translations);

#endif
