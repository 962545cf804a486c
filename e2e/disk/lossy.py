#!/usr/bin/env python3
"""A file system that loses what was not synced, for tests of what a power cut leaves.

    lossy.py FOLDER STATE      # as root, where the kernel has /dev/fuse

Mounts itself over FOLDER in a mount namespace of its own, which ends with it; a process that should see it enters that namespace
(nsenter --mount=/proc/PID/ns/mnt). Everything is in memory, twice: as it is, and as the device has it. fsync of a file brings its
bytes to the device, fsync of a directory its names: nothing else does, so that a name without its directory's sync is lost, and a
file without its own sync is empty. There is no order between the two, as POSIX has it.

    kill -USR1 PID      cuts the power: what the device has is all that is left; the kernel's boot id is another one afterwards
    kill -USR2 PID      the next sync of a file fails: its bytes never get to the device, and the sync after it succeeds
    kill -STOP PID      it hangs: all that it is asked for waits; kill -CONT PID: it does all that it was asked for

The state file in the folder STATE holds how many commands were carried out, and what they did.
"""

import ctypes
import errno
import os
import signal
import stat
import struct
import sys
import time
import uuid

BLOCK = 1 << 16  # what a sync copies at least
ATTRIBUTES_LAST = 60  # seconds; nobody but this kernel changes anything
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE, MNT_DETACH = 0x20000, 0x1000, 0x4000, 0x40000, 2
BOOT_ID = "/proc/sys/kernel/random/boot_id"
LIBC = ctypes.CDLL(None, use_errno=True)


def call(name, *arguments):
    if getattr(LIBC, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}{arguments}: {os.strerror(number)}")


