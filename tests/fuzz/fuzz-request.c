/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests as a hostile guest makes them, executed on a disk that is an array, through an engine
 * that is slow, short and failing as the input says; and beside it what should come of them.
 *
 * What must hold: each request is answered once, with a status; nothing is written but what the
 * device may write; what was answered with OK is done, whatever the engine did on the way; what
 * must not be done is refused; no byte of the disk changes that no request writes. In direct mode
 * nothing reaches the engine that O_DIRECT does not take.
 */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/image/end.h"
#include "src/request/merge.h"
#include "src/request/request.h"
#include "src/request/sync.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/support/blk-disk.h"

#define REQUESTS  4u
#define SECTOR    512u
#define DISK      (64u << 10) /* bytes */
#define PIECES    20u         /* iovecs that a request has at most */
#define POOL      (128u << 10)
#define FILL      0xee
#define NO_STATUS 0xaa
#define BUFFERS   2u
#define HANDLE    7

struct guest {
	struct virtio_blk_outhdr header;
	struct iovec data[PIECES]; /* its pieces; readable or writable ones */
	unsigned n_data;
	uint64_t size; /* bytes in them */
	uint8_t *status;
	unsigned answered;
	bool readable; /* the data */
	bool vague;    /* what it does depends on others, or on its framing */
	bool failed;   /* the engine has told one of its operations to fail */
};

static struct {
	struct image image;
	struct blk_disk disk;
	struct blk_env env;
	struct blk_counters counters;
	struct step_clock clock;
	struct target target;
	struct blk_req req[REQUESTS];
	struct guest guest[REQUESTS];
	unsigned n;
	struct io *op[64];
	unsigned n_ops;
	bool sync_failed;   /* once, which is remembered ... */
	bool failed_before; /* ... from the next round on */
	bool odd;           /* a transfer has stopped within a block: such a file takes anything */
	struct bounce_pool bounces;
	struct bounce_user bounce_user;
	uint8_t content[DISK], before[DISK]; /* now, and before the round */
	uint64_t end;                        /* where the file ends now; a write may move it */
	_Alignas(4096) uint8_t bounce[BUFFERS][BOUNCE_SIZE];
	_Alignas(4096) uint8_t pool[POOL], pool_before[POOL];
	struct iovec writable[REQUESTS * PIECES]; /* by the device */
	unsigned n_writable;
	size_t used;
} fuzz;

/* ---- what becomes of them ---- */

static void finished(struct blk_req *req, uint32_t written)
{
	struct guest *guest = &fuzz.guest[req - fuzz.req];

	FUZZ_CHECK(!guest->answered++);
	for (unsigned i = 0; i < fuzz.n_ops; i++)
		FUZZ_CHECK(fuzz.op[i] != &req->io);
	FUZZ_CHECK(written <= (guest->readable ? 1 : guest->size + 1));
}

static void abandoned(struct blk_req *req)
{
	(void)req;
	FUZZ_CHECK(!"nothing is abandoned");
}

static void malformed(struct blk_req *req, const char *why)
{
	(void)req;
	(void)why;
	FUZZ_CHECK(!"a request without a status byte");
}

/* ---- the engine ---- */

static void submit(struct target *target, struct io *io)
{
	const struct image *image = &fuzz.image;

	(void)target;
	FUZZ_CHECK(io->file == HANDLE && fuzz.n_ops < 64);
	if ((io->op == IO_READ || io->op == IO_WRITE) && !fuzz.odd) {
		FUZZ_CHECK(io->niov > 0 && io->niov <= 1024);
		for (unsigned i = 0; i < io->niov; i++) {
			FUZZ_CHECK((uintptr_t)io->iov[i].iov_base % image->mem_align == 0);
			FUZZ_CHECK(io->iov[i].iov_len % image->offset_align == 0);
		}
		FUZZ_CHECK(io->offset % image->offset_align == 0);
		FUZZ_CHECK(io->offset < image->size);
	}
	fuzz.op[fuzz.n_ops++] = io;
}

static bool cancel(struct target *target, struct io *io)
{
	(void)target, (void)io;
	return false;
}

static const struct target_class target_class = {
	.name = "fuzz", .submit = submit, .cancel = cancel};

/* Moves at most `most` bytes between the disk and the operation's pieces. */
static int64_t move(struct io *io, uint64_t most)
{
	uint64_t at = io->offset, moved = 0;

	for (unsigned i = 0; i < io->niov && moved < most; i++) {
		uint64_t n = io->iov[i].iov_len;

		n = n < most - moved ? n : most - moved;
		if (at >= fuzz.end && io->op == IO_READ)
			break;
		if (io->op == IO_READ && n > fuzz.end - at)
			n = fuzz.end - at;
		FUZZ_CHECK(at + n <= DISK);
		if (io->op == IO_READ)
			memcpy(io->iov[i].iov_base, fuzz.content + at, n);
		else
			memcpy(fuzz.content + at, io->iov[i].iov_base, n);
		at += n;
		moved += n;
	}
	if (io->op == IO_WRITE && at > fuzz.end)
		fuzz.end = at;
	return (int64_t)moved;
}

