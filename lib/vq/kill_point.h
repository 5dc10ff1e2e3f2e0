/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Points between stores, at which a kill must do no harm. In a build for tests
 * (--enable-kill-points), the environment's VUBLK_KILL=NAME:N kills the process when it comes to
 * the point NAME (*: any) for the N-th time, with NAME as its last word on stderr; otherwise a
 * point is nothing. One process must not run several workers then: they are not counted apart.
 */
#ifndef VQ_KILL_POINT_H
#define VQ_KILL_POINT_H

#ifdef VUBLK_KILL_POINTS
void vq_kill_point(const char *name);
#define VQ_KILL_POINT(name) vq_kill_point(name)
#else
#define VQ_KILL_POINT(name) ((void)0)
#endif

#endif
