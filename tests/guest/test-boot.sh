#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Booting from the disk: SeaBIOS reads GRUB through vublkd, GRUB reads the kernel and the initramfs
# by the BIOS's INT 13h and writes a few bytes back the same way, and the kernel takes the disk
# over (the device is started twice, with other rings at other places) and verifies all of it. While
# GRUB waits for a key the daemon is killed, twice, under --supervise: QEMU has no reconnect=.
# Then once more with --read-only, and packed rings (the kernel's: SeaBIOS does not ask for them, and
# has split ones on the same device). Neither SeaBIOS nor GRUB asks whether a disk is read-only, so
# the write reaches the device, and it is the device that must refuse it.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"
guest_begin
need grub-mkimage grub-common
grub=/usr/lib/grub/i386-pc
[[ -r $grub/boot.img ]] || skip_all "$grub/boot.img is missing (Debian package grub-pc-bin)"

readonly SECTOR=512 PARTITION_START=2048 PARTITION_SECTORS=131072 # 64 MiB
image=$WORK/disk.img

cat >"$GUEST_SCRIPT" <<'END'
verify()
{
	wait_for_disk /dev/vda1 || return
	[ -z "$4" ] || check_rings "$4"
	check_is "read-only flag" "$1" "$(cat /sys/block/vda/ro)"
	check "mount" mount -o "$2" /dev/vda1 /mnt
	(cd /mnt && check "kernel, initramfs and data are right" sha256sum -c SUMS)
	check_is "what GRUB wrote" "mark=$3" "$(grep ^mark= /mnt/grubenv)"
	check "umount" umount /mnt
	check_kernel_is_happy
}
END

# What GRUB does. (Its core alone knows no "if"; a command that fails is told on the console.)
grub_config()
{
	cat <<-END
	serial --unit=0 --speed=115200
	terminal_input serial
	terminal_output serial
	set root=(hd0,msdos1)
	set mark=$1
	save_env -f /grubenv mark
	echo "GRUB tried to write"
	read answer
	linux /vmlinuz console=ttyS0 panic=-1 quiet
	initrd /initramfs
	boot
	END
}

# One partition of Linux from $PARTITION_START, and the mark of a boot sector.
partition_table()
{
	little_endian() { printf '\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24)); }

	printf '\x80\xfe\xff\xff\x83\xfe\xff\xff%b%b' \
		"$(little_endian $PARTITION_START)" "$(little_endian $PARTITION_SECTORS)"
	head -c 48 /dev/zero
	printf '\x55\xaa'
}

# The file system, made without mounting anything.
make_file_system()
{
	local root=$WORK/root base

	mkdir "$root" || return
	find_kernel
	base=$(initramfs pc "$MODULE_TREE" virtio_pci virtio_blk) || return
	cp "$KERNEL" "$root/vmlinuz" && cp "$(with_guest_script "$base")" "$root/initramfs" || return
	head -c 3000000 /dev/urandom >"$root/data"
	(cd "$root" && sha256sum vmlinuz initramfs data >SUMS) || return
	grub-editenv "$root/grubenv" create && grub-editenv "$root/grubenv" set mark=none || return
	mke2fs -q -t ext4 -d "$root" -E "offset=$((PARTITION_START * SECTOR))" "$image" \
		"$((PARTITION_SECTORS * SECTOR / 1024))k"
}

# make_disk MARK: the boot sector's code, the partition table, and behind them GRUB's core, where
# the boot sector expects it if it is told nothing else.
make_disk()
{
	truncate -s $(((PARTITION_START + PARTITION_SECTORS) * SECTOR)) "$image" &&
		make_file_system &&
		write_grub "$1"
}

write_grub()
{
	grub_config "$1" >"$WORK/grub.cfg"
	grub-mkimage -O i386-pc -p / -c "$WORK/grub.cfg" -o "$WORK/core.img" \
		biosdisk part_msdos ext2 serial terminal echo read loadenv linux boot || return
	{
		head -c 440 "$grub/boot.img"
		head -c 6 /dev/zero # the disk's signature
		partition_table
		cat "$WORK/core.img"
	} | dd of="$image" conv=notrunc status=none
}

# shellcheck disable=SC2317 # "no" calls it
grub_errors()
{
	grep -a 'error:' "$CONSOLE"
}

# boot_from_disk [OPTIONS]: more options of the disk
boot_from_disk()
{
	local QEMU QEMU_DISK_OPTIONS=,bootindex=0${1:-}

	qemu_command
	guest_launch "${QEMU[@]}"
	grub_goes_on
	ok "SeaBIOS reads GRUB from the disk"
}

# It waits at its prompt, and whoever serves then is killed.
grub_goes_on()
{
	console_wait "$BOOT_DEADLINE" 'GRUB tried to write' || give_up "GRUB does not run"
	if [[ -n ${SUPERVISE:-} ]]; then
		daemon_replace
		daemon_replace
	fi
	guest_tell ''
	guest_wait_ready
}

make_disk first || give_up "cannot make the disk"
if [[ $VUBLKD_PEER == vublkd ]]; then
	SUPERVISE=--supervise
	daemon_is_kept
fi
daemon_start "--blk-file=$image" ${SUPERVISE:+"$SUPERVISE"}
boot_from_disk
check "GRUB finds no error" no grub_errors
guest_call verify 0 rw first
# The second time the firmware meets a device that a kernel has used.
guest_tell reboot -f
grub_goes_on
guest_call verify 0 rw first
guest_poweroff
daemon_stop

write_grub second || give_up "cannot make the disk"
before=$(sha256sum <"$image")
DAEMON_EXPECTED='read-only'
SUPERVISE=''
daemon_start "--blk-file=$image" --read-only
boot_from_disk ,packed=on
check "the device refuses what GRUB writes" grep -a 'failure writing sector' "$CONSOLE"
kind=packed
[[ $VUBLKD_PEER == vublkd ]] || kind='' # it has split rings only
guest_call verify 1 ro first "$kind"
guest_poweroff
check "the image is unchanged" [ "$(sha256sum <"$image")" == "$before" ]
daemon_stop
guest_end
