//! What goes to the kernel: answers, and the notices nobody asked for.

use super::structs;

structs! {
    /// Before every answer and every notice.
    OutHeader = "fuse_out_header", 16 bytes {
        len: u32;
        error: i32;
        unique: u64;
    }
    InitOut = "fuse_init_out", 64 bytes {
        major: u32;
        minor: u32;
        max_readahead: u32;
        flags: u32;
        max_background: u16;
        congestion_threshold: u16;
        max_write: u32;
        time_gran: u32;
        max_pages: u16;
        map_alignment: u16;
        flags2: u32, since 36;
        max_stack_depth: u32, since 40;
        request_timeout: u16, since 43;
        unused: [u16; 11], since 43;
    }
    Attr = "fuse_attr", 88 bytes {
        ino: u64;
        size: u64;
        blocks: u64;
        atime: u64;
        mtime: u64;
        ctime: u64;
        atimensec: u32;
        mtimensec: u32;
        ctimensec: u32;
        mode: u32;
        nlink: u32;
        uid: u32;
        gid: u32;
        rdev: u32;
        blksize: u32;
        flags: u32;
    }
    EntryOut = "fuse_entry_out", 128 bytes {
        nodeid: u64;
        generation: u64;
        entry_valid: u64;
        attr_valid: u64;
        entry_valid_nsec: u32;
        attr_valid_nsec: u32;
        attr: Attr;
    }
    AttrOut = "fuse_attr_out", 104 bytes {
        attr_valid: u64;
        attr_valid_nsec: u32;
        dummy: u32;
        attr: Attr;
    }
    SxTime = "fuse_sx_time", 16 bytes since 39 {
        tv_sec: i64;
        tv_nsec: u32;
        __reserved: i32;
    }
    Statx = "fuse_statx", 256 bytes since 39 {
        mask: u32;
        blksize: u32;
        attributes: u64;
        nlink: u32;
        uid: u32;
        gid: u32;
        mode: u16;
        __spare0: [u16; 1];
        ino: u64;
        size: u64;
        blocks: u64;
        attributes_mask: u64;
        atime: SxTime;
        btime: SxTime;
        ctime: SxTime;
        mtime: SxTime;
        rdev_major: u32;
        rdev_minor: u32;
        dev_major: u32;
        dev_minor: u32;
        __spare2: [u64; 14];
    }
    StatxOut = "fuse_statx_out", 288 bytes since 39 {
        attr_valid: u64;
        attr_valid_nsec: u32;
        flags: u32;
        spare: [u64; 2];
        stat: Statx;
    }
    OpenOut = "fuse_open_out", 16 bytes {
        fh: u64;
        open_flags: u32;
        backing_id: i32, since 40;
    }
    CreateOut = "fuse_entry_out, then fuse_open_out", 144 bytes since 9999 {
        entry: EntryOut;
        open: OpenOut;
    }
    WriteOut = "fuse_write_out", 8 bytes {
        size: u32;
        padding: u32;
    }
    Kstatfs = "fuse_kstatfs", 80 bytes {
        blocks: u64;
        bfree: u64;
        bavail: u64;
        files: u64;
        ffree: u64;
        bsize: u32;
        namelen: u32;
        frsize: u32;
        padding: u32;
        spare: [u32; 6];
    }
    GetxattrOut = "fuse_getxattr_out", 8 bytes {
        size: u32;
        padding: u32;
    }
    LseekOut = "fuse_lseek_out", 8 bytes {
        offset: u64;
    }
    CopyFileRangeOut = "fuse_copy_file_range_out", 8 bytes since 45 {
        bytes_copied: u64;
    }
    BmapOut = "fuse_bmap_out", 8 bytes {
        block: u64;
    }
    IoctlOut = "fuse_ioctl_out", 16 bytes {
        result: i32;
        flags: u32;
        in_iovs: u32;
        out_iovs: u32;
    }
    PollOut = "fuse_poll_out", 8 bytes {
        revents: u32;
        padding: u32;
    }
    /// Without the name that follows.
    Dirent = "fuse_dirent", 24 bytes {
        ino: u64;
        off: u64;
        namelen: u32;
        r#type: u32;
    }
    /// Without the name that follows.
    Direntplus = "fuse_direntplus", 152 bytes {
        entry_out: EntryOut;
        dirent: Dirent;
    }
    NotifyPollWakeup = "fuse_notify_poll_wakeup_out", 8 bytes {
        kh: u64;
    }
    NotifyInvalInode = "fuse_notify_inval_inode_out", 24 bytes {
        ino: u64;
        off: i64;
        len: i64;
    }
    NotifyInvalEntry = "fuse_notify_inval_entry_out", 16 bytes {
        parent: u64;
        namelen: u32;
        flags: u32, since 38;
    }
    NotifyDelete = "fuse_notify_delete_out", 24 bytes {
        parent: u64;
        child: u64;
        namelen: u32;
        padding: u32;
    }
    NotifyStore = "fuse_notify_store_out", 24 bytes {
        nodeid: u64;
        offset: u64;
        size: u32;
        padding: u32;
    }
    NotifyRetrieve = "fuse_notify_retrieve_out", 32 bytes {
        notify_unique: u64;
        nodeid: u64;
        offset: u64;
        size: u32;
        padding: u32;
    }
    NotifyPrune = "fuse_notify_prune_out", 16 bytes since 45 {
        count: u32;
        padding: u32;
        spare: u64;
    }
}
