/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An IOMMU between the driver and its memory. The driver, which is all of fe_vq and fe_blk, sees
 * the addresses of its region as ever: they are IOVAs. Behind each page of them is any page of the
 * memory's file, and another one after fe_iommu_move(); the back-end knows the file by its user
 * addresses, which are like nothing else here, and has to ask.
 *
 * One thread: whoever waits for the back-end has to call fe_iommu_serve() meanwhile.
 */
#ifndef FE_IOMMU_H
#define FE_IOMMU_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/frontend/fe_dev.h"

#define FE_IOMMU_PAGE 4096u
#define FE_IOMMU_USER UINT64_C(0x510000000000) /* where the back-end is told that the file is */

struct fe_iommu {
	struct fe_dev *dev;
	uint64_t iova;  /* of the first page */
	unsigned int n; /* pages that the driver has */
	unsigned int n_spare;
	uint32_t *behind; /* each page: of the file; the spare ones come last */
	uint8_t *perm;    /* what may be done there */
	bool silent;      /* misses are not answered, and not even acknowledged */
	unsigned int n_misses, n_refused;
};

/*
 * Gives the device, which has no memory yet, a region of `size` bytes (whole pages) at `iova`,
 * whose pages come in an order that `state` makes. 0 or -errno.
 */
int fe_iommu_begin(struct fe_iommu *iommu, struct fe_dev *dev, uint64_t iova, uint64_t size,
		   uint64_t *state);
void fe_iommu_end(struct fe_iommu *iommu);

/* Answers all misses that are there, and waits for none. 0 or -errno. */
int fe_iommu_serve(struct fe_iommu *iommu);

/* VHOST_USER_IOTLB_MSG, acknowledged: 0, FE_REFUSED or -errno. */
int fe_iommu_tell(struct fe_iommu *iommu, unsigned int type, uint64_t iova, uint64_t size,
		  uint64_t uaddr, unsigned int perm);

/*
 * Takes a page away, and puts another one of the file, with the same bytes, behind its IOVA. The
 * old one is filled with `garbage`. 0 or -errno.
 */
int fe_iommu_move(struct fe_iommu *iommu, uint64_t iova, uint8_t garbage);

/* From now on this may be done there, which the back-end has to ask for again. */
int fe_iommu_allow(struct fe_iommu *iommu, uint64_t iova, unsigned int perm);

#endif
