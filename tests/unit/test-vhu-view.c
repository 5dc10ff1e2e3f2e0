/* SPDX-License-Identifier: BSD-3-Clause */
/* lib/shared/view.c: scattered guest memory as one, and rings that IOVAs name (lib/vq/iommu.c). */
#define _GNU_SOURCE
#include "lib/shared/view.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/shared/iotlb.h"
#include "lib/vq/ring.h"
#include "lib/vublk.h"
#include "tests/tap.h"
#include "tests/unit/support/fds.h"

#define PAGE  4096u
#define PAGES 16u
#define USER  0x7000000000ull
#define GUEST 0x100000ull

static struct vhu_mem *mem;
static uint8_t *seen; /* the file, as the front-end sees it */
static int file;

static void setup(void)
{
	const struct vhu_region region = {GUEST, PAGES * PAGE, USER, 0};

	file = fd_memory(PAGES * PAGE);
	seen = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	REQUIRE(seen != MAP_FAILED);
	for (unsigned i = 0; i < PAGES * PAGE; i++)
		seen[i] = (uint8_t)(i / PAGE * 16 + i % 13);
	REQUIRE_OK(vhu_mem_new(&mem, "test", &region, &file, 1));
}

static void teardown(void)
{
	vhu_mem_put(mem);
	munmap(seen, PAGES * PAGE);
	close(file);
}

static struct iovec piece(unsigned from, unsigned size)
{
	return (struct iovec){vhu_mem_uva(mem, USER + from, size), size};
}

/* Two regions of two files that lie side by side with us: B before A. */
static struct vhu_mem *map_neighbours(int a, int b)
{
	const struct vhu_region one = {GUEST, PAGE, USER, 0};
	const struct vhu_region other = {GUEST + 8 * PAGE, PAGE, USER + 8 * PAGE, 0};
	struct vhu_mem *first, *both;

	REQUIRE_OK(vhu_mem_new(&first, "test", &one, &a, 1));
	REQUIRE_OK(vhu_mem_add(&both, "test", first, &other, b));
	vhu_mem_put(first);
	return both;
}

/* What lies behind one of them in its file is not shared. */
static void neighbours_are_different_memory(void)
{
	struct vq_part part = {.addr = 0, .size = 3 * PAGE, .align = 16, .write = true};
	struct vhu_iotlb *iotlb = vhu_iotlb_new(NULL, NULL);
	const int a = fd_memory(PAGE), b = fd_memory(2 * PAGE);
	struct vhu_mem *both = map_neighbours(a, b);
	const bool side_by_side = (uint8_t *)vhu_mem_uva(both, USER + 8 * PAGE, PAGE) + PAGE ==
				  (uint8_t *)vhu_mem_uva(both, USER, PAGE);
	struct vhu_revoked revoked;
	uint8_t byte;

	REQUIRE_OK(vhu_iotlb_update(iotlb, 0, PAGE, USER + 8 * PAGE, 3, &revoked));
	REQUIRE_OK(vhu_iotlb_update(iotlb, PAGE, PAGE, USER, 3, &revoked));
	REQUIRE_OK(vhu_iotlb_update(iotlb, 2 * PAGE, PAGE, USER + 8 * PAGE, 3, &revoked));
	for (unsigned i = 2; i <= 3; i++) {
		part.size = i * PAGE;
		part.host = NULL;
		part.view = NULL;
		REQUIRE_OK(vq_iommu_find_part(&part, iotlb, both));
		REQUIRE(part.view);
		vublk_guest_store8((uint8_t *)part.host + PAGE + 5, (uint8_t)(40 + i));
		CHECK(pread(a, &byte, 1, 5) == 1 && byte == 40 + i);
		CHECK(pread(b, &byte, 1, PAGE + 5) == 1 && byte == 0);
		vhu_view_free(part.view);
	}
	vhu_iotlb_free(iotlb);
	vhu_mem_put(both);
	close(a);
	close(b);
	if (!side_by_side)
		tap_skip("the kernel maps them elsewhere");
}

static void pages_in_any_order(void)
{
	const struct iovec pieces[] = {piece(9 * PAGE + 100, PAGE - 100), piece(2 * PAGE, 2 * PAGE),
				       piece(7 * PAGE, 50)};
	struct vhu_view *view;
	const uint8_t *host;
	size_t size;

	REQUIRE_OK(vhu_view_new(&view, mem, pieces, 3));
	host = vhu_view_host(view);
	CHECK(!memcmp(host, seen + 9 * PAGE + 100, PAGE - 100));
	CHECK(!memcmp(host + PAGE - 100, seen + 2 * PAGE, 2 * PAGE));
	CHECK(!memcmp(host + 3 * PAGE - 100, seen + 7 * PAGE, 50));
	/* What is written is seen, both ways. */
	vublk_guest_store8((uint8_t *)(uintptr_t)host + PAGE - 100, 99);
	CHECK_EQ(seen[2 * PAGE], 99);
	seen[7 * PAGE + 49] = 98;
	CHECK_EQ(host[3 * PAGE - 100 + 49], 98);
	/* And where it is. */
	size = 1000;
	CHECK(vhu_view_origin(view, host + PAGE - 101, &size) ==
	      vhu_mem_uva(mem, USER + 10 * PAGE - 1, 1));
	CHECK_EQ(size, 1);
	size = 10;
	CHECK(vhu_view_origin(view, host + 2 * PAGE, &size) ==
	      vhu_mem_uva(mem, USER + 3 * PAGE + 100, 1));
	CHECK_EQ(size, 10);
	CHECK(!vhu_view_origin(view, host - 1, &size));
	CHECK(!vhu_view_origin(view, host + 3 * PAGE - 50, &size));
	CHECK(!vhu_view_is_lost(view));
	vhu_view_free(view);
}