class Node:
    """A file or a directory: as it is, and as the device has it."""

    def __init__(self, number, mode):
        self.number, self.mode, self.links, self.opens = number, mode, 1, 0
        self.data, self.entries = bytearray(), {}
        self.synced_data, self.synced_entries, self.dirty = bytearray(), {}, set()
        self.modified = time.time_ns()

    def is_dir(self):
        return stat.S_ISDIR(self.mode)

    def touch(self, start, end):
        self.dirty.update(range(start // BLOCK, max(end - 1, start) // BLOCK + 1))
        self.modified = time.time_ns()

    def resize(self, size):
        if size < len(self.data):
            del self.data[size:]
        else:
            self.data.extend(bytes(size - len(self.data)))
        self.modified = time.time_ns()

    def sync(self):
        size = len(self.data)
        if len(self.synced_data) > size:
            del self.synced_data[size:]
        else:
            old = len(self.synced_data)
            self.synced_data.extend(self.data[old:])
        for block in self.dirty:
            start = block * BLOCK
            end = min(start + BLOCK, size)
            if start < end:
                self.synced_data[start:end] = self.data[start:end]
        self.dirty.clear()


class PowerCut(Exception):
    """Nothing of what is not synced is there any more."""


class Refused(Exception):
    """An error for the caller."""


class Lossy:
    def __init__(self, folder, state):
        self.folder, self.state = folder, state
        self.commands, self.sync_fails, self.waits, self.is_cut = [], False, False, False
        self.root = Node(1, stat.S_IFDIR | 0o755)
        self.next_number = 2
        self.nodes = {1: self.root}
        self.boot_id = os.path.join(state, "boot_id")
        self.fuse = None
        self.handlers = {
            1: self.lookup, 3: self.getattr, 4: self.setattr, 8: self.mknod, 9: self.mkdir, 10: self.unlink,
            11: self.unlink, 12: self.rename, 14: self.open, 15: self.read, 16: self.write, 17: self.statfs,
            18: self.release, 20: self.fsync, 25: self.nothing, 26: self.init, 27: self.open, 28: self.readdir,
            29: self.release, 30: self.fsyncdir, 34: self.nothing, 35: self.create, 43: self.fallocate,
            45: self.rename2, 50: self.syncfs,
        }

    # --- life -----------------------------------------------------------------------------------------------------

    def run(self):
        call("unshare", CLONE_NEWNS)
        call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
        self.new_boot()
        call("mount", self.boot_id.encode(), BOOT_ID.encode(), None, MS_BIND, None)
        self.mount()
        self.report("mounted")
        while True:
            try:
                self.serve()
            except PowerCut:
                self.waits = False
                self.cut_power()

    def new_boot(self):
        with open(self.boot_id, "w") as file:
            file.write(f"{uuid.uuid4()}\n")

    def mount(self):
        self.fuse = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self.fuse},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
        call("mount", b"lossy", self.folder.encode(), b"fuse.lossy", 0, options.encode())

    def obey(self, number, _frame):
        """A signal: it may come in the middle of a request, which is carried out first."""
        if number == signal.SIGUSR2:
            self.sync_fails = True
            self.report("the next sync fails")
            return
        self.is_cut = True
        if self.waits:
            raise PowerCut

    def cut_power(self):
        self.is_cut = False
        call("umount2", self.folder.encode(), MNT_DETACH)
        os.close(self.fuse)
        before, left = self.count(self.root, lambda node: node.entries), {}
        self.nodes, self.next_number, self.sync_fails = {}, 1, False
        self.root = self.restore(self.root, left)
        self.new_boot()
        self.mount()
        self.report(f"power cut: {before} names became {self.count(self.root, lambda node: node.entries)}")

    def restore(self, node, done):
        """The node as the device has it."""
        if node in done:
            return done[node]
        fresh = self.new(node.mode)
        done[node] = fresh
        fresh.data, fresh.synced_data = bytearray(node.synced_data), bytearray(node.synced_data)
        fresh.modified = node.modified
        fresh.entries = {name: self.restore(child, done) for name, child in node.synced_entries.items()}
        fresh.synced_entries = dict(fresh.entries)
        return fresh

    def count(self, node, entries):
        return sum(1 + self.count(child, entries) for child in entries(node).values())

    def report(self, what):
        self.commands.append(what)
        path = os.path.join(self.state, "commands")
        with open(path + ".new", "w") as file:
            file.writelines(f"{line}\n" for line in self.commands)
        os.rename(path + ".new", path)

    def serve(self):
        while True:
            try:
                self.waits = True
                if self.is_cut:
                    raise PowerCut
                request = os.read(self.fuse, (1 << 20) + (1 << 16))
                self.waits = False
            except OSError as error:
                self.waits = False
                if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    continue
                raise
            _, opcode, unique, number = struct.unpack_from("<IIQQ", request)
            if opcode in (2, 36, 42):  # forget, interrupt: no answer
                continue
            status, answer = 0, b""
            try:
                handler = self.handlers.get(opcode)
                if handler is None:
                    raise Refused(errno.ENOSYS)
                node = self.nodes.get(number)
                if node is None and opcode != 26:
                    raise Refused(errno.ENOENT)
                answer = handler(node, memoryview(request)[40:]) or b""
            except Refused as refused:
                status = -refused.args[0]
            try:
                os.write(self.fuse, struct.pack("<IiQ", 16 + len(answer), status, unique) + answer)
            except OSError as error:
                if error.errno != errno.ENOENT:  # the asking process was killed
                    raise

    # --- answers --------------------------------------------------------------------------------------------------

    def attributes(self, node):
        size = len(node.data)
        seconds, nanoseconds = divmod(node.modified, 10**9)
        return struct.pack(
            "<QQQQQQIIIIIIIIII", node.number, size, (size + 511) // 512, seconds, seconds, seconds, nanoseconds,
            nanoseconds, nanoseconds, node.mode, node.links, 0, 0, 0, 4096, 0,
        )

    def entry(self, node):
        return struct.pack("<QQQQII", node.number, 0, ATTRIBUTES_LAST, ATTRIBUTES_LAST, 0, 0) + self.attributes(node)

    def new(self, mode):
        node = Node(self.next_number, mode)
        self.nodes[node.number] = node
        self.next_number += 1
        return node

    def init(self, _node, body):
        major, _, readahead, _ = struct.unpack_from("<IIII", body)
        big_writes, max_pages = 1 << 5, 1 << 22
        return struct.pack("<IIIIHHIIHH32x", major, 31, readahead, big_writes | max_pages, 16, 12, 1 << 20, 1, 256, 0)

    def nothing(self, _node, _body):
        return b""

    def lookup(self, node, body):
        return self.entry(self.child(node, bytes(body[:-1])))

    def child(self, node, name):
        child = node.entries.get(name)
        if child is None:
            raise Refused(errno.ENOENT)
        return child

    def getattr(self, node, _body):
        return struct.pack("<QII", ATTRIBUTES_LAST, 0, 0) + self.attributes(node)

    def setattr(self, node, body):
        valid, _, _, size, _, _, mtime, _, _, mtime_ns, _, mode = struct.unpack_from("<IIQQQQQQIIII", body)
        if valid & 1:
            node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)
        if valid & 8:
            old = len(node.data)
            node.resize(size)
            if size > old:
                node.touch(old, size)
        if valid & 32:
            node.modified = mtime * 10**9 + mtime_ns
        if valid & 256:
            node.modified = time.time_ns()
        return self.getattr(node, body)

    def add(self, parent, name, mode):
        if name in parent.entries:
            raise Refused(errno.EEXIST)
        child = self.new(mode)
        parent.entries[name] = child
        parent.modified = time.time_ns()
        return child

    def mknod(self, node, body):
        (mode,) = struct.unpack_from("<I", body)
        return self.entry(self.add(node, bytes(body[16:-1]), mode))

    def mkdir(self, node, body):
        (mode,) = struct.unpack_from("<I", body)
        return self.entry(self.add(node, bytes(body[8:-1]), stat.S_IFDIR | stat.S_IMODE(mode)))

    def create(self, node, body):
        _, mode = struct.unpack_from("<II", body)
        name = bytes(body[16:-1])
        child = node.entries.get(name) or self.add(node, name, mode)
        return self.entry(child) + self.open(child, body)

    def unlink(self, node, body):
        name = bytes(body[:-1])
        child = self.child(node, name)
        if child.is_dir() and child.entries:
            raise Refused(errno.ENOTEMPTY)
        del node.entries[name]
        node.modified = time.time_ns()
        self.leave(child)

    def leave(self, node):
        """What has no name and nobody uses goes; the device may still have it."""
        node.links = 0
        if node.opens == 0:
            self.nodes.pop(node.number, None)

    def rename(self, node, body):
        (target,) = struct.unpack_from("<Q", body)
        self.move(node, target, body[8:])

    def rename2(self, node, body):
        target, flags = struct.unpack_from("<QI", body)
        if flags:
            raise Refused(errno.EINVAL)
        self.move(node, target, body[16:])

    def move(self, node, target, names):
        old, new, _ = bytes(names).split(b"\0")
        child, to = self.child(node, old), self.nodes[target]
        replaced = to.entries.get(new)
        if replaced is not None and replaced is not child:
            if replaced.is_dir() and replaced.entries:
                raise Refused(errno.ENOTEMPTY)
            self.leave(replaced)
        del node.entries[old]
        to.entries[new] = child
        node.modified = to.modified = time.time_ns()

    def open(self, node, _body):
        node.opens += 1
        keep_cache = 0 if node.is_dir() else 2
        return struct.pack("<QIi", 0, keep_cache, 0)

    def release(self, node, _body):
        node.opens -= 1
        if node.links == 0:
            self.leave(node)

    def read(self, node, body):
        _, offset, size = struct.unpack_from("<QQI", body)
        return bytes(node.data[offset : offset + size])

    def write(self, node, body):
        _, offset, size = struct.unpack_from("<QQI", body)
        end = offset + size
        if end > len(node.data):
            node.resize(end)
        node.data[offset:end] = body[40 : 40 + size]
        node.touch(offset, end)
        return struct.pack("<II", size, 0)

    def statfs(self, _node, _body):
        blocks, free = 1 << 22, 1 << 21
        return struct.pack("<QQQQQIIII24x", blocks, free, free, 1 << 20, 1 << 19, 4096, 255, 4096, 0)

    def fsync(self, node, _body):
        if self.sync_fails:
            # As Linux has it: the pages count as written from now on.
            self.sync_fails = False
            node.dirty.clear()
            old = len(node.synced_data)
            node.synced_data.extend(bytes(max(0, len(node.data) - old)))
            self.report("a sync has failed")
            raise Refused(errno.EIO)
        node.sync()

    def fsyncdir(self, node, _body):
        node.synced_entries = dict(node.entries)

    def syncfs(self, _node, _body):
        for node in list(self.nodes.values()):
            node.sync()
            node.synced_entries = dict(node.entries)

    def fallocate(self, _node, body):
        mode = struct.unpack_from("<QQQI", body)[3]
        if mode != 1:  # keep the size: there is always room
            raise Refused(errno.EOPNOTSUPP)

    def readdir(self, node, body):
        _, offset, size = struct.unpack_from("<QQI", body)
        answer = b""
        for place, (name, child) in enumerate(list(node.entries.items())[offset:], offset + 1):
            kind = stat.S_IFMT(child.mode) >> 12
            line = struct.pack("<QQII", child.number, place, len(name), kind) + name
            line += bytes(-len(line) % 8)
            if len(answer) + len(line) > size:
                break
            answer += line
        return answer


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    lossy = Lossy(*sys.argv[1:])
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, lossy.obey)
    lossy.run()


if __name__ == "__main__":
    main()
