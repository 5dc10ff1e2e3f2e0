/* SPDX-License-Identifier: BSD-3-Clause */
/* See ring_model.h. */
#include "tests/fuzz/ring_model.h"

#include <errno.h>

#include "lib/vq/ring.h"

struct model model;

/* ---- memory ---- */

/* Where that byte is in the file; -1: nowhere. */
static int64_t where(uint64_t gpa)
{
	for (unsigned i = 0; i < RANGES; i++)
		if (gpa >= range[i].gpa && gpa - range[i].gpa < range[i].size)
			return (int64_t)(range[i].offset + (gpa - range[i].gpa));
	return -1;
}

static bool is_memory(uint64_t gpa, uint32_t len)
{
	/* The first two ranges touch. */
	const uint64_t both = range[0].size + range[1].size, end = gpa + len;

	if (!len)
		return true;
	return end > gpa &&
	       (end <= both || (gpa >= range[2].gpa && end <= range[2].gpa + range[2].size));
}

uint8_t *model_at(uint64_t gpa)
{
	const int64_t at = where(gpa);

	FUZZ_CHECK(at >= 0);
	return model.expected + at;
}

void model_load(uint64_t gpa, void *to, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)to)[i] = *model_at(gpa + i);
}

uint16_t model_load16(uint64_t gpa)
{
	uint16_t value;

	model_load(gpa, &value, sizeof(value));
	return value;
}

void model_store(uint64_t gpa, const void *from, size_t size)
{
	for (size_t i = 0; i < size; i++)
		*model_at(gpa + i) = ((const uint8_t *)from)[i];
}

void model_store16(uint64_t gpa, uint16_t value)
{
	model_store(gpa, &value, sizeof(value));
}

/* The guest writes: both have it. */
void model_poke(uint64_t gpa, const void *from, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		const int64_t at = where(gpa + i);

		if (at >= 0)
			model.memory[at] = model.expected[at] = ((const uint8_t *)from)[i];
	}
}

void model_poke16(uint64_t gpa, uint16_t value)
{
	model_poke(gpa, &value, sizeof(value));
}

/* Copies between a request's bytes, from `skip` on, and memory. */
void model_copy(const struct guest *guest, bool in, uint64_t skip, uint8_t *bytes, uint64_t size)
{
	const struct piece *piece = guest->piece + (in ? guest->n_out : 0);

	for (unsigned n = in ? guest->n_in : guest->n_out; n && size; n--, piece++) {
		for (uint64_t i = skip < piece->len ? skip : piece->len; i < piece->len && size;
		     i++, size--) {
			uint8_t *at = model_at(piece->gpa + i);

			if (in)
				*at = *bytes++;
			else
				*bytes++ = *at;
		}
		skip -= skip < piece->len ? skip : piece->len;
	}
	FUZZ_CHECK(!size);
}

/* ---- what is available ---- */

static bool model_add(struct guest *guest, const struct vring_desc *desc)
{
	const bool write = desc->flags & VRING_DESC_F_WRITE;

	if ((!write && guest->n_in) || !is_memory(desc->addr, desc->len))
		return false;
	if (!desc->len)
		return true;
	FUZZ_CHECK(guest->n_out + guest->n_in < PIECES);
	guest->piece[guest->n_out + guest->n_in] = (struct piece){desc->addr, desc->len};
	if (write) {
		guest->n_in++;
		guest->in_size += desc->len;
	} else {
		guest->n_out++;
		guest->out_size += desc->len;
	}
	return true;
}

/* Follows a table of descriptors, from `i` on; of a ring it may lead to another one. */
static bool model_split(struct guest *guest, uint64_t table, unsigned n, unsigned i, bool nested)
{
	for (unsigned seen = 0; seen < n; seen++) {
		struct vring_desc desc;

		if (!is_memory(table + 16ull * i, sizeof(desc)))
			return false;
		model_load(table + 16ull * i, &desc, sizeof(desc));
		if (desc.flags & VRING_DESC_F_INDIRECT)
			return !nested && !(desc.flags & VRING_DESC_F_NEXT) && model.indirect &&
			       desc.len && !(desc.len % 16) && desc.len / 16 <= VQ_MAX_SIZE &&
			       desc.addr <= UINT64_MAX - desc.len &&
			       model_split(guest, desc.addr, desc.len / 16, 0, true);
		if (!model_add(guest, &desc))
			return false;
		if (!(desc.flags & VRING_DESC_F_NEXT))
			return true;
		i = desc.next;
		if (i >= n)
			return false;
	}
	return false;
}

