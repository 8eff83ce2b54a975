//! Names: attributes of many files, listings, and files that come and go.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};

use crate::Result;
use crate::measure::{Bench, Measured};

/// Longer than the kernel may remember what `tiny::Caching::Brief` told it.
const FORGOTTEN: std::time::Duration = tiny::BRIEF.saturating_add(std::time::Duration::from_millis(20));

fn directory(path: &Path) -> Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

pub fn stat(dir: &Path, threads: usize, bench: &Bench) -> Result<Measured> {
    let many = directory(&dir.join("many"))?;
    let names = (0..tiny::MANY_FILES)
        .map(|number| CString::new(format!("file{number:05}")))
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let (many, names) = (&many, &names);
    bench.steady(threads, 0, |number| {
        let mut at = number * names.len() / threads;
        Ok(move || {
            at = (at + 1) % names.len();
            rustix::fs::statat(many, names[at].as_c_str(), AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(())
        })
    })
}

/// Lists an opened directory to its end and hands out the raw answers, which `names_in` can take apart.
fn list_all(many: &OwnedFd, buffer: &mut [u64], mut each: impl FnMut(&[u8])) -> Result<()> {
    loop {
        // SAFETY: the kernel writes at most the buffer's length to it, and any byte is a valid part of a `u64`.
        let filled = unsafe {
            libc::syscall(libc::SYS_getdents64, many.as_raw_fd(), buffer.as_mut_ptr(), size_of_val(buffer))
        };
        if filled < 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        if filled == 0 {
            return Ok(());
        }
        // SAFETY: these bytes of the buffer were initialised before and may be read as bytes.
        each(unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast(), filled as usize) });
    }
}

/// The names in an answer of getdents64.
fn names_in(mut entries: &[u8]) -> impl Iterator<Item = &CStr> {
    const NAME_AT: usize = 19;
    std::iter::from_fn(move || {
        let bytes = u16::from_ne_bytes(entries.get(16..18)?.try_into().ok()?) as usize;
        let (entry, rest) = entries.split_at_checked(bytes)?;
        entries = rest;
        CStr::from_bytes_until_nul(entry.get(NAME_AT..)?).ok()
    })
}

pub fn list(dir: &Path, buffer_bytes: usize, bench: &Bench) -> Result<Measured> {
    let path = dir.join("many");
    let mut buffer = vec![0u64; buffer_bytes / 8];
    let mut names = 0;
    list_all(&directory(&path)?, &mut buffer, |entries| names += names_in(entries).count())?;
    if names < tiny::MANY_FILES as usize {
        return Err(format!("only {names} names are listed").into());
    }
    bench.passes(true, 1, 0, || Ok(()), || list_all(&directory(&path)?, &mut buffer, |_| ()))
}

pub fn list_stat(dir: &Path, bench: &Bench) -> Result<Measured> {
    let path = dir.join("many");
    let mut buffer = vec![0u64; (32 << 10) / 8];
    let forget = || {
        std::thread::sleep(FORGOTTEN);
        Ok(())
    };
    bench.passes(true, 1, 0, forget, || {
        let many = directory(&path)?;
        let mut names = Vec::with_capacity(tiny::MANY_FILES as usize);
        list_all(&many, &mut buffer, |entries| names.extend(names_in(entries).map(CStr::to_owned)))?;
        for name in &names {
            rustix::fs::statat(&many, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    })
}

pub fn churn(dir: &Path, threads: usize, bench: &Bench) -> Result<Measured> {
    let tmp = directory(&dir.join("tmp"))?;
    let tmp = &tmp;
    bench.steady(threads, 0, |number| {
        let name = CString::new(format!("thread{number}"))?;
        let content = vec![7u8; 4096];
        // A client that was stopped may have left its file.
        let _ = rustix::fs::unlinkat(tmp, name.as_c_str(), AtFlags::empty());
        Ok(move || {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file = rustix::fs::openat(tmp, name.as_c_str(), flags, Mode::from(0o644))?;
            if rustix::io::write(&file, &content)? != content.len() {
                return Err("a short write".into());
            }
            drop(file);
            rustix::fs::unlinkat(tmp, name.as_c_str(), AtFlags::empty())?;
            Ok(())
        })
    })
}
