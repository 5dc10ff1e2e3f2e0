#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# The API: what it answers, and to whom; see api_cases.py.
export SRCDIR BUILDDIR VUBLKD
for python in python3 /usr/bin/python3; do
	"$python" -c 'import yaml' 2>/dev/null && exec "$python" "$(dirname "$0")/api_cases.py" "$@"
done
echo "1..0 # SKIP no python3 with yaml (Debian package python3-yaml)"