static bool model_packed_table(struct guest *guest, const struct vring_desc *outer)
{
	if (!model.indirect || !outer->len || outer->len % 16 || outer->len / 16 > VQ_MAX_SIZE ||
	    outer->addr > UINT64_MAX - outer->len)
		return false;
	for (unsigned i = 0; i < outer->len / 16; i++) {
		struct vring_desc desc;

		if (!is_memory(outer->addr + 16ull * i, sizeof(desc)))
			return false;
		model_load(outer->addr + 16ull * i, &desc, sizeof(desc));
		/* There the flags are where a split one has its index, and the other way round. */
		desc.flags = desc.next;
		if (!model_add(guest, &desc))
			return false;
	}
	return true;
}

bool model_is_available(void)
{
	const uint16_t flags = model_load16(DESC + 16u * model.next_avail + 14);
	const bool avail = flags >> VRING_PACKED_DESC_F_AVAIL & 1;
	const bool used = flags >> VRING_PACKED_DESC_F_USED & 1;

	return avail == model.avail_wrap && used != model.avail_wrap;
}

void model_step_on(uint16_t *idx, bool *wrap, unsigned n)
{
	*idx = (uint16_t)(*idx + n);
	if (*idx >= model.size) {
		*idx = (uint16_t)(*idx - model.size);
		*wrap = !*wrap;
	}
}

/* Adds what slot `i` of a request says. */
static bool model_slot(struct guest *guest, unsigned i)
{
	const struct vring_packed_desc *slot = &guest->slot[i];
	const struct vring_desc desc = {slot->addr, slot->len, slot->flags, 0};

	guest->id = slot->id;
	guest->num = (uint16_t)(i + 1);
	if (slot->flags & VRING_DESC_F_INDIRECT)
		return !i && !(slot->flags & VRING_DESC_F_NEXT) && model_packed_table(guest, &desc);
	return model_add(guest, &desc);
}

/* The answers of vublk_queue_pop(): 1, 0 or -EPROTO. */
static int model_pop_packed(struct guest *guest)
{
	uint16_t idx = model.next_avail;
	bool wrap = model.avail_wrap;

	if (!model_is_available())
		return 0;
	for (unsigned i = 0; i < model.size - model.in_use; i++) {
		model_load(DESC + 16u * idx, &guest->slot[i], sizeof(guest->slot[i]));
		if (!model_slot(guest, i))
			return -EPROTO;
		if (!(guest->slot[i].flags & VRING_DESC_F_NEXT))
			return 1;
		model_step_on(&idx, &wrap, 1);
	}
	return -EPROTO;
}

static int model_pop_split(struct guest *guest)
{
	if (model.seen_avail == model.next_avail) {
		const uint16_t idx = model_load16(AVAIL + 2);

		if ((uint16_t)(idx - model.next_avail) > model.size)
			return -EPROTO;
		model.seen_avail = idx;
		if (idx == model.next_avail)
			return 0;
	}
	guest->id = model_load16(AVAIL + 4 + 2u * (model.next_avail % model.size));
	guest->num = 1;
	if (guest->id >= model.size || model.n_taken >= model.size)
		return -EPROTO;
	for (unsigned i = 0; model.tracked && i < CHAINS; i++)
		if (model.guest[i].popped && model.guest[i].id == guest->id)
			return -EPROTO; /* a region has room for it once */
	return model_split(guest, DESC, model.size, guest->id, false) ? 1 : -EPROTO;
}

/* What an earlier process took: the heads are remembered, and a packed ring's slots. */
static int model_pop_again(struct guest *guest)
{
	const struct taken *taken = &model.again[0];

	memcpy(guest->slot, taken->slot, sizeof(guest->slot));
	guest->id = taken->id;
	guest->num = 1;
	if (!model.packed)
		return model_split(guest, DESC, model.size, guest->id, false) ? 1 : -EPROTO;
	for (unsigned i = 0; i < taken->num; i++)
		if (!model_slot(guest, i))
			return -EPROTO;
	return 1;
}

int model_pop(struct guest *guest)
{
	memset(guest, 0, offsetof(struct guest, piece));
	guest->done = 0;
	guest->failed = false;
	if (model.broken)
		return -EPROTO;
	if (model.n_again)
		return model_pop_again(guest);
	return model.packed ? model_pop_packed(guest) : model_pop_split(guest);
}

void model_took(struct guest *guest)
{
	guest->popped = true;
	if (model.n_again) {
		guest->number = model.again[0].number;
		memmove(model.again, model.again + 1, --model.n_again * sizeof(model.again[0]));
		return;
	}
	guest->number = model.number++;
	model.n_taken++;
	if (model.packed) {
		model_step_on(&model.next_avail, &model.avail_wrap, guest->num);
		model.in_use = (uint16_t)(model.in_use + guest->num);
	} else {
		model.next_avail++;
	}
}

/* ---- what is given back ---- */

