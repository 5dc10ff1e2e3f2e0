/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The steps between which a kill must do no harm. In a build for tests (--enable-kill-points), the
 * environment's VUBLK_KILL=NAME:N kills the process when it comes to step NAME (*: any) for the
 * N-th time, with NAME as its last word on stderr; otherwise a step is nothing. One process must
 * not run several workers then: they are not counted apart.
 */
#ifndef VQ_KILL_POINT_H
#define VQ_KILL_POINT_H

#ifdef VUBLK_KILL_POINTS
void vq_step(const char *name);
#define VQ_STEP(name) vq_step(name)
#else
#define VQ_STEP(name) ((void)0)
#endif

#endif
