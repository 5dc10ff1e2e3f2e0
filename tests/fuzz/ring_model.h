/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What should come of a ring and of the requests in it, for fuzz-ring.c: a model, made from the
 * specification (virtio 2.7, 2.8, 5.2.6). It reads and writes its own copy of guest memory and of
 * the disk, with which the real ones are compared. Guest memory lies in three ranges: two that
 * touch, but are apart in the file and with the device, and one by itself.
 */
#ifndef RING_MODEL_H
#define RING_MODEL_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/fuzz/fuzz.h"

#define SECTOR    512u
#define DISK      (32u << 10) /* bytes */
#define DISCARD   (8u << 10)  /* bytes that a request may discard; twice that may be zeroed */
#define MEMORY    0xc000u     /* bytes of guest memory */
#define USER      0x700000u   /* user address of guest address 0 */
#define RING_SIZE 64u         /* entries, at most */
#define DESC      0u
#define AVAIL     0x1000u /* or the driver's event suppression */
#define USED      0x1800u /* or the device's */
#define HEADERS   0x2000u
#define STATUSES  0x3000u
#define TABLES    0x3800u
#define DATA      0x4000u
#define OFFERS    16u /* headers, tables and statuses, then the first one again */
#define CHAINS    12u
#define PIECES    4096u
#define HANDLE    7
#define SERIAL    "serial"

#define T_FLUSH_OUT 5u /* the flush of drivers from before the specification */

/* Guest-physical ranges, and where they are in the file. */
static const struct {
	uint64_t gpa, size, offset;
} range[] = {{0, 0x8000, 0}, {0x8000, 0x2000, 0xa000}, {0x10000, 0x2000, 0x8000}};
#define RANGES (sizeof(range) / sizeof(range[0]))

struct piece {
	uint64_t gpa;
	uint32_t len;
};

/* What the model knows of a request. */
struct guest {
	bool popped, answered; /* answered: and not yet published */
	uint16_t id, num;      /* for the used ring; slots that it takes */
	unsigned number;       /* in the order in which they were taken */
	uint32_t written;
	unsigned n_out, n_in;
	uint64_t out_size, in_size;
	struct piece piece[PIECES]; /* readable ones, then writable ones */
	uint32_t type;
	uint64_t at, size, done; /* bytes of the disk, and those that have been moved */
	int status;              /* unless the host fails */
	bool failed;
	struct vring_packed_desc slot[RING_SIZE]; /* of a packed ring */
};

/* What a later process has to take again, first. */
struct taken {
	unsigned number;
	uint16_t id, num;
	struct vring_packed_desc slot[RING_SIZE];
};

struct model {
	uint8_t *memory; /* the guest's view of it */
	uint8_t expected[MEMORY], expected_content[DISK];
	struct guest guest[CHAINS];
	unsigned order[CHAINS], n_answered; /* as they were answered */

	/* The device. */
	unsigned size;
	bool packed, indirect, event_idx, tracked, read_only;
	bool broken, called, kicks_wanted, avail_wrap, used_wrap;
	uint16_t next_avail, seen_avail, used_idx, in_use;
	unsigned n_taken, number;       /* taken and not published; in all */
	struct taken again[2 * CHAINS]; /* in their order */
	unsigned n_again;

	/* The driver. */
	uint16_t offers, next_desc, avail_idx;
	bool wrap;
};

extern struct model model;

/* ---- ring_model.c: memory ---- */

/* Where that byte is in the model's copy; it must be somewhere. */
uint8_t *model_at(uint64_t gpa);
void model_load(uint64_t gpa, void *to, size_t size);
uint16_t model_load16(uint64_t gpa);
void model_store(uint64_t gpa, const void *from, size_t size);
void model_store16(uint64_t gpa, uint16_t value);

/* The guest writes, as far as there is memory: device and model have it. */
void model_poke(uint64_t gpa, const void *from, size_t size);
void model_poke16(uint64_t gpa, uint16_t value);

/* Copies `size` bytes between what the device writes (in) or reads, from `skip` on, and `bytes`. */
void model_copy(const struct guest *guest, bool in, uint64_t skip, uint8_t *bytes, uint64_t size);

/* ---- ring_model.c: the ring ---- */

/* What vublk_queue_pop() has to answer, but for -EAGAIN; and when it has answered 1. */
int model_pop(struct guest *guest);
void model_took(struct guest *guest);

/* All that was answered is given back. Does the driver want to be called? */
bool model_publish(void);

/* The device wants kicks, or does not. */
void model_kicks(bool want);

/* Is there one at next_avail? Packed rings. */
bool model_is_available(void);
void model_step_on(uint16_t *idx, bool *wrap, unsigned n);

/*
 * The device dies, and this request is to be taken again; then, of a packed ring, what the next
 * process does to its slots.
 */
void model_take_again(const struct guest *guest);
void model_restore_slots(void);

/* ---- ring_model_blk.c: the requests ---- */

/* Its status, at and size are known from now on; status -1: it has no room for one. */
int model_begin(struct guest *guest);

/* So many bytes more have been moved between memory and disk, or zeroed. */
void model_moved(struct guest *guest, uint64_t size);

/* It is answered, `written` being told to the driver. */
void model_finish(struct guest *guest, uint32_t written);

/* ---- ring_driver.c ---- */

/* A driver that makes a request available as it should, nearly; one that writes anything. */
void driver_offer(struct fuzz_input *in);
void driver_write(struct fuzz_input *in);

#endif