static void what_does_not_fit_is_refused(void)
{
	const struct iovec ends_early[] = {piece(0, PAGE - 1), piece(PAGE, PAGE)};
	const struct iovec begins_late[] = {piece(0, PAGE), piece(PAGE + 1, 10)};
	struct iovec elsewhere[] = {piece(0, PAGE), {seen, PAGE}};
	const unsigned before = fds_open();
	struct vhu_view *view;

	CHECK_EQ(vhu_view_new(&view, mem, ends_early, 2), -EINVAL);
	CHECK_EQ(vhu_view_new(&view, mem, begins_late, 2), -EINVAL);
	CHECK_EQ(vhu_view_new(&view, mem, elsewhere, 2), -EFAULT);
	CHECK_EQ(fds_open(), before);
	vhu_view_free(NULL);
}

static void truncated_file_is_lost(void)
{
	const struct iovec pieces[] = {piece(0, PAGE), piece(5 * PAGE, PAGE)};
	struct vhu_view *view;

	REQUIRE(vublk_guard_memory() >= 0);
	REQUIRE_OK(vhu_view_new(&view, mem, pieces, 2));
	REQUIRE_OK(ftruncate(file, PAGE));
	CHECK_EQ(((const volatile uint8_t *)vhu_view_host(view))[PAGE], 0);
	CHECK(vhu_view_is_lost(view));
	vhu_view_free(view);
}

/* ---- rings ---- */

#define IOVA     0xffff0000ull
#define FEATURES (1ull << VIRTIO_F_VERSION_1)

static void missed(void *opaque)
{
	(void)opaque;
}

/* Pages 3, 2, 1, 0 of the memory are where the ring of 512 has its descriptors and more. */
static void scattered_ring_is_found(void)
{
	struct vhu_iotlb *iotlb = vhu_iotlb_new(missed, NULL);
	const struct vq_layout layout = {.size = 512,
					 .desc = IOVA,
					 .avail = IOVA + 2 * PAGE,
					 .used = IOVA + 3 * PAGE - 100,
					 .iotlb = iotlb};
	const struct vq_layout twice = {.size = 512,
					.desc = IOVA,
					.avail = IOVA + 2 * PAGE,
					.used = IOVA + 3 * PAGE,
					.iotlb = iotlb};
	struct vhu_revoked revoked;
	struct vublk_queue vq;
	struct vq_ring ring;

	vq_init(&vq, "test", 0);
	for (unsigned i = 0; i < 4; i++) {
		CHECK_EQ(vq_translate(&vq, &layout, mem, FEATURES, &ring), -EAGAIN);
		REQUIRE_OK(vhu_iotlb_update(iotlb, IOVA + i * PAGE, PAGE, USER + (3 - i) * PAGE,
					    VHU_IOTLB_READ_WRITE, &revoked));
	}
	/* The used ring goes on for 4096 + 4 bytes, where there is nothing. */
	CHECK_EQ(vq_translate(&vq, &twice, mem, FEATURES, &ring), -EAGAIN);
	REQUIRE_OK(vq_translate(&vq, &layout, mem, FEATURES, &ring));
	CHECK(!memcmp(ring.split.desc, seen + 3 * PAGE, PAGE));
	CHECK(!memcmp((const char *)ring.split.desc + PAGE, seen + 2 * PAGE, PAGE));
	CHECK(ring.view[0]);
	CHECK(!ring.view[1]);
	CHECK((const void *)ring.split.avail == vhu_mem_uva(mem, USER + PAGE, 1));
	CHECK(!memcmp((const char *)ring.split.used + 100, seen, 1000));
	CHECK(!vq_iommu_ring_lost(&layout, FEATURES, 0, IOVA - 1));
	CHECK(vq_iommu_ring_lost(&layout, FEATURES, 0, IOVA));
	CHECK(!vq_iommu_ring_lost(&layout, FEATURES, IOVA + 4 * PAGE, UINT64_MAX));
	vhu_iotlb_invalidate(iotlb, IOVA + PAGE, 1, &revoked);
	CHECK(vq_iommu_ring_lost(&layout, FEATURES, 0, 0));
	vq_ring_put(&ring);
	vhu_iotlb_free(iotlb);
}

static void ring_that_wraps_is_nowhere(void)
{
	struct vhu_iotlb *iotlb = vhu_iotlb_new(missed, NULL);
	const struct vq_layout layout = {
		.size = 512, .desc = UINT64_MAX - 15, .avail = 0, .used = 0, .iotlb = iotlb};
	struct vublk_queue vq;
	struct vq_ring ring;

	vq_init(&vq, "test", 0);
	CHECK_EQ(vq_iommu_check_ring(0, &layout, FEATURES, mem), -EFAULT);
	CHECK_EQ(vq_translate(&vq, &layout, mem, FEATURES, &ring), -EINVAL);
	vhu_iotlb_free(iotlb);
}

int main(int argc, char **argv)
{
	static const struct tap_case cases[] = {
		{"pages_in_any_order", pages_in_any_order},
		{"neighbours_are_different_memory", neighbours_are_different_memory},
		{"what_does_not_fit_is_refused", what_does_not_fit_is_refused},
		{"truncated_file_is_lost", truncated_file_is_lost},
		{"scattered_ring_is_found", scattered_ring_is_found},
		{"ring_that_wraps_is_nowhere", ring_that_wraps_is_nowhere},
		{0},
	};
	static const struct tap_suite suites[] = {
		{.name = "view", .setup = setup, .teardown = teardown, .cases = cases},
		{0},
	};

	return tap_main(argc, argv, suites);
}
