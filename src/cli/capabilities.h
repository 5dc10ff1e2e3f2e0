/* SPDX-License-Identifier: BSD-3-Clause */
/* What `--print-capabilities` says: vhost-user.json, VHostUserBackendCapabilities. */
#ifndef CLI_CAPABILITIES_H
#define CLI_CAPABILITIES_H

/* Writes the JSON document to standard output. 0 or -errno (as ENOSPC, EPIPE). */
int capabilities_print(void);

#endif