/* Does the driver want to be called for the `n` slots from there on? */
static bool model_calls_packed(uint16_t idx, bool wrap, unsigned n)
{
	const uint16_t flags = model_load16(AVAIL + 2) & 3, off = model_load16(AVAIL);
	const bool first = !model.called;

	model.called = true;
	if (flags != VRING_PACKED_EVENT_FLAG_DESC || !model.event_idx)
		return flags != VRING_PACKED_EVENT_FLAG_DISABLE;
	for (unsigned i = 0; i < n; i++) {
		if ((off & 0x7fff) == idx && off >> 15 == wrap)
			return true;
		model_step_on(&idx, &wrap, 1);
	}
	return first;
}

static bool model_calls_split(unsigned n)
{
	const uint16_t event = model_load16(AVAIL + 4 + 2 * model.size);
	const bool first = !model.called;
	bool passed = false;

	if (!model.event_idx)
		return !(model_load16(AVAIL) & VRING_AVAIL_F_NO_INTERRUPT);
	model.called = true;
	for (unsigned i = 0; i < n; i++)
		passed |= (uint16_t)(model.used_idx - n + i) == event;
	return first || passed;
}

bool model_publish(void)
{
	const uint16_t first = model.used_idx;
	const bool first_wrap = model.used_wrap;
	unsigned slots = 0;

	for (unsigned i = 0; i < model.n_answered; i++) {
		struct guest *guest = &model.guest[model.order[i]];
		const struct vring_used_elem elem = {guest->id, guest->written};

		if (model.packed) {
			const uint64_t at = DESC + 16u * model.used_idx;
			const unsigned marks =
				1u << VRING_PACKED_DESC_F_AVAIL | 1u << VRING_PACKED_DESC_F_USED;

			model_store(at + 8, &guest->written, 4);
			model_store16(at + 12, guest->id);
			model_store16(at + 14,
				      (uint16_t)((model.used_wrap ? marks : 0) |
						 (guest->written ? VRING_DESC_F_WRITE : 0)));
			model_step_on(&model.used_idx, &model.used_wrap, guest->num);
			model.in_use = (uint16_t)(model.in_use - guest->num);
		} else {
			model_store(USED + 4 + 8u * (model.used_idx % model.size), &elem,
				    sizeof(elem));
			model_store16(USED + 2, ++model.used_idx);
		}
		slots += guest->num;
		model.n_taken--;
		guest->popped = guest->answered = false;
	}
	return model.packed ? model_calls_packed(first, first_wrap, slots)
			    : model_calls_split(slots);
}

/* ---- which kicks are wanted ---- */

static void model_kicks_split(bool want)
{
	const uint16_t event = USED + 4 + 8 * (uint16_t)model.size;

	if (!model.event_idx && want != model.kicks_wanted)
		model_store16(USED, want ? 0 : VRING_USED_F_NO_NOTIFY);
	if (model.event_idx && want)
		model_store16(event, model.next_avail);
	else if (model.event_idx) /* somewhere behind us */
		memcpy(model_at(event), model.memory + event, 2);
}

/* What the device says to a packed ring's driver of the kicks that it wants. */
static void model_kicks_packed(bool want)
{
	uint16_t flags = want ? VRING_PACKED_EVENT_FLAG_ENABLE : VRING_PACKED_EVENT_FLAG_DISABLE;

	if (want && model.event_idx) {
		flags = VRING_PACKED_EVENT_FLAG_DESC;
		model_store16(USED, (uint16_t)(model.next_avail | model.avail_wrap << 15));
	}
	if (want || model.kicks_wanted)
		model_store16(USED + 2, flags);
}

void model_kicks(bool want)
{
	if (model.packed)
		model_kicks_packed(want);
	else
		model_kicks_split(want);
	model.kicks_wanted = want;
}

/* ---- a new process ---- */

void model_take_again(const struct guest *guest)
{
	struct taken *taken = &model.again[model.n_again];
	unsigned i = model.n_again++;

	*taken = (struct taken){.number = guest->number, .id = guest->id, .num = guest->num};
	memcpy(taken->slot, guest->slot, sizeof(taken->slot));
	for (; i && model.again[i - 1].number > model.again[i].number; i--) {
		const struct taken later = model.again[i - 1];

		model.again[i - 1] = model.again[i];
		model.again[i] = later;
	}
}

/* Slots that were taken are made available again, if the driver has written there. */
void model_restore_slots(void)
{
	uint16_t idx = model.used_idx;
	bool wrap = model.used_wrap;

	for (unsigned i = 0; i < model.in_use; i++) {
		const uint64_t at = DESC + 16u * idx + 14;
		const unsigned marks =
			1u << VRING_PACKED_DESC_F_AVAIL | 1u << VRING_PACKED_DESC_F_USED;
		const unsigned mark =
			wrap ? 1u << VRING_PACKED_DESC_F_AVAIL : 1u << VRING_PACKED_DESC_F_USED;

		model_store16(at, (uint16_t)((model_load16(at) & ~marks) | mark));
		model_step_on(&idx, &wrap, 1);
	}
}