static void mark_failed(const struct io *io)
{
	/* An operation may be that of several requests; then each may be hit. */
	for (unsigned i = 0; i < fuzz.n; i++)
		fuzz.guest[i].failed |= &fuzz.req[i].io == io || fuzz.n > 1;
}

static int64_t execute(struct io *io, uint8_t how, uint16_t amount)
{
	const bool range =
		io->op != IO_READ && io->op != IO_WRITE && io->op != IO_SYNC && io->op != IO_SIZE;

	if (how % 16 == 1) {
		mark_failed(io);
		fuzz.sync_failed |= io->op == IO_SYNC;
		return -EIO;
	}
	if (how % 16 == 2 && range)
		return -EOPNOTSUPP;
	if (io->op == IO_SIZE)
		return (int64_t)fuzz.end;
	if (io->op == IO_SYNC)
		return 0;
	if (range) {
		FUZZ_CHECK(io->length && io->offset <= DISK && io->length <= DISK - io->offset);
		memset(fuzz.content + io->offset, 0, io->length);
		return 0;
	}
	if (how % 16 == 3) {
		/* It may get nowhere, twice, and that is an error. */
		if (amount < 4096)
			mark_failed(io);
		fuzz.odd |= amount % SECTOR;
		return move(io, amount);
	}
	return move(io, UINT64_MAX);
}

static void complete_one(struct fuzz_input *in)
{
	const unsigned i = fuzz_u8(in) % fuzz.n_ops;
	struct io *io = fuzz.op[i];
	const uint8_t how = fuzz_u8(in);

	memmove(fuzz.op + i, fuzz.op + i + 1, (--fuzz.n_ops - i) * sizeof(io));
	io->result = execute(io, how, how % 16 == 3 ? fuzz_u16(in) : 0);
	io->done(io);
}

/* ---- the guest ---- */

/* Room in the pool, with a gap behind it that nobody may touch. */
static uint8_t *take(size_t size, unsigned shift, bool writable)
{
	uint8_t *at;

	fuzz.used = (fuzz.used + SECTOR - 1) / SECTOR * SECTOR + shift;
	if (fuzz.used + size + 64 > POOL)
		return NULL;
	at = fuzz.pool + fuzz.used;
	if (writable)
		fuzz.writable[fuzz.n_writable++] = (struct iovec){at, size};
	fuzz.used += size + 64;
	return at;
}

static void add(struct blk_req *req, void *base, size_t size, bool writable)
{
	struct vublk_chain *chain = &req->chain;

	if (!size)
		return;
	req->iov[chain->n_out + chain->n_in] = (struct iovec){base, size};
	if (writable) {
		chain->n_in++;
		chain->in_size += size;
	} else {
		chain->n_out++;
		chain->out_size += size;
		chain->in = chain->out + chain->n_out;
	}
}

static const uint32_t types[] = {
	VIRTIO_BLK_T_IN,           VIRTIO_BLK_T_OUT,
	VIRTIO_BLK_T_FLUSH,        VIRTIO_BLK_T_GET_ID,
	VIRTIO_BLK_T_DISCARD,      VIRTIO_BLK_T_WRITE_ZEROES,
	VIRTIO_BLK_T_SECURE_ERASE, 5,
};

/* Header, data and status in any pieces. */
static bool make_request(struct fuzz_input *in)
{
	struct blk_req *req = &fuzz.req[fuzz.n];
	struct guest *guest = &fuzz.guest[fuzz.n];
	const uint8_t type = fuzz_u8(in), framing = fuzz_u8(in), pieces = fuzz_u8(in) % 8;
	uint8_t *header;

	memset(req, 0, sizeof(*req));
	memset(guest, 0, sizeof(*guest));
	req->env = &fuzz.env;
	vublk_chain_init(&req->chain, req->iov, BLK_REQ_IOVS);
	req->chain.out = req->chain.in = req->iov;
	guest->header.type = type < 0xf0 ? types[type % 8] : type * 0x01010101u;
	guest->header.sector = fuzz_u16(in);
	if (framing & 1) /* far away */
		guest->header.sector = fuzz_u64(in);
	guest->readable =
		guest->header.type != VIRTIO_BLK_T_IN && guest->header.type != VIRTIO_BLK_T_GET_ID;
	header = take(sizeof(guest->header), 0, false);
	if (!header)
		return false;
	memcpy(header, &guest->header, sizeof(guest->header));
	guest->vague = (framing & 0x30) == 0x30;
	if (guest->vague) { /* cut short */
		add(req, header, fuzz_u8(in) % 16, false);
	} else if (framing & 2) {
		add(req, header, 7, false);
		add(req, header + 7, 9, false);
	} else {
		add(req, header, 16, false);
	}
	for (unsigned i = 0; i < pieces; i++) {
		const uint16_t length = fuzz_u16(in);
		const size_t size = framing & 4 ? length % 8192u : (length % 64u + 1) * SECTOR;
		uint8_t *at = take(size, framing & 8 ? length % 3 : 0, !guest->readable);

		if (!at)
			break;
		fuzz_bytes(in, at, size < 40 ? size : 40);
		guest->data[guest->n_data++] = (struct iovec){at, size};
		guest->size += size;
		add(req, at, size, !guest->readable);
	}
	guest->status = take(1, 0, true);
	if (!guest->status)
		return false;
	*guest->status = NO_STATUS;
	add(req, guest->status, 1, true);
	fuzz.n++;
	return true;
}

