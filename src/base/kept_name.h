/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names of what is kept one by one (base/fdstore.h): v.KIND.NUMBER, the number hexadecimal. A
 * session's are v.SESSION.TICKET (disk/kept.h), both of them such numbers, so that no kind may be a
 * hexadecimal digit. Any thread.
 */
#ifndef BASE_KEPT_NAME_H
#define BASE_KEPT_NAME_H

#include <stdbool.h>
#include <stdint.h>

#define KEPT_NAME_SIZE 32 /* bytes; room for any */

enum kept_kind {
	KEPT_SOCKET = 'l',  /* that a disk listens on (disk/kept_socket.h) */
	KEPT_OPTIONS = 'o', /* of a disk of the API (disks/kept_options.h) */
};

void kept_name_make(char name[KEPT_NAME_SIZE], enum kept_kind kind, uint32_t number);

/* The number of a name of that kind, written just as above; false: it is none. */
bool kept_name_parse(const char *name, enum kept_kind kind, uint32_t *number);

#endif
