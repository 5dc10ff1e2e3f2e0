/* SPDX-License-Identifier: BSD-3-Clause */
/* See fe_iommu.h. */
#define _GNU_SOURCE
#include "fe_iommu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "fe_image.h"

#define SPARE 64u /* pages more than the driver has */

/* The file's page is where the driver has this one. */
static int map(const struct fe_iommu *iommu, unsigned int page)
{
	const struct fe_region *r = &iommu->dev->mem.region[0];
	void *at = r->host + (uint64_t)page * FE_IOMMU_PAGE;

	return mmap(at, FE_IOMMU_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, r->fd,
		    (off_t)iommu->behind[page] * FE_IOMMU_PAGE) == MAP_FAILED
		       ? -errno
		       : 0;
}

static void shuffle(struct fe_iommu *iommu, uint64_t *state)
{
	for (unsigned int i = iommu->n + iommu->n_spare; i > 1; i--) {
		const unsigned int k = (unsigned int)(fe_random(state) % i);
		const uint32_t page = iommu->behind[i - 1];

		iommu->behind[i - 1] = iommu->behind[k];
		iommu->behind[k] = page;
	}
}

int fe_iommu_begin(struct fe_iommu *iommu, struct fe_dev *dev, uint64_t iova, uint64_t size,
		   uint64_t *state)
{
	const unsigned int n = (unsigned int)(size / FE_IOMMU_PAGE);
	struct fe_region *r = &dev->mem.region[0];
	int err = fe_mem_add(&dev->mem, iova, size + SPARE * FE_IOMMU_PAGE, 0);

	if (err < 0)
		return err;
	*iommu = (struct fe_iommu){
		.dev = dev,
		.iova = iova,
		.n = n,
		.n_spare = SPARE,
		.behind = calloc(n + SPARE, sizeof(*iommu->behind)),
		.perm = malloc(n + SPARE),
	};
	if (!iommu->behind || !iommu->perm)
		return -ENOMEM;
	r->size = size; /* what the driver has; the back-end may have the rest, too */
	r->wire.user_addr = FE_IOMMU_USER;
	r->wire.guest_addr = 0;
	memset(iommu->perm, 3, n + SPARE);
	for (unsigned int i = 0; i < n + SPARE; i++)
		iommu->behind[i] = i;
	shuffle(iommu, state);
	for (unsigned int i = 0; i < n; i++) {
		err = map(iommu, i);
		if (err)
			return err;
	}
	return 0;
}

void fe_iommu_end(struct fe_iommu *iommu)
{
	free(iommu->behind);
	free(iommu->perm);
	*iommu = (struct fe_iommu){0};
}

int fe_iommu_tell(struct fe_iommu *iommu, unsigned int type, uint64_t iova, uint64_t size,
		  uint64_t uaddr, unsigned int perm)
{
	const struct vhu_iotlb_msg msg = {
		.iova = iova,
		.size = size,
		.uaddr = uaddr,
		.perm = (uint8_t)perm,
		.type = (uint8_t)type,
	};

	return fe_tell(&iommu->dev->conn, VHU_IOTLB_MSG, &msg, sizeof(msg), NULL, 0);
}

/* The number of the page that an IOVA lies in, or n. */
static unsigned int page_of(const struct fe_iommu *iommu, uint64_t iova)
{
	const uint64_t page = (iova - iommu->iova) / FE_IOMMU_PAGE;

	return iova >= iommu->iova && page < iommu->n ? (unsigned int)page : iommu->n;
}

/* As QEMU does: an update with all that may be done there, or nothing. */
static int answer(struct fe_iommu *iommu, const struct vhu_iotlb_msg *miss, uint64_t *ack)
{
	const unsigned int page = page_of(iommu, miss->iova);

	iommu->n_misses++;
	*ack = page == iommu->n || (iommu->perm[page] & miss->perm) != miss->perm;
	iommu->n_refused += *ack;
	if (*ack)
		return 0;
	return fe_iommu_tell(iommu, VHU_IOTLB_UPDATE, iommu->iova + (uint64_t)page * FE_IOMMU_PAGE,
			     FE_IOMMU_PAGE,
			     FE_IOMMU_USER + (uint64_t)iommu->behind[page] * FE_IOMMU_PAGE,
			     iommu->perm[page]);
}

int fe_iommu_serve(struct fe_iommu *iommu)
{
	const int fd = iommu->dev->channel.fd;

	while (!iommu->silent) {
		struct vhu_header header;
		union vhu_payload payload;
		uint64_t ack = 0;
		ssize_t got = recv(fd, &header, sizeof(header), MSG_DONTWAIT);
		char reply[sizeof(header) + sizeof(ack)];

		if (got < 0 && errno == EAGAIN)
			return 0;
		if (got != sizeof(header) || header.size > sizeof(payload))
			return got < 0 ? -errno : -EPIPE;
		if (header.size && recv(fd, &payload, header.size, MSG_WAITALL) != header.size)
			return -EPIPE;
		if (header.request != VHU_BACKEND_IOTLB_MSG)
			continue;
		if (payload.iotlb.type != VHU_IOTLB_MISS)
			return -EPROTO;
		FE_TRY(answer(iommu, &payload.iotlb, &ack));
		if (!(header.flags & VHU_FLAG_NEED_REPLY))
			continue;
		header.flags = VHU_VERSION | VHU_FLAG_REPLY;
		header.size = sizeof(ack);
		memcpy(reply, &header, sizeof(header));
		memcpy(reply + sizeof(header), &ack, sizeof(ack));
		if (send(fd, reply, sizeof(reply), MSG_NOSIGNAL) != sizeof(reply))
			return -EPIPE;
	}
	return 0;
}

int fe_iommu_move(struct fe_iommu *iommu, uint64_t iova, uint8_t garbage)
{
	const unsigned int page = page_of(iommu, iova);
	uint8_t *at = iommu->dev->mem.region[0].host + (uint64_t)page * FE_IOMMU_PAGE;
	const unsigned int spare = iommu->n + (unsigned int)(iova / FE_IOMMU_PAGE) % SPARE;
	uint8_t bytes[FE_IOMMU_PAGE];
	uint32_t old;

	if (page == iommu->n)
		return -EINVAL;
	FE_TRY(fe_iommu_tell(iommu, VHU_IOTLB_INVALIDATE, iova & ~(uint64_t)(FE_IOMMU_PAGE - 1),
			     FE_IOMMU_PAGE, 0, 0));
	memcpy(bytes, at, sizeof(bytes));
	memset(at, garbage, sizeof(bytes));
	old = iommu->behind[page];
	iommu->behind[page] = iommu->behind[spare];
	iommu->behind[spare] = old;
	FE_TRY(map(iommu, page));
	memcpy(at, bytes, sizeof(bytes));
	return 0;
}

int fe_iommu_allow(struct fe_iommu *iommu, uint64_t iova, unsigned int perm)
{
	const unsigned int page = page_of(iommu, iova);

	if (page == iommu->n)
		return -EINVAL;
	iommu->perm[page] = (uint8_t)perm;
	return fe_iommu_tell(iommu, VHU_IOTLB_INVALIDATE, iova & ~(uint64_t)(FE_IOMMU_PAGE - 1),
			     FE_IOMMU_PAGE, 0, 0);
}
