/* SPDX-License-Identifier: BSD-3-Clause */
/* Where session.h and tests of lib/vhu look for support/fds.h. */
#include "tests/unit/support/fds.h"