/* ---- what should come of it ---- */

struct effect {
	int status;        /* -1: any but OK; -2: not known */
	uint64_t at, size; /* bytes of the disk that it may change, or reads */
	bool writes;
};

static struct effect expected(const struct guest *guest)
{
	const struct image *image = &fuzz.image;
	const uint64_t sectors = image->size / SECTOR, sector = guest->header.sector;
	struct effect e = {.status = -2};

	if (guest->vague) { /* its data goes on with the header: it may be any request */
		e.writes = true;
		e.size = DISK;
		return e;
	}
	switch (guest->header.type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		e.writes = guest->header.type == VIRTIO_BLK_T_OUT;
		e.status = VIRTIO_BLK_S_OK;
		if (guest->size % SECTOR || sector > sectors ||
		    guest->size / SECTOR > sectors - sector ||
		    (sector * SECTOR | guest->size) % image->block_size ||
		    (e.writes && image->read_only)) {
			e.status = VIRTIO_BLK_S_IOERR;
			return e;
		}
		e.at = sector * SECTOR;
		e.size = guest->size;
		if (e.writes && guest->size && fuzz.failed_before && blk_disk_durable(&fuzz.disk))
			e.status = VIRTIO_BLK_S_IOERR;
		return e;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES: {
		struct virtio_blk_discard_write_zeroes segment = {0};

		if (guest->size != sizeof(segment) || guest->n_data != 1) {
			e.status = guest->size == sizeof(segment) ? -2 : -1;
			e.writes = true;
			e.size = DISK;
			return e;
		}
		memcpy(&segment, guest->data[0].iov_base, sizeof(segment));
		e.writes = true;
		if (segment.sector < sectors) {
			e.at = segment.sector * SECTOR;
			e.size = (uint64_t)segment.num_sectors * SECTOR;
			if (e.size > DISK - e.at)
				e.size = DISK - e.at;
		}
		if (segment.sector > sectors || segment.num_sectors > sectors - segment.sector ||
		    image->read_only)
			e.status = -1;
		return e;
	}
	default:
		return e;
	}
}

static bool overlaps_another(unsigned i, const struct effect effects[])
{
	for (unsigned j = 0; j < fuzz.n; j++)
		if (j != i && effects[j].at < effects[i].at + effects[i].size &&
		    effects[i].at < effects[j].at + effects[j].size)
			return true;
	return false;
}

static void check_data(const struct guest *guest, const struct effect *e)
{
	uint64_t at = e->at;

	/* Behind the file's end both are zero. */
	for (unsigned i = 0; i < guest->n_data; i++) {
		const size_t size = guest->data[i].iov_len;

		FUZZ_CHECK(!memcmp(guest->data[i].iov_base,
				   (e->writes ? fuzz.content : fuzz.before) + at, size));
		at += size;
	}
}

