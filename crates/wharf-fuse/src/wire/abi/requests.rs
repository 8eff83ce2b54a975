//! What comes from the kernel.

use super::structs;

structs! {
    /// Before every request.
    InHeader = "fuse_in_header", 40 bytes {
        len: u32;
        opcode: u32;
        unique: u64;
        nodeid: u64;
        uid: u32;
        gid: u32;
        pid: u32;
        total_extlen: u16, since 38;
        padding: u16;
    }
    InitIn = "fuse_init_in", 64 bytes {
        major: u32;
        minor: u32;
        max_readahead: u32;
        flags: u32;
        flags2: u32, since 36;
        unused: [u32; 11];
    }
    ForgetIn = "fuse_forget_in", 8 bytes {
        nlookup: u64;
    }
    ForgetOne = "fuse_forget_one", 16 bytes {
        nodeid: u64;
        nlookup: u64;
    }
    BatchForgetIn = "fuse_batch_forget_in", 8 bytes {
        count: u32;
        dummy: u32;
    }
    InterruptIn = "fuse_interrupt_in", 8 bytes {
        unique: u64;
    }
    /// The answer to the notice that retrieves; a request, strangely.
    RetrieveIn = "fuse_notify_retrieve_in", 40 bytes {
        dummy1: u64;
        offset: u64;
        size: u32;
        dummy2: u32;
        dummy3: u64;
        dummy4: u64;
    }
    GetattrIn = "fuse_getattr_in", 16 bytes {
        getattr_flags: u32;
        dummy: u32;
        fh: u64;
    }
    SetattrIn = "fuse_setattr_in", 88 bytes {
        valid: u32;
        padding: u32;
        fh: u64;
        size: u64;
        lock_owner: u64;
        atime: u64;
        mtime: u64;
        ctime: u64;
        atimensec: u32;
        mtimensec: u32;
        ctimensec: u32;
        mode: u32;
        unused4: u32;
        uid: u32;
        gid: u32;
        unused5: u32;
    }
    MknodIn = "fuse_mknod_in", 16 bytes {
        mode: u32;
        rdev: u32;
        umask: u32;
        padding: u32;
    }
    MkdirIn = "fuse_mkdir_in", 8 bytes {
        mode: u32;
        umask: u32;
    }
    RenameIn = "fuse_rename_in", 8 bytes {
        newdir: u64;
    }
    Rename2In = "fuse_rename2_in", 16 bytes {
        newdir: u64;
        flags: u32;
        padding: u32;
    }
    LinkIn = "fuse_link_in", 8 bytes {
        oldnodeid: u64;
    }
    OpenIn = "fuse_open_in", 8 bytes {
        flags: u32;
        open_flags: u32;
    }
    CreateIn = "fuse_create_in", 16 bytes {
        flags: u32;
        mode: u32;
        umask: u32;
        open_flags: u32;
    }
    ReadIn = "fuse_read_in", 40 bytes {
        fh: u64;
        offset: u64;
        size: u32;
        read_flags: u32;
        lock_owner: u64;
        flags: u32;
        padding: u32;
    }
    WriteIn = "fuse_write_in", 40 bytes {
        fh: u64;
        offset: u64;
        size: u32;
        write_flags: u32;
        lock_owner: u64;
        flags: u32;
        padding: u32;
    }
    FlushIn = "fuse_flush_in", 24 bytes {
        fh: u64;
        unused: u32;
        padding: u32;
        lock_owner: u64;
    }
    ReleaseIn = "fuse_release_in", 24 bytes {
        fh: u64;
        flags: u32;
        release_flags: u32;
        lock_owner: u64;
    }
    FsyncIn = "fuse_fsync_in", 16 bytes {
        fh: u64;
        fsync_flags: u32;
        padding: u32;
    }
    SyncfsIn = "fuse_syncfs_in", 8 bytes {
        padding: u64;
    }
    /// Only with `SETXATTR_EXT`; else its first eight bytes.
    SetxattrIn = "fuse_setxattr_in", 16 bytes {
        size: u32;
        flags: u32;
        setxattr_flags: u32;
        padding: u32;
    }
    GetxattrIn = "fuse_getxattr_in", 8 bytes {
        size: u32;
        padding: u32;
    }
    FileLock = "fuse_file_lock", 24 bytes {
        start: u64;
        end: u64;
        r#type: u32;
        pid: u32;
    }
    LkIn = "fuse_lk_in", 48 bytes {
        fh: u64;
        owner: u64;
        lk: FileLock;
        lk_flags: u32;
        padding: u32;
    }
    AccessIn = "fuse_access_in", 8 bytes {
        mask: u32;
        padding: u32;
    }
    FallocateIn = "fuse_fallocate_in", 32 bytes {
        fh: u64;
        offset: u64;
        length: u64;
        mode: u32;
        padding: u32;
    }
    LseekIn = "fuse_lseek_in", 24 bytes {
        fh: u64;
        offset: u64;
        whence: u32;
        padding: u32;
    }
    CopyFileRangeIn = "fuse_copy_file_range_in", 56 bytes {
        fh_in: u64;
        off_in: u64;
        nodeid_out: u64;
        fh_out: u64;
        off_out: u64;
        len: u64;
        flags: u64;
    }
    BmapIn = "fuse_bmap_in", 16 bytes {
        block: u64;
        blocksize: u32;
        padding: u32;
    }
    IoctlIn = "fuse_ioctl_in", 32 bytes {
        fh: u64;
        flags: u32;
        cmd: u32;
        arg: u64;
        in_size: u32;
        out_size: u32;
    }
    PollIn = "fuse_poll_in", 24 bytes {
        fh: u64;
        kh: u64;
        flags: u32;
        events: u32;
    }
    StatxIn = "fuse_statx_in", 24 bytes since 39 {
        getattr_flags: u32;
        reserved: u32;
        fh: u64;
        sx_flags: u32;
        sx_mask: u32;
    }
    /// Before every extension of a request. With a type up to `MAX_NR_SECCTX` it is a
    /// `fuse_secctx_header`, and the type is how many contexts follow.
    ExtHeader = "fuse_ext_header", 8 bytes since 38 {
        size: u32;
        r#type: u32;
    }
    Secctx = "fuse_secctx", 8 bytes {
        size: u32;
        padding: u32;
    }
}
