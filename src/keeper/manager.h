/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who has started us, if he wants to know how we are (NOTIFY_SOCKET): he hears what the child
 * says, but that we are the service, and with nothing about descriptors.
 */
#ifndef KEEPER_MANAGER_H
#define KEEPER_MANAGER_H

#include "keeper/message.h"

/*
 * Passes on that the service is ready or reloads, its status, and that it needs more time. That it
 * stops is not the child's to say: another one may follow. What cannot be sent within
 * NOTIFY_TIMEOUT_MS is logged.
 */
void manager_tell(const struct message *message);

/* The service stops. */
void manager_tell_stopping(void);

#endif
