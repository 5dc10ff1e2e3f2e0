# SPDX-License-Identifier: BSD-3-Clause
#
# The file behind the backings warm and direct: written whole once, then brought into the page
# cache or thrown out of it, as a workload wants it.

import os
import tempfile

PIECE = 1 << 20


class Image:
	"""Made when it is needed first; removed by close()."""

	def __init__(self, directory, size):
		self.size = size
		self.made = False
		self.fd, self.path = tempfile.mkstemp(".img", "vublkd-compare-", directory)

	def close(self):
		os.close(self.fd)
		os.unlink(self.path)

	def _make(self):
		"""Random data, the same for each piece: no file system keeps it as holes."""
		data = os.urandom(PIECE)
		for offset in range(0, self.size, PIECE):
			os.pwrite(self.fd, data[:self.size - offset], offset)
		os.fsync(self.fd)
		self.made = True

	def prepare(self, backing):
		if backing == "null":
			return
		if not self.made:
			self._make()
		if backing == "direct":
			os.fsync(self.fd)
			os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)
			return
		buffer = bytearray(PIECE)
		for offset in range(0, self.size, PIECE):
			os.preadv(self.fd, [buffer], offset)

	def settle(self):
		"""What one contender wrote is not written back while the next is measured."""
		if self.made:
			os.fsync(self.fd)