static void check_all(void)
{
	struct effect effects[REQUESTS];
	bool may_change[DISK / SECTOR] = {false};

	for (unsigned i = 0; i < fuzz.n; i++) {
		effects[i] = expected(&fuzz.guest[i]);
		if (effects[i].writes && !fuzz.image.read_only)
			memset(may_change + effects[i].at / SECTOR, true, effects[i].size / SECTOR);
	}
	for (unsigned i = 0; i < fuzz.n; i++) {
		const struct guest *guest = &fuzz.guest[i];
		const struct effect *e = &effects[i];
		const int status = *guest->status;

		if (getenv("FUZZ_VERBOSE"))
			fprintf(stderr,
				"request %u: type %u, sector %llu, %llu bytes: status %d, expected "
				"%d%s%s\n",
				i, guest->header.type, (unsigned long long)guest->header.sector,
				(unsigned long long)guest->size, status, e->status,
				guest->failed ? ", failed" : "", guest->vague ? ", vague" : "");
		FUZZ_CHECK(guest->answered == 1);
		FUZZ_CHECK(status == VIRTIO_BLK_S_OK || status == VIRTIO_BLK_S_IOERR ||
			   status == VIRTIO_BLK_S_UNSUPP);
		if (e->status == -1)
			FUZZ_CHECK(status != VIRTIO_BLK_S_OK);
		else if (e->status > 0 || (!e->status && !guest->failed))
			FUZZ_CHECK(status == e->status);
		if (e->status == VIRTIO_BLK_S_OK && status == VIRTIO_BLK_S_OK &&
		    !overlaps_another(i, effects))
			check_data(guest, e);
	}
	for (size_t i = 0; i < DISK; i += SECTOR)
		FUZZ_CHECK(may_change[i / SECTOR] ||
			   !memcmp(fuzz.content + i, fuzz.before + i, SECTOR));
	/* What the device may write is as it is; all else as it was. */
	for (unsigned i = 0; i < fuzz.n_writable; i++)
		memcpy(fuzz.pool_before + ((uint8_t *)fuzz.writable[i].iov_base - fuzz.pool),
		       fuzz.writable[i].iov_base, fuzz.writable[i].iov_len);
	FUZZ_CHECK(!memcmp(fuzz.pool, fuzz.pool_before, POOL));
}

/* ---- a run ---- */

static const uint8_t *noise(void)
{
	static uint8_t bytes[DISK];

	for (size_t i = 0; !bytes[0] && i < DISK; i++)
		bytes[DISK - 1 - i] = (uint8_t)(i ^ i >> 8 ^ 0x55);
	return bytes;
}

static void make_disk(struct fuzz_input *in)
{
	const uint8_t kind = fuzz_u8(in), tail = fuzz_u8(in);

	blk_disk_make(&fuzz.disk, &fuzz.image);
	fuzz.image.size = fuzz.image.end = DISK;
	if (kind & 1)
		blk_disk_make_direct(&fuzz.image);
	fuzz.image.read_only = kind & 2;
	fuzz.image.can_write_zeroes = !fuzz.image.read_only;
	fuzz.image.block_size = kind & 4 ? 4096 : 512;
	if (kind & 8 && !(kind & 4)) /* the last sector ends beyond the file */
		fuzz.image.end -= tail % 511u;
	fuzz.image.durable = kind & 16;
	fuzz.image.can_discard = !(kind & 32) && !fuzz.image.read_only;
	image_end_init(&blk_disk_end, &fuzz.image, "fuzz");
	blk_sync_init(&blk_disk_sync);
	fuzz.disk.features = blk_config_features(&fuzz.image);
	fuzz.disk.wce = !(kind & 64);
	fuzz.sync_failed = fuzz.odd = false;
	fuzz.target.class = &target_class;
	bounce_init(&fuzz.bounces);
	fuzz.bounces.n = BOUNCE_MOST;
	for (unsigned i = 0; i < BUFFERS; i++)
		fuzz.bounces.free[fuzz.bounces.n_free++] = fuzz.bounce[i];
	fuzz.bounce_user = (struct bounce_user){.waiting = NULL};
	fuzz.env = (struct blk_env){.disk = &fuzz.disk,
				    .target = &fuzz.target,
				    .file = HANDLE,
				    .bounce = &fuzz.bounces,
				    .bounce_user = &fuzz.bounce_user,
				    .counters = &fuzz.counters,
				    .clock = &fuzz.clock,
				    .finished = finished,
				    .abandoned = abandoned,
				    .malformed = malformed};
	fuzz.end = fuzz.image.end;
	memcpy(fuzz.content, noise(), fuzz.end);
	memset(fuzz.content + fuzz.end, 0, DISK - fuzz.end);
}

static void one_round(struct fuzz_input *in)
{
	const unsigned n = fuzz_u8(in) % REQUESTS + 1;

	memset(fuzz.pool, FILL, POOL);
	fuzz.n = fuzz.n_ops = fuzz.n_writable = 0;
	fuzz.used = 0;
	for (unsigned i = 0; i < n && make_request(in); i++)
		;
	fuzz.failed_before = fuzz.sync_failed;
	memcpy(fuzz.before, fuzz.content, DISK);
	memcpy(fuzz.pool_before, fuzz.pool, POOL);
	for (unsigned i = 0; i < fuzz.n; i++)
		blk_req_begin(&fuzz.req[i]);
	blk_merge_flush(&fuzz.env);
	while (fuzz.n_ops)
		complete_one(in);
	FUZZ_CHECK(!fuzz.bounce_user.waiting && fuzz.bounces.n_free == BUFFERS);
	check_all();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};

	log_set_level(LOG_LEVEL_ERROR);
	make_disk(&in);
	do
		one_round(&in);
	while (in.left);
	blk_sync_destroy(&blk_disk_sync);
	return 0;
}
