//! The requests that exist.

macro_rules! opcodes {
    ($($name:ident = $raw:literal, $c:literal;)*) => {
        /// What a request asks for.
        ///
        /// Left out, and so answered like any number that means nothing: the mappings of virtiofs
        /// (48, 49) and character devices in user space (4096).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the names are those of <linux/fuse.h>")]
        pub enum Opcode {
            $($name = $raw,)*
        }

        impl Opcode {
            /// Every one of them.
            pub const ALL: &[Opcode] = &[$(Opcode::$name,)*];

            /// Its name in `<linux/fuse.h>`, without the `FUSE_` that all have.
            pub fn name(self) -> &'static str {
                match self { $(Opcode::$name => $c,)* }
            }
        }

        impl TryFrom<u32> for Opcode {
            /// The number, which means nothing here.
            type Error = u32;

            fn try_from(raw: u32) -> Result<Opcode, u32> {
                Ok(match raw {
                    $($raw => Opcode::$name,)*
                    _ => return Err(raw),
                })
            }
        }
    };
}

opcodes! {
    Lookup = 1, "LOOKUP";
    Forget = 2, "FORGET";
    Getattr = 3, "GETATTR";
    Setattr = 4, "SETATTR";
    Readlink = 5, "READLINK";
    Symlink = 6, "SYMLINK";
    Mknod = 8, "MKNOD";
    Mkdir = 9, "MKDIR";
    Unlink = 10, "UNLINK";
    Rmdir = 11, "RMDIR";
    Rename = 12, "RENAME";
    Link = 13, "LINK";
    Open = 14, "OPEN";
    Read = 15, "READ";
    Write = 16, "WRITE";
    Statfs = 17, "STATFS";
    Release = 18, "RELEASE";
    Fsync = 20, "FSYNC";
    Setxattr = 21, "SETXATTR";
    Getxattr = 22, "GETXATTR";
    Listxattr = 23, "LISTXATTR";
    Removexattr = 24, "REMOVEXATTR";
    Flush = 25, "FLUSH";
    Init = 26, "INIT";
    Opendir = 27, "OPENDIR";
    Readdir = 28, "READDIR";
    Releasedir = 29, "RELEASEDIR";
    Fsyncdir = 30, "FSYNCDIR";
    Getlk = 31, "GETLK";
    Setlk = 32, "SETLK";
    Setlkw = 33, "SETLKW";
    Access = 34, "ACCESS";
    Create = 35, "CREATE";
    Interrupt = 36, "INTERRUPT";
    Bmap = 37, "BMAP";
    Destroy = 38, "DESTROY";
    Ioctl = 39, "IOCTL";
    Poll = 40, "POLL";
    NotifyReply = 41, "NOTIFY_REPLY";
    BatchForget = 42, "BATCH_FORGET";
    Fallocate = 43, "FALLOCATE";
    Readdirplus = 44, "READDIRPLUS";
    Rename2 = 45, "RENAME2";
    Lseek = 46, "LSEEK";
    CopyFileRange = 47, "COPY_FILE_RANGE";
    Syncfs = 50, "SYNCFS";
    Tmpfile = 51, "TMPFILE";
    Statx = 52, "STATX";
    CopyFileRange64 = 53, "COPY_FILE_RANGE_64";
}

#[cfg(test)]
mod tests {
    use super::Opcode;

    #[test]
    fn every_opcode_is_found_by_its_number_and_no_other_number_is() {
        for raw in (0..70).chain([4096, 1 << 20, u32::MAX]) {
            match Opcode::try_from(raw) {
                Ok(opcode) => assert_eq!(opcode as u32, raw, "{}", opcode.name()),
                Err(unknown) => assert_eq!(unknown, raw),
            }
        }
        let found = (0..70).filter(|raw| Opcode::try_from(*raw).is_ok()).count();
        assert_eq!(found, Opcode::ALL.len());
    }
}
