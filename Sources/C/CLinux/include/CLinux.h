// System calls and constants that Swift's Glibc module does not show.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sched.h>
#include <sys/reboot.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

/// openat2(2), for which glibc has no wrapper.
static inline int holdfast_openat2(
    int directory, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
  struct open_how how = {.flags = flags, .mode = mode, .resolve = resolve};
  return (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
}

/// posix_spawn_file_actions_addclosefrom_np(3), declared only for _GNU_SOURCE: what is started has
/// no descriptor from `first` on. `actions` is a posix_spawn_file_actions_t.
int holdfast_close_from(void *actions, int first);

/// syncfs(2), declared only for _GNU_SOURCE.
static inline int holdfast_syncfs(int descriptor) {
  return (int)syscall(SYS_syncfs, descriptor);
}

/// sync_file_range(2), declared only for _GNU_SOURCE.
static inline int holdfast_sync_file_range(
    int descriptor, long offset, long count, unsigned flags) {
  return (int)syscall(SYS_sync_file_range, descriptor, offset, count, flags);
}

/// renameat2(2), declared only for _GNU_SOURCE.
static inline int holdfast_renameat2(
    int old_directory, const char *old_name, int new_directory, const char *new_name,
    unsigned flags) {
  return (int)syscall(
      SYS_renameat2, old_directory, old_name, new_directory, new_name, flags);
}

/// Opens a directory once more by its handle (name_to_handle_at(2), open_by_handle_at(2)): shows
/// whether that is allowed.
static inline int holdfast_reopen_by_handle(int directory, int flags) {
  struct {
    unsigned int bytes;
    int type;
    unsigned char handle[128];
  } handle = {.bytes = sizeof handle.handle};
  int mount;
  const int here = 0x1000;  // AT_EMPTY_PATH, declared only for _GNU_SOURCE
  if (syscall(SYS_name_to_handle_at, directory, "", &handle, &mount, here) != 0) return -1;
  return (int)syscall(SYS_open_by_handle_at, directory, &handle, flags);
}

/// open_by_handle_at(2): `handle` is a struct file_handle as the kernel wrote it.
static inline int holdfast_open_by_handle(int mount, const void *handle, int flags) {
  return (int)syscall(SYS_open_by_handle_at, mount, (void *)handle, flags);
}

/// Variadic, so invisible to Swift.
static inline int holdfast_openat(int directory, const char *path, int flags, unsigned mode) {
  return openat(directory, path, flags, mode);
}

static const uint64_t holdfast_resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
static const int holdfast_o_path = 010000000;
static const int holdfast_o_noatime = 01000000;
static const uint64_t holdfast_fanotify_mask =
    FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO | FAN_MODIFY | FAN_ATTRIB |
    FAN_CLOSE_WRITE | FAN_ONDIR;
static const unsigned holdfast_fanotify_class =
    FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE | FAN_REPORT_DFID_NAME |
    FAN_REPORT_FID;
static const uint32_t holdfast_inotify_mask =
    IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY | IN_ATTRIB |
    IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK;

/// Whether a descriptor lies on btrfs (statfs(2)).
static inline int holdfast_is_btrfs(int descriptor) {
  struct statfs answer;
  return fstatfs(descriptor, &answer) == 0 && (uint32_t)answer.f_type == 0x9123683E;
}

/// Makes a read-only snapshot of a subvolume: BTRFS_IOC_SNAP_CREATE_V2 of ioctl_btrfs.
static inline int holdfast_btrfs_snapshot(int folder, const char *name, int subvolume) {
  struct btrfs_ioctl_vol_args_v2 arguments = {.fd = subvolume, .flags = BTRFS_SUBVOL_RDONLY};
  strncpy(arguments.name, name, BTRFS_SUBVOL_NAME_MAX);
  return ioctl(folder, BTRFS_IOC_SNAP_CREATE_V2, &arguments);
}

/// Removes a subvolume: BTRFS_IOC_SNAP_DESTROY.
static inline int holdfast_btrfs_destroy(int folder, const char *name) {
  struct btrfs_ioctl_vol_args arguments = {.fd = 0};
  strncpy(arguments.name, name, BTRFS_PATH_NAME_MAX);
  return ioctl(folder, BTRFS_IOC_SNAP_DESTROY, &arguments);
}

/// Shares another file's blocks: ioctl_ficlone(2).
static inline int holdfast_clone(int target, int source) {
  return ioctl(target, FICLONE, source);
}

/// The same of a range of bytes: ioctl_ficlonerange(2).
static inline int holdfast_clone_range(int target, int source, int64_t offset, int64_t length) {
  struct file_clone_range range = {
      .src_fd = source,
      .src_offset = (uint64_t)offset,
      .src_length = (uint64_t)length,
      .dest_offset = (uint64_t)offset};
  return ioctl(target, FICLONERANGE, &range);
}

/// Whether a descriptor lies on XFS (statfs(2)).
static inline int holdfast_is_xfs(int descriptor) {
  struct statfs answer;
  return fstatfs(descriptor, &answer) == 0 && (uint32_t)answer.f_type == 0x58465342;
}

/// Where a file's bytes lie from `offset` on: FS_IOC_FIEMAP of ioctl_fiemap(2). `map` has room for
/// `count` extents behind its head. Returns how many there are, or -1.
static inline int holdfast_extents(
    int file, struct fiemap *map, int64_t offset, unsigned count, int is_flushed) {
  memset(map, 0, sizeof *map);
  map->fm_start = (uint64_t)offset;
  map->fm_length = FIEMAP_MAX_OFFSET - (uint64_t)offset;
  map->fm_flags = is_flushed ? FIEMAP_FLAG_SYNC : 0;
  map->fm_extent_count = count;
  return ioctl(file, FS_IOC_FIEMAP, map) == 0 ? (int)map->fm_mapped_extents : -1;
}

/// pidfd_open(2).
static inline int holdfast_pidfd(int process) { return (int)syscall(SYS_pidfd_open, process, 0); }

/// A socket for ``holdfast_change_address``, or -1 (rtnetlink(7)).
int holdfast_netlink(void);
/// Gives a device an address or takes it away. `address` has 4 or 16 bytes, as the family says; one
/// that is free is of use at once.
/// Returns 0 or an errno.
int holdfast_change_address(
    int number, int is_wanted, int is_free, int family, const void *address, int prefix,
    unsigned device);
/// Whether another host answers for an IPv4 address (RFC 5227, section 2.1): 1, 0, or an errno
/// negated.
int holdfast_arp_probe(const char *device, const void *address, int milliseconds);
/// The same of an IPv6 address, by duplicate address detection (RFC 4862, section 5.4).
int holdfast_neighbor_probe(const char *device, const void *address, int milliseconds);
/// Tells the segment who has an IPv4 address now. Returns 0 or an errno.
int holdfast_announce4(const char *device, const void *address);
/// The same of an IPv6 address, by an unsolicited advertisement (RFC 4861, section 7.2.6).
int holdfast_announce6(const char *device, const void *address);

/// Has the calling thread run before ordinary ones, and nobody that it starts (sched(7); the flag is
/// declared only for _GNU_SOURCE); 0: it does.
static inline int holdfast_hurry(void) {
  struct sched_param lowest = {.sched_priority = 1};
  return sched_setscheduler(0, SCHED_RR | 0x40000000, &lowest);
}

/// reboot(2); 0: none came.
static inline int holdfast_reboot(void) { return reboot(RB_AUTOBOOT); }

/// timerfd_create(2) and timerfd_settime(2) for a moment of CLOCK_BOOTTIME; none: disarmed.
static inline int holdfast_timer(void) { return timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC); }
static inline int holdfast_set_timer(int timer, int64_t nanos) {
  struct itimerspec moment = {
      .it_value = {.tv_sec = nanos / 1000000000, .tv_nsec = nanos % 1000000000}};
  return timerfd_settime(timer, TFD_TIMER_ABSTIME, &moment, NULL);
}
