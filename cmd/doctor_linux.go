package cmd

import "golang.org/x/sys/unix"

const (
	zfs      = 0x2FC12FC1
	overNet  = "it lies over a network, where locks and fsync may not hold"
	inMemory = "it is in memory, and everything is lost when the machine stops"
	layered  = "the file goes when its container does, unless the folder is a volume"
)

// fileSystem names the file system of a folder, and what is risky about it;
// empty when it is none of those one meets.
func fileSystem(dir string) (name, risk string) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "", ""
	}
	switch uint32(st.Type) {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4", ""
	case unix.XFS_SUPER_MAGIC:
		return "xfs", ""
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs", ""
	case unix.F2FS_SUPER_MAGIC:
		return "f2fs", ""
	case zfs:
		return "zfs", ""
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs", layered
	case unix.TMPFS_MAGIC:
		return "tmpfs", inMemory
	case unix.NFS_SUPER_MAGIC:
		return "NFS", overNet
	case unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC:
		return "SMB", overNet
	case unix.CEPH_SUPER_MAGIC:
		return "CephFS", overNet
	case unix.V9FS_MAGIC:
		return "9p", overNet
	case unix.FUSE_SUPER_MAGIC:
		return "FUSE", overNet
	}
	return "", ""
}

// freeSpace is how much this user may still write.
func freeSpace(dir string) (int64, bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true
}

// clockSynced tells whether the system's clock follows others.
func clockSynced() (synced, known bool) {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return err == nil && state != unix.TIME_ERROR, err == nil
}
